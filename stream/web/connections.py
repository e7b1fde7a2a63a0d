"""How many may be connected to what listens here: those who are known apart from all others."""

import sys
from collections import Counter
from typing import Protocol

BACKLOG = 32
"""Connections that are taken at once, before it is seen how many there are."""
_MOST_KNOWN, _MOST_UNKNOWN = 128, 64
"""Of each kind, ..."""
_SHARE = 8
"""... and no more than this part of the files that the process may open: the rest is for what must
run whoever is connected."""
IDLE_S = 10.0
"""For whoever is not known to become so, or to go; of readers of RTSP also for the next request
where there is no session, and for anything to be taken."""


class Connection(Protocol):
    """A connection."""

    def abort(self) -> None:
        """End it at once."""
        ...


class Connections:
    """The connections of one listener. All is called in one asyncio loop.

    Where there are too many of whom nobody has proven anything, the oldest goes, of the address
    that most of them come from: whoever is honest needs but the time of a login, and those who are
    known are never sent away for others.
    """

    def __init__(self) -> None:
        share = _files() // _SHARE
        self._most_known, self._most_unknown = min(_MOST_KNOWN, share), min(_MOST_UNKNOWN, share)
        self._unknown: dict[Connection, str] = {}
        self._known: set[Connection] = set()

    def came(self, connection: Connection, host: str) -> None:
        """Take in a connection from `host`; another may have to go."""
        self._unknown[connection] = host
        if len(self._unknown) > self._most_unknown:
            ((crowd, _),) = Counter(self._unknown.values()).most_common(1)
            oldest = next(each for each, host in self._unknown.items() if host == crowd)
            self._shed(oldest)

    def know(self, connection: Connection) -> bool:
        """Note that it has proven who it is; False where there is no room for more of these."""
        if connection not in self._known:
            if len(self._known) >= self._most_known:
                return False
            self._unknown.pop(connection, None)
            self._known.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        """Forget it."""
        self._unknown.pop(connection, None)
        self._known.discard(connection)

    def late(self, connection: Connection) -> None:
        """Send it away, where nothing is known of it by now."""
        if connection in self._unknown:
            self._shed(connection)

    def _shed(self, connection: Connection) -> None:
        del self._unknown[connection]
        connection.abort()


def _files() -> int:
    """How many files this process may open."""
    if sys.platform == "win32":
        return 8192
    import resource

    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)
