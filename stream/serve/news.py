"""What changes in the queue, told to all who listen: as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from stream.serve.jobs import Job, State

_BEAT_S = 15.0
"""A comment is sent after so long without news, so that nothing on the way takes it for dead."""
_STUCK_S = 10.0
"""Who does not read for so long is let go of."""


class News:
    """Tells what becomes of jobs."""

    def __init__(self, shown: Callable[[Job], dict[str, Any]]) -> None:
        """`shown` is a job as it is told."""
        self._shown = shown
        self._listeners: set[_Listener] = set()
        self._closed = False

    def tell(self, changed: Job | int) -> None:
        """Tell of a job, or of the number of one that is deleted."""
        number = changed.number if isinstance(changed, Job) else changed
        for listener in self._listeners:
            if listener.number in (None, number):
                # Who is behind gets each job once, as it is then.
                listener.waiting[number] = changed
                listener.there.set()

    def close(self) -> None:
        """Let all who listen go."""
        self._closed = True
        for listener in self._listeners:
            listener.there.set()

    async def send(self, response: web.StreamResponse, job: Job | None = None) -> None:
        """Send news of all jobs until nobody reads any more, or of one, as it is now and until it
        has ended."""
        number = job.number if job is not None else None
        listener = _Listener(number)
        self._listeners.add(listener)
        if job is not None:
            self.tell(job)
        try:
            # The browser comes back after so many ms.
            await self._write(response, "retry: 2000\n\n")
            async for changed in self._news(listener):
                await self._write(response, self._event(changed))
                if number is not None and _ended(changed):
                    return
        finally:
            self._listeners.discard(listener)

    async def _news(self, listener: "_Listener") -> AsyncIterator[Job | int | None]:
        while not self._closed:
            try:
                await asyncio.wait_for(listener.there.wait(), _BEAT_S)
            except TimeoutError:
                yield None
                continue
            listener.there.clear()
            waiting, listener.waiting = listener.waiting, {}
            for changed in waiting.values():
                yield changed

    def _event(self, changed: Job | int | None) -> str:
        if changed is None:
            return ": still here\n\n"
        if isinstance(changed, Job):
            return f"event: job\ndata: {json.dumps(self._shown(changed))}\n\n"
        return f'event: deleted\ndata: {{"number": {changed}}}\n\n'

    async def _write(self, response: web.StreamResponse, text: str) -> None:
        await asyncio.wait_for(response.write(text.encode()), _STUCK_S)


class _Listener:
    def __init__(self, number: int | None) -> None:
        self.number = number
        self.waiting: dict[int, Job | int] = {}
        self.there = asyncio.Event()


def _ended(changed: Job | int | None) -> bool:
    return isinstance(changed, int) or (
        changed is not None and changed.state not in (State.QUEUED, State.RUNNING)
    )
