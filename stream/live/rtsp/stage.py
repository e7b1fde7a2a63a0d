"""Where the output's thread meets the readers: what is served now, and to whom."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from stream.ipc.backoff import RateLimiter
from stream.live.rtsp.session import Session
from stream.live.rtsp.track import Batch, Presentation
from stream.web.login import Login, LoginLimiter


class Stage:
    """What all connections have in common. But where it says so, it is for the event loop alone."""

    def __init__(self, path: str, login: Login | None) -> None:
        self.path = path
        """Without slashes at its ends."""
        self.login = login
        self.attempts = LoginLimiter()
        self.sessions: set[Session] = set()
        self.notes: deque[str] = deque(maxlen=16)
        """What the user may want to know; any thread may take them away."""
        self.refused = 0
        """How many logins were wrong; any thread may ask."""
        self._untold = RateLimiter()
        self._show: Presentation | None = None
        self._shown = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def readers(self) -> int:
        """How many are playing; any thread may ask."""
        return sum(session.playing for session in list(self.sessions))

    def refuse(self, host: str) -> None:
        """Note a wrong login from `host`, and tell of it now and then."""
        self.refused += 1
        self._untold.note()
        if count := self._untold.due():
            logins = "login" if count == 1 else f"{count} logins"
            self.notes.append(f"refused {logins} with a wrong user or password, last from {host}")

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a method of this called in the event loop; any thread may do that."""
        self._loop.call_soon_threadsafe(function, *arguments)

    async def show(self) -> Presentation:
        """What is served, as soon as there is anything."""
        while self._show is None:
            await self._shown.wait()
        return self._show

    def begin(self, show: Presentation) -> None:
        """Serve a show."""
        self._show = show
        self._shown.set()

    def send(self, batch: Batch) -> None:
        """Give readers the next part of the show."""
        if self._show is not None:
            self._show.tracks[batch.track].sent(batch)
            for session in list(self.sessions):
                session.send(batch)

    def end(self) -> None:
        """Send everybody away: there is nothing more of this show."""
        self._show = None
        self._shown.clear()
        for session in list(self.sessions):
            session.end()
