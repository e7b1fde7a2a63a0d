"""The processes of a live feed, seen from outside: started, listened to, and started again."""

import asyncio
import multiprocessing
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from stream.diagnostics import is_verbose
from stream.ipc.backoff import back_off
from stream.ipc.child import Asked, Fatal, Heartbeat, Line, Stop, enter
from stream.ipc.stats import Meter, ProcessFigures, Role
from stream.secrets import Secrets

TICK_S = 0.25
"""How often they are looked after."""
_GOOD_S = 30.0
"""A process that lived for so long is started again at once when it dies."""
_STARTING_S = 180.0
"""A process that tells nothing for so long before its first word, or while it loads a model,
hangs: what it imports may lie on a slow disk."""
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SAY_S = 10.0
"""Between lines about the ends of one process."""
_MOST_DOUBLED = 4
"""Times that the limits are doubled, once for each life in a row that ended by hanging."""
_END_S: dict[Role, float] = {"writer": 2.5}
"""Processes that are told to stop get so long to finish what they have in hand, ..."""
_LEAVE_S = 1.0
"""... and those that have nothing of worth there only so long to say goodbye."""

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
        """After `silent_s` without a word it hangs, and is killed: counted from its first word,
        and without the time that it waited for a processor."""
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
        self.arguments = arguments
        """What its next life is given."""
        self.hung = False
        """Whether it has been silent for too long, as `Workers.tend` found."""
        self._told_s = -_SAY_S
        self._untold = 0
        self._work = work
        self._deaths = self._hangs = 0
        self._first_s: float | None = None
        """When its first word came."""
        self._waited_s = 0.0
        """For how long it wanted a processor and had none, since its last word ..."""
        self._seen: tuple[float, float] | None = None
        """... as seen when, and how much it had used of one by then."""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def start(self, context: multiprocessing.context.SpawnContext, secrets: Secrets) -> None:
        """Begin a life. Raises `OSError` where the system has no room for one."""
        line, theirs = context.Pipe()
        process = context.Process(
            target=enter,
            args=(self._work, theirs, secrets, self.arguments, is_verbose()),
            name=f"deblur {self.name}",
            daemon=True,
        )
        try:
            process.start()
        except OSError:
            line.close()
            raise
        finally:
            theirs.close()
        self.line, self.process = line, process
        self.heard_s = self.started_s = time.monotonic()
        self.hung, self._first_s = False, None
        self._waited_s, self._seen = 0.0, None

    def put_off(self) -> None:
        """Plan the next life for later."""
        self._deaths += 1
        self.due_s = time.monotonic() + back_off(self._deaths)

    def tell(self, message: object) -> bool:
        """Send something; returns whether anybody is there and has room for it.

        A process that hangs reads nothing, and must not hold up the others.
        """
        if self.line is None or not _has_room(self.line):
            return False
        with suppress(OSError):
            self.line.send(message)
            return True
        return False

    def heard(self) -> list[Line | Fatal | Asked]:
        """Take what it told; figures are kept, the rest is returned."""
        said: list[Line | Fatal | Asked] = []
        try:
            while self.line is not None and self.line.poll():
                message = self.line.recv()
                self.heard_s = time.monotonic()
                self._first_s = self._first_s or self.heard_s
                self._waited_s, self._seen = 0.0, None
                if isinstance(message, Heartbeat):
                    self.meter.told(message)
                    self.proven = self.proven or message.state == "live"
                elif isinstance(message, Line | Fatal | Asked):
                    said.append(message)
        except (EOFError, OSError):
            pass
        return said

    def is_silent(self) -> bool:
        """Whether it has said nothing for too long although it could have; to be asked every
        `TICK_S`. On a busy machine a process may not run for many times the limit."""
        loading = self.role == "model" and self.meter.heartbeat.state in ("starting", "loading")
        limit_s = _STARTING_S if loading or self._first_s is None else self.silent_s
        limit_s *= 1 << min(self._hangs, _MOST_DOUBLED)
        now = time.monotonic()
        if self.process is None or self.process.pid is None or now - self.heard_s < limit_s / 2:
            return False
        wants, used_s = _processor(self.process.pid)
        if wants and self._seen is not None:
            since_s, before_s = self._seen
            self._waited_s += max(0.0, now - since_s - (used_s - before_s))
        self._seen = now, used_s
        return now - self.heard_s - self._waited_s > limit_s

    def reap(self) -> None:
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
        if self._first_s is not None and self.heard_s - self._first_s > _GOOD_S:
            self._hangs = 0
        self._hangs += self.hung
        self.due_s = now + (back_off(self._deaths) if self._deaths else 0.0)

    def ending(self, why: str) -> str | None:
        """What is said of its end; None where the last line about one was just before."""
        self._untold += 1
        if (now := time.monotonic()) - self._told_s < _SAY_S:
            return None
        times = f" ({self._untold} times)" if self._untold > 1 else ""
        self._told_s, self._untold = now, 0
        return f"{why}; started again{times}"

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


