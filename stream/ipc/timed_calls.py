"""Calls that may block, made beside the process's own work."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self, TypeVar

_TICK_S = 0.1

T = TypeVar("T")


class LateError(Exception):
    """A call took too long and goes on alone."""


class StoppedError(Exception):
    """The process was told to end meanwhile."""


class ConnectionThread:
    """One connection's thread, in which it is opened, read and closed, one after the other.

    FFmpeg cannot be interrupted from outside. What takes too long is left to itself: its time-out
    ends it soon after, and what was to be done last is done then.
    """

    def __init__(self, tick: Callable[[], bool], last: Callable[[], None]) -> None:
        """While a call lasts, `tick` is called about ten times a second; it returns whether this
        process is to end. `last` is done in the thread when the link is left."""
        self._tick = tick
        self._last = last
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        done = self._thread.submit(self._last)
        self._thread.shutdown(wait=False)
        if kind is not LateError:
            # A webcam can be opened again only after it was closed.
            wait([done], 1)

    def call(self, function: Callable[[], T], within_s: float) -> T:
        """What `function` returns or raises.

        Raises `LateError` or `StoppedError` where it is left alone.
        """
        end = time.monotonic() + within_s
        future: Future[T] = self._thread.submit(function)
        while not wait([future], max(0.0, min(_TICK_S, end - time.monotonic()))).done:
            if self._tick():
                raise StoppedError
            if time.monotonic() >= end:
                raise LateError
        return future.result()
