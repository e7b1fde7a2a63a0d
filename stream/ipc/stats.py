"""How a live feed does: what its processes tell, over the last seconds and in all."""

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stream.ipc.messages import Heartbeat, State

WINDOW_S = 10.0
"""Rates and latencies are those of so many seconds."""
_FULL = 0.85
"""A process that works for this share of the time is the bottleneck."""

_COUNTED = "frames", "dropped", "damaged", "repeats", "connects", "refused"
"""What a process counts from its start, and its next life from the beginning."""

_DROPS = 0.25
"""A process that drops so many frames per second is the bottleneck, however long it waits."""

Role = Literal["reader", "model", "writer", "preview"]


@dataclass(frozen=True)
class ProcessFigures:
    """How one process does. Counts are since the feed started, whatever died in between."""

    name: str
    role: Role
    state: State = State.STARTING
    fps: float = 0.0
    busy: float = 0.0
    """The share of the time that it worked, in 0..1."""
    latency_p50_ms: float | None = None
    """From the arrival of a frame until it leaves this process; None where none left lately."""
    latency_p95_ms: float | None = None
    frames: int = 0
    dropped: int = 0
    dropping: float = 0.0
    """Frames per second that it drops."""
    damaged: int = 0
    repeats: int = 0
    connects: int = 0
    refused: int = 0
    readers: int = 0
    restarts: int = 0
    pid: int | None = None
    memory_bytes: int = 0
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """How a live feed does."""

    state: State
    """That of the reader where it is not live; else live, starting, or degraded where an output is
    not up."""
    uptime_s: float
    processes: tuple[ProcessFigures, ...]

    @property
    def reader(self) -> ProcessFigures:
        return next(each for each in self.processes if each.role == "reader")

    @property
    def model(self) -> ProcessFigures:
        return next(each for each in self.processes if each.role == "model")

    @property
    def writers(self) -> tuple[ProcessFigures, ...]:
        return tuple(each for each in self.processes if each.role == "writer")

    @property
    def reconnects(self) -> int:
        """How often the source was connected again."""
        return max(0, self.reader.connects - 1)

    @property
    def dropped(self) -> int:
        """Frames of the source that were not restored, because newer ones had come."""
        return self.model.dropped

    @property
    def slowest(self) -> ProcessFigures | None:
        """The output with the greatest latency, where frames leave at all."""
        timed = [each for each in self.writers if each.latency_p95_ms is not None]
        return max(timed, key=lambda each: each.latency_p95_ms or 0.0, default=None)

    @property
    def bottleneck(self) -> str:
        """The process that holds the others up: which drops most, or else never waits; "source"
        where it is how fast frames come."""
        dropping = max(self.processes, key=lambda each: each.dropping)
        if dropping.dropping >= _DROPS:
            return dropping.name
        busiest = max(self.processes, key=lambda each: each.busy)
        return busiest.name if busiest.busy >= _FULL else "source"

    def told(self) -> dict[str, object]:
        """What people want to know, as JSON has it: see `stream.preview.host.Watched`."""
        slowest, reader, model = self.slowest, self.reader, self.model
        p50 = slowest.latency_p50_ms if slowest is not None else None
        p95 = slowest.latency_p95_ms if slowest is not None else None
        known = [reader.facts[key] for key in ("codec", "size") if key in reader.facts]
        rows = [
            ("frames in", f"{reader.fps:.1f} fps"),
            ("frames out", f"{model.fps:.1f} fps"),
            ("dropped", str(self.dropped)),
            ("latency p50 / p95", f"{p50:.0f} / {p95:.0f} ms" if p50 and p95 else "-"),
            ("bottleneck", self.bottleneck),
            ("reconnects", str(self.reconnects)),
            *([("source", " ".join(known))] if known else []),
            # The usual step needs no number.
            *((name, re.sub(r"^1 of \d+: ", "", text)) for name, text in model.facts.items()),
        ]
        plot = {"label": "latency, ms, last minute", "values": {"p50": p50, "p95": p95}}
        return {"state": self.state.value, "rows": rows, "plot": plot, "fps": model.fps}


class Meter:
    """Makes figures of what one process tells, across its deaths."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role: Role = role
        self.heartbeat = Heartbeat()
        self.restarts = 0
        self._before = Heartbeat()
        """What earlier lives of the process counted in all."""
        self._told: deque[tuple[float, Heartbeat]] = deque()
        self._latencies: deque[tuple[float, float]] = deque()

    def told(self, heartbeat: Heartbeat) -> None:
        """Take what the process told just now."""
        now = time.monotonic()
        self.heartbeat = heartbeat
        self._told.append((now, heartbeat))
        self._latencies.extend((now, each) for each in heartbeat.latencies_ms)
        while self._told[0][0] < now - WINDOW_S:
            self._told.popleft()

    def died(self) -> None:
        """The process is gone; what is told next is another one's."""
        self.restarts += 1
        self._before = replace(Heartbeat(), **self._totals())
        self.heartbeat = Heartbeat()
        self._told.clear()

    def figures(self, pid: int | None = None, memory_bytes: int = 0) -> ProcessFigures:
        """How the process does now."""
        now = time.monotonic()
        while self._latencies and self._latencies[0][0] < now - WINDOW_S:
            self._latencies.popleft()
        latencies = sorted(each for _, each in self._latencies)
        fps = busy = dropping = 0.0
        if len(self._told) > 1:
            (begin, before), (end, after) = self._told[0], self._told[-1]
            # A process that fell silent is not as fast as it was.
            seconds = max(end, now - 1.0) - begin
            fps = (after.frames - before.frames) / seconds
            busy = min(1.0, (after.busy_s - before.busy_s) / seconds)
            dropping = (after.dropped - before.dropped) / seconds
        return ProcessFigures(
            self.name,
            self.role,
            self.heartbeat.state,
            fps,
            busy,
            quantile(latencies, 0.50),
            quantile(latencies, 0.95),
            **self._totals(),
            dropping=dropping,
            readers=self.heartbeat.readers,
            restarts=self.restarts,
            pid=pid,
            memory_bytes=memory_bytes,
            facts=dict(self.heartbeat.facts),
        )

    def _totals(self) -> dict[str, Any]:
        return {key: getattr(self._before, key) + getattr(self.heartbeat, key) for key in _COUNTED}


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` of the ordered ones do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
