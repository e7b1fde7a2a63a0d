"""What restoration can gain, told from a few frames before it and by its result."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean, median

import cv2
import numpy as np
from numpy.typing import NDArray

from filters import Camera, need
from stream.errors import SourceError
from stream.frame import Frame
from stream.input.source import Source
from stream.pipeline import Stage
from stream.stages.shutter import spots

LONG = 300
"""Frames of a job that is worth a look beforehand."""
_SPOTS, _PATIENCE_S = 6, 5.0
"""Places that are looked at, and how long it may take."""
_SHARP, _SHAKEN, _UNEVEN = 0.2, 1.5e-3, 0.015
"""Of clips whose sharp original is known, and others from hands, cars and tripods: the need of
restoration (0..1) was 0.1 in sharp ones and 0.3 to 0.97 in all others; from frame to frame the
camera's motion changed by 2 to 10 thousandths of the width in a hand, elsewhere by less than 1;
the logarithm of sharpness differed by 0.022 to 0.095 where a hand blurred them, elsewhere by
less than 0.012."""
_SMOOTH = 1.5
"""Pixels, the standard deviation of the blur after which sharpness is measured."""
_EVERY = 25
"""One in so many frames is measured before and after."""
_GAINED = 1.02
"""Times as sharp as before, below which nothing was gained."""


@dataclass(frozen=True)
class VideoSample:
    """What some frames of a video show."""

    need: float
    """How much of restoration they need, 0..1."""
    shake: float
    """By how much the camera's motion differs from one frame to the next, in widths."""
    uneven: float
    """Standard deviation of the sharpness of frames beside one another, as a logarithm."""

    @property
    def said(self) -> str:
        """One line for people."""
        if self.need < _SHARP:
            return "sharp already: little to gain; --strength auto leaves what is sharp as it is"
        if self.shake >= _SHAKEN:
            return "shaken: much to gain; --stabilize takes the shaking out as well"
        if self.uneven >= _UNEVEN:
            return "blurred in some frames more than in others: much to gain"
        return "evenly soft: less to gain than from a shaken video; --try 3s shows how much"


def look(source: Source) -> VideoSample | None:
    """Look at some frames of a video, for a few seconds; None where none can be looked at."""
    begun, found = time.monotonic(), []
    with suppress(SourceError):
        for frames in spots(source, _SPOTS):
            if len(frames) >= 3 and not any(frame.cut for frame in frames[1:]):
                found.append(_look(frames[:3], float(source.aspect or 1)))
            if found and time.monotonic() - begun > _PATIENCE_S:
                break
    if not found:
        return None
    return VideoSample(*(median(values) for values in zip(*found, strict=True)))


def _look(frames: Sequence[Frame], aspect: float) -> tuple[float, float, float]:
    camera = Camera(aspect)
    motions = [camera.push(frame.luma) for frame in frames][1:]
    shifts = [motion.shift for motion in motions if motion is not None]
    shake = abs(shifts[1] - shifts[0]) if len(shifts) == 2 else 0.0
    logarithms = [float(np.log(max(sharpness(frame.luma), 1e-3))) for frame in frames]
    return float(need(frames[1].luma).mean()), float(shake), float(np.std(logarithms))


def sharpness(luma: NDArray[np.uint8]) -> float:
    """The mean gradient of luma, (H, W) in 0..255 by the pixel, smoothed by a Gaussian of 1.5
    pixels, as the compare page has it.

    A derivative of a Gaussian, as Geusebroek et al. focus microscopes by ("Robust autofocusing in
    microscopy", Cytometry 39, 2000). Noise of 4 of 255 raises it by less than 4 % and the blur of
    GoPro's and DAVIDE's pairs lowers it by 11 to 34 %; the variance of a Laplacian is doubled by
    the one, and by the edges of a codec's blocks.
    """
    smooth = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), _SMOOTH)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return float(cv2.magnitude(across, down).mean())


class MeasuredStage:
    """Measures what a stage makes of some frames."""

    def __init__(self, stage: Stage[Frame]) -> None:
        self._stage = stage
        self._count = 0
        self._before: dict[int, tuple[NDArray[np.uint8], float]] = {}
        self._found: list[tuple[float, float]] = []

    @property
    def gain(self) -> float | None:
        """How many times as sharp as before they are; None where there is nothing to measure."""
        if not self._found:
            return None
        before, after = map(fmean, zip(*self._found, strict=True))
        return after / before if before > 0 else None

    def push(self, frame: Frame) -> Iterator[Frame]:
        if not frame.beyond:
            if self._count % _EVERY == 0:
                self._before[frame.pts] = frame.luma, sharpness(frame.luma)
            self._count += 1
        yield from map(self._seen, self._stage.push(frame))

    def flush(self) -> Iterator[Frame]:
        yield from map(self._seen, self._stage.flush())

    def _seen(self, after: Frame) -> Frame:
        if (known := self._before.pop(after.pts, None)) is not None:
            luma = after.luma
            if luma.shape != known[0].shape:
                height, width = known[0].shape
                shrunk = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
                luma = np.asarray(shrunk, np.uint8)
            self._found.append((known[1], sharpness(luma)))
        return after


def said_of(gain: float | None) -> str | None:
    """What is to be said of a video that is so many times as sharp as before, if anything."""
    if gain is None or gain >= _GAINED:
        return None
    return (
        f"nothing was gained, sharpness is {gain:.2f} times that of the input: it may be sharp "
        "already. Keep the input, or use --strength auto; --try 3s compares"
    )
