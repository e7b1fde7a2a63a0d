"""`deblur run`."""

import json
import os
import shlex
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import typer

from stream.cli import options
from stream.cli.cluster import batch_of, cluster_of, job_of, run_part
from stream.cli.jobs.named import Named, colors_of, rate_of, raw_of
from stream.cli.jobs.pipes import relay, stills
from stream.cli.jobs.preview import PreviewThread, beside
from stream.cli.options import run_only
from stream.cli.options.arguments import given, seconds, span_of, without_effect
from stream.cli.terminal import (
    clock,
    concluded,
    ended,
    err,
    forecast,
    handle_signals,
    quiet_end,
    reported,
    say,
)
from stream.cli.terminal.progress import bar
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.restore import USUAL_FUSE

if TYPE_CHECKING:
    from stream.files.batch import Batch, Outcome
    from stream.files.estimate import Forecast
    from stream.files.report import Progress
    from stream.files.tasks import Task
    from stream.options.settings import Settings


@dataclass(frozen=True)
class _How:
    """What is asked for beside what becomes of the pictures."""

    given: set[str]
    """The options that were written."""
    progress: str
    as_json: bool
    form: str | None
    rate: str | None
    color: str | None
    trial: str | None
    part: str | None
    cluster: str | None
    preview: int | None
    preview_host: str


def run(
    context: typer.Context,
    paths: run_only.Paths = None,
    to: run_only.To = None,
    list_file: run_only.ListFile = None,
    preset: run_only.Preset = None,
    model: run_only.Model = "auto",
    fuse: run_only.Fuse = USUAL_FUSE,
    strength: run_only.Strength = "1",
    smooth: options.Smooth = None,
    shutter: options.Shutter = "auto",
    motion: run_only.MotionFrom = "auto",
    fov: run_only.Fov = None,
    readout: run_only.Readout = None,
    stabilize: run_only.Stabilize = False,
    crop: run_only.Crop = 0.1,
    upscale: run_only.Upscale = None,
    upscaler: run_only.Upscaler = "auto",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    engine: options.Engine = "auto",
    decoder: run_only.Decoder = "auto",
    codec: run_only.Codec = None,
    encoder: run_only.Encoder = "auto",
    quality: run_only.Quality = None,
    encoder_preset: run_only.EncoderPreset = None,
    start: options.Start = "0",
    end: run_only.End = None,
    duration: options.Duration = None,
    tile: run_only.Tile = None,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    deinterlace: run_only.Deinterlace = "auto",
    apply_rotation: run_only.ApplyRotation = False,
    drop: run_only.Drop = None,
    trial: run_only.Trial = None,
    part: run_only.Part = None,
    cluster: run_only.Cluster = None,
    resume: run_only.Resume = False,
    overwrite: run_only.Overwrite = False,
    as_json: run_only.AsJson = False,
    form: run_only.Form = None,
    size: run_only.Size = None,
    rate: run_only.Rate = None,
    pix_fmt: run_only.PixFmt = None,
    color: run_only.Color = None,
    sequence: run_only.Images = False,
    progress: run_only.ProgressKind = "auto",
    preview: options.Preview = None,
    preview_host: options.PreviewHost = "127.0.0.1",
) -> None:
    """Restore a video file: everything in it but the blur stays as it is."""
    # Here, so that --help and a wrong option answer at once; torch takes seconds to load.
    import stream

    with reported():
        if not paths and list_file is None:
            raise stream.UsageError("there is no INPUT; see deblur run --help")
        how = _How(
            *(given(context), progress, as_json, form, rate, color),
            *(trial, part, cluster, preview, preview_host),
        )
        raw = raw_of(size, rate, pix_fmt, sequence=sequence)
        named = Named.of(paths or [], list_file, to, raw, sequence=sequence)
        _check(named, how)
        span = span_of(start, duration, end, named.alone)
        settings = stream.Settings(
            model=model,
            strength=_strength(strength),
            fuse=fuse,
            smooth=smooth,
            shutter=stream.Exposure(shutter),
            motion=cast(Literal["auto", "flow", "gyro"], motion),
            fov=fov,
            readout=readout,
            stabilize=stabilize,
            crop=crop,
            upscale=stream.Scale.parse(upscale) if upscale is not None else None,
            upscaler=upscaler,
            device=device,
            precision=precision,
            engine=engine,
            decoder=decoder,
            tile=tile,
            overwrite=named.replaces if overwrite else False,
            resume=resume,
            drop=tuple(drop or ()),
            max_pixels=max_pixels,
            deinterlace=deinterlace,
            apply_rotation=apply_rotation,
            span=span,
            encoder=stream.EncoderSettings(codec, quality, encoder_preset, encoder),
        )
        for line in without_effect(
            how.given, settings, stabilize=stabilize, preview=preview is not None
        ):
            say(f"note: {line}")
        _restore(named, settings, how)


