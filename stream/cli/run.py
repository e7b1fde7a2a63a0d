"""`deblur run`."""

import json
import os
import shlex
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import typer

from stream.cli.arguments import given, seconds, span_of, without_effect
from stream.cli.cluster import run_part
from stream.cli.options import (
    ApplyRotation,
    AsJson,
    Codec,
    Crop,
    Decoder,
    Deinterlace,
    Device,
    Drop,
    Duration,
    Encoder,
    EncoderPreset,
    End,
    Engine,
    Form,
    Fov,
    Fuse,
    Images,
    ListFile,
    MaxPixels,
    Model,
    MotionFrom,
    Overwrite,
    Part,
    Paths,
    PixFmt,
    Precision,
    Preset,
    Preview,
    PreviewHost,
    ProgressKind,
    Quality,
    Rate,
    Resume,
    Shutter,
    Size,
    Smooth,
    Stabilize,
    Start,
    Strength,
    Tile,
    To,
    Trial,
    Upscale,
    Upscaler,
)
from stream.cli.pipes import ends_of, rate_of, raw_of, relay, shots_of, stills
from stream.cli.preview import PreviewThread, beside
from stream.cli.terminal import bar, clock, concluded, err, forecast, handle_signals, reported, say
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.settings import USUAL_FUSE

if TYPE_CHECKING:
    from stream.files.batch import Batch, Outcome
    from stream.files.estimate import Forecast
    from stream.files.report import Progress, Report
    from stream.files.tasks import Task
    from stream.options.settings import Settings


def run(
    context: typer.Context,
    paths: Paths = None,
    to: To = None,
    list_file: ListFile = None,
    preset: Preset = None,
    model: Model = "auto",
    fuse: Fuse = USUAL_FUSE,
    strength: Strength = "1",
    smooth: Smooth = None,
    shutter: Shutter = "auto",
    motion: MotionFrom = "auto",
    fov: Fov = None,
    stabilize: Stabilize = False,
    crop: Crop = 0.1,
    upscale: Upscale = None,
    upscaler: Upscaler = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    decoder: Decoder = "auto",
    codec: Codec = None,
    encoder: Encoder = "auto",
    quality: Quality = None,
    encoder_preset: EncoderPreset = None,
    start: Start = "0",
    end: End = None,
    duration: Duration = None,
    tile: Tile = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    deinterlace: Deinterlace = "auto",
    apply_rotation: ApplyRotation = False,
    drop: Drop = None,
    trial: Trial = None,
    part: Part = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    form: Form = None,
    size: Size = None,
    rate: Rate = None,
    pix_fmt: PixFmt = None,
    sequence: Images = False,
    progress: ProgressKind = "auto",
    preview: Preview = None,
    preview_host: PreviewHost = "127.0.0.1",
) -> None:
    """Restore a video file: everything in it but the blur stays as it is."""
    # Here, so that --help and a wrong option answer at once; torch takes seconds to load.
    import stream
    from stream.files.tasks import tasks_of
    from stream.paths import check_input

    with reported():
        if not paths and list_file is None:
            raise stream.UsageError("there is no INPUT; see deblur run --help")
        if progress not in ("auto", "json", "off"):
            raise stream.UsageError(f"--progress takes auto, json or off, got {progress}")
        raw = raw_of(size, rate, pix_fmt, sequence=sequence)
        shots = shots_of(paths if list_file is None else None, to, sequence=sequence)
        ends = ends_of(paths, list_file, to, raw)
        if shots is not None and raw is None:
            ends = shots.input, shots.output
        if ends is not None and (trial is not None or preview is not None):
            raise stream.UsageError("pipes and images go with neither --try nor --preview")
        if ends is None and form is not None:
            raise stream.UsageError("--format is for a pipe; a file's form is what its ending says")
        tasks = None if ends is not None else tasks_of(paths or [], list_file, to)
        for alone in paths[:1] if paths and tasks is None else [task.input for task in tasks or []]:
            if ends is None and (tasks is None or len(tasks) == 1):
                check_input(alone)
        one = paths[0] if paths and tasks is None and ends is None else None
        span = span_of(start, duration, end, one)
        # What is named on the way, as *.mp4 does, is no word for replacing it.
        named = tasks is not None or (paths is not None and len(paths) == 2)
        own = overwrite and to is None and named
        settings = stream.Settings(
            model=model,
            strength=_strength(strength),
            fuse=fuse,
            smooth=smooth,
            shutter=stream.Exposure(shutter),
            motion=cast(Literal["auto", "flow", "gyro"], motion),
            fov=fov,
            stabilize=stabilize,
            crop=crop,
            upscale=stream.Scale.parse(upscale) if upscale is not None else None,
            upscaler=upscaler,
            device=device,
            precision=precision,
            engine=engine,
            decoder=decoder,
            tile=tile,
            overwrite="own" if own else overwrite,
            resume=resume,
            drop=tuple(drop or ()),
            max_pixels=max_pixels,
            deinterlace=deinterlace,
            apply_rotation=apply_rotation,
            span=span,
            encoder=stream.EncoderSettings(codec, quality, encoder_preset, encoder),
        )
        for line in without_effect(
            given(context),
            model=model,
            strength=settings.strength,
            fuse=fuse,
            smooth=settings.smoothing,
            upscale=upscale,
            stabilize=stabilize,
            preview=preview is not None,
        ):
            say(f"note: {line}")
        if shots is not None and shots.files and shots.outputs:
            stills(shots, settings, rate_of(rate), as_json=as_json, quiet_end=_quiet_end)
            return
        if ends is not None:
            relay(
                *(ends, settings, form, shots or raw, progress),
                rate=rate_of(rate),
                as_json=as_json,
                done=_done,
                quiet_end=_quiet_end,
            )
            return
        if part is not None:
            if tasks is not None or trial is not None or preview is not None or as_json:
                raise stream.UsageError("--part takes one INPUT, and no --try, --preview or --json")
            assert paths
            written = to if to is not None else paths[1] if len(paths) == 2 else None
            with _quiet_end():
                run_part(paths[0], written, settings, part, progress)
            return
        if trial is not None:
            if tasks is not None or span.duration is not None:
                raise stream.UsageError("--try takes one INPUT, and neither --duration nor --end")
            assert paths
            written = to if to is not None else paths[1] if len(paths) == 2 else None
            _try(paths[0], written, settings, seconds("--try", trial), "start" in given(context))
            return
        from stream.files.batch import Batch
        from stream.stages import advice

        if tasks is not None:
            with beside(preview, preview_host) as page:
                window = page.window if page is not None else None
                _run_batch(Batch(tasks, settings, window=window), page, progress, as_json=as_json)
            return
        assert paths
        output = to if to is not None else paths[1] if len(paths) == 2 else None
        estimates = forecast()
        with (
            beside(preview, preview_host) as page,
            bar(paths[0].name, progress) as show,
            _quiet_end(),
        ):
            window = page.window if page is not None else None
            job = stream.Job(paths[0], output, settings, window=window)
            handle_signals(job)

            def seen(now: "Progress") -> None:
                estimates.see(now)
                if page is not None:
                    page.see(now, job.input.name)
                if show is not None:
                    show(job.input.name, now)

            report = job.run(seen, say=say)
        for warning in report.warnings:
            say(f"note: {warning}")
        if report.stopped:
            say(f"stopped early: {_done(report)} -> {report.output}; go on with --resume")
            raise typer.Exit(130)
        say(f"{_done(report)} -> {report.output}")
        if (poor := advice.said_of(report.gain)) is not None:
            say(f"note: {poor}")
        concluded(report, as_json)


