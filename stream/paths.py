"""Where an output goes, and whether it can."""

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

from stream import provenance
from stream.errors import NoInputError, SinkError, WriteError

Overwrite = bool | Literal["own"]
"""Whether files are replaced; "own": those that the program has made itself."""

_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]{2,9}:/(?!$)")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_address(path: Path) -> bool:
    """Whether what shall be a file is an address, of which a path has lost a slash."""
    return bool(_ADDRESS.match(str(path))) and not os.path.lexists(path)


def check_input(path: Path) -> None:
    """Refuse what is no file that can be read, without opening what could block."""
    if is_address(path):
        # It may hold a password, and is not shown.
        raise NoInputError("the input is an address, and a file is needed; see deblur live -h")
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFDIR:
            raise NoInputError(f"{path} is a folder, not a video file")
        if kind in _KINDS:
            if kind == stat.S_IFIFO:
                # Whoever waits to write shall learn that nobody reads.
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            raise NoInputError(
                f"{path} is {_KINDS[kind]}, and a file is needed, as it is read more than once; "
                "write it into a file first"
            )
        with path.open("rb"):
            pass
    except FileNotFoundError:
        numbered = re.search(r"%\d*d", path.name)
        hint = "; a sequence of images needs --sequence" if numbered else ""
        raise NoInputError(f"{path} does not exist{hint}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NoInputError(f"cannot read {path}: {reason}") from error


def default_output(input: Path) -> Path:
    """`shaky.mp4` becomes `shaky.deblurred.mp4`.

    Containers that cannot keep everything, AVI's timestamps for one, become `.mkv`.
    """
    return fitted(input.parent, input.stem, f".deblurred{kept_suffix(input)}")


def kept_suffix(input: Path) -> str:
    """The ending of a container that keeps what is in the input: its own where that can."""
    kept = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
    return input.suffix if input.suffix.lower() in kept else ".mkv"


def fitted(folder: Path, stem: str, ending: str) -> Path:
    """A file in `folder`, its name shortened where the file system takes none that long."""
    try:
        most = os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        most = 255
    name, room = os.fsencode(stem), most - len(os.fsencode(ending))
    if len(name) <= room:
        return folder / f"{stem}{ending}"
    # Names that begin alike stay two names.
    mark = f"~{hashlib.sha256(name).hexdigest()[:8]}"
    return folder / f"{name[: room - len(mark)].decode(errors='ignore')}{mark}{ending}"


def target_of(output: Path) -> Path:
    """The file that is written: an output that is a symbolic link is written through it."""
    # Path's raises for names that are too long.
    linked = os.path.islink(output)  # noqa: PTH114
    return Path(os.path.realpath(output)) if linked else output


def check_output(input: Path, output: Path, *, overwrite: Overwrite) -> None:
    """Refuse an output that is the input, by whatever name, or that would replace a file."""
    if is_address(output):
        raise SinkError("the output is an address, and a file is needed; see deblur live -h")
    try:
        found = _stat(output)
        if found is not None:
            if stat.S_ISDIR(found.st_mode):
                raise SinkError(f"{output} is a folder; name a file in it")
            if not stat.S_ISREG(found.st_mode):
                kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
                raise SinkError(f"{output} is {kind}; the output must be a file")
            if os.path.samestat(found, input.stat()):
                raise SinkError(f"{output} is the input itself; choose another output")
            if not overwrite and provenance.by_us(output):
                raise SinkError(f"{output} exists already; replace it with --overwrite")
            if not may_replace(output, overwrite):
                raise SinkError(
                    f"{output} exists already and was not made by deblur; choose another name, or "
                    f"replace it with -o {output} --overwrite (several inputs need a folder at "
                    "the end)"
                )
        if not output.parent.is_dir():
            raise SinkError(f"the folder {output.parent} does not exist; create it first")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SinkError(f"cannot write {output}: {reason}") from error


def may_replace(output: Path, overwrite: Overwrite) -> bool:
    """Whether a file that is there may be replaced."""
    if overwrite == "own":
        return provenance.by_us(output) or output.stat().st_size == 0
    return overwrite


def publish(part: Path, output: Path, *, overwrite: Overwrite) -> None:
    """Give a file that is whole its name.

    Raises `FileExistsError` where another one has it by now that may not be replaced, `OSError`.
    """
    if _stat(output) is not None and may_replace(output, overwrite):
        part.replace(output)
        return
    try:
        # Unlike renaming, this never replaces a file.
        os.link(part, output)
    except FileExistsError:
        raise
    except OSError:
        # Not all file systems have hard links. What is replaced then is what was made here.
        os.close(os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        part.replace(output)
    else:
        part.unlink()


def publish_beside(part: Path, output: Path, *, overwrite: Overwrite) -> Path:
    """Give a file that is whole a name that is free: this one, or one with a number behind it.

    Raises `OSError`.
    """
    for name in _names(output):
        try:
            publish(part, name, overwrite=overwrite)
        except FileExistsError:
            continue
        return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(output))


def _names(output: Path) -> Iterator[Path]:
    yield output
    for number in count(2):
        if number > 1000:
            return
        yield fitted(output.parent, output.stem, f"-{number}{output.suffix}")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def check_space(input: Path, folder: Path) -> None:
    """Refuse to begin what the disk has clearly no room for."""
    disk, needed = shutil.disk_usage(folder), input.stat().st_size
    free = disk.free
    if disk.total and free < needed:  # what is no disk has no size either
        raise WriteError(
            f"only {megabytes(free)} are free in {folder} and {input.name} alone has "
            f"{megabytes(needed)}; free some space"
        )


def put_on_disk(path: Path) -> None:
    """Make the system put a file or folder on the disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def megabytes(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size / 1e6:.1f} MB"


def identity(file: Path) -> list[Any]:
    """A file's size, and the SHA-256 of its first and last MiB."""
    size, end = file.stat().st_size, 1 << 20
    with file.open("rb") as opened:
        digest = hashlib.sha256(opened.read(end))
        opened.seek(max(size - end, 0))
        digest.update(opened.read(end))
    return [size, digest.hexdigest()]
