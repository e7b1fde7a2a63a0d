"""The unfinished work of a job: segments of restored video on disk, and what makes them whole.

A job keeps what it has done in a folder beside its output, `clean.mp4.part` for `clean.mp4`:

    job.json                  the input and the settings that the work belongs to
    index.jsonl               one line for each finished segment, with the times of its frames
    00000000.mkv              the segment that begins with frame 0: video alone, can be played
    00000060.mkv
    frames-00000120.safetensors  frames that are restored and not yet in a finished segment
    memory-00000131.safetensors  with --stabilize, how the camera had moved up to the last of them
    whole.mp4                 the whole file, while it is put together and checked
    done.json                 of a piece of a video, that all of it is there
    lock                      held by the process at work

A segment always holds the same frames, whatever happened on the way, and is encoded by an encoder
of its own; so work that was interrupted gives the very file that uninterrupted work gives. Files
get their names once they are whole, so a crash leaves none that is half written; against a power
cut they are put on the disk every second, and checksums tell which of them are what they were.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from filters import Coding
from stream.errors import SinkError
from stream.frame import Frame, Memory
from stream.output.checked_files import crc_of, load, packed
from stream.paths import fitted, put_on_disk, target_of

_log = logging.getLogger(__name__)

_KEEP_S = 0.5
"""How often restored frames are written, against a crash."""
_SYNC_S = 1.0
"""How often what is done is put on the disk, against a power cut."""


@dataclass(frozen=True)
class Segment:
    """A finished piece of the restored video."""

    file: Path
    pts: tuple[int, ...]
    """When each of its frames is shown, in the job's time base."""
    clean: bool = False
    """Whether the input was whole, and timed as its file says, up to the segment's end."""

    @property
    def frames(self) -> int:
        return len(self.pts)


