"""What restores frames, as every job puts it together, and how its work is ended."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

import mssnet
from filters import Enlarger, Shutter, Upscaler
from stream.compute.models import Passthrough, find_upscaler, load_for
from stream.compute.threads import shared
from stream.errors import CancelledError, DeviceError, UsageError
from stream.files.report import Progress, Report, without_effect
from stream.frame import Frame, Memory
from stream.input.probe import telemetry_of
from stream.input.source import Source
from stream.ipc.window import Window
from stream.options.settings import Settings
from stream.output.segment_sink import Plan
from stream.pipeline import Pipeline, Stage
from stream.stages import advice
from stream.stages.build import asks_shutter, stages_of
from stream.stages.measured import Measured
from stream.stages.preview_tap import PreviewTap
from stream.stages.seen import measured_of
from stream.stages.shutter import shutter_of
from stream.telemetry.record import Telemetry

_log = logging.getLogger(__name__)


class Counting(Protocol):
    """Where restored frames go."""

    @property
    def frames(self) -> int:
        """How many there are."""
        ...

    @property
    def from_neighbors(self) -> float:
        """The share of the picture that came from neighboring frames, 0..1."""
        ...


class Restorer:
    """What all jobs share. `stop` and `cancel` may be called from elsewhere."""

    def __init__(self, settings: Settings, *, window: Window | None = None) -> None:
        """In `window` before and after can be looked at while it works."""
        self.settings = settings
        self._window = window
        self._pipeline: Pipeline[Frame] | None = None
        self._stopped = self._cancelled = False
        self._measured: Measured | None = None
        self._gauged: advice.MeasuredStage | None = None

    def stop(self) -> None:
        """End the job early but properly: the frames in hand are finished."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def cancel(self) -> None:
        """End the job at once; what was done so far stays for `Settings.resume`."""
        self._stopped = self._cancelled = True
        if self._pipeline is not None:
            self._pipeline.fail(CancelledError("stopped at once"))

    def _suited(self, source: Source, say: Callable[[str], None] | None) -> Settings:
        """The settings, without what cannot be had of this source. Raises `UsageError`."""
        settings = self.settings
        if say is not None:
            for line in without_effect(settings, source):
                say(f"note: {line}")
        if source.info.top_first is not None:
            # Rows that belong to other moments cannot be registered together.
            settings = self.settings = replace(settings, fuse=0)
        if settings.stabilize and source.info.top_first is not None:
            raise UsageError("interlaced frames cannot be stabilized; use --deinterlace on")
        return settings

    def _loaded(self) -> mssnet.Deblurrer:
        settings = self.settings = self.settings.settled()
        return load_for(settings)

    def _enlarger(
        self,
        source: Source,
        chosen: Plan,
        restore: mssnet.Deblurrer,
        upscaler: Upscaler | str | None = None,
    ) -> Enlarger | None:
        if chosen.size == source.size:
            return None
        if upscaler is None:
            upscaler = find_upscaler(self.settings.upscaler, restore.engine)
        return Enlarger(chosen.size, upscaler)

    def _told_shutter(
        self, source: Source, restore: mssnet.Deblurrer, say: Callable[[str], None] | None
    ) -> Shutter | None:
        """What is taken for the shutter, where that is needed.

        What a gyroscope measured is found with it, also for steadying alone.
        """
        # Rows that belong to other moments move like no picture does.
        told = asks_shutter(self.settings, restore)
        if source.info.top_first is not None or not (told or self.settings.stabilize):
            return None
        noted = self._noted(source, say)
        self._measured = measured_of(source, self.settings, noted, say)
        return shutter_of(source, self.settings.shutter, noted) if told else None

    def _noted(self, source: Source, say: Callable[[str], None] | None) -> Telemetry | None:
        """What the camera noted beside the pictures; what cannot be used of it is said."""
        noted = telemetry_of(source)
        if noted is not None and noted.faults and say is not None:
            say(f"note: telemetry: {'; '.join(noted.faults)}; the picture itself is asked instead")
        return noted

    def _stages(
        self,
        source: Source,
        restore: mssnet.Deblurrer,
        enlarge: Enlarger | None,
        memory: Memory,
        shutter: Shutter | None,
    ) -> dict[str, Stage[Frame]]:
        """What frames pass through, with what measures them and what they are looked at by."""
        aspect = float(source.aspect or 1)
        stages = stages_of(self.settings, restore, enlarge, memory, aspect, shutter, self._measured)
        _log.info("stages: %s; %s", ", ".join(stages), runs_on(restore))
        if self.settings.strength != 0:
            stages["deblur"] = self._gauged = advice.MeasuredStage(stages["deblur"])
        if self._window is not None:
            stages["deblur"] = PreviewTap(stages["deblur"], self._window)
        return stages

    def _progress(self, source: Source, sink: Counting, begun: float, engine: str) -> Progress:
        """How far it is in restoring, which it has done since `begun`."""
        elapsed = max(time.monotonic() - begun, 1e-9)
        return Progress(
            phase="restoring",
            frames=sink.frames,
            earlier=0,
            expected_frames=source.expected_frames,
            position_s=source.position_s,
            duration_s=source.duration_s,
            elapsed_s=elapsed,
            busy=self._busy(elapsed),
            runs_on=engine,
        )

    def _report(
        self,
        source: Source,
        sink: Counting,
        begun: float,
        output: Path,
        *,
        dropped: list[str],
        warnings: list[str],
        stopped: bool,
    ) -> Report:
        """What was done, of which nothing is verified."""
        seconds = time.monotonic() - begun
        return Report(
            output=output,
            frames=sink.frames,
            earlier=0,
            model=self.settings.model,
            from_neighbors=sink.from_neighbors,
            seconds=seconds,
            damaged=source.decoding.damaged,
            dropped=dropped,
            warnings=warnings,
            stopped=stopped,
            conformance=None,
            gain=self._gain,
            busy=self._busy(seconds),
        )

    def _busy(self, seconds: float) -> dict[str, float]:
        clocks = self._pipeline.clocks if self._pipeline is not None else ()
        return {clock.name: clock.busy_s / seconds for clock in clocks}

    @property
    def _gain(self) -> float | None:
        """How many times as sharp as before it is, by some of the frames."""
        return self._gauged.gain if self._gauged is not None else None


def out_of_memory(error: BaseException, where: str = "") -> DeviceError | None:
    """What an error is as the user shall read it, where it is that there was too little memory."""
    if not isinstance(error, torch.OutOfMemoryError | MemoryError):
        return None
    return DeviceError(
        f"not enough memory for these frames; use a smaller --tile or --device cpu{where}"
    )


def runs_on(restore: mssnet.Deblurrer) -> str:
    """What runs a network, in words."""
    if isinstance(restore, Passthrough):
        return "no network"
    dtype = str(restore.dtype).removeprefix("torch.")
    return f"{restore.engine.name}, {dtype}"


def cores_for(restore: mssnet.Deblurrer, enlarge: Enlarger | None) -> AbstractContextManager[None]:
    """While a pipeline runs: the cores for what needs them."""
    if isinstance(restore, Passthrough):
        return nullcontext()  # nothing else wants them
    return shared(restore.engine, enlarges=enlarge is not None)
