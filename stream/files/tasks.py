"""Which files a command names, and where their outputs go."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import NoInputError, UsageError
from stream.paths import fitted, kept_suffix

VIDEOS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".m2t"),
        *(".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf"),
        *(".mod", ".tod", ".dv", ".rm", ".rmvb", ".divx", ".nut", ".y4m", ".h264", ".h265"),
        *(".264", ".265", ".hevc", ".insv", ".lrv"),
    )
)
"""Endings of the files that are taken from a folder."""


@dataclass(frozen=True)
class Task:
    """One file of a batch."""

    input: Path
    output: Path


def tasks_of(
    paths: Sequence[Path], list_file: Path | None = None, output: Path | None = None
) -> list[Task] | None:
    """The files that the arguments of a command name, and their outputs.

    `paths` are files, folders and patterns, and behind them a file or folder for the outputs
    unless `output` is that; `list_file` names inputs, one on a line. None if they name a single
    file and its output. Raises `UsageError` or `NoInputError`.
    """
    inputs, last = [*paths], output
    if output is None and (list_file is not None or len(inputs) > 1):
        last = inputs.pop() if inputs else None
    if list_file is not None:
        if inputs or last is None:
            raise UsageError("--list takes one more argument, the folder for the outputs")
        inputs = [*_listed(list_file)]
    elif len(inputs) == 1 and not _several(inputs[0]):
        alone = [(inputs[0], Path(inputs[0].name))]
        return _tasks(alone, last) if last is not None and is_folder(last) else None
    folder = last if last is not None else _extra(inputs[0])
    if not is_folder(folder) and (os.path.lexists(folder) or (last and folder.suffix)):
        raise UsageError(f"the outputs of several files need a folder, and {folder} is none")
    found = []
    for path in inputs:
        if list_file is not None and not os.path.lexists(path) and not _matches(path):
            found.append((path, Path(path.name)))  # which fails alone
        else:
            found += _found(path, folder)
    return _tasks(found, folder)


def is_folder(path: Path) -> bool:
    """Whether it is a folder, as far as that can be seen."""
    return os.path.isdir(path)  # noqa: PTH112 (Path's may raise)


def _several(path: Path) -> bool:
    return is_folder(path) or (glob.has_magic(str(path)) and not os.path.lexists(path))


def _matches(pattern: Path) -> list[str]:
    return glob.glob(str(pattern), recursive=True)  # noqa: PTH207 (Path's needs a root)


def _extra(path: Path) -> Path:
    if not is_folder(path):
        if not _matches(path):
            raise NoInputError(f"{path} does not exist")
        raise UsageError("a pattern needs a folder for the outputs behind it")
    return path.resolve().with_name(f"{path.resolve().name}.deblurred")


def _listed(file: Path) -> Iterator[Path]:
    """The inputs that a list names, by their paths from where it lies; "-" is standard input."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        lines = data.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise NoInputError(f"cannot read the list {file}: {reason}") from error
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield file.parent / line.strip()


def _found(path: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Inputs, each with its place in the folder of the outputs."""
    if is_folder(path):
        inside = out.resolve()
        for root, folders, names in os.walk(path, onerror=_unreadable):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and (Path(root) / name).resolve() != inside
            )
            for name in sorted(names):
                file = Path(root) / name
                if file.suffix.lower() in VIDEOS and not _ours(file):
                    yield file, file.relative_to(path)
    elif _several(path):
        matches = sorted(_matches(path))
        if not matches:
            raise NoInputError(f"nothing matches {path}")
        for match in map(Path, matches):
            if os.path.isfile(match) and not _ours(match):  # noqa: PTH113 (as is_folder)
                yield match, Path(match.name)
    else:
        yield path, Path(path.name)


def _unreadable(error: OSError) -> None:
    raise NoInputError(f"cannot read the folder {error.filename}: {error.strerror}")


def _ours(file: Path) -> bool:
    """Whether a file was made here, or is being made."""
    return file.name.startswith(".") or file.stem.endswith((".part", ".deblurred"))


def _tasks(found: Iterable[tuple[Path, Path]], folder: Path) -> list[Task]:
    pairs = list(dict.fromkeys(found))
    made = [folder / place_of(place) for _, place in pairs]
    if twice := [output for output, count in Counter(made).items() if count > 1]:
        raise UsageError(f"several inputs have the name {twice[0].name}; give them one folder each")
    return [Task(input, output) for (input, _), output in zip(pairs, made, strict=True)]


def place_of(place: Path) -> Path:
    """Where in the folder an output goes; what changes its container keeps its old ending too.

    So clip.avi and clip.mkv have outputs of their own, whichever is there first.
    """
    suffix = kept_suffix(place)
    return place if suffix == place.suffix else fitted(place.parent, place.name, suffix)
