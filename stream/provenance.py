"""The files that the program has made, so that it knows them again.

Of each there is a note in the user's own folder, by its path: size and time of change, by which it
is told from another file of that name, and what it was made of and how.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

_MOST = 20_000
"""Notes; of more than that the older half goes."""


def note(file: Path, job: Mapping[str, Any]) -> None:
    """Remember a file that was just made. Where that cannot be, it is not known again."""
    with suppress(OSError):
        where = _where(file)
        where.parent.mkdir(parents=True, exist_ok=True)
        notes = list(os.scandir(where.parent))
        if len(notes) > _MOST:
            notes.sort(key=lambda each: each.stat().st_mtime)
            for old in notes[: _MOST // 2]:
                Path(old.path).unlink()
        where.write_text(json.dumps({"file": _identity(file), "job": dict(job)}))


def of(file: Path) -> dict[str, Any] | None:
    """What a file was made of and how; None where it is not known, or no longer what was made."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(_where(file).read_bytes())
        if said["file"] == _identity(file):
            return dict(said["job"])
    return None


def by_us(file: Path) -> bool:
    """Whether the program has made a file, and nobody has changed it since."""
    return of(file) is not None


def _where(file: Path) -> Path:
    folder = platformdirs.user_data_path("deblur-stream", appauthor=False) / "made"
    return folder / f"{hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:32]}.json"


def _identity(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]
