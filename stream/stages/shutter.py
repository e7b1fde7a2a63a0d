"""For how long the shutter of the camera that took a video was open."""

import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import weights
from filters import Shutter, ShutterNet, values_of
from filters.motion import FlowFrame, guide
from stream.errors import ModelError, SourceError
from stream.frame import Frame
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.options.reading import Reading, Span
from stream.stages.motion import way
from stream.telemetry.record import Telemetry

_SPOTS = 16
"""Places of a video at which three frames are looked at."""
AT_ONCE = 120
"""Frames that are read in one go, if there are no more of them."""


@functools.cache
def shutter_net() -> ShutterNet:
    """The network that tells shutters. Raises `ModelError`."""
    try:
        return ShutterNet.load(weights.path("shutter"))
    except (weights.WeightsError, ValueError, OSError) as error:
        raise ModelError(f"cannot tell the shutter: {error}") from error


def shutter_of(source: Source, exposure: Exposure, telemetry: Telemetry | None = None) -> Shutter:
    """The shutter of a video, as told, as its camera noted it, or as a look at some of its frames
    shows it.

    Raises `SourceError` and `ModelError`.
    """
    if not exposure.auto:
        return Shutter(share=exposure.share(source.rate))
    if telemetry is not None and telemetry.shutter is not None:
        open_s = float(np.median(telemetry.shutter.values))
        return Shutter(share=round(min(open_s * float(source.rate), 1.0), 3))
    return Shutter(share=round(share_of(spots(source)), 3))


def share_of(spots: Iterable[Sequence[Frame]]) -> float:
    """The share of the frame interval, 0 to 1, that frames at some places of a video show: three
    that follow one another at each. Raises `ModelError`."""
    shutter = Shutter(shutter_net(), kept=1.0)
    for frames in spots:
        if len(frames) < 3 or any(frame.cut for frame in frames[1:]):
            continue
        before, now, after = map(guide_of, frames)
        back, ahead = way(now, before), way(now, after)
        if back is not None and ahead is not None:
            shutter.watch(frames[1].luma, back, ahead)
    return shutter.share


def spots(source: Source, count: int = _SPOTS, length: int = 3) -> Iterable[Sequence[Frame]]:
    """Up to `length` frames that follow one another, at so many places of a video."""
    expected, seconds = source.expected_frames, source.duration_s
    if expected is None or seconds is None or expected <= AT_ONCE:
        return spots_among(list(islice(_read(source.path, source.reading), AT_ONCE)), count, length)
    begin = source.span.start
    starts = (begin + seconds * (spot + 0.5) / count for spot in range(count))
    return (
        list(islice(_read(source.path, replace(source.reading, span=Span(start))), length))
        for start in starts
    )


def spots_among(
    frames: Sequence[Frame], count: int = _SPOTS, length: int = 3
) -> Sequence[Sequence[Frame]]:
    """`length` frames that follow one another, at so many places of these."""
    step = max(len(frames) // count, 1)
    last = max(len(frames) - length, 0)
    return [frames[first : first + length] for first in range(0, last + 1, step)]


def starts_of(frames: int) -> list[int]:
    """Where `spots` begins in a video of so many frames that are equally long."""
    if frames <= AT_ONCE:
        return list(range(0, frames - 2, max(frames // _SPOTS, 1)))
    return [math.ceil(frames * (spot + 0.5) / _SPOTS) for spot in range(_SPOTS)]


def _read(path: Path, reading: Reading) -> Iterable[Frame]:
    """Frames of a part of a video; as many as there are before one that cannot be read."""
    reading = replace(reading, around=0, decoder="software", alpha=False)
    try:
        with closing(Source(path, reading)) as source:
            yield from source
    except SourceError:
        return


def guide_of(frame: Frame) -> FlowFrame:
    """What a frame is followed by."""
    planes = [torch.from_numpy(plane) for plane in frame.planes]
    return guide(values_of(planes, frame.coding), frame.coding)
