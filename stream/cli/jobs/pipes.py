"""`deblur run` where the video comes or goes by a pipe, or as images."""

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stream.cli.jobs.named import SequenceOptions
from stream.cli.terminal import clock, ended, handle_signals, quiet_end, say
from stream.cli.terminal.progress import bar, counter

if TYPE_CHECKING:
    from stream.colors import ColorTags
    from stream.options.settings import Settings
    from stream.pipes.form import RawFormat


def stills(shots: SequenceOptions, settings: "Settings", rate: Fraction, *, as_json: bool) -> None:
    """Restore images to images."""
    from stream.images.stills import Stills

    job = Stills(shots.files, shots.outputs, settings, rate)
    with counter(shots.input.name) as show, quiet_end():
        handle_signals(job)
        job.run(show)
    if job.lost:
        say(f"note: {shots.output.suffix} cannot hold: {', '.join(job.lost)}")
    many = "1 image" if job.done == 1 else f"{job.done} images"
    said = f"{many} in {clock(job.seconds)} -> {shots.output}"
    say(f"stopped early: {said}" if job.stopped else said)
    if as_json:
        typer.echo(json.dumps(job.to_json(shots.output), indent=2))
    if job.stopped:
        raise typer.Exit(130)


def relay(
    ends: tuple[Path, Path],
    settings: "Settings",
    form: str | None,
    source: "RawFormat | SequenceOptions | None",
    colors: "ColorTags",
    progress: str,
    *,
    rate: Fraction = Fraction(25),
    as_json: bool,
) -> None:
    """Restore what comes by a pipe, or to one."""
    from stream.errors import UsageError
    from stream.images.relay import ImageRelay
    from stream.pipes.ends import STANDARD
    from stream.pipes.relay import Relay

    input, output = ends
    if as_json and output == STANDARD:
        raise UsageError("standard output has the video; --json needs a file as OUTPUT")
    standard_output = 1
    if output == STANDARD:
        # Whatever else is printed must not get into the video.
        standard_output = os.dup(1)
        os.dup2(2, 1)
    how: dict[str, Any] = {"form": form, "standard_output": standard_output}
    if isinstance(source, SequenceOptions):
        how |= {"files": source.files, "pattern": source.pattern, "rate": rate}
        job: Relay = ImageRelay(input, output, settings, **how)
    else:
        job = Relay(input, output, settings, raw=source, colors=colors, **how)
    name = "standard input" if input == STANDARD else input.name
    with bar(name, progress) as show, quiet_end():
        handle_signals(job)
        seen = None if show is None else lambda told: show(name, told)
        report = job.run(seen, say=say)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    ended(report, "standard output" if report.output == STANDARD else report.output)
