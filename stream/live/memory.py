"""Memory that several processes share."""

from multiprocessing.shared_memory import SharedMemory


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
