"""A whole job: a file in, a sharper file out."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import mssnet
from filters import Shutter, Upscaler
from stream import provenance
from stream.errors import (
    CancelledError,
    DeblurError,
    SinkError,
    SourceError,
    WriteError,
)
from stream.files.report import Progress, Report, bytes_of_others, warnings_of
from stream.files.restorer import Restorer, cores_for, out_of_memory, runs_on
from stream.frame import Frame
from stream.input.source import Source
from stream.ipc.window import Window
from stream.options.settings import Settings
from stream.output.checkpoint import JobCheckpoint, Segment, check_free, folder_of, model_of
from stream.output.fingerprint import asked_for, describe
from stream.output.join import Joined, check_header, join
from stream.output.segment_sink import Plan, SegmentSink, plan
from stream.paths import (
    check_input,
    check_output,
    check_space,
    default_output,
    fitted,
    publish,
    publish_beside,
    target_of,
)
from stream.pipeline import Pipeline, Stage
from stream.stages import advice
from stream.stages.build import reading_of
from stream.verify import Asked, Conformance, Known, verify

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What there is when all frames are restored, or the job was stopped."""

    source: Source
    sink: SegmentSink
    work: JobCheckpoint
    seen: Callable[[str], None]
    """Tells what is being done."""
    stopped: bool


