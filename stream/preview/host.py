"""Where the preview is kept up from: beside the feeds it shows."""

import asyncio
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from stream.ipc.messages import Change, Feeds, Figures, Introduce, InUse, PreviewFeed, Request
from stream.ipc.stats import ProcessFigures
from stream.ipc.window import Window
from stream.ipc.workers import TICK_S, Say, Worker, Workers
from stream.options.live import LiveRestoreOptions
from stream.preview.access import Access
from stream.preview.process import serve
from stream.secrets import Secrets

_SILENT_S = 8.0
"""A process that tells nothing for so long hangs, and is killed."""


class Watched(Protocol):
    """A feed that can be looked at."""

    @property
    def name(self) -> str: ...

    @property
    def window(self) -> Window | None: ...

    @property
    def in_use(self) -> InUse | None:
        """How it is restored; None where that cannot be changed, or is not known yet."""
        ...

    @property
    def settled(self) -> bool:
        """Whether `in_use` is the answer to the last `change`."""
        ...

    def figures(self) -> Mapping[str, object]:
        """How it does now, as JSON has it: its `state`, `fps`, the `rows` of a table, pairs of a
        name and a value, and a `plot`, a `label` and `values` by name."""
        ...

    def change(self, restoring: LiveRestoreOptions) -> None:
        """Restore in another way from the next frame on."""
        ...


class Preview:
    """Keeps the page's process up; all is called in one asyncio loop."""

    def __init__(self, access: Access, *, secrets: Secrets, say: Say) -> None:
        """Listens from now on. Raises `SinkError`."""
        self._socket = access.listen()
        self._access = access
        self.port: int = self._socket.getsockname()[1]
        self._say = say
        self._feeds: Sequence[Watched] = ()
        self._told: dict[str, InUse | None] = {}
        self._numbers: dict[str, int] = {}
        """Of the last change of each feed, ..."""
        self._answered: dict[str, int] = {}
        """... and of the last one whose answer is known."""
        self._introduced = self._stopping = False
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
        return self._worker.meter.heartbeat.readers

    def processes(self) -> list[ProcessFigures]:
        """How the page's process does."""
        return [self._worker.figures()]

    def show(self, feeds: Sequence[Watched]) -> None:
        """Show these from now on."""
        self._feeds = feeds
        self._introduce()

    async def run(self) -> None:
        """Keep the page up until stopped or cancelled."""
        try:
            self._kept.start()
            while not self._stopping:
                await asyncio.sleep(TICK_S)
                self._kept.tend()
                self._tell()
        finally:
            self._kept.stop()
            with suppress(asyncio.CancelledError):
                await self._kept.end()
            self._kept.clear()
            self._socket.close()

    def stop(self, *, at_once: bool = False) -> None:
        """Let the page's process end."""
        self._stopping = True
        self._kept.stop(at_once=at_once)

    def address(self, random: bool, *, shown: bool) -> str:
        """Where the page is, with the token where it is a `random` one, which nobody else has, and
        may be `shown`."""
        return self._access.address(self.port, random, shown=shown)

    def _introduce(self) -> None:
        self._told = {feed.name: feed.in_use for feed in self._feeds}
        shown = []
        for feed in self._feeds:
            use = feed.in_use
            restoring, models = (use.restoring, use.models) if use is not None else (None, ())
            if (window := feed.window) is not None:
                shown.append(PreviewFeed(feed.name, window, restoring, models, self._known(feed)))
        self._introduced = self._worker.tell(Feeds(tuple(shown)))

    def _tell(self) -> None:
        if not self._introduced:
            self._introduce()
        for feed in self._feeds:
            use = feed.in_use
            if (
                use is not None
                # An answer that nothing has changed is one as well.
                and use is not self._told[feed.name]
                and self._worker.tell(
                    InUse(use.restoring, use.models, feed.name, self._known(feed))
                )
            ):
                self._told[feed.name] = use
        if self.viewers:
            self._worker.tell(Figures({feed.name: feed.figures() for feed in self._feeds}))

    def _known(self, feed: Watched) -> int:
        """The number of the last change of a feed whose answer is known."""
        if feed.settled:
            self._answered[feed.name] = self._numbers.get(feed.name, 0)
        return self._answered.get(feed.name, 0)

    def _asked(self, request: Request) -> None:
        if isinstance(request, Introduce):
            # A process that begins counts from 1 again.
            self._numbers.clear()
            self._answered.clear()
            self._introduce()
        elif isinstance(request, Change):
            for feed in self._feeds:
                if feed.name == request.feed:
                    self._numbers[feed.name] = request.number
                    feed.change(request.restoring)
