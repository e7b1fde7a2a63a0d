"""Keeps a live feed up: starts its processes, listens to them, and starts again what dies."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from stream.errors import DeblurError
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.messages import Beyond, InUse, Request, State
from stream.ipc.sound_ring import SoundRing
from stream.ipc.stats import Snapshot
from stream.ipc.window import Window
from stream.ipc.workers import TICK_S, Say, Worker, Workers
from stream.live.input.camera import Camera
from stream.live.input.reader import start as read
from stream.live.output.pacing import Feed
from stream.live.output.writer import Target
from stream.live.restore.process import start as restore
from stream.options.live import LiveRestoreOptions, LiveSettings
from stream.secrets import Secrets

ALONE = "live"
"""The name of a feed that is the only one."""
_SILENT_S = {"reader": 5.0, "model": 15.0, "writer": 8.0}
"""A process that tells nothing for so long hangs, and is killed; a reader has, beside this, the
time after which it would itself notice that its source is silent."""
_DRAIN_S = 1.5
"""After the end of a file, for what is still on its way."""
_LARGEST = 35_651_584
"""Pixels of the largest picture that H.264 holds."""


@dataclass
class _Change:
    """Another way to restore."""

    wanted: LiveRestoreOptions | None = None
    """What the model has not been told yet."""
    told: bool = False
    """Whether it was told of a change and has not answered."""


class Supervisor:
    """A live feed. `run` keeps it up until `stop`; all is called in one asyncio loop.

    For those who watch it: `snapshot` has its figures, `newest` its pictures, `window` the pairs of
    them, and `change` gives it other settings while it runs.
    """

    def __init__(
        self,
        camera: Camera,
        targets: Sequence[Target],
        settings: LiveSettings,
        *,
        secrets: Secrets,
        say: Say,
        name: str = ALONE,
        shown: str = "",
        preview: bool = False,
    ) -> None:
        """`shown` is the camera's name where there is no signal; with `preview` there is a
        `window`, and pictures may become larger than at first."""
        self.name = name
        self.settings = settings
        self.in_use: InUse | None = None
        """How it restores; None as long as no model is loaded."""
        context = multiprocessing.get_context("spawn")
        enlarged = settings.restoring.upscale is not None or preview
        largest = max(settings.max_pixels, _LARGEST) if enlarged else settings.max_pixels
        self._camera = Mailbox(context, settings.max_pixels, readers=1)
        self._restored = Mailbox(context, largest, readers=len(targets))
        self._sounds = SoundRing()
        self.window = Window(context, settings.max_pixels, largest) if preview else None
        self._model = Worker(
            "model",
            "model",
            restore,
            (settings, self._camera, self._restored, self.window),
            _SILENT_S["model"],
        )
        self._reader = Worker(
            "source",
            "reader",
            read,
            (camera, settings, self._camera, self._sounds),
            _SILENT_S["reader"] + settings.stall_s,
        )
        self._writers = [*self._writing(targets, shown)]
        self._kept = Workers(
            self.workers, context, secrets=secrets, say=say, fail=self._fail, asked=self._told
        )
        self._begun_s = time.monotonic()
        self._stopping = asyncio.Event()
        self._change = _Change()
        self._error: DeblurError | None = None

    def _writing(self, targets: Sequence[Target], shown: str) -> Iterator[Worker]:
        """The processes that write, one for each output."""
        settings, names = self.settings, [target.name for target in targets]
        for index, target in enumerate(targets):
            feed = Feed(
                *(self._restored, self._camera, self._sounds, index),
                upscale=settings.restoring.upscale,
                name=shown,
            )
            # Stream keys are hidden, so that two addresses may be called alike.
            twice = names.count(target.name) > 1
            name = f"{target.name} ({index + 1})" if twice else target.name
            yield Worker(name, "writer", target.run, (feed, settings.size), _SILENT_S["writer"])

    @property
    def workers(self) -> list[Worker]:
        """All its processes."""
        return [self._reader, self._model, *self._writers]

    async def run(self) -> None:
        """Keep the feed up until it is stopped, or its file ends. Raises a `DeblurError` where it
        cannot work at all."""
        self._begun_s = time.monotonic()
        try:
            self._kept.start()
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), TICK_S)
                self._kept.tend()
                self._pass_on()
                self._tell_model()
                if self._reader.meter.heartbeat.state is State.ENDED:
                    await asyncio.sleep(_DRAIN_S)
                    break
            await self._kept.end()
        finally:
            self._kept.clear()
            for memory in (self._camera, self._restored, self._sounds, self.window):
                if memory is not None:
                    memory.close(remove=True)
        if self._error is not None:
            raise self._error

    def stop(self, *, at_once: bool = False) -> None:
        """Finish what is in hand, within a few seconds, or end `at_once`."""
        if at_once or not self._stopping.is_set():
            self._stopping.set()
            self._kept.stop(at_once=at_once)

    def change(self, restoring: LiveRestoreOptions) -> None:
        """Restore in another way from the next frame on, or as soon as the model is there."""
        self._change.wanted = restoring
        self._pass_on()

    @property
    def settled(self) -> bool:
        """Whether all that it was told to change is in use, or refused."""
        return self._change.wanted is None and not self._change.told

    def _pass_on(self) -> None:
        """Tell the model what was asked for last, once it has done what was asked before."""
        change = self._change
        ready = self.in_use is not None and not change.told
        if change.wanted is not None and ready and self._model.tell(change.wanted):
            change.told, change.wanted = True, None

    def newest(self) -> tuple[Picture | None, Picture | None]:
        """Copies of the newest picture of the camera and of the newest restored one."""
        return self._camera.newest(), self._restored.newest()

    def restored(self, after: int) -> Picture | None:
        """A copy of the newest restored picture, if its number is higher than `after`."""
        return self._restored.newest(after)

    def snapshot(self) -> Snapshot:
        """How the feed does now."""
        processes = tuple(worker.figures() for worker in self.workers)
        writing = [each.state for each in processes if each.role == "writer"]
        state = processes[0].state
        if state is State.LIVE and not all(each is State.LIVE for each in writing):
            proven = all(each.proven for each in self._writers)
            state = State.DEGRADED if proven else State.STARTING
        return Snapshot(state, time.monotonic() - self._begun_s, processes)

    def figures(self) -> dict[str, object]:
        """The same as the preview shows it."""
        return self.snapshot().told()

    def _tell_model(self) -> None:
        snapshot = [worker.meter.figures() for worker in (self._model, *self._writers)]
        model, *writers = (each.latency_p50_ms for each in snapshot)
        latest = max((each for each in writers if each is not None), default=None)
        if model is not None and latest is not None:
            self._model.tell(Beyond(max(0.0, latest - model)))

    def _told(self, request: Request) -> None:
        if isinstance(request, InUse):
            self.in_use = request
            self._change.told = False
            # Should its process die, the next one goes on like this.
            self.settings = replace(self.settings, restoring=request.restoring)
            self._model.arguments = self.settings, *self._model.arguments[1:]
            self._pass_on()

    def _fail(self, text: str, exit_code: int) -> None:
        if self._error is None:
            kinds = {kind.exit_code: kind for kind in _kinds(DeblurError)}
            self._error = kinds.get(exit_code, DeblurError)(text)
        self.stop()


def _kinds(kind: type[DeblurError]) -> list[type[DeblurError]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in _kinds(sub))]
