"""Finding the motion that a gyroscope measured in a video, before its frames are restored."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np

from filters.motion import follow
from stream.errors import SourceError, UsageError
from stream.input.source import Source
from stream.options.lens import Lens
from stream.options.reading import Span
from stream.options.settings import Settings
from stream.stages.measured import Measured
from stream.stages.shutter import guide_of
from stream.telemetry.matching import Match, Pair, match
from stream.telemetry.record import Series, Telemetry, TelemetryError
from stream.telemetry.turning import CameraRotation

_STRETCHES, _LONG_S = 4, 1.5
"""Parts of a video, and their seconds, that the clocks are matched by."""
_GUESSED = Lens(90.0, "pinhole")
"""Where matching begins, if nothing tells the lens."""


def measured_of(
    source: Source,
    settings: Settings,
    noted: Telemetry | None,
    say: Callable[[str], None] | None,
) -> Measured | None:
    """The motion of a video, where a gyroscope measured it and may be asked.

    Where it cannot be used, that is said in a line. Raises `UsageError` where the gyroscope alone
    was to be asked.
    """
    say = say or (lambda line: None)
    alone = settings.motion == "gyro"
    if settings.motion == "flow" or ((noted is None or noted.gyro is None) and not alone):
        return None
    try:
        if noted is None:
            raise TelemetryError("nothing is noted beside the pictures")
        measured, found = measure(source, noted, settings)
    except TelemetryError as error:
        if alone:
            raise UsageError(f"--motion gyro: {error}") from error
        say(f"note: the gyroscope is not used: {error}; optical flow is")
        return None
    say(f"motion is measured: {found}")
    return measured


def measure(source: Source, noted: Telemetry, settings: Settings) -> tuple[Measured, Match]:
    """The motion in a video, its clock brought together with the gyroscope's by optical flow.

    Lens, readout time and shutter that the user tells go before what the camera noted. Raises
    `TelemetryError` where the gyroscope cannot be used.
    """
    if noted.gyro is None:
        raise TelemetryError("there are no readings of a gyroscope")
    if noted.stabilized:
        raise TelemetryError(
            "the camera stabilized the pictures, so the gyroscope does not fit them"
        )
    known = settings.lens or noted.lens
    usual = Lens(_GUESSED.fov, "fisheye") if noted.camera.startswith("GoPro") else _GUESSED
    readout = noted.readout or 0.0 if settings.readout is None else settings.readout / 1000
    turning = CameraRotation(noted.gyro, known or usual, readout)
    pairs = [_pairs(source, begin) for begin in _lively(source, noted.gyro)]
    found = match(turning, pairs, known=known is not None)
    open_s = noted.shutter if settings.shutter.auto else None
    alone = settings.motion == "gyro"
    return Measured(found.turning, float(source.shift_s), open_s, alone), found


def _lively(source: Source, gyro: Series) -> list[float]:
    """Where to match: moments of the video, in seconds from its beginning, from which on it turns
    most."""
    begin = source.origin_s + source.span.start
    end = begin + (source.duration_s or float(gyro.times[-1]) - begin)
    count = max(1, int((end - begin) / _LONG_S))
    strengths = []
    for number in range(count):
        first = begin + number * _LONG_S
        inside = (gyro.times >= first) & (gyro.times < first + _LONG_S)
        # Averages of about a frame: what is faster is not seen from frame to frame.
        group = max(1, round(gyro.rate / 30))
        rates = gyro.values[inside]
        rates = rates[: len(rates) // group * group].reshape(-1, group, 3).mean(1)
        strengths.append(float(rates.std(0).sum()) if len(rates) else 0.0)
    best = sorted(np.argsort(strengths)[::-1][:_STRETCHES])
    return [float(begin - source.origin_s + number * _LONG_S) for number in best]


def _pairs(source: Source, start: float) -> list[Pair]:
    span = Span(start, _LONG_S)
    reading = replace(source.reading, span=span, around=0, decoder="software", alpha=False)
    pairs: list[Pair] = []
    try:
        with closing(Source(source.path, reading)) as part:
            before: tuple[float, np.ndarray] | None = None
            for frame in part:
                seconds, luma = frame.seconds + float(part.shift_s), guide_of(frame).luma
                if before is not None and not frame.cut:
                    pairs.append(Pair(before[0], seconds, follow(before[1], luma)))
                before = seconds, luma
    except SourceError:
        pass  # what could be read of it is enough
    return pairs
