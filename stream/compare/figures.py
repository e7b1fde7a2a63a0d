"""How sharp and how steady two videos are, frame by frame.

- Sharpness: the variance of the Laplacian of luma, 0..255, at the size of the input (Pech-Pacheco
  et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000). Noise raises it as well.
- Flicker: E_warp, times 1000 (Lai et al., "Learning blind video temporal consistency", ECCV 2018):
  the mean squared difference, pictures in 0..1, between a frame and the next one warped back onto
  it, where nothing is hidden. The motion is that of the input (OpenCV's DIS, medium preset) for
  both videos. Blur lowers it as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import cv2

from stream.compare.pairs import Pair
from stream.compare.pictures import Picture
from weights.evaluate.temporal import gray, seen_again, warp_error

_LEAST = 12
"""Pixels that the longer side must have for motion to be found at all."""

Both = tuple[float, float]
"""Of the input, and of what became of it."""


@dataclass(frozen=True)
class Figure:
    """What is measured of a frame."""

    second: float
    """When it is shown, from the beginning of the input."""
    run: int
    """The number of the run of frames that it belongs to."""
    sharpness: Both
    flicker: Both | None
    """Against the frame before; None for the first of a run, after a gap and after a cut."""


@dataclass(frozen=True)
class Means:
    """A figure over all frames."""

    before: float
    after: float

    @property
    def ratio(self) -> float | None:
        """After by before; None where there was nothing before."""
        return self.after / self.before if self.before > 0 else None


class Meter:
    """Measures pairs of frames, run after run."""

    def __init__(self, origin_s: float) -> None:
        """`origin_s` is where the input's clock starts."""
        self.figures: list[Figure] = []
        self._origin_s = origin_s
        self._last: tuple[int, tuple[Picture, Picture]] | None = None

    def add(self, pair: Pair, run: int) -> None:
        """The next frame, and the number of its run."""
        now = pair.before, pair.reduced
        sharpness = _sharpness(pair.before), _sharpness(pair.reduced)
        flicker = None
        if self._last is not None and self._last[0] == run and pair.follows:
            flicker = _flicker(self._last[1], now)
        self.figures.append(Figure(pair.moment - self._origin_s, run, sharpness, flicker))
        self._last = run, now


def means(figures: Sequence[Figure]) -> dict[str, Means]:
    """The mean of each figure over all frames that have it."""
    found = {"sharpness": [each.sharpness for each in figures]}
    if flickers := [each.flicker for each in figures if each.flicker is not None]:
        found["flicker"] = flickers
    return {name: Means(*map(fmean, zip(*both, strict=True))) for name, both in found.items()}


def _sharpness(picture: Picture) -> float:
    return float(cv2.Laplacian(gray(picture), cv2.CV_64F).var())


def _flicker(then: tuple[Picture, Picture], now: tuple[Picture, Picture]) -> Both | None:
    if max(then[0].shape[:2]) < _LEAST:
        return None
    found = seen_again(gray(then[0]), gray(now[0]))
    if found is None:
        return None
    before, after = (1e3 * warp_error(a, b, *found) for a, b in zip(then, now, strict=True))
    return before, after
