"""What is written on the command line, read: times, ports, and options without effect."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from stream.cli.options import USUAL_PORT

if TYPE_CHECKING:
    from stream.options.reading import Span

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_SECONDS = re.compile(r"(\d+\.?\d*|\.\d+)(s|ms|us)?")
_FRAME = re.compile(r"f(\d{1,9})")
_UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def seconds(option: str, text: str) -> float:
    """A time as FFmpeg takes it: 90, 1.5s, 200ms, 1:30 or 0:01:30.5. Raises `UsageError`."""
    from stream.errors import UsageError

    if match := _SECONDS.fullmatch(text):
        return float(match[1]) * _UNITS[match[2]]
    match = _CLOCK.fullmatch(text)
    if match and int(match[2]) < 60 and float(match[3]) < 60:
        return 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3])
    raise UsageError(f"{option} takes seconds, or a time such as 1:30 or 0:01:30.5, got {text}")


def timestamp(option: str, text: str, input: Path | None) -> float:
    """A time, or a frame of `input` by its number such as f120, as seconds. Raises `UsageError`."""
    from stream.errors import UsageError

    if not (match := _FRAME.fullmatch(text)):
        return seconds(option, text)
    if input is None:
        raise UsageError(f"{option} {text}: frames are counted in one file; use a time")
    from stream.input.frame_numbers import timestamp_of

    try:
        return timestamp_of(input, int(match[1]))
    except UsageError as error:
        raise UsageError(f"{option} {text}: {error}") from error


def given(context: typer.Context) -> set[str]:
    """The options that were written on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


class Asked(Protocol):
    """What is asked for of the pictures of one video or feed."""

    @property
    def model(self) -> str: ...
    @property
    def strength(self) -> float | str: ...
    @property
    def fuse(self) -> int: ...
    @property
    def smooth(self) -> float | None: ...
    @property
    def upscale(self) -> object: ...


def without_effect(
    given: set[str],
    asked: Asked,
    *,
    stabilize: bool = False,
    preview: bool = False,
    more: Mapping[str, tuple[bool, str]] | None = None,
) -> list[str]:
    """What is to be said of options that change nothing, beside the others.

    `more` are others, each with whether what it needs is there, and what that is.
    """
    network = asked.model != "none" and asked.strength != 0
    enlarges = asked.upscale is not None
    smoothed = asked.strength != 0 or bool(asked.smooth)
    restores = network or (asked.fuse > 0 and asked.strength != 0)
    needs: dict[str, tuple[bool, str]] = {
        "crop": (stabilize, "--stabilize"),
        "upscaler": (enlarges, "--upscale"),
        "fuse": (smoothed, "--strength or --smooth above 0"),
        "smooth": (asked.fuse > 0, "--fuse above 0"),
        "delay": (asked.fuse > 0, "--fuse above 0"),
        "model": (asked.strength != 0, "--strength above 0"),
        "shutter": (restores, "a network or --fuse, and --strength above 0"),
        **dict.fromkeys(
            ("motion", "fov", "readout"),
            (restores or stabilize, "--stabilize, or a network or --fuse and --strength above 0"),
        ),
        "precision": (network or enlarges, "a network"),
        "engine": (network or enlarges, "a network"),
        "tile": (network or enlarges, "a network"),
        "preview_host": (preview, "--preview"),
        **(more or {}),
    }
    said = [
        f"--{name.replace('_', '-')} has no effect without {what}"
        for name, (met, what) in needs.items()
        if name in given and not met
    ]
    changed = restores or (asked.fuse > 0 and smoothed) or enlarges or stabilize
    if given & {"model", "fuse"} and not changed:
        said.append("nothing is restored with these options: neither network nor fusion is used")
    return said


def with_ports(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--preview` has its port, which may be left out."""
    given: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*given, *arguments[index:]]
        following = arguments[index + 1 : index + 2]
        bare = argument == "--preview" and not (following and following[0].isdigit())
        given.append(f"--preview={USUAL_PORT}" if bare else argument)
    return given


def span_of(
    start: str, duration: str | None, end: str | None = None, input: Path | None = None
) -> "Span":
    """What `--start` and `--duration` or `--end` say of `input`. Raises `UsageError`."""
    import stream

    begin = timestamp("--start", start, input)
    if end is not None:
        if duration is not None:
            raise stream.UsageError("--duration and --end say the same; use one of them")
        stop = timestamp("--end", end, input)
        if stop <= begin:
            raise stream.UsageError(f"--end {end} is not behind --start {start}")
        return stream.Span(begin, stop - begin)
    length = seconds("--duration", duration) if duration is not None else None
    return stream.Span(begin, length)
