"""How a live feed keeps up on a machine that is too slow: down a ladder fast, up again slowly.

Nothing here knows the time, a network or a picture: the times are passed in.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from stream.options.restore import NONE

_WINDOW_S = 2.0
"""Latencies are judged over so long, ..."""
_SETTLED_S = 1.0
"""... and after a step not before so long, ..."""
_UNSETTLED = 2
"""... nor by the first pictures, for which networks and memory are being made ready."""
_CLEARLY = 1.5
"""Pictures in a row that are so many times as late as allowed lead down sooner: ..."""
_AT_ONCE, _AT_ONCE_S = 3, 2.0
"""... where they are so many, or took so long."""
_CALM = 0.7
"""What the step above would come to, as a share of what is allowed, for it to be tried ..."""
_CALM_S = 5.0
"""... after so long without anything that speaks against it."""
_LONGEST_CALM_S = 600.0
_PROVEN_S = 60.0
"""A step up that does not last for so long has failed, and the next one waits twice as long; after
one that does it waits half as long."""
_IDLE = 0.35
"""Where what is measured is below this share, what was foreseen may be out of date: ..."""
_IDLE_S = 60.0
"""... after so long a step up is tried whatever was foreseen."""
_COSTS = 20
"""Pictures over which the cost of a step is told."""


@dataclass(frozen=True)
class Rung:
    """How a picture is restored at one step of the ladder."""

    model: str
    """Name of a checkpoint, the path of a file, or "none"."""
    exit: int
    """Where the network is left; 0 is its cheapest exit, the last one its end."""
    exits: int
    """How many there are; 0 where there is no network."""
    fuse: int = 0
    """With how many pictures before it each one is fused ..."""
    delay: int = 0
    """... and with how many after it."""
    plain: bool = False
    """Whether pictures are enlarged by interpolation alone."""
    half: bool = False
    """Whether pictures are restored at half their size."""
    every: int = 1
    """2: only every second picture is restored."""
    own: bool = False
    """Whether nothing is restored: pictures are passed on as the camera sent them."""

    def __str__(self) -> str:
        if self.own:
            return "the camera's own picture"
        early = f" ({self.exit + 1} of {self.exits} stages)" * (self.exit < self.exits - 1)
        words = [f"{self.model}{early}"]
        if self.fuse:
            after = f" and {self.delay} after" if self.delay else ""
            words.append(f"fused with {self.fuse} before{after}")
        words += ["plainly enlarged"] * self.plain
        words += ["at half size"] * self.half
        words += ["every second frame"] * (self.every > 1)
        return ", ".join(words)


def rungs(
    model: str,
    exits: int,
    lighter: tuple[str, int] | None = None,
    *,
    fuse: int = 0,
    delay: int = 0,
    early: bool = False,
    restores: bool = True,
    enlarges: bool = False,
) -> list[Rung]:
    """The ladder of a model, from the top; each step keeps what the ones above gave up.

    `exits` is how many the network has, `lighter` the name and exits of a lighter one. Pictures are
    fused with `fuse` before them and `delay` after. `early` begins with the cheapest exit. Steps
    that cannot help are left out: the network's where it does not restore (`restores`), those of
    fusion where there is none, half size where there is neither, plain enlarging where nothing
    `enlarges` in another way.
    """
    ladder = []
    for name, count in [(model, exits), *([lighter] if lighter is not None else [])]:
        first = 0 if early or not count else count - 1
        ladder += [Rung(name, exit, count, fuse, delay) for exit in range(first, -1, -1)]
    if not restores:
        ladder = ladder[:1]
    elif fuse:
        ladder.append(Rung(NONE, 0, 0, fuse, delay))
    if fuse > 1 or (fuse and delay):
        # One less to be late for as well.
        ladder.append(replace(ladder[-1], fuse=1, delay=0))
    if enlarges:
        ladder.append(replace(ladder[-1], plain=True))
    if restores or fuse:
        ladder.append(replace(ladder[-1], half=True))
    ladder.append(replace(ladder[-1], every=2))
    if restores or fuse or enlarges:
        last = replace(ladder[-1], fuse=0, delay=0, half=False, every=1)
        ladder.append(replace(last, plain=True, own=True))
    return ladder


class Ladder:
    """Decides at which step to work, from how late pictures are and what each step costs."""

    def __init__(self, steps: int, bound_ms: float) -> None:
        """`bound_ms` is how late a picture may be."""
        self.step = 0
        """Where to work; 0 is the top."""
        self._last = steps - 1
        self._bound = bound_ms
        self._late: deque[tuple[float, float]] = deque()
        """When, and how late, in the last seconds."""
        self._costs: list[float] = []
        """Of the first pictures at this step."""
        self._recent: deque[float] = deque(maxlen=_COSTS)
        self._came: tuple[int, float] | None = None
        """The step before, and its cost when it was left."""
        self._ratios = [1.0] * steps
        """By how much each step costs more than the one below."""
        self._arrived_s = -math.inf
        """When this step was come to."""
        self._pictures = 0
        self._row: list[float] = []
        """What was spent on the last pictures in a row that were clearly too late."""
        self._calm_s = [_CALM_S] * steps
        """For how long it must be calm before this step is tried."""
        self._rose = False
        self._calm_since = self._idle_since = math.inf

    def push(self, now_s: float, late_ms: float, cost_ms: float) -> str | None:
        """Tell of a picture: how late it is and what was spent on it.

        Returns why the step was changed, where it was.
        """
        if self._arrived_s == -math.inf:
            self._arrived_s = now_s
        self._pictures += 1
        if self._pictures <= _UNSETTLED and now_s - self._arrived_s < _AT_ONCE_S:
            return None
        self._note(now_s, late_ms, cost_ms)
        p95 = percentile([late for _, late in self._late], 0.95)
        if self.step < self._last and self._too_late(now_s, p95):
            self._move(now_s, 1)
            return f"{p95:.0f} ms late, {self._bound:.0f} are allowed"
        foreseen = p95 + self._added()
        if self.step and self._calm(now_s, p95, foreseen):
            self._move(now_s, -1)
            return f"{p95:.0f} ms late, the step above would be about {foreseen:.0f}"
        return None

    def _note(self, now_s: float, late_ms: float, cost_ms: float) -> None:
        self._late.append((now_s, late_ms))
        while self._late[0][0] < now_s - _WINDOW_S:
            self._late.popleft()
        if late_ms > _CLEARLY * self._bound:
            self._row.append(cost_ms)
        else:
            self._row.clear()
        self._recent.append(cost_ms)
        if len(self._costs) < _COSTS:
            self._costs.append(cost_ms)
            if self._came is not None:
                before, cost = self._came
                ratio = cost / max(median(self._costs), 1e-3)
                if before > self.step:
                    ratio = 1 / max(ratio, 1e-3)
                self._ratios[min(before, self.step)] = max(ratio, 1.0)
        stayed_s = now_s - self._arrived_s
        if self._rose and stayed_s > _PROVEN_S:
            self._rose = False
            self._calm_s[self.step] = max(self._calm_s[self.step] / 2, _CALM_S)

    def _too_late(self, now_s: float, p95: float) -> bool:
        if len(self._row) >= _AT_ONCE or sum(self._row) >= 1e3 * _AT_ONCE_S:
            return True
        settled = now_s - self._arrived_s >= _SETTLED_S
        over = sum(late > self._bound for _, late in self._late)
        return settled and p95 > self._bound and over > 1

    def _added(self) -> float:
        """Milliseconds that the step above would take more."""
        ratio = self._ratios[self.step - 1] if self.step else 1.0
        return (ratio - 1) * median(self._recent)

    def _calm(self, now_s: float, p95: float, foreseen: float) -> bool:
        """Whether it is time to try the step above."""
        wait_s = self._calm_s[self.step - 1]
        fits = foreseen < _CALM * self._bound
        self._calm_since = min(self._calm_since, now_s) if fits else math.inf
        idle = p95 < _IDLE * self._bound
        self._idle_since = min(self._idle_since, now_s) if idle else math.inf
        calm = now_s - self._calm_since >= wait_s
        return calm or now_s - self._idle_since >= max(_IDLE_S, wait_s)

    def _move(self, now_s: float, by: int) -> None:
        if by > 0 and self._rose:
            self._calm_s[self.step] = min(2 * self._calm_s[self.step], _LONGEST_CALM_S)
        self._came = self.step, median(self._recent)
        self.step += by
        self._rose = by < 0
        self._arrived_s = now_s
        self._calm_since = self._idle_since = math.inf
        self._late.clear()
        self._costs.clear()
        self._recent.clear()
        self._row.clear()
        self._pictures = 0


def percentile(values: Sequence[float], share: float) -> float:
    """The least of `values` that `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
