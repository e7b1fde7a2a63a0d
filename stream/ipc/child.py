"""The processes of a live feed, seen from inside: what each tells and is told."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from setproctitle import setproctitle

from stream import diagnostics
from stream.errors import DeblurError
from stream.ipc.messages import Command, Fatal, Heartbeat, Line, Message, Order, Request, Stop
from stream.secrets import Secrets

_log = logging.getLogger(__name__)

BEAT_S = 0.25
"""How often a process tells how it is."""
_PR_SET_PDEATHSIG = 1


class Control:
    """A process's line to the supervisor. Nothing here waits for an answer."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._stopping = False
        self._told_s = 0.0
        self._orders: list[Order] = []
        self._latencies: list[float] = []

    @property
    def stopping(self) -> bool:
        """Whether this process shall end."""
        self._listen()
        return self._stopping

    def orders(self) -> list[Order]:
        """What the supervisor sent since the last call, other than to stop."""
        self._listen()
        taken, self._orders = self._orders, []
        return taken

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past being told to stop; returns whether it was."""
        end = time.monotonic() + seconds
        while not self.stopping and (left := end - time.monotonic()) > 0:
            self._line.poll(min(left, BEAT_S))
        return self._stopping

    def say(self, text: str) -> None:
        """Tell the user something, in one line."""
        self.tell(" ".join(text.split()))

    def tell(self, lines: str) -> None:
        """Tell the user something in lines of its own."""
        self._send(Line(lines))

    def ask(self, request: Request) -> None:
        """Ask the supervisor for something, or tell it what is in use."""
        self._send(request)

    def fileno(self) -> int:
        """Of the line, which can be read where `orders` has something."""
        return self._line.fileno()

    def latency(self, arrived: int) -> None:
        """Note that a picture that came in at `arrived`, in ns, leaves now."""
        self._latencies.append((time.monotonic_ns() - arrived) / 1e6)

    def heartbeat(
        self, make: Callable[[tuple[float, ...]], Heartbeat], *, now: bool = False
    ) -> None:
        """Tell how this process is, unless that was done just before; `make` gets the latencies."""
        clock = time.monotonic()
        if now or clock - self._told_s >= BEAT_S:
            self._told_s = clock
            latencies, self._latencies = tuple(self._latencies), []
            self._send(make(latencies))

    def fatal(self, text: str, exit_code: int) -> None:
        """Tell why nothing can work."""
        self._send(Fatal(" ".join(text.split()), exit_code))

    def _send(self, message: Message) -> None:
        try:
            self._line.send(message)
        except OSError:
            self._stopping = True  # nobody is there any more

    def _listen(self) -> None:
        try:
            while self._line.poll():
                message: Command = self._line.recv()
                if isinstance(message, Stop):
                    self._stopping = True
                else:
                    self._orders.append(message)
        except (EOFError, OSError):
            self._stopping = True


class _Forward(logging.Handler):
    def __init__(self, control: Control, secrets: Secrets, *, verbose: bool) -> None:
        super().__init__()
        self._control, self._secrets = control, secrets
        if verbose:
            diagnostics.be_verbose()
            self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._control.tell(self._secrets.hide(self.format(record)))


def enter(
    work: Callable[..., None],
    line: Connection,
    secrets: Secrets,
    arguments: tuple[Any, ...],
    verbose: bool = False,
) -> None:
    """What a new process does: `work(control, *arguments)`, and tell of its end.

    A `DeblurError` is fatal for the whole feed; whatever else goes wrong ends this process alone,
    which is then started again.
    """
    # Ctrl-C and what a service manager sends go to all processes; the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _end_with_parent()
    setproctitle(multiprocessing.current_process().name)
    control = Control(line)
    logging.getLogger().addHandler(_Forward(control, secrets, verbose=verbose))
    _log.info("process %d works", os.getpid())
    try:
        work(control, *arguments)
    except DeblurError as error:
        control.fatal(secrets.hide(str(error)), error.exit_code)
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        control.say(diagnostics.fault(error, secrets))
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    # A process that hangs in the network would not notice that its supervisor is gone.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
