"""Runs the command many times without loading torch each time, and watches each run.

`load` imports everything once, in a process that computes nothing with it; each run is then a fork
of that process, which calls the command as its entry point does.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn, TypeVar

import psutil
from rich.console import Console

console = Console(highlight=False, soft_wrap=True, markup=False)

IDLE_S = 10.0
"""A run that neither computes, nor waits to, nor writes for so long hangs."""
_IDLE_CPU_S = 0.1
"""What idle threads may compute in that time."""
_PR_SET_PDEATHSIG = 1

Case = TypeVar("Case")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    """The exit code, or minus the number of the signal that ended it."""
    said: str
    """All of stderr."""
    printed: str
    """All of stdout."""
    seconds: float
    peak_mib: float
    killed: str = ""
    """Why it was killed, where it was."""

    @property
    def line(self) -> str:
        """The line on stderr that says what went wrong."""
        lines = [line for line in self.said.splitlines() if line.startswith("deblur:")]
        return lines[0].removeprefix("deblur:").strip() if lines else ""


def load() -> None:
    """Import all that a run needs, without computing anything."""
    # As the command does, and like there before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("torch", "stream.cli", "stream.files.job", "mssnet", "filters", "weights"):
        import_module(name)


def deblur(*words: object) -> Callable[[], int]:
    """The command with these words, as `start` and `run` take it."""

    def work() -> int:
        from stream.cli import main

        sys.argv = ["deblur", *map(str, words)]
        main()
        return 0

    return work


def start(work: Callable[[], int], folder: Path) -> int:
    """Do `work` in a process of its own, in a session of its own, and return its number.

    What it says goes to the files `stdout` and `stderr` in `folder`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if not number:
        _work_and_end(work, folder)
    return number


def _work_and_end(work: Callable[[], int], folder: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        # Whoever started it may be killed; then nobody would watch it any more.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        faulthandler.register(signal.SIGUSR1, file=2)
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    # As at the end of Python itself: a thread that never ends keeps the process.
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(
    work: Callable[[], int],
    *,
    watch: Path | None = None,
    limit_s: float = 600.0,
    memory_mib: float = 8000.0,
) -> Outcome:
    """Do `work` in a process of its own, and kill it when it makes no progress or takes too much.

    Progress is processor time, had or waited for, or growth of the files in the folder `watch`. A
    run that is killed says first, on its stderr, what each of its threads was doing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.monotonic()
        number = start(work, folder)
        samples: deque[tuple[float, float, int]] = deque()
        killed = ""
        try:
            ended, status, used = os.wait4(number, os.WNOHANG)
            while not ended:
                now = time.monotonic()
                if not samples or now > samples[-1][0] + 0.5:
                    samples.append((now, cpu_s(number), _size(watch)))
                if _idle(samples):
                    killed = f"no progress for {IDLE_S:.0f} s"
                elif now > begun + limit_s:
                    killed = f"not done after {limit_s:.0f} s"
                elif _memory_mib(number) > memory_mib:
                    killed = f"more than {memory_mib:.0f} MiB of memory"
                if killed:
                    os.kill(number, signal.SIGUSR1)
                    time.sleep(0.5)
                    stop(number)
                time.sleep(0.02)
                ended, status, used = os.wait4(number, os.WNOHANG)
            seconds = time.monotonic() - begun
            left = 0 if killed else alive(number)
        finally:
            stop(number)
        return Outcome(
            code=os.waitstatus_to_exitcode(status),
            said=(folder / "stderr").read_text(errors="replace"),
            printed=(folder / "stdout").read_text(errors="replace"),
            seconds=seconds,
            peak_mib=used.ru_maxrss / 1024,
            killed=killed or (f"left {left} processes running" if left else ""),
        )


def _idle(samples: deque[tuple[float, float, int]]) -> bool:
    """Whether neither processor time nor files grew in the last `IDLE_S`."""
    now, cpu, size = samples[-1]
    idle = False
    while samples[0][0] < now - IDLE_S:
        _, cpu_then, size_then = samples.popleft()
        # Less is progress as well: threads that have ended do not count any more.
        idle = abs(cpu - cpu_then) < _IDLE_CPU_S and size == size_then
    # With few samples it was the machine that stood still, or this process.
    return idle and len(samples) > IDLE_S


def _memory_mib(number: int) -> float:
    try:
        return float(psutil.Process(number).memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def stop(number: int) -> None:
    """Kill a process and all that it started."""
    try:
        os.killpg(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def alive(session: int, patience_s: float = 1.0) -> int:
    """How many processes of a session run still, some time after their first one ended."""
    deadline = time.monotonic() + patience_s
    while True:
        running = 0
        for process in psutil.process_iter():
            try:
                mine = os.getsid(process.pid) == session
                running += mine and process.status() != psutil.STATUS_ZOMBIE
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.1)


def cpu_s(number: int) -> float:
    """Processor time of a process and all that it started, in seconds, and how long their
    threads waited for a processor that others had."""
    total = 0.0
    try:
        first = psutil.Process(number)
        for process in (first, *first.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
            for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    total += int(thread.read_text().split()[1]) / 1e9
    except psutil.Error:
        # One ended meanwhile: that is progress, and the next sample is whole again.
        return total
    return total


def _size(folder: Path | None) -> int:
    """Bytes of all files in a folder, of which some go while this looks."""
    total = 0
    # os.walk passes over folders that are gone; Path.rglob fails.
    for place, _, names in os.walk(folder) if folder else ():
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total


def side_by_side(
    trial: Callable[[Case], Row], cases: Sequence[Case], jobs: int
) -> Iterator[tuple[Case, Row]]:
    """Each case with what the trial of it returns, in order, `jobs` of them at a time."""
    load()
    # A process each, as nothing may be forked while other threads run.
    pool = ProcessPoolExecutor(
        jobs,
        get_context("fork"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield from zip(cases, pool.map(trial, cases), strict=True)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def misbehavior(outcome: Outcome) -> list[str]:
    """What the command may never do, whatever it is given."""
    if outcome.killed:
        return [outcome.killed]
    if outcome.code < 0:
        return [f"killed by {signal.Signals(-outcome.code).name}"]
    found = []
    lines = outcome.said.splitlines()
    reports = [line for line in lines if line.startswith("deblur:")]
    if any(line.startswith("Traceback") for line in lines):
        found.append("a traceback")
    if outcome.code == 70:
        found.append(f"unexpected: {outcome.line}")
    if len(reports) > 1:
        found.append(f"{len(reports)} lines of error")
    if outcome.code > 1 and not reports:
        found.append(f"no line that says why it ended with {outcome.code}")
    return found


def faults(outcome: Outcome, output: Path) -> list[str]:
    """What `deblur run` may never do, or leave in the output's folder, which was empty before."""
    found = misbehavior(outcome)
    left = sorted(path.name for path in output.parent.iterdir())
    if outcome.code in (0, 1) and left != [output.name]:
        found.append(f"left {', '.join(left) or 'no output'}")
    if outcome.code == 1 and "differs:" not in outcome.said:
        found.append("no word of what differs")
    if outcome.code > 1:
        # What was made before the error may stay, where that is told.
        told = {f"{output.name}.part"} if "--resume" in outcome.said else set()
        told |= {name for name in left if name != output.name and name in outcome.said}
        untold = [name for name in left if name not in told]
        if untold:
            found.append(f"left {', '.join(untold)} after an error")
    return found


def own_and_extra(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line at its first `--`."""
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]
