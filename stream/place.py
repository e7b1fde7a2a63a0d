"""Where an output goes, and whether it can."""

import os
import shutil
from pathlib import Path

from stream.errors import SinkError, WriteError


def default_output(input: Path) -> Path:
    """`shaky.mp4` becomes `shaky.deblurred.mp4`.

    Containers that cannot keep everything, AVI's timestamps for one, become `.mkv`.
    """
    return input.with_name(f"{input.stem}.deblurred{kept_suffix(input)}")


def kept_suffix(input: Path) -> str:
    """The ending of a container that keeps what is in the input: its own where that can."""
    kept = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
    return input.suffix if input.suffix.lower() in kept else ".mkv"


def check_output(input: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse an output that is the input, by whatever name, or that would replace a file."""
    if output.is_dir():
        raise SinkError(f"{output} is a folder; name a file in it")
    if output.exists() and output.samefile(input):
        raise SinkError(f"{output} is the input itself; choose another output")
    part = output.with_name(f"{output.stem}.part{output.suffix}")
    if part.exists() and part.samefile(input):
        raise SinkError(f"{input} would be overwritten while it is read; choose another output")
    if output.exists() and not overwrite:
        raise SinkError(f"{output} exists already; replace it with --overwrite")
    if not output.parent.is_dir():
        raise SinkError(f"the folder {output.parent} does not exist; create it first")


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
