"""One thread per stage, bounded queues between them, and one clean way to stop."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that knows how many bytes it holds."""

    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Sized)
T_contra = TypeVar("T_contra", bound=Sized, contravariant=True)


class Closed(Exception):  # noqa: N818 - not an error: the way a thread is told to leave
    """Nothing more will pass through this queue."""


class Queue(Generic[T]):
    """A hand-over between two threads, bounded in bytes, that either end can close."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._items: deque[T] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False  # the producer is done; what is queued may still be read
        self._full = False  # nothing more is taken
        self._cancelled = False  # nobody reads or writes any more

    def put(self, item: T) -> None:
        """Wait until there is room; an item larger than the budget passes alone."""
        with self._changed:
            while self._items and self._bytes + item.nbytes > self._budget:
                if self._cancelled or self._full:
                    raise Closed
                self._changed.wait()
            if self._cancelled or self._full:
                raise Closed
            self._items.append(item)
            self._bytes += item.nbytes
            self._changed.notify_all()

    def end(self) -> None:
        """Say that nothing more will be put."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Drop what is queued and take nothing more; the reader sees the end."""
        with self._changed:
            self._items.clear()
            self._bytes = 0
            self._ended = self._full = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drop everything and wake both ends."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def get(self) -> T:
        """Wait for an item; raises `Closed` at the end."""
        with self._changed:
            while not (self._items or self._ended or self._cancelled):
                self._changed.wait()
            if self._cancelled or not self._items:
                raise Closed
            item = self._items.popleft()
            self._bytes -= item.nbytes
            self._changed.notify_all()
            return item


@dataclass
class Clock:
    """How long a stage worked; what it did not work it waited for its neighbors."""

    name: str
    busy_s: float = 0.0
    items: int = 0


class Stage(Protocol[T]):
    """Something between source and sink."""

    def push(self, item: T) -> Iterable[T]:
        """Take one item and hand on those that are ready."""
        ...

    def flush(self) -> Iterable[T]:
        """Hand on what is left at the end; not asked for where the work is stopped before."""
        ...


class Sink(Protocol[T_contra]):
    """Where everything ends."""

    def push(self, item: T_contra) -> None:
        """Take one item."""
        ...

    def flush(self) -> None:
        """Finish: everything has been pushed."""
        ...


class Pipeline(Generic[T]):
    """Runs source, stages and sink in threads of their own.

    The first error wins: it cancels every queue, all threads are joined, and it is raised.
    """

    def __init__(
        self,
        source: Iterable[T],
        stages: dict[str, Stage[T]],
        sink: Sink[T],
        *,
        budget_bytes: int = 64 << 20,
    ) -> None:
        self._source = source
        self._stages = stages
        self._sink = sink
        self._queues: list[Queue[T]] = [Queue(budget_bytes) for _ in range(len(stages) + 1)]
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._idle = threading.Event()
        self._running = 0
        self._stopped = threading.Event()
        self.clocks = [Clock("decode"), *(Clock(name) for name in stages), Clock("encode")]

    def run(self, tick: Callable[[], None] | None = None) -> None:
        """Run to the end; `tick` is called in this thread about ten times a second."""
        work: list[Callable[[], None]] = [self._read]
        for index, stage in enumerate(self._stages.values()):
            work.append(lambda index=index, stage=stage: self._process(index, stage))  # type: ignore[misc]
        work.append(self._write)
        threads = [
            threading.Thread(target=self._guard, args=(target,), name=f"deblur-{clock.name}")
            for target, clock in zip(work, self.clocks, strict=True)
        ]
        self._running = len(threads)
        for thread in threads:
            thread.start()
        try:
            # Not join(), which would keep Ctrl-C waiting until the thread ends.
            while not self._idle.wait(0.1):
                if tick is not None:
                    tick()
        except BaseException as error:
            self.fail(error)
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Read no more, drop what waits for any stage or in one, and finish the rest properly."""
        self._stopped.set()
        # What is done already goes to the sink. Between a quick stage and a slow one much may wait.
        for queue in self._queues[:-1]:
            queue.discard()

    def fail(self, error: BaseException) -> None:
        """Stop everything at once; `run` raises the first error it was given."""
        with self._lock:
            self._error = self._error or error
        self._stopped.set()
        for queue in self._queues:
            queue.cancel()

    def _read(self) -> None:
        clock, after = self.clocks[0], self._queues[0]
        items = iter(self._source)
        while not self._stopped.is_set():
            begun = time.perf_counter()
            item = next(items, None)
            clock.busy_s += time.perf_counter() - begun
            if item is None:
                break
            clock.items += 1
            after.put(item)
        after.end()

    def _process(self, index: int, stage: Stage[T]) -> None:
        clock, before, after = self.clocks[index + 1], self._queues[index], self._queues[index + 1]
        for item in _items(before):
            self._hand_on(clock, lambda item=item: stage.push(item), after)  # type: ignore[misc]
        # What a stage still holds when it is stopped lacks what would have come after it.
        if not self._stopped.is_set():
            self._hand_on(clock, stage.flush, after)
        after.end()

    def _hand_on(self, clock: Clock, work: Callable[[], Iterable[T]], after: Queue[T]) -> None:
        begun = time.perf_counter()
        ready = list(work())
        clock.busy_s += time.perf_counter() - begun
        clock.items += 1
        for item in ready:
            after.put(item)

    def _write(self) -> None:
        clock, before = self.clocks[-1], self._queues[-1]
        for item in _items(before):
            begun = time.perf_counter()
            self._sink.push(item)
            clock.busy_s += time.perf_counter() - begun
            clock.items += 1
        if self._error is None:
            self._sink.flush()

    def _guard(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Closed:
            pass
        except BaseException as error:
            self.fail(error)
        finally:
            with self._lock:
                self._running -= 1
                last = self._running == 0
            if last:
                self._idle.set()


def _items(queue: Queue[T]) -> Iterator[T]:
    while True:
        try:
            yield queue.get()
        except Closed:
            return
