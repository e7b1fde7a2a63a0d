"""Whether there is room on the disks, and whether anything can be written there at all."""

import shutil
import tempfile
from pathlib import Path

from stream.doctor.checks.finding import Facts, Finding, attempt, gigabytes

_LITTLE = 2e9
"""Bytes: an hour of 1920x1080, visually lossless, is several times that."""


def look() -> list[Finding]:
    """The temporary folder and the current one, unnamed: a name can tell who somebody is."""
    found = attempt("temporary folder", lambda: _folder("temporary folder", tempfile.gettempdir()))
    found += attempt("current folder", lambda: _folder("current folder", str(Path.cwd())))
    return found


def _folder(what: str, path: str) -> Finding:
    free = shutil.disk_usage(path).free
    facts: Facts = {"free": free}
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        said = f"{gigabytes(free)} free, but nothing can be written there: {error.strerror}"
        return Finding(what, "note", said, "write to another folder", facts)
    if free < _LITTLE:
        said = f"{gigabytes(free)} free, which is little"
        return Finding(what, "note", said, "a run needs twice the size of its output", facts)
    return Finding(what, "ok", f"{gigabytes(free)} free", facts=facts)
