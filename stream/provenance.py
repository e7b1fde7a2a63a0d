"""The files that the program has made, so that it knows them again.

Of each there is a note in the user's own folder: what it was made of and how. It is found by the
file's name, size and time of change, so that files are known in whatever folder they are by now.
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
        where.write_text(json.dumps({"job": dict(job)}))


def of(file: Path) -> dict[str, Any] | None:
    """What a file was made of and how; None where it is not known, or no longer what was made."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return dict(json.loads(_where(file).read_bytes())["job"])
    return None


def by_us(file: Path) -> bool:
    """Whether the program has made a file, and nobody has changed it since."""
    return of(file) is not None


def _where(file: Path) -> Path:
    """Where the note on a file is. Raises `OSError` where there is no such file."""
    folder = platformdirs.user_data_path("deblur-stream", appauthor=False) / "made"
    real = Path(os.path.realpath(file))
    found = real.stat()
    known = f"{found.st_size} {found.st_mtime_ns} ".encode() + os.fsencode(real.name)
    return folder / f"{hashlib.sha256(known).hexdigest()[:32]}.json"