def _try(input: Path, page: Path | None, settings: "Settings", length: float, starts: bool) -> None:
    from stream.files.trial import Trial

    trial = Trial(input, page, settings, length, starts=starts)
    with bar(input.name) as show, _quiet_end():
        handle_signals(trial)

        found = trial.run(show)
    name = shlex.quote(str(input))
    for tried, line in zip(trial.tried, found.summary.splitlines(), strict=False):
        took = f"{tried.report.frames} frames in {clock(tried.report.seconds)}"
        say(f"{line.removeprefix(f'{tried.name}: ')}; {took}: deblur run {name} {tried.options}")
    say(f"-> {trial.page}")
    # Elsewhere a browser may take the terminal itself.
    shows = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if err.is_terminal and shows:
        webbrowser.open(trial.page.absolute().as_uri())


def _strength(text: str) -> float | Literal["auto"]:
    import stream

    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise stream.UsageError(f"--strength must be in 0..1 or auto, got {text}") from None


def _run_batch(batch: "Batch", page: "PreviewThread | None", kind: str, *, as_json: bool) -> None:
    import stream
    from stream.files.batch import summary
    from stream.stages.advice import said_of

    handle_signals(batch)
    outcomes: list[Outcome] = []
    forecasts: dict[Path, Forecast] = {}
    with bar(kind=kind) as show, _quiet_end():
        total = len(batch.tasks)

        def seen(task: "Task", progress: "Progress") -> None:
            forecasts.setdefault(task.output, forecast(f"{task.input}: ")).see(progress)
            if page is not None:
                page.see(progress, task.input.name)
            if show is not None:
                show(f"[{len(outcomes) + 1}/{total}] {task.input.name}", progress)

        for outcome in batch.run(seen):
            outcomes.append(outcome)
            notes = outcome.report.warnings if outcome.report else []
            if outcome.report and (line := said_of(outcome.report.gain)) is not None:
                notes = [*notes, line]
            for note in notes:
                say(f"{outcome.task.input}: note: {note}")
            say(f"{outcome.task.input}: {outcome.state}: {outcome.said}")
            if as_json:
                typer.echo(json.dumps(outcome.to_json()))
    say(summary(outcomes, total))
    states = {outcome.state for outcome in outcomes}
    if "stopped" in states or len(outcomes) < total:
        raise typer.Exit(130)
    if states & {"failed", "outdated"}:
        raise typer.Exit(stream.SomeFailedError.exit_code)
    if "differs" in states:
        raise typer.Exit(stream.DiffersError.exit_code)


def _done(report: "Report") -> str:
    done = f"{report.frames} frames in {clock(report.seconds)} ({report.fps:.1f} fps)"
    if report.why:
        alone = "fusion alone" if report.model == "none" else f"with {report.model}"
        done += f", {alone} ({report.why})"
    if report.from_neighbors:
        done += f", {100 * report.from_neighbors:.0f} % of the picture from neighboring frames"
    return done


@contextmanager
def _quiet_end() -> Iterator[None]:
    """What is done is done: a signal while Python ends must not turn it into a failure."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
