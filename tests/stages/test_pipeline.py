"""The pipeline: order, bounds, errors and stopping."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from stream.pipeline import Closed, Pipeline, Queue


@dataclass(frozen=True)
class Parcel:
    number: int
    nbytes: int = 10


@dataclass
class Collect:
    """A sink that keeps what it gets and can fail or dawdle."""

    delay_s: float = 0.0
    fails_at: int | None = None
    fails_at_end: bool = False
    got: list[int] = field(default_factory=list)
    finished: bool = False

    def push(self, item: Parcel) -> None:
        if item.number == self.fails_at:
            raise OSError("sink push")
        time.sleep(self.delay_s)
        self.got.append(item.number)

    def flush(self) -> None:
        if self.fails_at_end:
            raise OSError("sink flush")
        self.finished = True


@dataclass
class Late:
    """A stage that looks a few items ahead."""

    ahead: int = 3
    fails_at: int | None = None
    fails_at_end: bool = False
    held: list[Parcel] = field(default_factory=list)

    def push(self, item: Parcel) -> Iterator[Parcel]:
        if item.number == self.fails_at:
            raise ValueError("stage push")
        self.held.append(item)
        if len(self.held) > self.ahead:
            yield self.held.pop(0)

    def flush(self) -> Iterator[Parcel]:
        if self.fails_at_end:
            raise ValueError("stage flush")
        yield from self.held


def numbers(count: int, fails_at: int | None = None) -> Iterator[Parcel]:
    for number in range(count):
        if number == fails_at:
            raise LookupError("source")
        yield Parcel(number)


@pytest.mark.parametrize("budget", [1, 25, 1000])
def test_everything_arrives_in_order(budget: int) -> None:
    sink = Collect()
    Pipeline[Parcel](numbers(50), {"a": Late(3), "b": Late(0)}, sink, budget_bytes=budget).run()
    assert sink.got == list(range(50))
    assert sink.finished


@pytest.mark.parametrize(
    ("source", "stage", "sink", "message"),
    [
        (numbers(99, fails_at=20), Late(), Collect(), "source"),
        (numbers(99), Late(fails_at=20), Collect(), "stage push"),
        (numbers(99), Late(fails_at_end=True), Collect(), "stage flush"),
        (numbers(99), Late(), Collect(fails_at=20), "sink push"),
        (numbers(99), Late(), Collect(fails_at_end=True), "sink flush"),
    ],
)
def test_the_first_error_ends_all(
    source: Iterable[Parcel], stage: Late, sink: Collect, message: str
) -> None:
    with pytest.raises((LookupError, ValueError, OSError), match=message):
        Pipeline[Parcel](source, {"a": stage}, sink, budget_bytes=20).run()
    assert not sink.finished


def test_a_slow_sink_holds_the_source_back() -> None:
    read = 0
    sink = Collect(delay_s=0.01)
    most = 0

    def counted() -> Iterator[Parcel]:
        nonlocal read, most
        for parcel in numbers(40):
            read += 1
            most = max(most, read - len(sink.got))
            yield parcel

    Pipeline[Parcel](counted(), {"a": Late(0)}, sink, budget_bytes=30).run()
    # Three in each of two queues, and one in the hands of each of three threads.
    assert most <= 2 * 3 + 3 + 1


def test_stop_finishes_what_is_in_hand() -> None:
    sink, stage = Collect(delay_s=0.005), Late(3)
    pipeline = Pipeline[Parcel](numbers(10_000), {"a": stage}, sink, budget_bytes=50)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        pipeline.stop()

    pipeline.run(tick)
    assert ticks
    assert sink.finished
    assert 0 < len(sink.got) < 10_000
    assert sink.got == list(range(len(sink.got)))
    assert stage.held[0].number == len(sink.got), "what waits for later items is not finished"


def test_an_interrupt_ends_all_at_once() -> None:
    sink = Collect(delay_s=0.005)

    def tick() -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Pipeline[Parcel](numbers(10_000), {"a": Late()}, sink, budget_bytes=50).run(tick)
    assert time.monotonic() - begun < 10  # of the 50 s that all take
    assert not sink.finished


def test_an_empty_source_is_fine() -> None:
    sink = Collect()
    Pipeline[Parcel](numbers(0), {"a": Late()}, sink).run()
    assert sink.finished
    assert sink.got == []


def test_the_clocks_find_the_bottleneck() -> None:
    pipeline = Pipeline[Parcel](numbers(20), {"a": Late(0)}, Collect(delay_s=0.01))
    pipeline.run()
    busy = {clock.name: clock.busy_s for clock in pipeline.clocks}
    assert max(busy, key=lambda name: busy[name]) == "encode"
    assert busy["encode"] >= 0.2


def test_a_queue_lets_one_oversized_item_pass() -> None:
    queue = Queue[Parcel](5)
    queue.put(Parcel(1, 100))
    blocked = threading.Thread(target=lambda: queue.put(Parcel(2, 1)))
    blocked.start()
    time.sleep(0.05)
    assert blocked.is_alive()
    assert queue.get().number == 1
    blocked.join(2)
    assert queue.get().number == 2
    queue.end()
    with pytest.raises(Closed):
        queue.get()


def test_a_cancelled_queue_wakes_who_waits() -> None:
    queue = Queue[Parcel](5)
    queue.put(Parcel(1, 100))
    woken = threading.Event()

    def put() -> None:
        try:
            queue.put(Parcel(2, 1))
        except Closed:
            woken.set()

    thread = threading.Thread(target=put)
    thread.start()
    queue.cancel()
    assert woken.wait(2)
    thread.join()
    with pytest.raises(Closed):
        queue.get()


@pytest.mark.stress
@pytest.mark.parametrize("round", range(200))
def test_races(round: int) -> None:
    test_the_first_error_ends_all(numbers(99), Late(fails_at=round % 99), Collect(), "stage push")
    test_everything_arrives_in_order(1 + round % 40)
