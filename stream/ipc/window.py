"""Through which before and after are looked at, from another process, while anybody does."""

import struct
import time
from multiprocessing.context import SpawnContext

from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.memory import Shared

_OPEN_NS = 1_500_000_000
"""It stays open for so long after the last look."""
_TRIES = 4


class Window(Shared):
    """Holds the newest pair of pictures, before and after, of one moment.

    One process puts, another looks. It passes to processes as an argument of theirs, and by their
    lines. Whoever puts asks first whether it is `open`: it costs nothing while nobody looks.
    """

    def __init__(self, context: SpawnContext, max_before: int, max_after: int) -> None:
        """Pictures have up to so many pixels."""
        super().__init__(8)
        self.most = min(max_before, max_after)
        """Pixels of either that always fit."""
        self._before = Mailbox(context, max_before, readers=0)
        self._after = Mailbox(context, max_after, readers=0)

    def close(self, *, remove: bool = False) -> None:
        for each in (self._before, self._after):
            each.close(remove=remove)
        super().close(remove=remove)

    @property
    def open(self) -> bool:
        """Whether anybody has looked lately."""
        (looked,) = struct.unpack_from("=q", self._buffer, 0)
        return bool(looked) and time.monotonic_ns() - looked < _OPEN_NS

    def look(self) -> None:
        """Have pairs put for a while from now on."""
        struct.pack_into("=q", self._buffer, 0, time.monotonic_ns())

    def put(self, before: Picture, after: Picture) -> None:
        """Make this pair the newest."""
        self._before.put(before)
        self._after.put(after)

    @property
    def count(self) -> int:
        """The number of the newest pair; 0 where there is none yet."""
        return self._after.count

    def newest(self, after: int = 0) -> tuple[Picture, Picture] | None:
        """A copy of the newest pair, if its number is higher than `after`."""
        for _ in range(_TRIES):
            made = self._after.newest(after)
            taken = self._before.newest()
            if made is None or taken is None:
                return None
            if made.timestamp == taken.timestamp:
                return taken, made
        return None
