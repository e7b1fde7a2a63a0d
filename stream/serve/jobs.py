"""The queue: jobs in an SQLite file, which hold whatever becomes of the process.

A queue library that hands a job out and forgets it would lose the one in hand when it is killed;
here a job is in its row from the moment it is taken in until it is deleted.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from stream.errors import SinkError

Origin = Literal["path", "upload", "watch"]
MOST_ATTEMPTS = 20
"""A job during which the service died so often is not begun again by itself: it may be why."""

_SCHEMA = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    path TEXT,
    size INTEGER NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    exit_code INTEGER,
    said TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]',
    output TEXT,
    report TEXT
);
CREATE INDEX job_state ON job (state, number);
CREATE TABLE taken (path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


class State(StrEnum):
    """What a job is at."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Job:
    """A file to restore, and what became of it."""

    number: int
    key: str
    """Of its folder: uploads have one before they are a job."""
    name: str
    origin: Origin
    path: str | None
    """In the folder of inputs; None of an upload, which lies in the job's own folder."""
    size: int
    """Bytes of the input."""
    options: dict[str, Any]
    state: State
    attempts: int
    """How often it was begun."""
    created: float
    """In seconds since 1970, as all times are, ..."""
    started: float | None
    finished: float | None
    exit_code: int | None
    """Of `deblur run`; None where it was not seen to end, and minus a signal's number where one
    ended it."""
    said: str
    """What became of it, in one line."""
    notes: list[str]
    output: str | None
    """In the folder of outputs, once it is whole; before, the name that it is about to get."""
    report: dict[str, Any] | None
    """What `deblur run --json` said."""

    @property
    def whole(self) -> str | None:
        """The output, once it is whole."""
        return self.output if self.state == State.DONE else None


_COLUMNS = [each.name for each in fields(Job)]
_JSON = "options", "notes", "report"


class Jobs:
    """The queue. All is called in one asyncio loop; each change is on the disk when it returns."""

    def __init__(self, file: Path) -> None:
        """Opens or makes the file. Raises `SinkError` where another service has it."""
        self._changed: list[Callable[[Job | int], None]] = []
        self._base = sqlite3.connect(file, isolation_level=None, timeout=2.0)
        try:
            # Nobody else may look into it, and so no shared memory is needed, which network shares
            # do not have.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("BEGIN EXCLUSIVE")
            (version,) = self._base.execute("PRAGMA user_version").fetchone()
            self._base.execute("COMMIT")
            if version == 0:
                self._base.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
            elif version != 1:
                raise SinkError(f"{file} is of a newer version of this program")
        except sqlite3.OperationalError as error:
            self._base.close()
            if "locked" in str(error):
                raise SinkError("another deblur serve is at work with this --out") from None
            raise SinkError(f"cannot write {file}: {error}") from None
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise SinkError(f"{file} is damaged ({error}); move it away to begin anew") from None

    def close(self) -> None:
        """Let others have the file."""
        self._base.close()

    def tell(self, changed: Callable[[Job | int], None]) -> None:
        """Call this with each job that changes, or the number of one that is deleted."""
        self._changed.append(changed)

    def add(
        self,
        name: str,
        origin: Origin,
        path: str | None,
        size: int,
        options: dict[str, Any],
        *,
        key: str | None = None,
        taken: int | None = None,
    ) -> Job:
        """Take in a job; of what was found in a watched folder `taken` is its time of change, in
        ns, and the file is never taken a second time as it is."""
        self._base.execute("BEGIN")
        try:
            made = self._base.execute(
                "INSERT INTO job (key, name, origin, path, size, options, state, created)"
                " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)",
                (key or new_key(), name, origin, path, size, json.dumps(options), time.time()),
            )
            if taken is not None:
                self._base.execute(
                    "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)", (path, size, taken)
                )
            self._base.execute("COMMIT")
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        assert made.lastrowid is not None
        return self._told(made.lastrowid)

    def get(self, number: int) -> Job | None:
        found = self._base.execute("SELECT * FROM job WHERE number = ?", (number,)).fetchone()
        return _job(found) if found is not None else None

    def all(
        self, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Job]:
        """The newest jobs, the newest first; of one state, and older than one, where asked for."""
        found = self._base.execute(
            "SELECT * FROM job WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR number < ?2)"
            " ORDER BY number DESC LIMIT ?3",
            (state, before, limit),
        )
        return [_job(row) for row in found]

    def counts(self) -> dict[State, int]:
        """How many jobs there are of each state."""
        found = dict(self._base.execute("SELECT state, count(*) FROM job GROUP BY state"))
        return {state: int(found.get(state, 0)) for state in State}

    def keys(self) -> set[str]:
        return {key for (key,) in self._base.execute("SELECT key FROM job")}

    def was_taken(self, path: str, size: int, changed: int) -> bool:
        """Whether a file of a watched folder, as it is, was taken in before."""
        row = self._base.execute("SELECT size, changed FROM taken WHERE path = ?", (path,))
        return bool(row.fetchone() == (size, changed))

    def next(self) -> Job | None:
        """The oldest job that waits, which is running from now on."""
        found = self._base.execute(
            "UPDATE job SET state = 'running', attempts = attempts + 1, started = ?,"
            " finished = NULL, exit_code = NULL, said = '', notes = '[]' WHERE number ="
            " (SELECT min(number) FROM job WHERE state = 'queued') RETURNING number",
            (time.time(),),
        ).fetchall()
        return self._told(found[0][0]) if found else None

    def set(self, number: int, **values: Any) -> Job:
        """Change columns of a job."""
        names = ", ".join(f"{name} = ?" for name in values)
        given = [json.dumps(each) if name in _JSON else each for name, each in values.items()]
        self._base.execute(f"UPDATE job SET {names} WHERE number = ?", (*given, number))
        return self._told(number)

    def delete(self, number: int) -> None:
        self._base.execute("DELETE FROM job WHERE number = ?", (number,))
        for changed in self._changed:
            changed(number)

    def _told(self, number: int) -> Job:
        job = _job(self._base.execute("SELECT * FROM job WHERE number = ?", (number,)).fetchone())
        for changed in self._changed:
            changed(job)
        return job


def new_key() -> str:
    """Of a job that is about to be."""
    return secrets.token_hex(8)


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _JSON:
        values[name] = json.loads(values[name]) if values[name] is not None else None
    return Job(**values | {"state": State(values["state"])})
