"""Where a node keeps a piece while it is at work. Loads little, as a node may tidy up alone."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that is removed; those of processes of this machine that were killed are as well."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_prefix()}{os.getpid()}-") as name:
        yield Path(name)


def sweep() -> None:
    """Remove the folders of processes of this machine that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        number = left.name.removeprefix(_prefix()).partition("-")[0]
        if number.isdecimal() and not _lives(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _prefix() -> str:
    return f"deblur-piece-{platform.node()}-"


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
