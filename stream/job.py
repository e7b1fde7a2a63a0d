"""A whole job: a file in, a sharper file out."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from stream.encoders import EncoderSettings
from stream.errors import (
    CancelledError,
    DeblurError,
    DeviceError,
    SinkError,
    SourceError,
    UsageError,
)
from stream.frame import Item
from stream.models import load_model
from stream.pipeline import Pipeline
from stream.processor import Processor
from stream.sink import FileSink
from stream.source import DEFAULT_MAX_PIXELS, Source, Span

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a job does to the picture, and with what."""

    model: str = "lite"
    """Name of a checkpoint, or the path of a `.safetensors` file."""
    strength: float = 1.0
    """0 leaves the picture as it is, 1 restores it fully."""
    device: str = "auto"
    precision: str = "auto"
    tile: int | None = None
    """The largest side in pixels restored in one piece; None: as memory allows."""
    overwrite: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    span: Span = field(default_factory=Span)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength must be in 0..1, got {self.strength}")


@dataclass(frozen=True)
class Progress:
    """How far a running job has come."""

    frames: int
    expected_frames: int | None
    position_s: float
    duration_s: float | None
    elapsed_s: float
    busy: dict[str, float]
    """Share of the time, 0..1, that each stage worked."""

    @property
    def fps(self) -> float:
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def bottleneck(self) -> str:
        return max(self.busy, key=lambda name: self.busy[name])


@dataclass(frozen=True)
class Report:
    """What a finished job did."""

    output: Path
    frames: int
    seconds: float
    """Wall-clock time from the first frame read to the file closed."""
    damaged: int
    dropped: list[str]
    """What of the input the output cannot hold, in words."""
    warnings: list[str]
    stopped: bool
    """Whether `Job.stop` ended it before the input did."""
    busy: dict[str, float]

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


class Job:
    """One file to restore. `run` does it; `stop` and `cancel` may be called from elsewhere."""

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.input = Path(input)
        self.output = Path(output) if output is not None else default_output(self.input)
        self.settings = settings or Settings()
        self._pipeline: Pipeline[Item] | None = None
        self._stopped = False

    def run(self, progress: Callable[[Progress], None] | None = None) -> Report:
        """Restore the file. `progress` is called about ten times a second.

        Raises a `DeblurError`. Nothing is under the output's name unless the job is done (or was
        stopped by `stop`); after a failure on the way, what was made lies under the same name
        with `.part` before its ending, and the error says so.
        """
        settings = self.settings
        source = Source(self.input, span=settings.span, max_pixels=settings.max_pixels)
        try:
            check_output(self.input, self.output, overwrite=settings.overwrite)
            restore = load_model(
                settings.model,
                device=settings.device,
                precision=settings.precision,
                tile=settings.tile,
            )
            sink = FileSink(self.output, source, settings.encoder)
            processor = Processor(restore, restore.device, strength=settings.strength)
            return self._run(source, processor, sink, progress)
        finally:
            source.close()

    def stop(self) -> None:
        """End the job early but properly: the frames in hand are finished and the file closed."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def cancel(self) -> None:
        """End the job at once; what was made so far stays in the `.part` file."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.fail(CancelledError("stopped at once"))

    def _run(
        self,
        source: Source,
        processor: Processor,
        sink: FileSink,
        progress: Callable[[Progress], None] | None,
    ) -> Report:
        pipeline = self._pipeline = Pipeline[Item](source, {"deblur": processor}, sink)
        if self._stopped:
            pipeline.stop()
        begun = time.monotonic()

        def busy() -> dict[str, float]:
            elapsed = max(time.monotonic() - begun, 1e-9)
            return {clock.name: clock.busy_s / elapsed for clock in pipeline.clocks}

        def tick() -> None:
            if progress is not None:
                progress(
                    Progress(
                        frames=sink.frames,
                        expected_frames=source.expected_frames,
                        position_s=source.position_s,
                        duration_s=source.duration_s,
                        elapsed_s=time.monotonic() - begun,
                        busy=busy(),
                    )
                )

        try:
            pipeline.run(tick)
            if not self._stopped:
                self._check_end(source)
        except BaseException as error:
            kept = sink.abandon()
            raise _told(error, sink, kept) from error
        sink.commit()
        tick()
        return Report(
            output=self.output,
            frames=sink.frames,
            seconds=time.monotonic() - begun,
            damaged=source.damaged,
            dropped=sink.dropped,
            warnings=_warnings(source, sink),
            stopped=self._stopped,
            busy=busy(),
        )

    def _check_end(self, source: Source) -> None:
        if source.frames == 0:
            raise SourceError(
                f"there is no frame of {self.input} in the part asked for; "
                f"it is {source.origin_s + (source.container.duration or 0) / 1e6:.1f} s long"
            )
        if source.error is not None or source.short_s > max(1.0, 0.02 * (source.duration_s or 0)):
            raise SourceError(
                f"{self.input} ends early, after {source.position_s:.1f} s "
                f"of {source.duration_s or 0:.1f} s: it is truncated or damaged"
            )


