"""`deblur run` where the video comes or goes by a pipe."""

import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stream.cli.terminal import bar, handle_signals, say

if TYPE_CHECKING:
    from stream.files.report import Report
    from stream.options.settings import Settings
    from stream.pipes.form import Raw

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_RATE = re.compile(r"\d{1,7}(?:\.\d{1,6}|/\d{1,7})?")


def ends_of(
    paths: list[Path] | None, list_file: Path | None, to: Path | None, raw: "Raw | None"
) -> tuple[Path, Path] | None:
    """What is read and written, where one of them is a pipe or the input is raw video; None: files
    alone. Raises `UsageError`."""
    from stream.errors import UsageError
    from stream.paths import default_output
    from stream.pipes.ends import STANDARD, is_pipe

    named = [*(paths or []), *([to] if to is not None else [])]
    if not (named and 1 <= len(named) <= 2 and paths) or list_file is not None:
        if STANDARD in named:
            raise UsageError("- stands for one INPUT or one OUTPUT, beside no others")
        if raw is not None:
            raise UsageError("--size is for one INPUT of raw video")
        return None
    input, *rest = named
    if not (raw is not None or any(map(is_pipe, named))):
        return None
    if rest:
        return input, rest[0]
    return input, STANDARD if input == STANDARD else default_output(input)


def raw_of(size: str | None, rate: str | None, pix_fmt: str | None) -> "Raw | None":
    """What is said of raw video. Raises `UsageError`."""
    from stream.errors import UsageError

    if size is None:
        if rate is not None or pix_fmt is not None:
            raise UsageError("--rate and --pix-fmt are of raw video, which needs --size as well")
        return None
    found = _SIZE.fullmatch(size)
    if found is None:
        raise UsageError(f"--size takes a width and a height such as 1920x1080, got {size}")
    if rate is not None and (not _RATE.fullmatch(rate) or re.search(r"/0+$", rate)):
        raise UsageError(f"--rate takes such as 25, 29.97 or 30000/1001, got {rate}")
    from stream.pipes.form import Raw

    return Raw((int(found[1]), int(found[2])), Fraction(rate or 25), pix_fmt or "yuv420p")


def relay(
    ends: tuple[Path, Path],
    settings: "Settings",
    form: str | None,
    raw: "Raw | None",
    progress: str,
    *,
    as_json: bool,
    done: "Callable[[Report], str]",
    quiet_end: Callable[[], AbstractContextManager[None]],
) -> None:
    """Restore what comes by a pipe, or to one; `done` says in words what was."""
    from stream.errors import UsageError
    from stream.pipes.ends import STANDARD
    from stream.pipes.relay import Relay
    from stream.stages import advice

    input, output = ends
    if as_json and output == STANDARD:
        raise UsageError("standard output has the video; --json needs a file as OUTPUT")
    standard_output = 1
    if output == STANDARD:
        # Whatever else is printed must not get into the video.
        standard_output = os.dup(1)
        os.dup2(2, 1)
    job = Relay(input, output, settings, form=form, raw=raw, standard_output=standard_output)
    name = "standard input" if input == STANDARD else input.name
    with bar(name, progress) as show, quiet_end():
        handle_signals(job)
        seen = None if show is None else lambda told: show(name, told)
        report = job.run(seen, say=say)
    for warning in report.warnings:
        say(f"note: {warning}")
    shown = "standard output" if report.output == STANDARD else report.output
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    if report.stopped:
        say(f"stopped early: {done(report)} -> {shown}")
        raise typer.Exit(130)
    say(f"{done(report)} -> {shown}")
    if (poor := advice.said_of(report.gain)) is not None:
        say(f"note: {poor}")
