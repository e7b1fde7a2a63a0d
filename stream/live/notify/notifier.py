"""Watches cameras, and tells whoever is to know what becomes of them."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from stream.ipc.stats import Snapshot
from stream.live.notify.events import Watch
from stream.live.notify.targets import Say, Target, Waiting

_LOOK_S = 1.0


class Watched(Protocol):
    """A camera that has figures."""

    name: str

    def snapshot(self) -> Snapshot:
        """How it does now."""
        ...


class Notifier:
    """Tells of cameras; all is called in one asyncio loop."""

    def __init__(self, cameras: Sequence[Watched], targets: Sequence[Target], say: Say) -> None:
        """`cameras` may become others while it runs."""
        self._cameras, self._targets, self._say = cameras, targets, say
        self._watches: dict[str, Watch] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        told = [(target, Waiting()) for target in self._targets]
        tasks = [asyncio.create_task(self._keep(*each)) for each in told]
        try:
            while True:
                now = time.monotonic()
                for camera in list(self._cameras):
                    watch = self._watches.setdefault(camera.name, Watch(camera.name, now))
                    for event in watch.see(camera.snapshot(), now):
                        news = event.to_json(datetime.now(UTC).isoformat(timespec="seconds"))
                        for _, waiting in told:
                            waiting.put(news)
                known = {camera.name for camera in self._cameras}
                self._watches = {
                    name: each for name, each in self._watches.items() if name in known
                }
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, target: Target, waiting: Waiting) -> None:
        try:
            await target.run(waiting, self._say)
        except Exception as error:
            self._say(f"{target.name}: unexpected {type(error).__name__}; it is told nothing more")
