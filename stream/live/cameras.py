"""Several feeds at once, each with its own processes; which ones may change while they run."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from stream.errors import DeblurError
from stream.live.description import Description
from stream.live.figures import Snapshot
from stream.live.supervisor import Supervisor
from stream.live.workers import Say
from stream.secrets import Secrets

_RESTORING = ("model", "strength", "smooth", "upscale", "upscaler")
"""What can be changed without a feed being begun anew."""


class Failed:
    """A feed that cannot work, until it is described in another way."""

    def __init__(self, name: str) -> None:
        self.name = name

    def snapshot(self) -> Snapshot:
        """That it failed."""
        return Snapshot("failed", 0.0, ())


class Cameras:
    """Keeps feeds up; all is called in one asyncio loop."""

    def __init__(
        self,
        described: Mapping[str, Description],
        *,
        words: list[str],
        say: Say,
        preview: bool = False,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`words` are secrets beside those of the addresses; `changed` is called when `feeds` are
        others."""
        self.feeds: list[Supervisor] = []
        """Those that run; always the same list."""
        self.watched: list[Supervisor | Failed] = []
        """Those, and the ones that cannot; always the same list."""
        self._failed: dict[str, Failed] = {}
        self.killed = False
        """Whether they were ended at once."""
        self._wanted = dict(described)
        self._described: dict[str, Description] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._words = words
        self._say = say
        self._preview = preview
        self._changed = changed
        self._stopping = False
        self._news = asyncio.Event()
        self._errors: list[DeblurError] = []

    async def run(self) -> None:
        """Work until stopped, or until every feed has ended. Raises a `DeblurError` where none
        of them can work."""
        try:
            await self._run()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self) -> None:
        self._update()
        worked = False
        while True:
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait({*self._running.values(), news}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            self._news.clear()
            for name, task in list(self._running.items()):
                if task.done():
                    worked = self._ended(name, task) or worked
            self._update()
            if not self._running and (self._stopping or not self._news.is_set()):
                break
        if self._errors and not worked and not self._stopping:
            raise self._errors[-1]

    def stop(self) -> None:
        """Finish what is in hand; a second call ends at once."""
        self.killed, self._stopping = self._stopping, True
        for feed in self.feeds:
            feed.stop()
        self._news.set()

    def become(self, described: Mapping[str, Description]) -> None:
        """Be these from now on: what is the same goes on and does not notice."""
        self._wanted = dict(described)
        self._news.set()

    def _update(self) -> None:
        """Begin, change and end feeds, towards what is wanted."""
        if self._stopping:
            return
        before = list(self.feeds)
        for name, description in self._described.items():
            if name not in self._running:
                continue
            wanted = self._wanted.get(name)
            feed = next(each for each in self.feeds if each.name == name)
            if wanted is None or _begun_anew(description, wanted):
                if not feed.stopping:
                    feed.stop()  # and comes again when it has ended
            elif wanted != description:
                feed.change(wanted.restoring)
                self._described[name] = wanted
                self._say(name, "restored in another way")
        for name, description in self._wanted.items():
            if name not in self._running and self._described.get(name) != description:
                self._begin(name, description)
        self.feeds.sort(
            key=lambda feed: (
                list(self._wanted).index(feed.name)
                if feed.name in self._wanted
                else len(self._wanted)
            )
        )
        self._failed = {name: each for name, each in self._failed.items() if name in self._wanted}
        self.watched[:] = [*self.feeds, *self._failed.values()]
        if self.feeds != before:
            self._changed()

    def _begin(self, name: str, description: Description) -> None:
        self._described[name] = description
        self._failed.pop(name, None)
        try:
            secrets = Secrets(description.addresses, self._words)
            feed = Supervisor(
                description.camera,
                description.targets,
                description.settings,
                secrets=secrets,
                say=lambda who, text: self._say(f"{name}: {who}", text),
                name=name,
                preview=self._preview,
            )
        except DeblurError as error:
            self._errors.append(error)
            self._failed[name] = Failed(name)
            self._say(name, str(error))
            return
        self.feeds.append(feed)
        self._running[name] = asyncio.create_task(feed.run(), name=name)

    def _ended(self, name: str, task: "asyncio.Task[None]") -> bool:
        """Clear up after a feed; returns whether it has worked."""
        del self._running[name]
        feed = next(each for each in self.feeds if each.name == name)
        self.feeds.remove(feed)
        self._changed()
        wanted = self._wanted.get(name)
        if wanted is None or _begun_anew(self._described[name], wanted):
            del self._described[name]
        with suppress(asyncio.CancelledError):
            error = task.exception()
            if isinstance(error, DeblurError):
                self._errors.append(error)
                self._failed[name] = Failed(name)
                if self._running:  # else it is raised, and said once
                    self._say(name, str(error))
                return False
            if error is not None:
                raise error
        return True


def _begun_anew(before: Description, after: Description) -> bool:
    """Whether a feed has to be begun anew to become another."""
    same = {key: getattr(before, key) for key in _RESTORING}
    return replace(after, **same) != before
