"""How sharp, how steady and, where the truth is known, how right videos are, frame by frame.

- Sharpness: the mean gradient of luma, 0..255 by the pixel, smoothed by a Gaussian of 1.5 pixels,
  at the size of the input (`stream.stages.advice.sharpness`). Noise hardly raises it.
- Flicker: E_warp, times 1000 (Lai et al., "Learning blind video temporal consistency", ECCV 2018):
  the mean squared difference, pictures in 0..1, between a frame and the next one warped back onto
  it, where nothing is hidden. The motion is that of the input (OpenCV's DIS, medium preset) for
  all videos, at the size of the input. Blur lowers it as well.
- PSNR, in dB, and SSIM (kornia's, window of 11) against the truth, over R'G'B' in 0..1, at the size
  of the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from stream.compare.measure.matches import Match
from stream.compare.measure.pictures import Picture, fitted
from stream.stages.advice import sharpness
from weights.evaluate.quality import psnr, ssim, to_tensor
from weights.evaluate.temporal import gray, seen_again, warp_error

_LEAST = 12
"""Pixels that the longer side must have for motion to be found at all."""

Each = tuple[float, ...]
"""Of each video: the input, what became of it, and the truth where that is known."""


@dataclass(frozen=True)
class Figure:
    """What is measured of a frame."""

    second: float
    """When it is shown, from the beginning of the input."""
    run: int
    """The number of the run of frames that it belongs to."""
    sharpness: Each
    flicker: Each | None
    """Against the frame before; None for the first of a run, after a gap and after a cut."""
    psnr: Each | None = None
    """Of all but the truth; None where there is none."""
    ssim: Each | None = None


NAMES = "sharpness", "flicker", "psnr", "ssim"


class Meter:
    """Measures matches, run after run."""

    def __init__(self, origin_s: float, *, truth: bool = False) -> None:
        """`origin_s` is where the input's clock starts; `truth`: the last video is that."""
        self.figures: list[Figure] = []
        self._origin_s = origin_s
        self._truth = truth
        self._last: tuple[int, tuple[Picture, ...]] | None = None

    def add(self, match: Match, run: int) -> None:
        """The next frame, and the number of its run."""
        now = match.reduced
        flicker = None
        if self._last is not None and self._last[0] == run and match.follows:
            flicker = _flicker(self._last[1], now)
        right = _right(match.pictures) if self._truth else (None, None)
        second = match.moment - self._origin_s
        self.figures.append(Figure(second, run, tuple(map(_sharpness, now)), flicker, *right))
        self._last = run, now


def means(figures: Sequence[Figure]) -> dict[str, Each]:
    """The mean of each figure over all frames that have it, of each video."""
    found = {}
    for name in NAMES:
        known = [value for each in figures if (value := getattr(each, name)) is not None]
        if known:
            found[name] = tuple(map(fmean, zip(*known, strict=True)))
    return found


def _sharpness(picture: Picture) -> float:
    return sharpness(gray(picture))


def _flicker(then: Sequence[Picture], now: Sequence[Picture]) -> Each | None:
    if max(then[0].shape[:2]) < _LEAST:
        return None
    found = seen_again(gray(then[0]), gray(now[0]))
    if found is None:
        return None
    return tuple(1e3 * warp_error(*each, *found) for each in zip(then, now, strict=True))


@torch.inference_mode()
def _right(pictures: Sequence[Picture]) -> tuple[Each, Each]:
    """PSNR and SSIM of all pictures but the last, against that one."""
    *versions, truth = pictures
    height, width = truth.shape[:2]
    target = to_tensor(truth)
    images = [to_tensor(fitted(each, (width, height))) for each in versions]
    return tuple(psnr(each, target) for each in images), tuple(
        ssim(each, target) for each in images
    )
