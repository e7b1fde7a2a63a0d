"""Whether restoring moves things: corners, edges and lines against the sharp frame, and tracks of
features against the geometry of the sequence."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import tee
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weights.evaluate.measure import Versions
from weights.evaluate.pairs import PairsError, PairSet, Places

Gray: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
_CORNERS = 400
_WINDOW = (21, 21)
_ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.003)
_BACK = 0.3
"""Pixels that a feature may miss its start by, when it is followed back."""
_FAR = 3.0
"""Pixels beyond which what was found is another feature."""
_FEWEST = 30
"""Tracks of sharp frames that the geometry of two views is found from."""
_INLIER = 0.5
"""Pixels."""
_LONG, _ACROSS = 40, 6
"""Pixels that a line is long at least, and that its edge is looked for on both sides."""
_LINES = 100
_STEEP = 12.0
"""Codes that the picture must change by across a line, for its edge to be found."""


@dataclass(frozen=True)
class Fidelity:
    """What was measured of one version of the frames; lengths in pixels, NaN where there were
    none."""

    moved: float
    """How far corners of the sharp frame lie from where they should: the mean length."""
    common: float
    """The same of those corners that are found in every version: more are found, and harder ones,
    in what is less blurred."""
    shifted: float
    """The length of their mean displacement: a shift of the whole picture."""
    found: float
    """The share of the sharp frame's corners that are found again."""
    edges: float
    """By how much straight edges of the sharp frame lie beside where they should: the mean."""
    bent: float
    """By how much points of such an edge differ from a straight line: the median over edges of the
    root mean square."""
    tracks: float
    """Features that are followed to the next frame and back, of a frame."""
    imprecise: float
    """By how much a track's end differs from that of the same place in sharp frames: the median."""
    epipolar: float
    """The distance (Sampson's) of tracks from the geometry of two views, as the sharp frames show
    it: the median."""
    reprojected: float
    """By how much a track's end differs from where depth and poses put it: the median; NaN where
    these are not known."""


@dataclass
class _Gathered:
    ways: list[Places] = field(default_factory=list)
    common: list[Places] = field(default_factory=list)
    corners: int = 0
    beside: list[float] = field(default_factory=list)
    bent: list[float] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
    errors: list[Floats] = field(default_factory=list)
    distances: list[Floats] = field(default_factory=list)
    reprojected: list[Floats] = field(default_factory=list)

    def result(self) -> Fidelity:
        ways = np.concatenate([np.zeros((0, 2), np.float32), *self.ways])
        return Fidelity(
            moved=_mean(np.linalg.norm(ways, axis=1)),
            common=_mean(np.linalg.norm(np.concatenate([ways[:0], *self.common]), axis=1)),
            shifted=float(np.linalg.norm(ways.mean(0))) if len(ways) else float("nan"),
            found=len(ways) / max(self.corners, 1),
            edges=_mean(self.beside),
            bent=_median([np.array(self.bent)]),
            tracks=_mean(self.tracks),
            imprecise=_median(self.errors),
            epipolar=_median(self.distances),
            reprojected=_median(self.reprojected),
        )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _median(parts: Sequence[Floats]) -> float:
    values = np.concatenate([np.zeros(0), *parts])
    return float(np.median(values)) if len(values) else float("nan")


