"""What the arguments of `deblur run` name: files, pipes or images."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from stream.colors import ColorTags
    from stream.files.tasks import Task
    from stream.images.pattern import Pattern
    from stream.pipes.form import RawFormat

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_RATE = re.compile(r"\d{1,7}(?:\.\d{1,6}|/\d{1,7})?")


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


@dataclass(frozen=True)
class Named:
    """What is read and written."""

    paths: list[Path]
    list_file: Path | None
    to: Path | None
    raw: "RawFormat | None"
    """How the input is stored, where it is raw video."""
    shots: SequenceOptions | None
    """Images that are read or written, if any are."""
    ends: tuple[Path, Path] | None
    """Input and output, where one of them is a pipe or images, or the input is raw video."""

    @classmethod
    def of(
        cls,
        paths: list[Path],
        list_file: Path | None,
        to: Path | None,
        raw: "RawFormat | None",
        *,
        sequence: bool,
    ) -> Self:
        """Raises a `DeblurError`."""
        from stream.paths import check_input, is_address

        for path in filter(is_address, paths):
            check_input(path)
        shots = _shots_of(paths if list_file is None else [], to, sequence=sequence)
        ends = _ends_of(paths, list_file, to, raw)
        if shots is not None and raw is None:
            ends = shots.input, shots.output
        return cls(paths, list_file, to, raw, shots, ends)

    @cached_property
    def tasks(self) -> "list[Task] | None":
        """What is to be done where files are several, or found in folders; None: one file, or
        what is no file. Raises a `DeblurError`."""
        from stream.files.tasks import tasks_of

        return None if self.ends is not None else tasks_of(self.paths, self.list_file, self.to)

    @property
    def alone(self) -> Path | None:
        """The only video file that is read."""
        return self.paths[0] if self.ends is None and self.tasks is None else None

    @property
    def output(self) -> Path | None:
        """What is written to, where it is named beside one input."""
        if self.to is not None:
            return self.to
        return self.paths[1] if len(self.paths) == 2 else None

    @property
    def replaces(self) -> Literal[True, "own"]:
        """What an output that is there is replaced for: whatever it is where -o names the file,
        else "own". A place alone, as *.mp4 may name on the way, is no word for it."""
        named = self.to is not None and self.tasks is None
        # Images and pipes have no name of their own that is not written.
        return True if named or (self.ends is not None and len(self.paths) < 2) else "own"

    def check_input(self) -> None:
        """Raise a `DeblurError` if one file is to be read that is not there."""
        from stream.paths import check_input

        found = [task.input for task in self.tasks or ()] if self.alone is None else [self.alone]
        if len(found) == 1:
            check_input(found[0])


def _ends_of(
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


def colors_of(color: str | None) -> "ColorTags":
    """What is said of the colors of what comes by a pipe. Raises `UsageError`."""
    from stream.colors import UNTAGGED, ColorTags

    return UNTAGGED if color is None else ColorTags.parse(color)


def _shots_of(
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
