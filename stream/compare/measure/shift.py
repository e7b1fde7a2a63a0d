"""How much later an input's clock is than its output's, told by the pictures.

A part of a video that was made with `--start` begins at zero. Times alone cannot tell where it is
from, since frames follow one another at the same pace everywhere; what they show can.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.compare.measure.clip import Clip, Timed
from stream.errors import UsageError
from stream.frame import Frame

_SIDE = 64
"""Columns and rows of the thumbnails that are compared."""
_FLAT = 2.0
"""A thumbnail whose luma varies by less, of 255, shows nothing to tell it by."""
_RUN = 8
"""Frames looked at together."""
_RUNS = 3
"""Runs of the output that are looked for, spread over it."""
_AROUND = 3
"""Frames before and after a place that must be less like the output's than those there."""
_ALIKE = 0.02
"""Unlikeness (1 less the correlation) up to which pictures may be of the same moment."""
_CLEAR = 0.5
"""How much less unlike the right frames must be than those `_AROUND` frames away."""
_NOISE = 1e-4
"""Unlikeness that tells nothing: where it varies by less, nothing moves."""
_OTHER = 0.4
"""Unlikeness beyond which pictures are of different scenes."""

Thumb = NDArray[np.float32]
"""(64, 64) of luma, mean 0 and variance 1; all 0 where the picture is flat."""
Run = Sequence[tuple[float, Thumb]]
"""Moments and thumbnails."""
Place = tuple[float, float]
"""A shift in seconds, and how unlike the pictures are there: 0 for the same, about 1 for others."""


def find_shift(input: Clip, output: Clip, start: float) -> float:
    """By how many seconds the input's clock is later than the output's, for the same pictures.

    Where programs put it is tried first, with `start` the beginning of the part asked for; then
    all of the input is searched. Raises `UsageError` for videos of different scenes.
    """
    runs = _runs(output)
    for shift in _usual(input, output, start):
        if all(_found(input, run, shift) is not False for run in runs):
            return shift
    moving = max(runs, key=lambda run: _unlike(run[0][1], run[-1][1]))
    everything = _thumbs(input.frames(float("-inf"), float("inf")))
    shift, unlike = min(
        _places(moving, everything, input.frame_s), key=lambda place: place[1], default=(0.0, 1.0)
    )
    if unlike > _OTHER:
        raise UsageError(f"{output.path} does not show what {input.path} shows")
    return shift


def _usual(input: Clip, output: Clip, start: float) -> list[float]:
    """The shifts of a whole file, and of one that begins with the part asked for."""
    whole = [0.0, input.first_s - output.first_s]
    part = [input.origin_s + start] if start else []
    missing = (input.end_s - input.origin_s) - (output.end_s - output.origin_s)
    return part + whole if missing > start / 2 else whole + part


def _runs(clip: Clip) -> list[Run]:
    """Short runs of frames, at its beginning and further on."""
    length = clip.end_s - clip.origin_s
    begins = [clip.origin_s + length * index / _RUNS for index in range(_RUNS)]
    frames = (_thumbs(clip.frames(begin, float("inf"))) for begin in begins)
    # Where the sound lasts longer than the picture the last ones may be empty.
    return [run for each in frames if (run := list(islice(each, _RUN)))]


def _found(input: Clip, run: Run, shift: float) -> bool | None:
    """Whether the input shows a run just there; None where nothing moves that could tell."""
    around = (_AROUND + 0.5) * input.frame_s
    begin, end = run[0][0] + shift - around, run[-1][0] + shift + around
    places = list(_places(run, _thumbs(input.frames(begin, end)), input.frame_s))
    here = [unlike for place, unlike in places if abs(place - shift) <= input.frame_s / 2]
    row = [unlike for _, unlike in places]
    if not here or min(here) > _ALIKE:
        return False
    if max(row) - min(row) < _NOISE:
        return None
    ends = [row[end] for end in (0, -1) if abs(places[end][0] - shift) > input.frame_s]
    return min(here) <= min(row) + _NOISE and all(min(here) < _CLEAR * each for each in ends)


def _places(run: Run, frames: Iterable[tuple[float, Thumb]], frame_s: float) -> Iterator[Place]:
    """Wherever a run could begin in a row of frames."""
    length = run[-1][0] - run[0][0]
    row: deque[tuple[float, Thumb]] = deque()
    for each in frames:
        row.append(each)
        while row and row[-1][0] - row[0][0] >= length - frame_s / 2:
            shift = row[0][0] - run[0][0]
            gaps = [_unlike(thumb, _nearest(row, moment + shift)) for moment, thumb in run]
            yield shift, float(np.mean(gaps))
            row.popleft()


def _nearest(row: Iterable[tuple[float, Thumb]], moment: float) -> Thumb:
    return min(row, key=lambda each: abs(each[0] - moment))[1]


def _unlike(one: Thumb, other: Thumb) -> float:
    """1 less the correlation; 0 where both pictures are flat."""
    return float(np.square(one - other).mean() / 2)


def _thumbs(frames: Iterable[Timed]) -> Iterator[tuple[float, Thumb]]:
    for moment, frame in frames:
        yield moment, _thumb(frame)


def _thumb(frame: Frame) -> Thumb:
    """The contrast of a picture, so that other brightness or range makes no difference."""
    small = cv2.resize(frame.luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = float(small.std())
    return np.asarray((small - small.mean()) / spread if spread > _FLAT else 0 * small, np.float32)