@torch.inference_mode()
def evaluate_fidelity(
    versions: Versions, pairs: Sequence[PairSet], *, on_pair: Callable[[], None] = lambda: None
) -> dict[str, Fidelity]:
    """What `versions` does to the geometry of blurred frames, by version, over all sets that are
    aligned by pixel; `sharp` is what the same measurement says of the sharp frames themselves.
    Raises `PairsError` where there are none."""
    gathered: dict[str, _Gathered] = {}
    aligned = [one for one in pairs if one.pixel_aligned]
    if not aligned:
        raise PairsError("the geometry is measured on pairs that are aligned by pixel")
    for one in aligned:
        before: dict[str, Gray] | None = None
        blurred, kept = tee(one.read())
        made = versions(each for each, _ in blurred)
        for index, ((_, sharp), shown) in enumerate(zip(kept, made, strict=True)):
            now = {"sharp": _gray(sharp), **{name: _of(image) for name, image in shown.items()}}
            for name in now:
                gathered.setdefault(name, _Gathered())
            _corners(gathered, now)
            edges = _edges(now["sharp"])
            views = None if before is None else _views(before["sharp"], now["sharp"])
            for name, picture in now.items():
                _lines(gathered[name], edges, now["sharp"], picture)
                if before is not None:
                    own, true = (before[name], picture), (before["sharp"], now["sharp"])
                    moved = partial(one.moved, index - 1) if one.moved else None
                    _tracks(gathered[name], own, true, views, moved)
            before = now
            on_pair()
    sharp_frames = gathered.pop("sharp")
    return {name: each.result() for name, each in {**gathered, "sharp": sharp_frames}.items()}


def _corners(gathered: Mapping[str, _Gathered], versions: Mapping[str, Gray]) -> None:
    corners = _features(versions["sharp"])
    everywhere = np.ones(len(corners), np.bool_)
    ways = {}
    for name, picture in versions.items():
        there, ok = _followed(versions["sharp"], picture, corners)
        ways[name] = there - corners
        ok &= np.linalg.norm(ways[name], axis=1) < _FAR
        everywhere &= ok
        gathered[name].corners += len(corners)
        gathered[name].ways.append(ways[name][ok])
    for name, way in ways.items():
        gathered[name].common.append(way[everywhere])


def _tracks(
    gathered: _Gathered,
    own: tuple[Gray, Gray],
    sharp: tuple[Gray, Gray],
    views: Floats | None,
    moved: Callable[[Places], Places] | None,
) -> None:
    features = _features(own[0])
    there, ok = _followed(*own, features)
    true, known = _followed(*sharp, features)
    gathered.tracks.append(int(ok.sum()))
    both = ok & known
    gathered.errors.append(np.linalg.norm(there - true, axis=1)[both].astype(np.float64))
    if views is not None and ok.any():
        gathered.distances.append(_sampson(views, features[ok], there[ok]))
    if moved is not None and ok.any():
        errors = np.linalg.norm(there[ok] - moved(features[ok]), axis=1).astype(np.float64)
        gathered.reprojected.append(errors[np.isfinite(errors)])


def _features(picture: Gray) -> Places:
    found = cv2.goodFeaturesToTrack(picture, _CORNERS, 0.01, 8)
    if found is None:
        return np.zeros((0, 2), np.float32)
    return np.asarray(found.reshape(-1, 2), np.float32)


def _followed(one: Gray, other: Gray, places: Places) -> tuple[Places, NDArray[np.bool_]]:
    """Where features of one picture are in another, (n, 2), and which are found there and back."""
    if not len(places):
        return places, np.zeros(0, np.bool_)
    how: Any = {"winSize": _WINDOW, "maxLevel": 3, "criteria": _ENOUGH}
    there, ok, _ = cv2.calcOpticalFlowPyrLK(one, other, places, None, **how)  # type: ignore[call-overload]
    back, again, _ = cv2.calcOpticalFlowPyrLK(other, one, there, None, **how)  # type: ignore[call-overload]
    near = np.linalg.norm(back - places, axis=1) < _BACK
    return there, near & (ok.ravel() == 1) & (again.ravel() == 1)


def _views(before: Gray, now: Gray) -> Floats | None:
    """The fundamental matrix of two sharp frames, (3, 3); None where it cannot be told."""
    features = _features(before)
    there, ok = _followed(before, now, features)
    if ok.sum() < _FEWEST:
        return None
    found, _ = cv2.findFundamentalMat(
        features[ok], there[ok], cv2.USAC_MAGSAC, _INLIER, 0.999, 5000
    )
    return None if found is None or found.shape != (3, 3) else np.asarray(found, np.float64)


