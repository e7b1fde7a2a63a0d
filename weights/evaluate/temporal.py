"""How steady a restored sequence is."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.motion import look_up, squared
from weights.evaluate.pairs import Frame

Flow = NDArray[np.float32]
"""(H, W, 2): how far each pixel of one frame has moved in the other, x and y, in pixels."""

_RELATED = 0.3
"""Where less than this share of a frame is found again, the next one is of another scene."""


@dataclass(frozen=True)
class TemporalConsistency:
    """Means over the pairs of neighboring frames of a sequence, by version.

    E_warp rewards blur and frozen pictures: read it beside PSNR and beside that of the sharp
    frames, which is what a perfect restorer would have.
    """

    pairs: int
    """Without cuts and unrelated pictures."""
    e_warp: dict[str, float]
    """Times 1000; images in 0..1. That of the sharp frames is there as `sharp`."""
    ratio: dict[str, float]
    """E_warp of each version that is `fused` or `causal` over that of the same version `restored`
    alone, or of the blurred frames where no network restores them, unless that is 0."""
    tof: dict[str, float]
    """In pixels."""


class Video:
    """Measures the frames of one sequence, one after the other."""

    def __init__(self) -> None:
        self._before: tuple[Frame, dict[str, Frame]] | None = None
        self._errors: list[dict[str, float]] = []
        self._distances: list[dict[str, float]] = []

    def add(self, blurred: Frame, sharp: Frame, versions: Mapping[str, Frame]) -> None:
        """The next frame, and what was made of it."""
        then, self._before = self._before, (blurred, {**versions, "sharp": sharp})
        if then is None or then[0].shape != blurred.shape:
            return
        found = seen_again(gray(then[0]), gray(blurred))
        if found is None:
            return
        forward, seen = found
        steps = {name: (then[1][name], frame) for name, frame in self._before[1].items()}
        self._errors.append(
            {name: 1e3 * warp_error(*step, forward, seen) for name, step in steps.items()}
        )
        flows = {name: _farneback(gray(one), gray(other)) for name, (one, other) in steps.items()}
        truth = flows.pop("sharp")
        self._distances.append({name: _distance(flow, truth) for name, flow in flows.items()})

    def result(self) -> TemporalConsistency | None:
        """None for fewer than two frames."""
        if not self._errors:
            return None
        e_warp = _means(self._errors)
        before = {name: e_warp.get(_unfused(name, e_warp), 0.0) for name in e_warp}
        ratio = {name: e_warp[name] / error for name, error in before.items() if error > 0}
        return TemporalConsistency(len(self._errors), e_warp, ratio, _means(self._distances))


def _unfused(name: str, names: Container[str]) -> str:
    """What a version was before it was fused; empty for one that is not fused."""
    fused, *how = name.split(", ")
    if fused not in ("fused", "causal"):
        return ""
    restored = ", ".join(["restored", *how])
    return restored if restored in names else (how[0] if how else "blurred")


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(one[name] for one in values) for name in values[0]}


def gray(frame: Frame) -> NDArray[np.uint8]:
    """The brightness of a frame, (H, W)."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def seen_again(
    one: NDArray[np.uint8], other: NDArray[np.uint8]
) -> tuple[Flow, NDArray[np.bool_]] | None:
    """The motion from one gray frame to the next, and where the next one shows the same.

    None where that is too little: the next one is of another scene.
    """
    forward = motion(one, other)
    seen = ~occluded(forward, motion(other, one))
    return (forward, seen) if seen.mean() >= _RELATED else None


def motion(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    """Optical flow from one gray frame to another: OpenCV's DIS, medium preset."""
    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(estimate.calc(one, other, np.zeros((*one.shape, 2), np.float32)), np.float32)


def _farneback(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    # The settings that tOF is defined with.
    start = np.zeros((*one.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(one, other, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(flow, np.float32)


def _distance(flow: Flow, truth: Flow) -> float:
    return float(np.hypot(*np.moveaxis(flow - truth, 2, 0)).mean())


def occluded(forward: Flow, back: Flow) -> NDArray[np.bool_]:
    """Where the first frame shows what the second does not, or where motion has an edge.

    Ruder, Dosovitskiy, Brox: "Artistic style transfer for videos", GCPR 2016, equations 5 and 6,
    with the roles of the two frames exchanged.
    """
    returned = look_up(back, forward)
    gap, length = squared(returned + forward), squared(forward)
    dy, dx = np.gradient(forward, axis=(0, 1))
    edge = squared(dx) + squared(dy) > 0.01 * length + 0.002
    return np.asarray((gap > 0.01 * (squared(returned) + length) + 0.5) | edge)


def warp_error(one: Frame, other: Frame, forward: Flow, seen: NDArray[np.bool_]) -> float:
    """Mean squared difference, images in 0..1, of a frame and the next one warped back onto it.

    E_warp of Lai et al., "Learning blind video temporal consistency", ECCV 2018, section 4.
    """
    if not seen.any():
        return 0.0
    back = look_up(other.astype(np.float32), forward)
    return float(np.square((back - one)[seen] / 255).mean())