class Job(Restorer):
    """One file to restore. `run` does it; `stop` and `cancel` may be called from elsewhere."""

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        *,
        window: Window | None = None,
        asked: Settings | None = None,
    ) -> None:
        """In `window` before and after can be looked at while it runs; `asked` are the settings as
        they were given, where those hold what was chosen for them."""
        self.input = Path(input)
        self.output = target_of(Path(output) if output is not None else default_output(self.input))
        self.folder = folder_of(self.output)
        """Where what is done lies until the file is whole."""
        self.part = self.folder / f"whole{self.output.suffix}"
        """Where the file is written until it is whole."""
        self.unfinished = fitted(self.output.parent, self.output.stem, f".part{self.output.suffix}")
        """The name of what there is of a file that does not become whole."""
        super().__init__(settings or Settings(), window=window)
        self._asked = asked or self.settings

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        say: Callable[[str], None] | None = None,
        restore: mssnet.Deblurrer | None = None,
        upscaler: Upscaler | str | None = None,
    ) -> Report:
        """Restore the file. `progress` is called about ten times a second.

        `say` gets lines that are news at once, such as what a look at some frames of a long video
        promises; `restore` and `upscaler` are the settings' models,
        where they are loaded already. Raises a `DeblurError`. Nothing is under the output's name
        until it is whole. What is done when a job fails on the way stays on disk, and
        `Settings.resume` goes on with it; of an input that ends early the error names a file with
        what could be restored.
        """
        settings = self.settings
        self._check_paths()
        source = self._source()
        try:
            settings = self._suited(source, say)
            chosen = plan(self.output, source, settings.encoder, settings.upscale)
            check_header(self.output, source, chosen, drop=settings.drop)
            if say is not None and source.coding.alpha > chosen.coding.alpha:
                say(
                    f"{chosen.encoder.codec} in {self.output.suffix} has no transparency, it is "
                    "left out; .mov, .mkv and .webm keep it, with the codec left to choose"
                )
            check_space(self.input, self.folder.parent)
            long = (source.expected_frames or 0) >= advice.LONG and settings.strength != 0
            new = long and model_of(self.folder) is None
            if say is not None and new and (seen := advice.look(source)) is not None:
                say(f"a look at some frames: {seen.said}")
            restore = restore or self._loaded()
            settings = self.settings
            enlarge = self._enlarger(source, chosen, restore, upscaler)
            shutter = self._told_shutter(source, restore, say)
            work = self._open(source, chosen, restore, shutter)
            try:
                if work.done and say is not None:
                    say(f"resuming: {work.done} frames are done already")
                stages = self._stages(source, restore, enlarge, work.memory(), shutter)
                with cores_for(restore, enlarge):
                    return self._run(source, chosen, stages, work, progress, runs_on(restore))
            finally:
                work.close()
        finally:
            source.close()

    def _check_paths(self) -> None:
        check_input(self.input)
        check_output(self.input, self.output, overwrite=self.settings.overwrite)
        check_free(self.folder)

    def _source(self) -> Source:
        return Source(self.input, reading_of(self.settings))

    def _open(
        self, source: Source, chosen: Plan, restore: mssnet.Deblurrer, shutter: Shutter | None
    ) -> JobCheckpoint:
        """The job's work: begun, or gone on with where it is there and of the same job."""
        folder, settings = self.folder, self.settings
        job = self._described(source, chosen, restore, shutter)
        unfinished = (folder / "job.json").exists()
        if unfinished and settings.resume:
            work = JobCheckpoint.resume(folder)
            # How large pieces were restored at once depends on the memory there was.
            restore.tile = work.job.get("tile")
            job["tile"] = restore.tile
            if other := sorted(key for key in job if work.job.get(key) != job[key]):
                work.close()
                raise SinkError(
                    f"the unfinished work in {folder} was begun with another {', '.join(other)}; "
                    "use the same again, or begin anew with --overwrite"
                )
            return work
        if unfinished and not settings.overwrite:
            raise SinkError(
                f"there is unfinished work for {self.output}; go on with --resume, "
                "or begin anew with --overwrite"
            )
        return JobCheckpoint.begin(folder, job)

    def _described(
        self, source: Source, chosen: Plan, restore: mssnet.Deblurrer, shutter: Shutter | None
    ) -> dict[str, Any]:
        return describe(source, chosen, self.settings, restore, shutter)

    def _run(
        self,
        source: Source,
        chosen: Plan,
        stages: dict[str, Stage[Frame]],
        work: JobCheckpoint,
        progress: Callable[[Progress], None] | None,
        engine: str,
    ) -> Report:
        earlier = work.done
        source.go_on(earlier, *work.known(source.reading.around))
        begun = time.monotonic()
        sink: SegmentSink | None = None
        try:
            sink = SegmentSink(work, source, chosen, stopped=lambda: self._stopped)
            pipeline = self._pipeline = Pipeline[Frame](source, stages, sink)
            if self._stopped:
                pipeline.stop()

            def seen(phase: str) -> None:
                if phase != "restoring":
                    _log.info("%s the file", phase)
                if progress is not None:
                    now = self._progress(source, sink, begun, engine)
                    size = self._expected_bytes(source, sink)
                    progress(replace(now, phase=phase, earlier=earlier, expected_bytes=size))

            pipeline.run(lambda: seen("restoring"))
            stopped = self._stopped
            joined, found, output = self._end(Restored(source, sink, work, seen, stopped))
        except BaseException as error:
            if sink is not None:
                sink.abandon()
            raise self._told(error, sink, work) from error
        report = self._report(
            *(source, sink, begun, output),
            dropped=joined.dropped,
            warnings=warnings_of(self.output.suffix, source, joined),
            stopped=stopped,
        )
        return replace(report, earlier=earlier, conformance=found)

    def _end(self, done: Restored) -> tuple[Joined, Conformance | None, Path]:
        """Make of all segments what the job is to give, and say where it is."""
        source = done.source
        if not done.stopped:
            source.decoding.check()
        done.seen("writing")
        segments = list(done.work.segments)
        if done.sink.tail is not None:
            segments.append(done.sink.tail)
        joined = self._join(source, segments, done.sink.plan)
        if done.stopped:
            return joined, None, self._leave()
        self._check_end(source)
        done.seen("verifying")
        found = self._verify(source, segments)
        return joined, found, self._commit(done.work)

    def _expected_bytes(self, source: Source, sink: SegmentSink) -> int | None:
        each, frames = sink.bytes_per_frame, source.expected_frames
        if each is None or frames is None:
            return None
        return round(each * frames) + bytes_of_others(source, self.settings.drop)

    def _join(self, source: Source, segments: list[Segment], chosen: Plan) -> Joined:
        if not segments:
            if self._stopped:
                raise CancelledError("stopped before the first frame was done")
            self._check_end(source)
            raise SourceError(
                f"there is no frame of {self.input} in the part asked for; "
                f"it is {source.origin_s + (source.container.duration or 0) / 1e6:.1f} s long"
            )
        # Of a job that is stopped already, what there is of the file is written to its end.
        check = partial(self._check, "" if self._stopped else "written")
        drop = self.settings.drop
        return join(self.part, source, segments, chosen.tags, drop=drop, check=check)

    def _check(self, done: str) -> None:
        """End what is done to the finished file, where the job is to end."""
        if self._cancelled:
            raise CancelledError("stopped at once")
        if self._stopped and done:
            raise CancelledError(f"stopped while the file was {done}")

    def _check_end(self, source: Source) -> None:
        if source.early is not None:
            raise SourceError(f"{self.input} {source.early}; it is truncated or damaged")

    def _verify(self, source: Source, segments: list[Segment]) -> Conformance:
        settings = self.settings
        moments = None
        if not (source.times.made_up or source.jumps):
            base, shift_s = source.time_base, source.shift_s
            moments = [pts * base + shift_s for segment in segments for pts in segment.pts]
        asked = Asked(
            settings.span.start,
            settings.span.duration,
            source.info.turned,
            source.info.deinterlaced,
            settings.drop,
            settings.upscale,
        )
        return verify(
            self.input,
            self.part,
            asked,
            decode=False,
            known=Known(moments, source.beside, source.transparent),
            max_pixels=settings.max_pixels,
            check=partial(self._check, "verified"),
        )

    def _commit(self, work: JobCheckpoint) -> Path:
        """Give the finished file its own name."""
        try:
            publish(self.part, self.output, overwrite=self.settings.overwrite)
        except FileExistsError as error:
            other = fitted(self.output.parent, self.output.stem, f"-2{self.output.suffix}")
            kept = publish_beside(self.part, other, overwrite=False)
            provenance.note(kept, asked_for(self.input, self._asked))
            work.remove()
            raise SinkError(
                f"{self.output} came while this was at work and is left as it is; what was "
                f"restored is whole, in {kept}"
            ) from error
        except OSError as error:
            raise WriteError(f"cannot write {self.output}: {error.strerror}") from error
        provenance.note(self.output, asked_for(self.input, self._asked))
        if provenance.by_us(self.unfinished):
            # Of an earlier run, that was stopped.
            self.unfinished.unlink(missing_ok=True)
        work.remove()
        return self.output

    def _leave(self) -> Path:
        """Give what there is of a file that is not whole a name of its own."""
        try:
            kept = publish_beside(self.part, self.unfinished, overwrite="own")
        except OSError as error:
            raise WriteError(f"cannot write {self.unfinished}: {error.strerror}") from error
        provenance.note(kept, {})
        return kept

    def _told(
        self, error: BaseException, sink: SegmentSink | None, work: JobCheckpoint
    ) -> BaseException:
        """The error as the user shall read it, with word of what was kept."""
        where = self._keep(error, sink, work)
        if isinstance(error, DeblurError):
            return type(error)(f"{error}{where}")
        return out_of_memory(error, where) or error

    def _keep(self, error: BaseException, sink: SegmentSink | None, work: JobCheckpoint) -> str:
        if isinstance(error, SourceError):
            # There is nothing to go on with: what could be read is done.
            kept = None
            if sink is not None and self.part.exists():
                with suppress(OSError, WriteError):
                    kept = self._leave()
            work.remove()
            if sink is None or kept is None:
                return ""
            return f"; the {sink.frames} frames that it has are in {kept}"
        with suppress(OSError):
            self.part.unlink(missing_ok=True)
        if not work.done:
            work.remove()
            return ""
        return f"; {work.done} frames are done and kept, go on with --resume"
