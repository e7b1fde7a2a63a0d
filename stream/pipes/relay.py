"""A job whose video comes by a pipe, or goes by one."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path

import mssnet
from filters import Shutter
from stream import provenance
from stream.colors import UNTAGGED, ColorTags
from stream.errors import (
    CancelledError,
    DeblurError,
    SinkError,
    SourceError,
    UsageError,
    WriteError,
)
from stream.files.report import Progress, Report, warnings_of
from stream.files.restorer import Restorer, cores_for, out_of_memory, runs_on
from stream.frame import Frame
from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.checkpoint import JobCheckpoint, folder_of
from stream.output.segment_sink import Plan, plan
from stream.paths import check_input, check_output, fitted, publish, publish_beside, target_of
from stream.pipeline import Pipeline, Stage
from stream.pipes.ends import STANDARD, Incoming, Outgoing, is_pipe
from stream.pipes.form import FORMS, TIMELESS, RawFormat, plan_for, siting_of
from stream.pipes.sink import FrameSink, RelaySink, SideStreams
from stream.pipes.source import PipeSource
from stream.stages.build import asks_shutter, reading_of
from stream.stages.shutter import AT_ONCE, share_of, shutter_of, spots_among

_MOST_AHEAD = 256 << 20
"""Bytes of frames that are read ahead, to tell the shutter by."""
_MARK = {"input": "a pipe"}
"""What is noted of an output, and of work, that nobody can go on with or make again."""


class Relay(Restorer):
    """A video to restore that is read once, from a pipe or a file, and written at once, to a pipe
    or a file. `run` does it; `stop` and `cancel` may be called from elsewhere."""

    def __init__(
        self,
        input: Path,
        output: Path,
        settings: Settings,
        *,
        form: str | None = None,
        raw: RawFormat | None = None,
        colors: ColorTags = UNTAGGED,
        standard_output: int = 1,
    ) -> None:
        """`-` is standard input or output, the latter by its descriptor. `form` is one of `FORMS`,
        for an output that is a pipe; `raw` what raw video does not say of itself, and `colors` what
        a pipe does not say of its colors. Raises `DeblurError` where one of them cannot be used at
        all."""
        super().__init__(settings)
        _check(settings, form, raw)
        self.input, self.output = input, target_of(output)
        self.form = form or "y4m"
        self._raw, self._colors = raw, colors
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        if is_pipe(output):
            own = standard_output if output == STANDARD else None
            self._outgoing = Outgoing(output, own)
        elif form is not None:
            raise UsageError("--format is for a pipe; a file has the form that its ending says")
        else:
            self._check_output()
        if is_pipe(input) or raw is not None:
            if not is_pipe(input):
                check_input(input)
            self._incoming = Incoming(input)
        elif colors != UNTAGGED:
            raise UsageError("--color is for raw video and what comes by a pipe")
        else:
            check_input(input)

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        say: Callable[[str], None] = lambda text: None,
    ) -> Report:
        """Restore it. `progress` is called about ten times a second, `say` gets lines that are
        news at once. Raises a `DeblurError`."""
        try:
            source = self._source()
        except SourceError as error:
            if self._incoming is not None:
                self._incoming.close()
            raise self._told(error) from error
        with closing(source):
            self._suited(source, say)
            chosen = self._plan(source)
            restore = self._loaded()
            enlarge = self._enlarger(source, chosen, restore)
            shutter, frames = self._shutter(source, restore)
            stages = self._stages(source, restore, enlarge, {}, shutter)
            with cores_for(restore, enlarge):
                return self._relayed(source, frames, chosen, stages, progress, runs_on(restore))

    def stop(self) -> None:
        """End the job early but properly: the frames in hand are finished."""
        super().stop()
        if self._incoming is not None:
            self._incoming.end()

    def cancel(self) -> None:
        """End the job at once."""
        super().cancel()
        if self._incoming is not None:
            self._incoming.end()
        if self._outgoing is not None:
            self._outgoing.cancel()

    def _check_output(self) -> None:
        """Refuse a file as output that must not be written."""
        where = Path("/dev/stdin") if self.input == STANDARD else self.input
        check_output(where, self.output, overwrite=self.settings.overwrite)
        self.form = self.output.suffix

    def _plan(self, source: Source) -> Plan:
        settings = self.settings
        if self._outgoing is None:
            return plan(self.output, source, settings.encoder, settings.upscale)
        siting = source.siting if isinstance(source, PipeSource) else siting_of(source)
        return plan_for(self.form, source, settings.encoder, settings.upscale, siting)

    def _sink(self, source: Source, chosen: Plan, work: JobCheckpoint | None) -> FrameSink:
        target: Outgoing | Path = self.output
        if work is not None:
            target = work.folder / f"whole{self.output.suffix}"
        elif self._outgoing is not None:
            target = self._outgoing
        until = source.until if isinstance(source, PipeSource) else SideStreams(source).until
        return RelaySink(source, chosen, target, self.form, until, self.settings.drop)

    def _source(self) -> Source:
        reading = reading_of(self.settings)
        if self._incoming is None:
            return Source(self.input, reading)
        if reading.decoder == "cuda":
            raise UsageError("--decoder cuda needs a file; what comes by a pipe is decoded here")
        return PipeSource(self._incoming, reading, self._raw, self._colors)

    def _shutter(
        self, source: Source, restore: mssnet.Deblurrer
    ) -> tuple[Shutter | None, Iterator[Frame]]:
        """The shutter, and the frames, of which some may have been read to tell it."""
        exposure, frames = self.settings.shutter, iter(source)
        if source.info.top_first is not None or not asks_shutter(self.settings, restore):
            return None, frames
        if type(source) is Source or not exposure.auto:
            return shutter_of(source, exposure), frames
        first: list[Frame] = []
        size = 0
        for frame in frames:
            first.append(frame)
            size += frame.nbytes
            if len(first) >= AT_ONCE or size >= _MOST_AHEAD:
                break
        seen = spots_among([frame for frame in first if not frame.beyond])
        return Shutter(share=round(share_of(seen), 3)), chain(first, frames)

    def _relayed(
        self,
        source: Source,
        frames: Iterator[Frame],
        chosen: Plan,
        stages: dict[str, Stage[Frame]],
        progress: Callable[[Progress], None] | None,
        engine: str,
    ) -> Report:
        begun = time.monotonic()
        work = self._begin()
        sink = self._sink(source, chosen, work)
        pipeline = self._pipeline = Pipeline[Frame](frames, stages, sink)
        if self._stopped:
            pipeline.stop()

        def seen() -> None:
            if progress is not None:
                progress(self._progress(source, sink, begun, engine))

        output = self.output
        try:
            pipeline.run(seen)
            self._check_end(source, sink)
            if work is not None:
                output = self._publish(work)
        except BaseException as error:
            sink.abandon()
            raise self._told(error, sink, work) from error
        finally:
            if self._outgoing is not None:
                self._outgoing.close()
        return self._report(
            *(source, sink, begun, output),
            dropped=sink.joined.dropped,
            warnings=self._warnings(source, sink),
            stopped=self._stopped,
        )

    def _check_end(self, source: Source, sink: FrameSink) -> None:
        if self._stopped:
            if not sink.frames:
                raise CancelledError("stopped before the first frame was done")
            return
        source.decoding.check()
        if source.early is not None:
            raise SourceError(f"{source.path} {source.early}; it was cut off or is damaged")
        if not sink.frames:
            raise SourceError(f"there is no frame of {source.path} in the part asked for")

    def _warnings(self, source: Source, sink: FrameSink) -> list[str]:
        said = warnings_of(self.form, source, sink.joined)
        if sink.uneven:
            said.append(
                f"the frames do not follow at one rate, and {self.form} knows no times; --format "
                "nut keeps them"
            )
        if source.coding.alpha > sink.plan.coding.alpha:
            said.append(f"{self.form} has no transparency, it was left out")
        if self.form in TIMELESS and source.info.matrix is not None:
            said.append(
                f"{self.form} does not tell how pictures are to be turned; --apply-rotation does it"
            )
        # PyAV has no word for it that these muxers listen to.
        silent = self.form in ("nut", "raw", "mkv")
        if silent and source.aspect not in (None, 1):
            said.append(
                f"{self.form} does not tell that pixels are {source.aspect} as wide as high"
            )
        if self.form == "raw":
            width, height = sink.plan.size
            said.append(
                f"raw video of {width}x{height} in {sink.plan.encoder.pix_fmt(sink.plan.coding)} "
                f"at {source.rate} frames per second"
            )
        return said

    def _begin(self) -> JobCheckpoint | None:
        """A folder for a file that is written until it is whole, held by this job alone."""
        if self._outgoing is not None:
            return None
        folder = folder_of(self.output)
        with suppress(OSError, ValueError):
            begun = json.loads((folder / "job.json").read_bytes())
            if begun != _MARK and not self.settings.overwrite:
                raise SinkError(
                    f"there is unfinished work for {self.output}; finish it, or begin anew with "
                    "--overwrite"
                )
        return JobCheckpoint.begin(folder, _MARK)

    def _publish(self, work: JobCheckpoint) -> Path:
        """Give the file its name, or where the job was stopped a name of its own."""
        part, output = work.folder / f"whole{self.output.suffix}", self.output
        try:
            if self._stopped:
                output = self._leave(part)
            else:
                publish(part, output, overwrite=self.settings.overwrite)
                provenance.note(output, _MARK)
        except FileExistsError as error:
            kept = self._leave(part)
            raise SinkError(
                f"{output} came while this was at work and is left as it is; what was restored is "
                f"whole, in {kept}"
            ) from error
        except OSError as error:
            raise WriteError(f"cannot write {output}: {error.strerror}") from error
        work.remove()
        return output

    def _leave(self, part: Path) -> Path:
        name = fitted(self.output.parent, self.output.stem, f".part{self.output.suffix}")
        kept = publish_beside(part, name, overwrite="own")
        provenance.note(kept, {})
        return kept

    def _told(
        self, error: BaseException, sink: FrameSink | None = None, work: JobCheckpoint | None = None
    ) -> BaseException:
        """The error as the user shall read it. Of an input that ends early what there is of it is
        kept; of anything else nothing is left."""
        where = ""
        if self._stopped and isinstance(error, SourceError):
            error = CancelledError("stopped before the first frame was done")
        if work is not None:
            part = work.folder / f"whole{self.output.suffix}"
            if isinstance(error, SourceError) and sink is not None and sink.frames:
                with suppress(OSError):
                    where = f"; the {sink.frames} frames that came are in {self._leave(part)}"
            work.remove()
        elif isinstance(error, SourceError) and sink is not None and sink.frames:
            where = f"; {sink.frames} frames were passed on"
        if isinstance(error, DeblurError):
            return type(error)(f"{error}{where}")
        return out_of_memory(error) or error


def _check(settings: Settings, form: str | None, raw: RawFormat | None) -> None:
    if form is not None and form not in FORMS:
        raise UsageError(f"--format must be {', '.join(FORMS)}, got {form}")
    if settings.resume:
        raise UsageError("what comes or goes by a pipe cannot be gone on with; leave out --resume")
