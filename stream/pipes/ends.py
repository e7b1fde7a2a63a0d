"""The ends of pipes: bytes in and out, in their order, with waits that can be ended."""

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stream.errors import CancelledError, NoInputError, ReaderLeftError, SinkError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

STANDARD = Path("-")
"""Standard input, or output."""
_LOOK_MS = 100
"""How often somebody who waits for the other side looks whether that is still wanted."""
_CLOSED = -1
"""A descriptor of nothing."""
_KNOWN = 1024
"""Bytes by which it is told what comes."""


def is_pipe(path: Path) -> bool:
    """Whether a path means standard input or output, or is a named pipe."""
    try:
        return path == STANDARD or stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


class Incoming:
    """What is read from, as FFmpeg reads a file that it cannot seek in."""

    def __init__(self, path: Path) -> None:
        """Raises `NoInputError`, and `UsageError` where it is a terminal."""
        self.name = "standard input" if path == STANDARD else str(path)
        try:
            # Without waiting for somebody who writes.
            opened = os.dup(0) if path == STANDARD else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise NoInputError(f"cannot read {self.name}: {error.strerror}") from error
        self._file = opened
        if os.isatty(opened):
            self.close()
            raise UsageError(
                "standard input is a terminal; let a program write a video to it, such as "
                "ffmpeg -i IN -f yuv4mpegpipe - | deblur run - OUT"
            )
        self._waiting = select.poll()
        self._waiting.register(opened, select.POLLIN)
        self._ended = False
        self._begins = b""

    def begins(self) -> bytes:
        """The first bytes, at most `_KNOWN` of them; they are read again."""
        while len(self._begins) < _KNOWN and (more := self._next(_KNOWN - len(self._begins))):
            self._begins += more
        return self._begins

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, once there are any; none at the end."""
        if self._begins:
            first, self._begins = self._begins[:size], self._begins[size:]
            return first
        return self._next(size)

    def end(self) -> None:
        """Read no more: whoever waits gets the end."""
        self._ended = True

    def close(self) -> None:
        os.close(self._file)

    def _next(self, size: int) -> bytes:
        while not self._ended:
            if self._waiting.poll(_LOOK_MS):
                try:
                    return os.read(self._file, size)
                except BlockingIOError:
                    continue
        return b""


class Outgoing:
    """What is written to, as FFmpeg writes a file that it cannot seek in."""

    def __init__(self, path: Path, file: int | None = None) -> None:
        """`file` is the descriptor of standard output, which `path` may stand for. Raises
        `UsageError` where that is a terminal."""
        if file is not None and os.isatty(file):
            raise UsageError("video is not written to a terminal; send it through | or to a file")
        self.name = "standard output" if path == STANDARD else str(path)
        self._path, self._own = path, file
        self._file = _CLOSED
        self._cancelled = self._gone = False

    def open(self) -> None:
        """Wait until somebody reads. Raises `SinkError`."""
        named = self._path if self._own is None else Path(f"/proc/self/fd/{self._own}")
        if self._own is not None and not stat.S_ISFIFO(os.fstat(self._own).st_mode):
            self._file = os.dup(self._own)
            return
        while self._file == _CLOSED:
            try:
                # Opened anew, so that it does not wait here and still does for others.
                self._file = os.open(named, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno == errno.ENXIO and self._own is not None:
                    raise self._left() from None
                if error.errno != errno.ENXIO:
                    raise SinkError(f"cannot write {self.name}: {error.strerror}") from error
                if self._cancelled:
                    raise CancelledError("stopped while nobody read the output") from None
                time.sleep(_LOOK_MS / 1000)

    @property
    def gone(self) -> bool:
        """Whether whoever read has left."""
        return self._gone

    def write(self, data: "Buffer") -> int:
        """Write all of it, as fast as it is read. Raises `ReaderLeftError` and `OSError`."""
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left.nbytes:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:
                self._wait()
            except BrokenPipeError:
                raise self._left() from None
        return size

    def cancel(self) -> None:
        """Write no more, also where that waits."""
        self._cancelled = True

    def close(self) -> None:
        if self._file != _CLOSED:
            os.close(self._file)
            self._file = _CLOSED

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self._file, select.POLLOUT)
        while not waiting.poll(_LOOK_MS):
            if self._cancelled:
                raise CancelledError("stopped at once")

    def _left(self) -> ReaderLeftError:
        self._gone = True
        return ReaderLeftError(f"whoever read {self.name} has left")