def _check(named: Named, how: _How) -> None:
    """Raise a `DeblurError` where options do not go together, or what is to be read is not
    there."""
    from stream.errors import UsageError

    if how.progress not in ("auto", "json", "off"):
        raise UsageError(f"--progress takes auto, json or off, got {how.progress}")
    if named.ends is not None and (how.trial is not None or how.preview is not None):
        raise UsageError("pipes and images go with neither --try nor --preview")
    if named.ends is None and how.form is not None:
        raise UsageError("--format is for a pipe; a file's form is what its ending says")
    if how.color is not None and (named.ends is None or named.shots is not None):
        raise UsageError("--color is for raw video and what comes by a pipe")
    if how.cluster is not None:
        alone = (how.part, how.trial, how.preview)
        if named.ends is not None or any(each is not None for each in alone):
            raise UsageError("--cluster goes with files alone: no pipes, --part, --try, --preview")
    named.check_input()


def _restore(named: Named, settings: "Settings", how: _How) -> None:
    shots, ends = named.shots, named.ends
    if shots is not None and shots.files and shots.outputs:
        stills(shots, settings, rate_of(how.rate), as_json=how.as_json)
    elif ends is not None:
        relay(
            ends,
            settings,
            how.form,
            shots or named.raw,
            colors_of(how.color),
            how.progress,
            rate=rate_of(how.rate),
            as_json=how.as_json,
        )
    elif how.part is not None:
        _part(named, settings, how.part, how)
    elif how.trial is not None:
        _try(named, settings, how.trial, starts="start" in how.given)
    elif named.tasks is not None:
        _restore_several(named.tasks, settings, how)
    else:
        _restore_one(named.paths[0], named.output, settings, how)


def _restore_one(input: Path, output: Path | None, settings: "Settings", how: _How) -> None:

    estimates = forecast()
    with (
        cluster_of(how.cluster) as nodes,
        beside(how.preview, how.preview_host) as page,
        bar(input.name, how.progress) as show,
        quiet_end(),
    ):
        window = page.window if page is not None else None
        job = job_of(nodes, input, output, settings, window)
        handle_signals(job)

        def seen(now: "Progress") -> None:
            estimates.see(now)
            if page is not None:
                page.see(now, job.input.name)
            if show is not None:
                show(job.input.name, now)

        report = job.run(seen, say=say)
    ended(report, report.output, stopped="; go on with --resume")
    concluded(report, how.as_json)


def _restore_several(tasks: "list[Task]", settings: "Settings", how: _How) -> None:
    with cluster_of(how.cluster) as nodes, beside(how.preview, how.preview_host) as page:
        window = page.window if page is not None else None
        batch = batch_of(nodes, tasks, settings, window)
        _run_batch(batch, page, how.progress, as_json=how.as_json)


def _part(named: Named, settings: "Settings", part: str, how: _How) -> None:
    from stream.errors import UsageError

    other = how.trial is not None or how.preview is not None or how.as_json
    if named.tasks is not None or other:
        raise UsageError("--part takes one INPUT, and no --try, --preview or --json")
    with quiet_end():
        run_part(named.paths[0], named.output, settings, part, how.progress)


def _try(named: Named, settings: "Settings", length: str, *, starts: bool) -> None:
    from stream.errors import UsageError
    from stream.files.trial import Trial

    if named.tasks is not None or settings.span.duration is not None:
        raise UsageError("--try takes one INPUT, and neither --duration nor --end")
    input = named.paths[0]
    trial = Trial(input, named.output, settings, seconds("--try", length), starts=starts)
    with bar(input.name) as show, quiet_end():
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
    from stream.files.batch import State, summary
    from stream.stages.advice import said_of

    handle_signals(batch)
    outcomes: list[Outcome] = []
    forecasts: dict[Path, Forecast] = {}
    with bar(kind=kind) as show, quiet_end():
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
    if State.STOPPED in states or len(outcomes) < total:
        raise typer.Exit(130)
    if states & {State.FAILED, State.OUTDATED}:
        raise typer.Exit(stream.SomeFailedError.exit_code)
    if State.DIFFERS in states:
        raise typer.Exit(stream.DiffersError.exit_code)
