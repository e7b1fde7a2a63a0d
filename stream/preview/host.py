"""Where the preview is kept up from: beside the feeds it shows."""

import asyncio
import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from stream.live.figures import Snapshot
from stream.live.settings import InUse, Restoring
from stream.live.window import Window
from stream.live.workers import TICK_S, Say, Worker, Workers
from stream.preview.access import Access
from stream.preview.process import serve
from stream.preview.shown import Change, Feeds, Figures, Shown
from stream.secrets import Secrets

_SILENT_S = 8.0
"""A process that tells nothing for so long hangs, and is killed."""


class Watched(Protocol):
    """A feed that can be looked at."""

    name: str
    window: Window | None
    in_use: InUse | None
    """How it is restored; None where that cannot be changed, or is not known yet."""

    def snapshot(self) -> Snapshot:
        """How it does now."""
        ...

    def change(self, restoring: Restoring) -> None:
        """Restore in another way from the next frame on."""
        ...


class Preview:
    """Keeps the page's process up; all is called in one asyncio loop."""

    def __init__(self, access: Access, *, secrets: Secrets, say: Say) -> None:
        """Listens from now on. Raises `SinkError`."""
        self._socket = access.listen()
        self.host = access.host
        self.port: int = self._socket.getsockname()[1]
        self._say = say
        self._feeds: Sequence[Watched] = ()
        self._told: dict[str, InUse | None] = {}
        self._worker = Worker("preview", "preview", serve, (self._socket, access), _SILENT_S)
        self._kept = Workers(
            [self._worker],
            multiprocessing.get_context("spawn"),
            secrets=secrets,
            say=say,
            # Whatever is wrong with the page, the feeds go on.
            fail=lambda text, code: say("preview", text),
            asked=self._asked,
        )

    @property
    def viewers(self) -> int:
        """How many are looking."""
        return self._worker.meter.beat.readers

    def show(self, feeds: Sequence[Watched]) -> None:
        """Show these from now on."""
        self._feeds = feeds
        self._introduce()

    async def run(self) -> None:
        """Keep the page up until cancelled."""
        self._kept.start()
        try:
            while True:
                self._kept.tend()
                self._tell()
                await asyncio.sleep(TICK_S)
        finally:
            self._kept.stop()
            with suppress(asyncio.CancelledError):
                await self._kept.end()
            self._kept.clear()
            self._socket.close()

    def _introduce(self) -> None:
        self._told = {feed.name: feed.in_use for feed in self._feeds}
        shown = []
        for feed in self._feeds:
            assert feed.window is not None
            use = feed.in_use
            restoring, models = (use.restoring, use.models) if use is not None else (None, ())
            shown.append(Shown(feed.name, feed.window, restoring, models))
        self._worker.tell(Feeds(tuple(shown)))

    def _tell(self) -> None:
        for feed in self._feeds:
            if feed.in_use != self._told[feed.name] and feed.in_use is not None:
                self._told[feed.name] = feed.in_use
                self._worker.tell(InUse(feed.in_use.restoring, feed.in_use.models, feed.name))
        if self.viewers:
            self._worker.tell(Figures({feed.name: told(feed.snapshot()) for feed in self._feeds}))

    def _asked(self, what: object) -> None:
        if isinstance(what, Feeds):
            self._introduce()
        elif isinstance(what, Change):
            for feed in self._feeds:
                if feed.name == what.feed:
                    feed.change(what.restoring)


def told(snapshot: Snapshot) -> dict[str, object]:
    """Figures as the page wants them."""
    slowest = snapshot.slowest
    return {
        "state": snapshot.state,
        "uptime_s": round(snapshot.uptime_s, 1),
        "fps_in": round(snapshot.reader.fps, 2),
        "fps_out": round(snapshot.model.fps, 2),
        "dropped": snapshot.dropped,
        "latency_p50_ms": slowest.latency_p50_ms if slowest is not None else None,
        "latency_p95_ms": slowest.latency_p95_ms if slowest is not None else None,
        "bottleneck": snapshot.bottleneck,
        "reconnects": snapshot.reconnects,
        "facts": {
            "source": " ".join(
                snapshot.reader.facts[key]
                for key in ("codec", "size")
                if key in snapshot.reader.facts
            ),
            **{key: value for key, value in snapshot.model.facts.items()},
        },
    }