def run(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    model: str = "lite",
    strength: float = 1.0,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    start: float = 0.0,
    duration: float | None = None,
    encoder: EncoderSettings | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Restore a video file; everything in it but the blur stays as it is.

        report = stream.run("shaky.mp4", "clean.mp4", strength=0.8)
        print(report.frames, report.fps)

    `output` is beside the input unless given. `start` and `duration` are seconds. Raises a
    `DeblurError` that says in one line what is wrong.
    """
    settings = Settings(
        model=model,
        strength=strength,
        device=device,
        precision=precision,
        overwrite=overwrite,
        span=Span(start, duration),
        encoder=encoder or EncoderSettings(),
    )
    return Job(input, output, settings).run(progress)


def default_output(input: Path) -> Path:
    """`shaky.mp4` becomes `shaky.deblurred.mp4`.

    Containers that cannot keep everything, AVI's timestamps for one, become `.mkv`.
    """
    kept = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
    suffix = input.suffix if input.suffix.lower() in kept else ".mkv"
    return input.with_name(f"{input.stem}.deblurred{suffix}")


def check_output(input: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse an output that is the input, by whatever name, or that would replace a file."""
    if output.is_dir():
        raise SinkError(f"{output} is a folder; name a file in it")
    if output.exists() and output.samefile(input):
        raise SinkError(f"{output} is the input itself; choose another output")
    part = output.with_name(f"{output.stem}.part{output.suffix}")
    if part.exists() and part.samefile(input):
        raise SinkError(f"{input} would be overwritten while it is read; choose another output")
    if output.exists() and not overwrite:
        raise SinkError(f"{output} exists already; replace it with --overwrite")


def _told(error: BaseException, sink: FileSink, kept: bool) -> BaseException:
    """The error as the user shall read it, with word of what was kept."""
    where = f"; the {sink.frames} frames made so far are in {sink.part}" if kept else ""
    if isinstance(error, DeblurError):
        return type(error)(f"{error}{where}")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return DeviceError(
            f"not enough memory for these frames; use a smaller --tile or --device cpu{where}"
        )
    return error


def _warnings(source: Source, sink: FileSink) -> list[str]:
    said = []
    if sink.dropped:
        said.append(f"{sink.path.suffix} cannot hold: {', '.join(sink.dropped)}")
    if source.damaged:
        said.append(f"{source.damaged} damaged frames were concealed")
    if sink.refused:
        said.append(f"{sink.refused} packets with impossible timestamps were left out")
    if source.rescaled:
        said.append(f"{source.rescaled} frames had another size and were scaled to the first one's")
    if source.interlaced:
        said.append("the video is interlaced and was restored frame by frame as it is")
    return said
