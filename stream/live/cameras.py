"""Several feeds at once, each with its own processes; which ones may change while they run."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stream.errors import DeblurError
from stream.ipc.stats import Snapshot
from stream.ipc.workers import Say
from stream.live.description import Description
from stream.live.output.serve import Serve
from stream.live.output.writer import Target
from stream.live.rtsp.mounts import SHARES, Mounts
from stream.live.supervisor import Supervisor
from stream.secrets import Secrets

_RESTORING = ("model", "strength", "fuse", "delay", "smooth", "shutter", "upscaler")
"""What can be changed without a feed being begun anew; `upscale` gives its outputs another size."""


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
        self._begun: dict[str, Description] = {}
        """How each feed was described when it began ..."""
        self._described: dict[str, Description] = {}
        """... and how it has been told to be since."""
        self._replaced: set[str] = set()
        """Those that were stopped, to come again in another way or not at all."""
        self._running: dict[str, asyncio.Task[None]] = {}
        self._words = words
        self._say = say
        self._preview = preview
        self._changed = changed
        self._stopping = False
        self._news = asyncio.Event()
        self._errors: list[DeblurError] = []
        self._mounts = Mounts()
        self._served: dict[str, list[Serve]] = {}
        """The outputs of each feed that are reached through the doors."""

    async def run(self) -> None:
        """Work until stopped, or until every feed has ended. Raises a `DeblurError` where none
        of them can work."""
        try:
            await self._run()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            for name in list(self._served):
                self._shut(name)

    async def _run(self) -> None:
        self._update()
        worked = False
        while self._running or (self._news.is_set() and not self._stopping):
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait({*self._running.values(), news}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            self._news.clear()
            for name, task in list(self._running.items()):
                if task.done():
                    worked = self._ended(name, task) or worked
            self._update()
        if self._errors and not worked and not self._stopping:
            raise self._errors[-1]

    def stop(self) -> None:
        """Finish what is in hand; a second call ends at once."""
        self.killed, self._stopping = self._stopping, True
        for feed in self.feeds:
            feed.stop(at_once=self.killed)
        self._news.set()

    def become(self, described: Mapping[str, Description]) -> None:
        """Be these from now on: what is the same goes on and does not notice; what failed is tried
        again."""
        self._wanted = dict(described)
        for name in self._failed:
            self._described.pop(name, None)
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
                self._replaced.add(name)
                feed.stop()  # and comes again when it has ended
            elif wanted != description and name not in self._replaced:
                feed.change(wanted.restoring)
                self._described[name] = wanted
                self._say(name, "restored in another way")
        for name, description in self._wanted.items():
            if name not in self._running and self._described.get(name) != description:
                self._begin(name, description)
        order = {name: index for index, name in enumerate(self._wanted)}
        self.feeds.sort(key=lambda feed: order.get(feed.name, len(order)))
        self._failed = {name: each for name, each in self._failed.items() if name in self._wanted}
        self.watched[:] = [*self.feeds, *self._failed.values()]
        if self.feeds != before:
            self._changed()

    def _begin(self, name: str, description: Description) -> None:
        self._begun[name] = self._described[name] = description
        self._failed.pop(name, None)
        try:
            secrets = Secrets(description.addresses, self._words)
            feed = Supervisor(
                description.camera,
                self._reached(name, description.targets),
                description.settings,
                secrets=secrets,
                say=lambda who, text: self._say(f"{name}: {who}", text),
                name=name,
                preview=self._preview,
            )
        except Exception as error:  # of this camera, and no matter to the others
            self._shut(name)
            self._fail(name, error, said=len(self._wanted) > 1)
            return
        self.feeds.append(feed)
        self._running[name] = asyncio.create_task(feed.run(), name=name)

    def _reached(self, name: str, targets: Sequence[Target]) -> list[Target]:
        """The outputs of a feed, the served ones by way of the doors. Raises `SinkError`."""
        found: list[Target] = []
        served = self._served[name] = []
        for target in targets:
            if isinstance(target, Serve) and SHARES:
                channel = self._mounts.open(target.host, target.port, target.path)
                served.append(replace(target, channel=channel))
                found.append(served[-1])
            else:
                found.append(target)
        return found

    def _shut(self, name: str) -> None:
        for target in self._served.pop(name, ()):
            assert target.channel is not None
            self._mounts.close(target.host, target.port, target.path, target.channel)

    def _ended(self, name: str, task: "asyncio.Task[None]") -> bool:
        """Clear up after a feed; returns whether it has worked."""
        del self._running[name]
        self._shut(name)
        feed = next(each for each in self.feeds if each.name == name)
        self.feeds.remove(feed)
        self._changed()
        wanted, begun = self._wanted.get(name), self._begun[name]
        replaced = name in self._replaced
        self._replaced.discard(name)
        if replaced or wanted is None or _begun_anew(begun, wanted):
            self._described.pop(name, None)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return not replaced
        if wanted != begun:
            # It was described in another way while it began.
            self._described.pop(name, None)
        # What is raised is said once.
        self._fail(name, error, said=bool(self._running))
        return False

    def _fail(self, name: str, error: BaseException, *, said: bool) -> None:
        if not isinstance(error, DeblurError):
            secrets = Secrets(self._begun[name].known, self._words)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            error = DeblurError(f"unexpected {secrets.hide(text)}")
        self._errors.append(error)
        self._failed[name] = Failed(name)
        if said:
            self._say(name, f"{error}; it is left out")


def _begun_anew(before: Description, after: Description) -> bool:
    """Whether a feed has to be begun anew to become another."""
    same = {key: getattr(before, key) for key in _RESTORING}
    return replace(after, **same) != before
