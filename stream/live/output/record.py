"""Live video recorded into files, a new one every few minutes."""

import errno
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av

from stream.errors import SinkError
from stream.ipc.child import Control
from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.encoding.mux import LiveOutput, takes
from stream.live.encoding.video import Quality
from stream.live.output.writer import PlainTarget
from stream.paths import megabytes

_KILLED = {"flush_packets": "1", "max_interleave_delta": "100000"}
"""What is written is in the file at once, and sound that stays away does not keep pictures back."""
_MP4 = _KILLED | {"movflags": "hybrid_fragmented", "frag_duration": "1000000"}
"""Whole for a player every second, and an ordinary file in the end."""
CONTAINERS = {
    ".mkv": ("matroska", _KILLED | {"cluster_time_limit": "500"}),
    ".mp4": ("mp4", _MP4),
    ".m4v": ("mp4", _MP4),
    ".mov": ("mov", _MP4),
    ".ts": ("mpegts", _KILLED),
}
"""FFmpeg's name and options for each ending, with which a process that is killed costs at most
about the last second."""
_SPARE = 200_000_000
"""Bytes of the disk that are left free: a full disk harms more than a recording."""
_LOOK_S = 1.0
"""How often that is looked at, ..."""
_DELETE_S = 10.0
"""... and how often what is too much is deleted."""
_PARTS = 4
"""A recording that is limited by its size has at least so many files, of which the oldest goes."""


@dataclass(frozen=True)
class Recorder(PlainTarget):
    """Files `NAME-20260131-235900.mkv` beside each other, named after when they begin."""

    path: Path
    """The folder, and the name and ending of the files."""
    segment_s: float = 600.0
    """A new file begins after so long."""
    keep_s: float = 0.0
    """Files are deleted so long after they end; 0: never."""
    keep_bytes: int = 0
    """The oldest files are deleted where all are larger; 0: never."""
    quality: Quality | None = None
    spare: int = _SPARE
    """Bytes of free space below which nothing is recorded."""
    resizes = True
    repeats = False

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in CONTAINERS:
            known = ", ".join(CONTAINERS)
            raise SinkError(f"{self.path} cannot be recorded; its ending must be one of {known}")
        if not self.path.absolute().parent.is_dir():
            folder = self.path.absolute().parent
            raise SinkError(f"the folder {folder} does not exist; create it first")

    @property
    def name(self) -> str:
        """As it can be shown."""
        return str(self.path)

    def takes(self, sound: SoundFormat) -> bool:
        """Whether sound is written as it comes, or without loss."""
        return takes(CONTAINERS[self.path.suffix.lower()][0], sound)

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> "Recording":
        """Begin a file. Raises `OSError`."""
        return Recording(self, first, sound)


class Recording:
    """The files of pictures of one size, the newest of them open."""

    readers = refused = 0

    def __init__(self, target: Recorder, first: Picture, sound: SoundFormat | None) -> None:
        self._target = target
        self._format = sound
        self._looked_s = self._deleted_s = time.monotonic()
        self._path: Path | None = None
        self._before: LiveOutput | None = None
        """The file before, which still gets the sound up to the newest file's first picture."""
        self._file = self._begin(first)

    def push(self, picture: Picture) -> None:
        """Take one picture, into a new file where it is time for one."""
        self._end_before()
        large = False
        if time.monotonic() - self._looked_s > _LOOK_S:
            self._looked_s = time.monotonic()
            _check_space(self._target)
            large = self._is_large()
        if self._target.keep_bytes and time.monotonic() - self._deleted_s > _DELETE_S:
            self._delete_old()
        length = picture.timestamp - self._file.origin
        if large or length >= self._target.segment_s * 1_000_000_000:
            self._before, self._file = self._file, self._begin(picture)
        self._file.push(picture)

    def sound(self, sound: Sound) -> None:
        """Take one packet of sound."""
        if self._before is not None and sound.timestamp < self._file.origin:
            self._before.sound(sound)
        else:
            self._file.sound(sound)

    def close(self) -> None:
        """Finish."""
        try:
            self._end_before()
        finally:
            self._file.close()

    def _end_before(self) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            before.close()

    def _is_large(self) -> bool:
        """Whether the newest file alone takes much of what all may."""
        if not self._target.keep_bytes or self._path is None:
            return False
        return self._path.stat().st_size >= self._target.keep_bytes / _PARTS

    def _delete_old(self) -> None:
        self._deleted_s = time.monotonic()
        _delete_old(self._target, self._path)

    def _begin(self, first: Picture) -> LiveOutput:
        self._delete_old()
        _check_space(self._target)
        self._path = path = _new_file(self._target.path)
        format, options = CONTAINERS[path.suffix.lower()]
        container = av.open(
            f"file:{path.absolute()}", "w", format=format, container_options=options
        )
        return LiveOutput(container, first, self._format, quality=self._target.quality)


def _new_file(path: Path) -> Path:
    """Create the file that begins now; one that is there is never written over."""
    timestamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        again = f"_{number}" if number > 1 else ""  # sorted behind the name without it
        file = path.with_name(f"{path.stem}-{timestamp}{again}{path.suffix}")
        try:
            file.open("xb").close()
        except FileExistsError:
            continue
        return file
    raise FileExistsError(errno.EEXIST, f"too many files are named {path.stem}-{timestamp}")


def _delete_old(target: Recorder, written: Path | None) -> None:
    """Delete this recording's files that ended too long ago or are too much, and nothing else; not
    the one that is `written`."""
    if not target.keep_s and not target.keep_bytes:
        return
    path = target.path
    ours = re.compile(rf"{re.escape(path.stem)}-\d{{8}}-\d{{6}}(_\d+)?{re.escape(path.suffix)}")
    found = []
    for entry in os.scandir(path.absolute().parent):
        with suppress(FileNotFoundError):  # somebody else deletes as well
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                status = entry.stat()
                found.append((status.st_mtime, entry.name, status.st_size))
    all_bytes = 0
    for ended_s, name, size in sorted(found, reverse=True):
        all_bytes += size
        old = target.keep_s and ended_s < time.time() - target.keep_s
        much = target.keep_bytes and all_bytes > target.keep_bytes
        if (old or much) and (written is None or name != written.name):
            (path.absolute().parent / name).unlink(missing_ok=True)


def _check_space(target: Recorder) -> None:
    folder = target.path.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < target.spare:
        needed = megabytes(target.spare)
        raise OSError(f"only {megabytes(free)} are free in {folder}, and {needed} are kept free")