class JobCheckpoint:
    """The folder of one job. Held by one process at a time."""

    def __init__(self, folder: Path, lock: FileLock, job: Mapping[str, Any]) -> None:
        self.folder = folder
        self.job = job
        self.segments: list[Segment] = []
        self.bytes = 0
        """Size of all finished segments."""
        self._lock = lock
        self._kept: dict[int, int] = {}
        """How many frames are in the file that begins with a frame."""
        self._keeps = True
        self._pending: list[Frame] = []
        self._memory: Memory = {}
        """Of the last one that is pending."""
        self._memories: list[int] = []
        self._due: set[Path] = set()
        self._written = self._synced = time.monotonic()

    @classmethod
    def begin(cls, folder: Path, job: Mapping[str, Any]) -> "JobCheckpoint":
        """Begin anew in `folder`; what an earlier job left there is removed.

        Raises `SinkError`.
        """
        work = cls(folder, _hold(folder), job)
        try:
            work._clear()
            work._write(folder / "job.json", json.dumps(job, indent=2).encode() + b"\n")
        except OSError as error:
            work.close()
            raise SinkError(f"cannot write to {folder}: {error.strerror}") from error
        return work

    @classmethod
    def resume(cls, folder: Path) -> "JobCheckpoint":
        """Go on with what lies in `folder`. Raises `SinkError`."""
        lock = _hold(folder)
        try:
            work = cls(folder, lock, json.loads((folder / "job.json").read_bytes()))
            work._read_index()
            work._read_kept()
            work._drop_rest()
        except (OSError, ValueError, KeyError, TypeError) as error:
            lock.release()
            raise SinkError(
                f"the unfinished work in {folder} is damaged ({error}); begin anew with --overwrite"
            ) from error
        return work

    @property
    def done(self) -> int:
        """How many frames, from the first one on, need not be restored again."""
        return self.in_segments + sum(self._kept.values())

    def known(self, before: int) -> tuple[int, int | None]:
        """How many frames need not be decoded again where as many as `before` of those that are
        done are needed, and when the last of them is shown; None: that is not known for sure."""
        count = self.in_segments - before
        if count <= 0 or not self.segments[-1].clean:
            return 0, None
        rest = count
        for segment in self.segments:
            if rest <= segment.frames:
                return count, segment.pts[rest - 1]
            rest -= segment.frames
        raise AssertionError

    @property
    def in_segments(self) -> int:
        """How many frames are in finished segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def next_file(self) -> Path:
        """The name that the next segment will have."""
        return self.folder / f"{self.in_segments:08}.mkv"

    def finish(self, written: Path, pts: tuple[int, ...], memory: Memory, *, clean: bool) -> None:
        """Take a segment, written whole into the folder under another name."""
        file, first = self.next_file, self.in_segments
        written.replace(file)
        self._remember(first + len(pts) - 1, memory)
        self.bytes += file.stat().st_size
        self.segments.append(Segment(file, pts, clean))
        with (self.folder / "index.jsonl").open("ab") as index:
            index.write(self._line(self.segments[-1]))
        self._put_on_disk(file, self.folder / "index.jsonl")
        self.keep_none()
        self._forget()

    def keep(self, frame: Frame) -> None:
        """Keep a restored frame until its segment is finished.

        Frames are written together, twice a second or when `write_kept` is called. Where they do
        not fit on the disk, the segment may, and is gone on with.
        """
        if not self._keeps:
            return
        # Of the others' memory nothing is ever asked.
        self._pending.append(replace(frame, memory={}))
        self._memory = frame.memory
        if time.monotonic() - self._written >= _KEEP_S:
            self.write_kept()

    def write_kept(self) -> None:
        """Write the frames that are to be kept and are not yet on disk."""
        if not self._pending:
            return
        frames, first = self._pending, self.done
        file, memory = self.folder / _frames_file(first), self._memory
        tensors = {
            f"{number:04}.{index}": plane
            for number, frame in enumerate(frames)
            for index, plane in enumerate(frame.stored)
        }
        self._pending, self._memory = [], {}
        try:
            self._remember(first + len(frames) - 1, memory)
            self._save(file, tensors, {"pts": json.dumps([frame.pts for frame in frames])})
        except OSError as error:
            _log.debug("frames are not kept: %s", error)
            # No frames follow a gap.
            self._keeps = False
            file.with_name(f"{file.name}.tmp").unlink(missing_ok=True)
            return
        self._kept[first] = len(frames)
        self._forget()
        self._put_on_disk(file)
        self._written = time.monotonic()

    def keep_none(self) -> None:
        """Drop the frames that are kept."""
        for first in self._kept:
            (self.folder / _frames_file(first)).unlink(missing_ok=True)
        self._kept, self._pending, self._memory, self._keeps = {}, [], {}, True

    def kept(self, coding: Coding, time_base: Fraction) -> Iterator[Frame]:
        """The frames that are restored but in no finished segment."""
        for first in self._kept:
            tensors, said = load(self.folder / _frames_file(first))
            for number, pts in enumerate(json.loads(said["pts"])):
                names = sorted(name for name in tensors if name.startswith(f"{number:04}."))
                planes = [tensors[name] for name in names]
                alpha = planes.pop() if coding.alpha else None
                yield Frame(tuple(planes), coding, int(pts), time_base, alpha)

    def memory(self) -> Memory:
        """What was remembered after the last frame done."""
        file = self.folder / _memory_file(self.done - 1)
        return load(file)[0] if file.exists() else {}

    def close(self) -> None:
        """Let go of the folder and leave it for later."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the folder and what the job put into it."""
        with suppress(OSError):
            self._clear()
        self._lock.release()
        with suppress(OSError):
            (self.folder / "lock").unlink(missing_ok=True)
            self.folder.rmdir()

    def _put_on_disk(self, *files: Path) -> None:
        """Have what was written put on the disk, against a power cut, once a second at most."""
        self._due.update(files)
        now = time.monotonic()
        if now - self._synced < _SYNC_S:
            return
        for file in [*self._due, self.folder]:
            with suppress(FileNotFoundError):  # frames that are in a segment by now
                put_on_disk(file)
        self._due.clear()
        self._synced = now

    def _line(self, segment: Segment) -> bytes:
        size = segment.file.stat().st_size
        said = {
            "file": segment.file.name,
            "bytes": size,
            "crc32": crc_of(segment.file),
            "pts": segment.pts,
            "clean": segment.clean,
        }
        return json.dumps(said).encode() + b"\n"

    def _clear(self) -> None:
        # By name, so that nothing goes that was not put there by a job.
        for pattern in _OURS:
            for file in self.folder.glob(pattern):
                file.unlink()

    def _read_index(self, *, check: bool = True) -> None:
        try:
            lines = (self.folder / "index.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                said = json.loads(line)
                file = self.folder / Path(said["file"]).name
                whole = file == self.next_file and file.stat().st_size == said["bytes"]
                whole = whole and (not check or crc_of(file) == said["crc32"])
            except (ValueError, KeyError, TypeError, OSError):
                whole = False
            if not whole:
                _log.debug("what follows %s is not whole", self.next_file)
                return
            self.segments.append(Segment(file, tuple(said["pts"]), bool(said["clean"])))
            self.bytes += int(said["bytes"])

    def _read_kept(self) -> None:
        with suppress(OSError, ValueError, KeyError, SafetensorError):
            while True:
                said = load(self.folder / _frames_file(self.done))[1]
                self._kept[self.done] = len(json.loads(said["pts"]))
        # What steadies the camera must go on where the frames end.
        while self._kept and not self._has_memory(self.done - 1):
            self._kept.popitem()

    def _drop_rest(self) -> None:
        """Remove what cannot be gone on with: half-written files, and frames behind a gap."""
        # What a crash left of a last line must not stand before the next one.
        self._write(self.folder / "index.jsonl", b"".join(map(self._line, self.segments)))
        used = {segment.file.name for segment in self.segments}
        used |= {_frames_file(first) for first in self._kept}
        self._memories = sorted({self.in_segments - 1, self.done - 1})
        used |= {_memory_file(index) for index in self._memories}
        for pattern in ("*.tmp", "*.mkv", "frames-*", "memory-*", "whole.*"):
            for file in self.folder.glob(pattern):
                if file.name not in used:
                    file.unlink()

    def _has_memory(self, index: int) -> bool:
        if not any(self.folder.glob("memory-*")):
            return True  # nothing is remembered
        with suppress(OSError, ValueError, SafetensorError):
            load(self.folder / _memory_file(index))
            return True
        return False

    def _remember(self, index: int, memory: Memory) -> None:
        if memory:
            file = self.folder / _memory_file(index)
            self._save(file, memory, {})
            self._due.add(file)
            self._memories.append(index)

    def _forget(self) -> None:
        """Drop older memories, but for that of the last finished segment and the one before."""
        keep = {*self._memories[-2:], self.in_segments - 1}
        for index in self._memories:
            if index not in keep:
                (self.folder / _memory_file(index)).unlink(missing_ok=True)
        self._memories = [index for index in self._memories if index in keep]

    def _save(self, file: Path, tensors: Mapping[str, Any], said: dict[str, str]) -> None:
        self._write(file, packed(tensors, said))

    def _write(self, file: Path, data: bytes) -> None:
        written = file.with_name(f"{file.name}.tmp")
        written.write_bytes(data)
        written.replace(file)


def folder_of(output: Path) -> Path:
    """Where the work for an output lies until it is finished."""
    output = target_of(output)
    return fitted(output.parent, output.name, ".part")


def check_free(folder: Path) -> None:
    """Raise `SinkError` where another run holds a job's folder, or it is none."""
    if os.path.lexists(folder):
        _hold(folder).release()


def model_of(folder: Path) -> str | None:
    """The fingerprint of the model that the work in `folder` was begun with."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / "job.json").read_bytes())["model"])
    return None


def frames_done(folder: Path) -> int:
    """How many frames of the job in `folder` need not be restored again."""
    work = JobCheckpoint(folder, FileLock(folder / "lock"), {})
    work._read_index(check=False)
    work._read_kept()
    return work.done


_OURS = ("*.json", "index.jsonl", "*.mkv", "frames-*", "memory-*", "*.tmp", "whole.*")


def _frames_file(first: int) -> str:
    return f"frames-{first:08}.safetensors"


def _memory_file(index: int) -> str:
    return f"memory-{index:08}.safetensors"


def _hold(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock", timeout=0)
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise SinkError(f"{folder} is in the way: the work is kept there; move it")
        folder.mkdir(exist_ok=True)
        if {each.name for each in folder.iterdir()} - {"lock"} and not (
            folder / "job.json"
        ).exists():
            raise SinkError(f"{folder} is in the way: it holds something else; move it")
        lock.acquire()
    except Timeout:
        raise SinkError(
            f"another run is writing this output already ({folder} is in use); "
            "wait for it or choose another output"
        ) from None
    except OSError as error:
        raise SinkError(f"cannot write to {folder.parent}: {error.strerror}") from error
    return lock