def _sampson(views: Floats, first: Places, last: Places) -> Floats:
    """Distances in pixels, (n,), of matches, (n, 2) each, from what two views allow."""
    one, other = (np.column_stack([each, np.ones(len(each))]) for each in (first, last))
    line, back = one @ views.T, other @ views
    length = np.sqrt((line[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1))
    return np.asarray(np.abs((other * line).sum(1)) / np.maximum(length, 1e-12))


def _edges(sharp: Gray) -> list[Floats]:
    """The longest straight edges of a frame, (n, 2, 2) each: points along it, two pixels apart,
    and the direction across it that leads to what is brighter."""
    found = cv2.createLineSegmentDetector().detect(sharp)[0]
    segments = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)
    lengths = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
    height, width = sharp.shape
    edges = []
    for number in np.argsort(-lengths)[:_LINES]:
        if lengths[number] < _LONG:
            break
        begin, end = segments[number].reshape(2, 2)
        along = (end - begin) / lengths[number]
        points = begin + np.arange(4, lengths[number] - 4, 2)[:, None] * along
        margin = _ACROSS + 1
        inside = (points >= margin) & (points < [width - margin, height - margin])
        points = points[inside.all(1)]
        if len(points) < _LONG // 4:
            continue
        across = np.broadcast_to([-along[1], along[0]], points.shape)
        profile = _profiles(sharp, np.stack([points, across], axis=1)).mean(0)
        sign = 1.0 if profile[-1] >= profile[0] else -1.0
        edges.append(np.stack([points, sign * across], axis=1))
    return edges


def _profiles(picture: Gray, edge: Floats) -> Floats:
    """What lies across an edge at each of its points, half a pixel apart, (n, 4 * _ACROSS + 1)."""
    steps = np.arange(-2 * _ACROSS, 2 * _ACROSS + 1) / 2
    places = (edge[:, :1] + steps[:, None] * edge[:, 1:]).astype(np.float32)
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    values = cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return np.asarray(values, np.float64)


def _places(picture: Gray, edge: Floats) -> Floats | None:
    """Where an edge lies across itself at each of its points, (n,); None where there is none."""
    slopes = np.maximum(np.diff(_profiles(picture, edge), axis=1), 0)
    steps = np.arange(-2 * _ACROSS, 2 * _ACROSS) / 2 + 0.25
    total = slopes.sum(1)
    if float(np.median(total)) < _STEEP:
        return None
    return np.asarray((slopes * steps).sum(1) / np.maximum(total, 1e-9))


def _lines(gathered: _Gathered, edges: Sequence[Floats], sharp: Gray, picture: Gray) -> None:
    for edge in edges:
        true, own = _places(sharp, edge), _places(picture, edge)
        if true is None or own is None:
            continue
        along = np.arange(len(own), dtype=np.float64)
        left = own - np.polyval(np.polyfit(along, own, 1), along)
        gathered.bent.append(float(np.sqrt((left**2).mean())))
        gathered.beside.append(float(abs(np.median(own - true))))


def _gray(frame: NDArray[np.uint8]) -> Gray:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _of(image: Tensor) -> Gray:
    codes = (image[0].float().clamp(0, 1) * 255).round().byte()
    return _gray(codes.permute(1, 2, 0).cpu().numpy())


def lines(found: Mapping[str, Fidelity]) -> list[str]:
    """A table, line by line, in Markdown."""
    head = "| version | corners move | those in all | as a whole | corners found | edges move "
    head += "| lines bent | tracks | their error | epipolar | reprojected |"
    rows = [
        f"| {name} | {_px(one.moved)} | {_px(one.common)} | {_px(one.shifted)} | {one.found:.0%} "
        f"| {_px(one.edges)} | {_px(one.bent)} | {one.tracks:.0f} | {_px(one.imprecise)} "
        f"| {_px(one.epipolar)} | {_px(one.reprojected)} |"
        for name, one in found.items()
    ]
    return [head, "|" + 11 * "---|", *rows]


def _px(length: float) -> str:
    return "" if math.isnan(length) else f"{length:.3f} px"
