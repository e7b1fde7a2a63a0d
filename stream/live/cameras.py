"""Several feeds at once, each with its own processes; which ones may change while they run."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from stream.errors import DeblurError
from stream.ipc.messages import State
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
        return Snapshot(State.FAILED, 0.0, ())


@dataclass
class _Running:
    """A feed that runs."""

    feed: Supervisor
    task: asyncio.Task[None]
    doors: ExitStack
    """Closes those by which its served outputs are reached."""
    begun: Description
    """How it was described when it began ..."""
    described: Description
    """... and how it has been told to be since."""
    replaced: bool = False
    """Whether it was stopped, to come again in another way or not at all."""


class Cameras:
    """Keeps feeds up; all is called in one asyncio loop."""

    def __init__(
        self,
        described: Mapping[str, Description],
        *,
        tokens: list[str],
        say: Say,
        named: bool = True,
        preview: bool = False,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`tokens` are secrets beside those of the addresses; `named`: whether a user gave the
        names; `changed` is called when `feeds` are others."""
        self.feeds: list[Supervisor] = []
        """Those that run; always the same list."""
        self.watched: list[Supervisor | Failed] = []
        """Those, and the ones that cannot; always the same list."""
        self._failed: dict[str, Failed] = {}
        self.killed = False
        """Whether they were ended at once."""
        self._wanted = dict(described)
        self._running: dict[str, _Running] = {}
        self._over: dict[str, Description] = {}
        """Those that ended or failed, and are not begun again as long as they are described like
        this."""
        self._tokens = tokens
        self._say = say
        self._told = named, preview
        self._changed = changed
        self._stopping = False
        self._news = asyncio.Event()
        self._errors: list[DeblurError] = []
        self._mounts = Mounts()

    async def run(self) -> None:
        """Work until stopped, or until every feed has ended. Raises a `DeblurError` where none
        of them can work."""
        try:
            await self._run()
        finally:
            for each in self._running.values():
                each.task.cancel()
            await asyncio.gather(*self._tasks(), return_exceptions=True)
            for each in self._running.values():
                each.doors.close()

    async def _run(self) -> None:
        self._update()
        worked = False
        while self._running or (self._news.is_set() and not self._stopping):
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait({*self._tasks(), news}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            self._news.clear()
            for name, each in list(self._running.items()):
                if each.task.done():
                    worked = self._ended(name, each) or worked
            self._update()
        if self._errors and not worked and not self._stopping:
            raise self._errors[-1]

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [each.task for each in self._running.values()]

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
            self._over.pop(name, None)
        self._news.set()

    def _update(self) -> None:
        """Begin, change and end feeds, towards what is wanted."""
        if self._stopping:
            return
        before = list(self.feeds)
        for name, each in self._running.items():
            wanted = self._wanted.get(name)
            if wanted is None or _begun_anew(each.described, wanted):
                each.replaced = True
                each.feed.stop()  # and comes again when it has ended
            elif wanted != each.described and not each.replaced:
                each.feed.change(wanted.restoring)
                each.described = wanted
                self._say(name, "restored in another way")
        for name, description in self._wanted.items():
            if name not in self._running and self._over.get(name) != description:
                self._begin(name, description)
        order = {name: index for index, name in enumerate(self._wanted)}
        self.feeds.sort(key=lambda feed: order.get(feed.name, len(order)))
        self._failed = {name: each for name, each in self._failed.items() if name in self._wanted}
        self.watched[:] = [*self.feeds, *self._failed.values()]
        if self.feeds != before:
            self._changed()

    def _begin(self, name: str, description: Description) -> None:
        self._over.pop(name, None)
        self._failed.pop(name, None)
        doors = ExitStack()
        named, preview = self._told
        try:
            secrets = Secrets(description.addresses, self._tokens)
            feed = Supervisor(
                description.camera,
                [*self._reached(description.targets, doors)],
                description.settings,
                secrets=secrets,
                say=lambda who, text: self._say(f"{name}: {who}", text),
                name=name,
                shown=name if named else "",
                preview=preview,
            )
        except Exception as error:  # of this camera, and no matter to the others
            doors.close()
            self._over[name] = description
            self._fail(name, description, error, said=len(self._wanted) > 1)
            return
        self.feeds.append(feed)
        task = asyncio.create_task(feed.run(), name=name)
        self._running[name] = _Running(feed, task, doors, description, description)

    def _reached(self, targets: Sequence[Target], doors: ExitStack) -> Iterator[Target]:
        """The outputs of a feed, the served ones by way of the doors. Raises `SinkError`."""
        for target in targets:
            if isinstance(target, Serve) and SHARES:
                place = target.host, target.port, target.path
                channel = self._mounts.open(*place)
                doors.callback(self._mounts.close, *place, channel)
                yield replace(target, channel=channel)
            else:
                yield target

    def _ended(self, name: str, ended: _Running) -> bool:
        """Clear up after a feed; returns whether it has worked."""
        del self._running[name]
        ended.doors.close()
        self.feeds.remove(ended.feed)
        self._changed()
        wanted, begun = self._wanted.get(name), ended.begun
        error = None if ended.task.cancelled() else ended.task.exception()
        # What was described in another way while it began is tried again where it failed.
        again = ended.replaced or wanted is None or _begun_anew(begun, wanted)
        if not again and (error is None or wanted == begun):
            self._over[name] = ended.described
        if error is None:
            return not ended.replaced
        # What is raised is said once.
        self._fail(name, begun, error, said=bool(self._running))
        return False

    def _fail(self, name: str, begun: Description, error: BaseException, *, said: bool) -> None:
        if not isinstance(error, DeblurError):
            secrets = Secrets(begun.known, self._tokens)
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