class Workers:
    """Keeps processes up. All is called in one asyncio loop."""

    def __init__(
        self,
        workers: Sequence[Worker],
        context: multiprocessing.context.SpawnContext,
        *,
        secrets: Secrets,
        say: Say,
        fail: Callable[[str, int], None],
        asked: Callable[[object], None] = lambda what: None,
    ) -> None:
        """`fail` is told why nothing can work, with an exit code; `asked` what a process asks
        for."""
        self._workers = workers
        self._context = context
        self._secrets = secrets
        self._say = say
        self._fail = fail
        self._asked = asked
        self._stopping = self._killed = False
        self._stopped_s = 0.0

    def start(self) -> None:
        """Begin all their lives."""
        for worker in self._workers:
            self._start(worker)

    def tend(self) -> None:
        """Start again what died, and kill what hangs; to be called every `TICK_S`."""
        for worker in self._workers:
            self._tend(worker)

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all to finish what is in hand, or end them `at_once`."""
        self._killed = self._killed or at_once
        if not self._stopping:
            self._stopping, self._stopped_s = True, time.monotonic()
        for worker in self._workers:
            worker.kill() if self._killed else worker.tell(Stop())

    async def end(self) -> None:
        """Wait until all have finished, for a few seconds after `stop`, and end what has not."""
        self.stop()
        while alive := [worker for worker in self._workers if worker.alive]:
            passed_s = time.monotonic() - self._stopped_s
            for worker in alive:
                if self._killed or passed_s > _END_S.get(worker.role, _LEAVE_S):
                    worker.kill()
            await asyncio.sleep(0.02)

    def clear(self) -> None:
        """End what is left."""
        for worker in self._workers:
            worker.kill()
            if worker.process is not None:
                self._unwatch(worker)
                worker.process.join()

    def _start(self, worker: Worker) -> None:
        try:
            worker.start(self._context, self._secrets)
        except OSError as error:
            worker.put_off()
            self._say(worker.name, f"cannot be started: {error.strerror}; tried again")
            return
        assert worker.line is not None
        asyncio.get_running_loop().add_reader(worker.line.fileno(), self._listen, worker)

    def _listen(self, worker: Worker) -> None:
        for message in worker.heard():
            if isinstance(message, Asked):
                self._asked(message.what)
                continue
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
            if time.monotonic() >= worker.due_s and not self._stopping:
                self._start(worker)
        elif not worker.alive:
            self._listen(worker)
            code = worker.process.exitcode
            ended = worker.role == "reader" and worker.meter.heartbeat.state == "ended"
            if ended or self._stopping:
                return
            self._unwatch(worker)
            why = "did not answer" if worker.hung else _ending(code)
            worker.reap()
            if said := worker.ending(why):
                self._say(worker.name, said)
        elif worker.is_silent():
            # What it told may still lie in the line, where this process had no time to read.
            self._listen(worker)
            if worker.is_silent():
                worker.hung = True
                worker.kill()

    def _unwatch(self, worker: Worker) -> None:
        if worker.line is not None:
            asyncio.get_running_loop().remove_reader(worker.line.fileno())


def _processor(pid: int) -> tuple[bool, float]:
    """Whether a thread of a process runs or wants to, and for how many seconds all have run; where
    the system does not tell, none ever wants to."""
    wants, ticks = False, 0
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                told = (thread / "stat").read_text().rpartition(")")[2].split()
                wants = wants or told[0] == "R"
                ticks += int(told[11]) + int(told[12])
    return wants, ticks / _TICKS


def _has_room(line: Connection) -> bool:
    """Whether what is sent will be taken at once."""
    if sys.platform == "win32":
        return True
    waiting = select.poll()
    waiting.register(line, select.POLLOUT)
    return bool(waiting.poll(0))


def _ending(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
