"""Keeps a live feed up: starts its processes, listens to them, and starts again what dies."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import psutil

from stream.errors import DeblurError
from stream.live.camera import Camera
from stream.live.child import Beat, Fatal, Line, Stop, enter
from stream.live.figures import Meter, ProcessFigures, Role, Snapshot
from stream.live.patience import back_off
from stream.live.picture import Mailbox, Picture
from stream.live.reader import read
from stream.live.restoring import start as restore
from stream.live.settings import Beyond, LiveSettings, Restoring
from stream.live.sound import SoundRing
from stream.live.writer import Feed, Target
from stream.secrets import Secrets

_TICK_S = 0.25
_GOOD_S = 30.0
"""A process that lived for so long is started again at once when it dies."""
_SILENT_S = {"reader": 5.0, "model": 15.0, "writer": 8.0}
"""A process that tells nothing for so long hangs, and is killed; a reader has, beside this, the
time after which it would itself notice that its source is silent."""
_LOADING_S = 180.0
"""The same while a model is loaded."""
_END_S = 4.0
"""Processes that are told to stop get so long to finish."""
_DRAIN_S = 1.5
"""After the end of a file, for what is still on its way."""
_LARGEST = 35_651_584
"""Pixels of the largest picture that H.264 holds."""

Say = Callable[[str, str], None]
"""Shows a line: who says it, and what."""


class Worker:
    """One process: its work, its line, and its next lives."""

    def __init__(
        self,
        name: str,
        role: Role,
        work: Callable[..., None],
        arguments: tuple[Any, ...],
        silent_s: float,
    ) -> None:
        self.name = name
        self.role: Role = role
        self.meter = Meter(name, role)
        self.silent_s = silent_s
        self.process: multiprocessing.process.BaseProcess | None = None
        self.line: Connection | None = None
        self.heard_s = self.started_s = 0.0
        self.due_s = 0.0
        """When it is to be started, while it is not running."""
        self.proven = False
        """Whether it has been live; what stops it for good after that is no mistake of the user."""
        self._work = work
        self._arguments = arguments
        self._deaths = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def start(self, context: multiprocessing.context.SpawnContext, secrets: Secrets) -> None:
        """Begin a life."""
        self.line, theirs = context.Pipe()
        self.process = context.Process(
            target=enter,
            args=(self._work, theirs, secrets, self._arguments),
            name=f"deblur {self.name}",
            daemon=True,
        )
        self.process.start()
        theirs.close()
        self.heard_s = self.started_s = time.monotonic()

    def tell(self, message: object) -> None:
        """Send something, if anybody is there."""
        if self.line is not None:
            with suppress(OSError):
                self.line.send(message)

    def heard(self) -> list[Line | Fatal]:
        """Take what it told; figures are kept, the rest is returned."""
        said: list[Line | Fatal] = []
        try:
            while self.line is not None and self.line.poll():
                message = self.line.recv()
                self.heard_s = time.monotonic()
                if isinstance(message, Beat):
                    self.meter.told(message)
                    self.proven = self.proven or message.state == "live"
                elif isinstance(message, Line | Fatal):
                    said.append(message)
        except (EOFError, OSError):
            pass
        return said

    @property
    def hung(self) -> bool:
        """Whether it has been silent for too long."""
        loading = self.role == "model" and self.meter.beat.state in ("starting", "loading")
        limit = _LOADING_S if loading else self.silent_s
        return time.monotonic() - self.heard_s > limit

    def bury(self) -> None:
        """Clear up after its death, and plan the next life."""
        assert self.process is not None
        self.process.join()
        self.process.close()
        self.process = None
        if self.line is not None:
            self.line.close()
            self.line = None
        self.meter.died()
        now = time.monotonic()
        self._deaths = 0 if now - self.started_s > _GOOD_S else self._deaths + 1
        self.due_s = now + (back_off(self._deaths) if self._deaths else 0.0)

    def kill(self) -> None:
        """End it now."""
        if self.process is not None:
            self.process.kill()

    def figures(self) -> ProcessFigures:
        """How it does."""
        pid, memory = None, 0
        if self.process is not None and self.process.is_alive():
            pid = self.process.pid
            with suppress(psutil.Error):
                memory = psutil.Process(pid).memory_info().rss
        return self.meter.figures(pid, memory)


class Supervisor:
    """A live feed. `run` keeps it up until `stop`; all is called in one asyncio loop.

    For those who watch it: `snapshot` has its figures, `newest` its pictures, and `change` gives it
    other settings while it runs.
    """

    def __init__(
        self,
        camera: Camera,
        targets: Sequence[Target],
        settings: LiveSettings,
        *,
        secrets: Secrets,
        say: Say,
        name: str = "live",
    ) -> None:
        self.name = name
        self.settings = settings
        self._secrets = secrets
        self._say = say
        self._context = multiprocessing.get_context("spawn")
        enlarged = settings.restoring.upscale is not None
        self._camera = Mailbox(self._context, settings.max_pixels, readers=1)
        self._restored = Mailbox(
            self._context,
            max(settings.max_pixels, _LARGEST) if enlarged else settings.max_pixels,
            readers=len(targets),
        )
        self._sounds = SoundRing()
        self._model = Worker(
            "model",
            "model",
            restore,
            (settings, self._camera, self._restored),
            _SILENT_S["model"],
        )
        self._reader = Worker(
            "source",
            "reader",
            read,
            (camera, settings, self._camera, self._sounds),
            _SILENT_S["reader"] + settings.stall_s,
        )
        self._writers = [
            Worker(
                target.name,
                "writer",
                target.run,
                (
                    Feed(
                        *(self._restored, self._camera, self._sounds, index),
                        upscale=settings.restoring.upscale,
                    ),
                    settings.size,
                ),
                _SILENT_S["writer"],
            )
            for index, target in enumerate(targets)
        ]
        self.workers = [self._reader, self._model, *self._writers]
        self._begun_s = time.monotonic()
        self._stopping = asyncio.Event()
        self.killed = False
        """Whether it was ended at once."""
        self._error: DeblurError | None = None

    async def run(self) -> None:
        """Keep the feed up until it is stopped, or its file ends. Raises a `DeblurError` where it
        cannot work at all."""
        self._begun_s = time.monotonic()
        for worker in self.workers:
            self._start(worker)
        try:
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _TICK_S)
                for worker in self.workers:
                    self._tend(worker)
                self._tell_model()
                if self._reader.meter.beat.state == "ended":
                    await asyncio.sleep(_DRAIN_S)
                    break
            await self._end()
        finally:
            self._clear()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Finish what is in hand, within a few seconds; a second call ends at once."""
        self.killed = self._stopping.is_set()
        self._stopping.set()
        for worker in self.workers:
            worker.kill() if self.killed else worker.tell(Stop())

    def change(self, restoring: Restoring) -> None:
        """Restore in another way from the next frame on."""
        self._model.tell(restoring)

    def newest(self) -> tuple[Picture | None, Picture | None]:
        """Copies of the newest picture of the camera and of the newest restored one."""
        return self._camera.newest(), self._restored.newest()

    def snapshot(self) -> Snapshot:
        """How the feed does now."""
        processes = tuple(worker.figures() for worker in self.workers)
        writing = [each.state for each in processes if each.role == "writer"]
        state = processes[0].state
        if state == "live" and not all(each == "live" for each in writing):
            state = "starting" if not all(each.proven for each in self._writers) else "degraded"
        return Snapshot(state, time.monotonic() - self._begun_s, processes)

    def _start(self, worker: Worker) -> None:
        worker.start(self._context, self._secrets)
        assert worker.line is not None
        asyncio.get_running_loop().add_reader(worker.line.fileno(), self._listen, worker)

    def _listen(self, worker: Worker) -> None:
        for message in worker.heard():
            text = self._secrets.hide(message.text)
            if isinstance(message, Fatal) and not worker.proven:
                self._fail(text, message.exit_code)
            else:
                self._say(worker.name, text)
        if not worker.alive:
            # Its end of the line is closed, which would be reported again and again.
            self._unwatch(worker)

    def _tend(self, worker: Worker) -> None:
        if worker.process is None:
            if time.monotonic() >= worker.due_s and not self._stopping.is_set():
                self._start(worker)
        elif not worker.alive:
            self._listen(worker)
            code = worker.process.exitcode
            ended = worker.role == "reader" and worker.meter.beat.state == "ended"
            if ended or self._stopping.is_set():
                return
            self._unwatch(worker)
            hung = worker.hung
            worker.bury()
            why = "did not answer" if hung else _ending(code)
            self._say(worker.name, f"{why}; started again")
        elif worker.hung:
            worker.kill()

    def _unwatch(self, worker: Worker) -> None:
        if worker.line is not None:
            asyncio.get_running_loop().remove_reader(worker.line.fileno())

    def _tell_model(self) -> None:
        snapshot = [worker.meter.figures() for worker in (self._model, *self._writers)]
        model, *writers = (each.latency_p50_ms for each in snapshot)
        latest = max((each for each in writers if each is not None), default=None)
        if model is not None and latest is not None:
            self._model.tell(Beyond(max(0.0, latest - model)))

    def _fail(self, text: str, exit_code: int) -> None:
        if self._error is None:
            kinds = {kind.exit_code: kind for kind in _kinds(DeblurError)}
            self._error = kinds.get(exit_code, DeblurError)(text)
        self.stop()

    async def _end(self) -> None:
        for worker in self.workers:
            worker.tell(Stop())
        end = time.monotonic() + _END_S
        while any(worker.alive for worker in self.workers):
            if self.killed or time.monotonic() > end:
                for worker in self.workers:
                    worker.kill()
            await asyncio.sleep(0.02)

    def _clear(self) -> None:
        for worker in self.workers:
            worker.kill()
            if worker.process is not None:
                self._unwatch(worker)
                worker.process.join()
        for memory in (self._camera, self._restored, self._sounds):
            memory.close(remove=True)


def _kinds(kind: type[DeblurError]) -> list[type[DeblurError]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in _kinds(sub))]


def _ending(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
