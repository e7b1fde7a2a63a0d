"""Images to video, and video to images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from filters import to_rgb
from stream.frame import Frame, Packet
from stream.images.files import DEEP, Image, check_of_video, check_outputs, write
from stream.images.pattern import Pattern
from stream.input.container.opening import choose_video, first_frames, open_input
from stream.input.source import Source
from stream.media.convert import has_alpha
from stream.media.remux import describe
from stream.options.reading import Reading
from stream.options.settings import Settings
from stream.output.checkpoint import JobCheckpoint
from stream.output.join import Joined, carried_of
from stream.output.segment_sink import Plan
from stream.paths import Overwrite
from stream.pipes.form import plan_for
from stream.pipes.relay import Relay
from stream.pipes.sink import FrameSink
from stream.stages.build import reading_of


class SequenceSource(Source):
    """Images as the frames of a video."""

    def __init__(self, files: Sequence[Path], rate: Fraction, reading: Reading) -> None:
        """Raises a `SourceError`."""
        super().__init__(files[0], reading)
        self._files = files
        self.times.rate, self.times.time_base = rate, 1 / rate

    @property
    def duration_s(self) -> float | None:
        """How long the part to work on is."""
        left = max(float(len(self._files) / self.rate) - self.span.start, 0.0)
        return left if self.span.duration is None else min(left, self.span.duration)

    def others(self) -> Iterator[Packet]:
        """There is nothing beside images."""
        yield from ()

    def _decoded(self, after: int | None) -> Iterator[av.VideoFrame]:
        for number, file in enumerate(self._files):
            most = self.reading.max_pixels
            with open_input(file, max_pixels=most) as container:
                frame = first_frames(container, choose_video(container, file, most), file)[0]
            self.decoding.packets += 1
            frame.pts, frame.time_base = number, self.time_base
            yield frame

    def _transparent(self, peeked: list[av.VideoFrame]) -> bool:
        return any(has_alpha(frame.format) for frame in peeked)


class ImageSink:
    """Writes frames as images."""

    def __init__(
        self, source: Source, plan: Plan, pattern: Pattern, first: int, overwrite: Overwrite
    ) -> None:
        """The first one has this number."""
        self.plan = plan
        self.joined = Joined([describe(each) for each in carried_of(source, set())])
        self.frames = 0
        """How many were written."""
        self.uneven = False
        self._pattern, self._first, self._overwrite = pattern, first, overwrite
        self._shares = 0.0

    @property
    def from_neighbors(self) -> float:
        """The mean share of the frames that came from neighboring ones."""
        return self._shares / max(self.frames, 1)

    def push(self, frame: Frame) -> None:
        """Write a frame. Raises a `SinkError`."""
        file = self._pattern.file(self._first + self.frames)
        coding = frame.coding
        deep = coding.depth > 8 and file.suffix.lower() in DEEP
        top, kind = (65535, np.uint16) if deep else (255, np.uint8)
        rgb = to_rgb([torch.from_numpy(plane) for plane in frame.planes], coding)
        array = rgb[0].clamp_(0, 1).mul_(top).round_().permute(1, 2, 0).numpy().astype(kind)
        alpha = None
        if frame.alpha is not None:
            alpha = np.rint(frame.alpha * (top / coding.top)).astype(kind)
        for lost in write(Image(array, alpha, coding.gray), file, self._overwrite):
            if lost not in self.joined.dropped:
                self.joined.dropped.append(lost)
        self.frames += 1
        self._shares += frame.from_neighbors

    def flush(self) -> None:
        """Each image is whole already."""

    def abandon(self) -> None:
        """Nothing is open."""


class ImageRelay(Relay):
    """A sequence of images to a video, or a video to one."""

    def __init__(
        self,
        input: Path,
        output: Path,
        settings: Settings,
        *,
        files: Sequence[Path] = (),
        rate: Fraction = Fraction(25),
        pattern: Pattern | None = None,
        form: str | None = None,
        standard_output: int = 1,
    ) -> None:
        """`files` are the images that are read, `pattern` names those that are written."""
        self._files, self._rate, self._pattern = files, rate, pattern
        if pattern is not None:
            check_of_video(settings)
        super().__init__(
            files[0] if files else input,
            *(output, settings),
            form=form,
            standard_output=standard_output,
        )

    def _check_output(self) -> None:
        if self._pattern is None:
            super()._check_output()
            return
        self.form = self.output.suffix
        numbers = self._pattern.numbers() if self._pattern.path.parent.is_dir() else []
        there = [self._pattern.file(number) for number in numbers]
        check_outputs([self._pattern.file(1), *there], self.settings.overwrite)

    def _source(self) -> Source:
        if not self._files:
            return super()._source()
        reading = replace(reading_of(self.settings), decoder="software")
        return SequenceSource(self._files, self._rate, reading)

    def _plan(self, source: Source) -> Plan:
        if self._pattern is None:
            return super()._plan(source)
        return plan_for("raw", source, self.settings.encoder, self.settings.upscale, "")

    def _begin(self) -> JobCheckpoint | None:
        return None if self._pattern is not None else super()._begin()

    def _sink(self, source: Source, chosen: Plan, work: JobCheckpoint | None) -> FrameSink:
        if self._pattern is None:
            return super()._sink(source, chosen, work)
        return ImageSink(source, chosen, self._pattern, 1, self.settings.overwrite)
