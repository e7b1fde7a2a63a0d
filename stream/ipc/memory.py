"""Memory that several processes share, and how much one process may take."""

import ctypes
import importlib.util
import re
import sys
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

_PIECE = 32 << 20
"""Bytes that FFmpeg takes at once, for what is no picture; ..."""
_PIXEL = 8
"""... and for each pixel of the largest picture, as 16 bits of four colors need them."""
_WHOLE = 512 << 20
"""Bytes that a process takes in all beside what it begins with; ..."""
_PIXELS = 96
"""... and for each pixel, as a decoder keeps up to 17 pictures of up to 6 bytes."""


def bound(max_pixels: int) -> None:
    """Let this process take no more memory than pictures of so many pixels need, whatever it reads.

    A packet, a header or a description that is larger then fails with `MemoryError`. Of all systems
    Linux alone bounds the whole, and Windows nothing.
    """
    linked = importlib.util.find_spec("av.logging")
    with suppress(OSError, AttributeError):
        # Of the libavutil that PyAV is linked to, which has no call for it.
        ctypes.CDLL(linked.origin if linked else None).av_max_alloc(
            ctypes.c_size_t(_PIECE + _PIXEL * max_pixels)
        )
    if sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text()
        if used := re.search(r"^VmData:\s+(\d+) kB$", status, re.M):
            most = (int(used[1]) << 10) + _WHOLE + _PIXELS * max_pixels
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


class Shared:
    """Bytes that other processes get as an argument of theirs; all are 0 at first."""

    def __init__(self, size: int) -> None:
        """`size`: bytes; memory is taken as they are written."""
        self._memory = SharedMemory(create=True, size=size)

    def close(self, *, remove: bool = False) -> None:
        """Let go of the memory; the process that made it removes it as well."""
        self._memory.close()
        if remove:
            self._memory.unlink()

    @property
    def name(self) -> str:
        """Under which processes find it; no other memory has the same."""
        return self._memory.name

    @property
    def _buffer(self) -> memoryview:
        assert self._memory.buf is not None
        return self._memory.buf
