"""How long to wait before what failed is tried again, and before it is told of again."""

import math
import random
import socket
import time

_FIRST_S, _MOST_S = 0.25, 5.0
_GROWTH = 1.5
"""From one wait to the next: a camera that answers while it still starts, for up to eight seconds,
is tried within two seconds of being ready."""
_MOST_HERE_S = 1.0
"""For what is no network: trying costs next to nothing."""
_GOOD_S = 10.0
"""A connection that worked for so long is forgotten as a failure."""
LOGIN_S = 30.0, 60.0
"""Between tries of a login that was refused: cameras lock accounts."""
_LOGINS = 3
"""Tries before that; the password may just have been changed in the camera."""
_PROBE_S = 0.5, 1.0
_SAY_S = 10.0


def back_off(tries: int, *, growth: float = 2.0, most_s: float = _MOST_S) -> float:
    """Seconds to wait after so many failures before: 0.25 at first, up to `most_s`, by chance a
    fifth more or less, as those who failed together should not try again together."""
    # There is no end to what fails for days, but to what a float can hold.
    delay_s = min(most_s, _FIRST_S * growth ** min(tries, 32))
    return min(most_s, delay_s * random.uniform(0.8, 1.2))


class Backoff:
    """Counts what failed, and says how long to wait."""

    def __init__(self, address: tuple[str, int] | None) -> None:
        """`address`: host and port, where the camera is in the network."""
        self.address = address
        self._tries = self._logins = 0

    def worked(self, seconds: float) -> None:
        """A connection gave pictures for so long."""
        self._logins = 0
        if seconds >= _GOOD_S:
            self._tries = 0

    def failed(self, *, login: bool) -> float:
        """Seconds to wait now; `login`: whether user and password were refused."""
        self._logins = self._logins + 1 if login else 0
        if self._logins > _LOGINS:
            return random.uniform(*LOGIN_S)
        most = _MOST_S if self.address else _MOST_HERE_S
        self._tries += 1
        return back_off(self._tries - 1, growth=_GROWTH, most_s=most)

    def returned(self) -> None:
        """The camera could not be reached at all, and now it can."""
        self._tries = 0

    def until_probe(self) -> float:
        """Seconds until the camera is looked for again while it cannot be reached."""
        return random.uniform(*_PROBE_S)

    def reachable(self) -> bool:
        """Whether anybody answers at the camera's address; takes up to a second."""
        if self.address is None:
            return True
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True


class RateLimiter:
    """Counts what happens again and again, to be told of once in ten seconds."""

    def __init__(self) -> None:
        self._count = 0
        self._told_s = -math.inf

    def note(self) -> None:
        """It has happened once more."""
        self._count += 1

    def due(self) -> int:
        """How often it has happened since it was told of, where it is to be told of now; else 0."""
        now = time.monotonic()
        if not self._count or now - self._told_s < _SAY_S:
            return 0
        count, self._count, self._told_s = self._count, 0, now
        return count
