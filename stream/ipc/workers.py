"""The processes of a live feed, seen from outside: started, listened to, and started again."""

import asyncio
import multiprocessing
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from stream.diagnostics import is_verbose
from stream.ipc.backoff import RateLimiter, back_off
from stream.ipc.child import enter
from stream.ipc.messages import Command, Fatal, Heartbeat, Line, Message, Request, State, Stop
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
_MOST_DOUBLED = 4
"""Times that the limits are doubled, once for each life in a row that ended by hanging."""
_END_S: dict[Role, float] = {"writer": 2.5}
"""Processes that are told to stop get so long to finish what they have in hand, ..."""
_LEAVE_S = 1.0
"""... and those that have nothing of worth there only so long to say goodbye."""

Say = Callable[[str, str], None]
"""Shows a line: who says it, and what."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes that are started meanwhile never see Ctrl-C, which a terminal sends to all of them:
    while they still load modules it would end them with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Life:
    """One life of a process, from its start until it was cleared up after."""

    def __init__(self, process: BaseProcess, line: Connection) -> None:
        self.process = process
        self.line = line
        self.begun_s = self.heard_s = time.monotonic()
        self.hung = False
        """Whether it has been silent for too long, as `Workers.tend` found."""
        self._first_s: float | None = None
        """When its first word came."""
        self._waited_s = 0.0
        """For how long it wanted a processor and had none, since its last word ..."""
        self._seen: tuple[float, float] | None = None
        """... as seen when, and how much it had used of one by then."""

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    @property
    def has_spoken(self) -> bool:
        """Whether anything was heard of it."""
        return self._first_s is not None

    @property
    def spoke_s(self) -> float:
        """From its first word to its last."""
        return self.heard_s - (self._first_s or self.heard_s)

    def tell(self, message: Command) -> bool:
        """Send something; returns whether anybody is there and has room for it.

        A process that hangs reads nothing, and must not hold up the others.
        """
        if not _has_room(self.line):
            return False
        with suppress(OSError):
            self.line.send(message)
            return True
        return False

    def heard(self) -> Iterator[Message]:
        """Take what it told."""
        with suppress(EOFError, OSError):
            while self.line.poll():
                message: Message = self.line.recv()
                self.heard_s = time.monotonic()
                self._first_s = self._first_s or self.heard_s
                self._waited_s, self._seen = 0.0, None
                yield message

    def is_silent(self, limit_s: float) -> bool:
        """Whether it has said nothing for longer although it could have; to be asked every
        `TICK_S`. On a busy machine a process may not run for many times the limit."""
        now = time.monotonic()
        if self.process.pid is None or now - self.heard_s < limit_s / 2:
            return False
        wants, used_s = _processor(self.process.pid)
        if wants:
            # Nobody has looked for a while where this process itself had no processor.
            since_s, before_s = self._seen or (self.heard_s + limit_s / 2, used_s)
            self._waited_s += max(0.0, now - since_s - (used_s - before_s))
        self._seen = now, used_s
        return now - self.heard_s - self._waited_s > limit_s

    def close(self) -> None:
        """Clear up after its death."""
        self.process.join()
        self.process.close()
        self.line.close()


class Worker:
    """One process: its work, and its lives."""

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
        self.life: Life | None = None
        self.due_s = 0.0
        """When it is to be started, while it is not running."""
        self.proven = False
        """Whether it has been live; what stops it for good after that is no mistake of the user."""
        self.arguments = arguments
        """What its next life is given."""
        self._untold = RateLimiter()
        self._work = work
        self._deaths = self._hangs = 0

    @property
    def alive(self) -> bool:
        return self.life is not None and self.life.alive

    def start(self, context: multiprocessing.context.SpawnContext, secrets: Secrets) -> Life:
        """Begin a life. Raises `OSError` where the system has no room for one."""
        line, theirs = context.Pipe()
        process = context.Process(
            target=enter,
            args=(self._work, theirs, secrets, self.arguments, is_verbose()),
            name=f"deblur {self.name}",
            daemon=True,
        )
        try:
            with uninterrupted():
                process.start()
        except OSError:
            line.close()
            raise
        finally:
            theirs.close()
        self.life = Life(process, line)
        return self.life

    def put_off(self) -> None:
        """Plan the next life for later."""
        self._deaths += 1
        self.due_s = time.monotonic() + back_off(self._deaths)

    def tell(self, message: Command) -> bool:
        """Send something; returns whether anybody is there and has room for it."""
        return self.life is not None and self.life.tell(message)

    def heard(self, life: Life) -> Iterator[Line | Fatal | Request]:
        """Take what it told; figures are kept, the rest is returned."""
        for message in life.heard():
            if isinstance(message, Heartbeat):
                self.meter.told(message)
                self.proven = self.proven or message.state is State.LIVE
            else:
                yield message

    def is_silent(self, life: Life) -> bool:
        """Whether it hangs."""
        state = self.meter.heartbeat.state
        loading = self.role == "model" and state in (State.STARTING, State.LOADING)
        limit_s = _STARTING_S if loading or not life.has_spoken else self.silent_s
        return life.is_silent(limit_s * (1 << min(self._hangs, _MOST_DOUBLED)))

    def reap(self, life: Life) -> None:
        """Clear up after its death, and plan the next life."""
        life.close()
        self.life = None
        self.meter.died()
        now = time.monotonic()
        self._deaths = 0 if now - life.begun_s > _GOOD_S else self._deaths + 1
        if life.spoke_s > _GOOD_S:
            self._hangs = 0
        self._hangs += life.hung
        self.due_s = now + (back_off(self._deaths) if self._deaths else 0.0)

    def ending(self, why: str) -> str | None:
        """What is said of its end; None where the last line about one was just before."""
        self._untold.note()
        if not (count := self._untold.due()):
            return None
        times = f" ({count} times)" if count > 1 else ""
        return f"{why}; started again{times}"

    def kill(self) -> None:
        """End it now."""
        if self.life is not None:
            self.life.process.kill()

    def figures(self) -> ProcessFigures:
        """How it does."""
        pid, memory = None, 0
        if self.life is not None and self.life.alive:
            pid = self.life.process.pid
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
        asked: Callable[[Request], None] = lambda request: None,
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
            if worker.life is not None:
                _unwatch(worker.life)
                worker.life.process.join()

    def _start(self, worker: Worker) -> None:
        try:
            life = worker.start(self._context, self._secrets)
        except OSError as error:
            worker.put_off()
            self._say(worker.name, f"cannot be started: {error.strerror}; tried again")
            return
        asyncio.get_running_loop().add_reader(life.line.fileno(), self._listen, worker, life)

    def _listen(self, worker: Worker, life: Life) -> None:
        for message in worker.heard(life):
            if not isinstance(message, Line | Fatal):
                self._asked(message)
                continue
            text = self._secrets.hide(message.text)
            if isinstance(message, Fatal) and not worker.proven:
                self._fail(text, message.exit_code)
            else:
                self._say(worker.name, text)
        if not life.alive:
            # Its end of the line is closed, which would be reported again and again.
            _unwatch(life)

    def _tend(self, worker: Worker) -> None:
        life = worker.life
        if life is None:
            if time.monotonic() >= worker.due_s and not self._stopping:
                self._start(worker)
        elif not life.alive:
            self._listen(worker, life)
            code = life.process.exitcode
            ended = worker.role == "reader" and worker.meter.heartbeat.state is State.ENDED
            if ended or self._stopping:
                return
            _unwatch(life)
            why = "did not answer" if life.hung else _ending(code)
            worker.reap(life)
            if said := worker.ending(why):
                self._say(worker.name, said)
        elif worker.is_silent(life):
            # What it told may still lie in the line, where this process had no time to read.
            self._listen(worker, life)
            if worker.is_silent(life):
                life.hung = True
                worker.kill()


def _unwatch(life: Life) -> None:
    asyncio.get_running_loop().remove_reader(life.line.fileno())


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
