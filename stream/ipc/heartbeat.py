"""How the reader is, kept together and told a few times a second."""

import time
from dataclasses import replace

from stream.ipc.child import Control
from stream.ipc.messages import Heartbeat, State
from stream.ipc.timed_calls import StoppedError

_SILENT_S = 2.0
"""Without a picture for so long there is no signal."""
_TICK_S = 0.1


class ReaderHeartbeat:
    """What the reader tells of itself, and whether it is to go on."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.state = State.CONNECTING
        self.facts: dict[str, str] = {}
        self.busy_s = 0.0
        self.seen_s = 0.0
        """When the last picture was passed on."""
        self._counts = Heartbeat()

    @property
    def frames(self) -> int:
        """Pictures passed on so far."""
        return self._counts.frames

    def count(self, **more: int) -> None:
        """Add to the counts of `Heartbeat`."""
        counts = self._counts
        self._counts = replace(counts, **{k: getattr(counts, k) + v for k, v in more.items()})

    def tick(self) -> bool:
        """Tell how it is, where that is due; returns whether this process is to end."""
        self.tell()
        return self.control.stopping

    def wait_until(self, timestamp: int) -> None:
        """Wait until `moment`, in ns of the monotonic clock. Raises `StoppedError`."""
        while (left := (timestamp - time.monotonic_ns()) / 1e9) > 0:
            self.control.wait(min(left, _TICK_S))
            if self.tick():
                raise StoppedError

    def pause(self, seconds: float) -> None:
        """Wait without a picture. Raises `StoppedError`."""
        self.state = State.NO_SIGNAL
        self.wait_until(time.monotonic_ns() + int(seconds * 1e9))

    def tell(self, *, now: bool = False) -> None:
        """Tell how it is, where that is due or has to be `now`."""
        silent = self.state is State.LIVE and time.monotonic() - self.seen_s > _SILENT_S
        self.control.heartbeat(
            lambda latencies: replace(
                self._counts,
                state=State.NO_SIGNAL if silent else self.state,
                busy_s=self.busy_s,
                latencies_ms=latencies,
                facts=dict(self.facts),
            ),
            now=now,
        )
