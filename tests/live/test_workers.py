"""Which processes are taken for hung: those that could say something and do not."""

import asyncio
import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from stream.ipc import backoff
from stream.ipc.child import Control
from stream.ipc.messages import Heartbeat, State
from stream.ipc.workers import Worker, Workers
from stream.secrets import Secrets

DEADLINE_S = 120.0
BURNERS = 2 * (os.cpu_count() or 1)


def burn(seconds: float) -> None:
    """Compute for so many seconds of the processor's time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def slow(control: Control) -> None:
    """A process that gets little of the processor: to its first word, and from one to the next."""
    os.nice(10)
    burn(0.1)
    while not control.stopping:
        control.heartbeat(lambda latencies: Heartbeat(State.LIVE), now=True)
        burn(0.05)


def stuck(control: Control) -> None:
    """A process that says one word, and nothing more."""
    control.heartbeat(lambda latencies: Heartbeat(State.LIVE), now=True)
    time.sleep(DEADLINE_S)


def dying(control: Control) -> None:
    """One that says a word, and ends."""
    control.heartbeat(lambda latencies: Heartbeat(State.LIVE), now=True)
    sys.exit(3)


def spinning(control: Control) -> None:
    """One that says a word, and then computes for ever."""
    control.heartbeat(lambda latencies: Heartbeat(State.LIVE), now=True)
    burn(DEADLINE_S)


@pytest.fixture
def busy() -> Iterator[None]:
    """Others that want the processor all the time."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BURNERS)]
    yield
    for each in others:
        each.kill()
        each.wait()


def heard(worker: Worker) -> float:
    """When a word of it came last, in its present life."""
    return worker.life.heard_s if worker.life is not None else 0.0


def tend(worker: Worker, done: Callable[[], object]) -> tuple[list[str], list[float]]:
    """Keep a process up until something is so; what was said, and how long each life was."""
    said: list[str] = []
    lives: list[float] = []

    async def run() -> None:
        kept = Workers(
            [worker],
            multiprocessing.get_context("spawn"),
            secrets=Secrets(),
            say=lambda who, text: said.append(text),
            fail=lambda text, code: said.append(text),
        )
        kept.start()
        end = time.monotonic() + DEADLINE_S
        try:
            while not done() and time.monotonic() < end:
                heard_s, restarts = heard(worker), worker.meter.restarts
                kept.tend()
                if worker.meter.restarts > restarts:
                    lives.append(time.monotonic() - heard_s)
                await asyncio.sleep(0.02)
            assert done(), said
        finally:
            kept.stop(at_once=True)
            await kept.end()
            kept.clear()

    asyncio.run(run())
    return said, lives


def test_a_process_that_gets_no_processor_is_not_killed(busy: None) -> None:
    worker = Worker("slow", "reader", slow, (), 0.2)
    gaps: list[float] = []
    last = 0.0

    def starved() -> bool:
        nonlocal last
        if last and heard(worker) > last:
            gaps.append(heard(worker) - last)
        last = heard(worker) if worker.proven else 0.0
        return sum(gap > 0.4 for gap in gaps) >= 3

    said, lives = tend(worker, starved)
    assert worker.meter.restarts == 0, f"killed after a silence that was none: {said}, {lives}"


@pytest.mark.parametrize("work", [stuck, spinning])
def test_a_process_that_hangs_is_killed_and_given_longer_each_time(
    work: Callable[[Control], None],
) -> None:
    worker = Worker("stuck", "reader", work, (), 0.25)
    said, lives = tend(worker, lambda: worker.meter.restarts == 3)
    assert said[0] == "did not answer; started again"
    assert all("did not answer" in line for line in said)
    for life, least in zip(lives, (0.25, 0.5, 1.0), strict=True):
        assert life >= least


def test_ends_are_counted_and_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker("dying", "reader", dying, (), 5.0)
    monkeypatch.setattr(backoff, "_SAY_S", math.inf)
    said, _ = tend(worker, lambda: worker.meter.restarts == 4)
    assert worker.figures().restarts == 4
    assert said == ["ended with 3; started again"]
    monkeypatch.setattr(backoff, "_SAY_S", 0.0)
    said, _ = tend(worker, lambda: worker.meter.restarts == 6)
    assert said == ["ended with 3; started again (4 times)", "ended with 3; started again"]


def test_what_is_told_while_nobody_reads_it_counts() -> None:
    """The process that looks after the others may get no processor either."""
    worker = Worker("slow", "reader", slow, (), 0.5)

    async def run() -> None:
        kept = Workers(
            [worker],
            multiprocessing.get_context("spawn"),
            secrets=Secrets(),
            say=lambda who, text: None,
            fail=lambda text, code: None,
        )
        kept.start()
        try:
            while not worker.proven:
                await asyncio.sleep(0.02)
            for _ in range(3):
                time.sleep(1)
                kept.tend()
            assert worker.life is not None
            assert not worker.life.hung
        finally:
            kept.stop(at_once=True)
            await kept.end()
            kept.clear()

    asyncio.run(run())
