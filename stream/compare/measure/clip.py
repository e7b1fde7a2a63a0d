"""A video as it is compared: upright pictures, and when each is shown on the file's own clock."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from stream.frame import Frame
from stream.input.container.demux import when
from stream.input.source import Source
from stream.options.reading import Reading, Span

Timed = tuple[float, Frame]
"""When a frame is shown, in seconds on its file's clock, and the frame."""


@dataclass(frozen=True)
class Clip:
    """What is known of a video before its frames are read."""

    path: Path
    size: tuple[int, int]
    """Width and height of its pictures, upright."""
    aspect: Fraction
    """Width of a pixel by its height."""
    rate: Fraction
    """Frames per second."""
    origin_s: float
    """Where the file's clock starts."""
    first_s: float
    """When its first frame is shown, on that clock."""
    end_s: float
    """Where its video ends, on that clock."""
    max_pixels: int

    @classmethod
    def of(cls, path: Path, max_pixels: int) -> "Clip":
        """Look into a file. Raises a `SourceError`."""
        source = Source(path, Reading(max_pixels=max_pixels, apply_rotation=True))
        try:
            return cls(
                path=source.path,
                size=source.size,
                aspect=source.aspect or Fraction(1),
                rate=source.rate,
                origin_s=source.origin_s,
                first_s=float((source.info.first.pts or 0) * source.time_base),
                end_s=_end_s(source),
                max_pixels=max_pixels,
            )
        finally:
            source.close()

    @property
    def frame_s(self) -> float:
        """How long a frame is shown, on average."""
        return float(1 / self.rate)

    def open(self, begin: float, end: float) -> Source:
        """The frames between two moments of the file's clock."""
        start = max(begin - self.origin_s, 0.0)
        duration = None if end == float("inf") else end - self.origin_s - start
        reading = Reading(Span(start, duration), self.max_pixels, apply_rotation=True)
        return Source(self.path, reading)

    def frames(self, begin: float, end: float) -> Iterator[Timed]:
        """The frames from one moment to before another, and when they are shown."""
        if end <= max(begin, self.origin_s):
            return
        source = self.open(begin, end)
        try:
            for frame in source:
                yield moment(frame, source), frame
        finally:
            source.close()
            # The frame that a source looks at first and its side data hold one another. Many short
            # runs would leave many of them to Python's own pace.
            del source
            gc.collect()


def moment(frame: Frame, source: Source) -> float:
    """When a frame is shown on the file's clock, in seconds."""
    return float(frame.pts * frame.time_base + source.shift_s)


def _end_s(source: Source) -> float:
    """When the video ends, by what the file says or, in files that were never finished, holds."""
    video, container = source.video, source.container
    if video.duration:
        return float(((video.start_time or 0) + video.duration) * source.time_base)
    if container.duration:
        # That is when the sound ends, where it lasts longer.
        return source.origin_s + container.duration / av.time_base
    packets = container.demux(video)
    return max((when(packet, 0.0, end=True) for packet in packets if packet.size), default=0.0)
