"""What there is to tell of a camera: that it is lost, back, too slow, or in time again.

Nothing here knows the time or an address: moments are passed in.
"""

from dataclasses import dataclass
from typing import Any, Literal

from stream.ipc.messages import State
from stream.ipc.stats import Snapshot

Kind = Literal["lost", "back", "slow", "in time"]
LOST_S = 10.0
"""A camera is lost after so long without a picture; one that has just been begun ..."""
BEGIN_S = 60.0
"""... after so long."""
BACK_S = 3.0
"""It is back after so long with one."""
SLOW_S = 30.0
"""Frames are dropped, or restored less well, for so long before it is too slow, and neither for so
long before it is in time again."""
_DROPS = 0.25
"""Frames per second."""


@dataclass(frozen=True)
class Event:
    """Something that has become of a camera."""

    kind: Kind
    camera: str
    snapshot: Snapshot

    def to_json(self, at: str) -> dict[str, Any]:
        """As it is told; `at` is the time, as ISO 8601 has it."""
        known = self.snapshot.processes
        slowest = self.snapshot.slowest if known else None
        return {
            "event": self.kind,
            "camera": self.camera,
            "at": at,
            "state": self.snapshot.state.value,
            "fps_in": round(self.snapshot.reader.fps, 1) if known else 0.0,
            "fps_out": round(self.snapshot.model.fps, 1) if known else 0.0,
            "latency_ms": round(slowest.latency_p50_ms or 0.0) if slowest is not None else None,
            "dropped": self.snapshot.dropped if known else 0,
            "reconnects": self.snapshot.reconnects if known else 0,
            "step": self.snapshot.model.facts.get("step") if known else None,
            "bottleneck": self.snapshot.bottleneck if known else None,
        }


class Watch:
    """Watches one camera."""

    def __init__(self, camera: str, now: float) -> None:
        self._camera = camera
        self._told: bool | None = None
        """Whether its pictures come, as told last; None before anything was told."""
        self._there = False
        """Whether they come, ..."""
        self._since = now
        """... and since when that is so."""
        self._slow = False
        self._slow_since = now

    def see(self, snapshot: Snapshot, now: float) -> list[Event]:
        """What is to be told of how it does now."""
        found: list[Kind] = []
        # An output that is not up is no fault of the camera.
        there = snapshot.state in (State.LIVE, State.DEGRADED)
        if there != self._there:
            self._there, self._since = there, now
        wait_s = BACK_S if there else BEGIN_S if self._told is None else LOST_S
        if there != self._told and (snapshot.state is State.FAILED or now - self._since >= wait_s):
            self._told = there
            found.append("back" if there else "lost")
        if not there:
            self._slow, self._slow_since = False, now
        elif _is_slow(snapshot) == self._slow:
            self._slow_since = now
        elif now - self._slow_since >= SLOW_S:
            self._slow, self._slow_since = not self._slow, now
            found.append("slow" if self._slow else "in time")
        return [Event(kind, self._camera, snapshot) for kind in found]


def _is_slow(snapshot: Snapshot) -> bool:
    step = snapshot.model.facts.get("step", "1 of")
    dropping = max(each.dropping for each in snapshot.processes)
    return dropping >= _DROPS or not step.startswith("1 of")
