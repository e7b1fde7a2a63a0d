"""`deblur run` where the video comes or goes by a pipe, or as images."""

import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stream.cli.terminal import bar, clock, counter, handle_signals, say

if TYPE_CHECKING:
    from stream.files.report import Report
    from stream.images.pattern import Pattern
    from stream.options.settings import Settings
    from stream.pipes.form import RawFormat

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_RATE = re.compile(r"\d{1,7}(?:\.\d{1,6}|/\d{1,7})?")


def ends_of(
    paths: list[Path] | None, list_file: Path | None, to: Path | None, raw: "RawFormat | None"
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


def raw_of(
    size: str | None, rate: str | None, pix_fmt: str | None, *, sequence: bool = False
) -> "RawFormat | None":
    """What is said of raw video. Raises `UsageError`."""
    from stream.errors import UsageError

    if size is None:
        if (rate is not None and not sequence) or pix_fmt is not None:
            raise UsageError("--rate and --pix-fmt are of raw video, which needs --size as well")
        return None
    found = _SIZE.fullmatch(size)
    if found is None:
        raise UsageError(f"--size takes a width and a height such as 1920x1080, got {size}")
    from stream.pipes.form import RawFormat

    return RawFormat((int(found[1]), int(found[2])), rate_of(rate), pix_fmt or "yuv420p")


def rate_of(rate: str | None) -> Fraction:
    """Frames per second, 25 by default. Raises `UsageError`."""
    from stream.errors import UsageError

    if rate is not None and (not _RATE.fullmatch(rate) or not re.search(r"[1-9]", rate)):
        raise UsageError(f"--rate takes such as 25, 29.97 or 30000/1001, got {rate}")
    if rate is not None and re.search(r"/0+$", rate):
        raise UsageError(f"--rate takes such as 25, 29.97 or 30000/1001, got {rate}")
    return Fraction(rate or 25)


@dataclass(frozen=True)
class SequenceOptions:
    """Images that are read or written."""

    input: Path
    output: Path
    files: "list[Path]"
    """Those that are read; none: the input is a video."""
    outputs: "list[Path]"
    """Those that are written; none: not known beforehand, or the output is a video."""
    pattern: "Pattern | None"
    """Of those that are written."""


def shots_of(
    paths: list[Path] | None, to: Path | None, *, sequence: bool
) -> SequenceOptions | None:
    """The images that the arguments of a command name; None: none. Raises a `DeblurError`."""
    from stream.errors import UsageError
    from stream.images.names import is_image
    from stream.images.pattern import check_patterns, pattern_of
    from stream.paths import fitted

    named = [*(paths or []), *([to] if to is not None else [])]
    if not paths or not 1 <= len(named) <= 2:
        if sequence:
            raise UsageError("--sequence takes one INPUT and one OUTPUT")
        return None
    input = named[0]
    still = not sequence and is_image(input) and input.is_file()
    if len(named) == 1 and still:
        named.append(fitted(input.parent, input.stem, f".deblurred{input.suffix}"))
    if len(named) == 1:
        if sequence:
            raise UsageError("--sequence needs an OUTPUT")
        return None
    output = named[1]
    if still:
        alone = is_image(output) and not output.is_dir()
        return SequenceOptions(input, output, [input], [output], None) if alone else None
    taken, made = (pattern_of(each, sequence=sequence) for each in named)
    if sequence:
        check_patterns(taken, made)
    if not (taken or made):
        return None
    if made is not None and not is_image(output):
        raise UsageError(f"{output} is no image; use .png, .tif, .jpg or .webp")
    there = taken.there() if taken is not None else []
    outputs = [made.file(number) for number, _ in there] if made is not None else []
    return SequenceOptions(input, output, [file for _, file in there], outputs, made)


def stills(
    shots: SequenceOptions,
    settings: "Settings",
    rate: Fraction,
    *,
    as_json: bool,
    quiet_end: Callable[[], AbstractContextManager[None]],
) -> None:
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
    progress: str,
    *,
    rate: Fraction = Fraction(25),
    as_json: bool,
    done: "Callable[[Report], str]",
    quiet_end: Callable[[], AbstractContextManager[None]],
) -> None:
    """Restore what comes by a pipe, or to one; `done` says in words what was."""
    from stream.errors import UsageError
    from stream.images.relay import ImageRelay
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
    how: dict[str, Any] = {"form": form, "standard_output": standard_output}
    if isinstance(source, SequenceOptions):
        how |= {"files": source.files, "pattern": source.pattern, "rate": rate}
        job: Relay = ImageRelay(input, output, settings, **how)
    else:
        job = Relay(input, output, settings, raw=source, **how)
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
