"""What flow and fusion cost, on frames that a shaking hand blurs, each in another way."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.plan import Plan, Size, named
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import synchronize
from filters import USUAL_SMOOTHING, Burst, Coding, Fused, codes_of, values_of

NOISE = {"none": 0.0, "4/255": 4.0}
"""Standard deviation of the sensor's noise, in codes of 8 bits; where there is any, all neighbors
are asked, and else those that are sharper."""
_SIZE: Size = (640, 360)
_CODING = Coding("bt601")
"""8 bits and 4:2:0, as most videos have."""
_PASSES = {"first, two-sided": (3, 3), "second, two-sided": (2, 2), "causal": (3, 0)}
"""With how many frames before and after each one is fused."""
_DRAWN, _WARM_UP, _COUNTED = 24, 8, 32
_SIDE = 1024
_SCALED_TO = 100.0
"""GFLOP/s that times are scaled to, so that they compare between machines."""


@dataclass(frozen=True)
class Cost:
    """One pass on frames of one kind."""

    fused: str
    frames: str
    """How many before and after."""
    noise: str
    size: str
    ms: float
    """Median time of a frame."""
    scaled_ms: float
    """The same, on a machine that multiplies matrices at 100 GFLOP/s."""
    from_neighbors: float
    """The mean share of a picture that comes from neighbors."""


def shaken(index: int, size: Size, noise: float) -> NDArray[np.uint8]:
    """(height, width, 3) RGB: a still scene, filmed by a hand whose speed and direction change."""
    width, height = size
    rng = np.random.default_rng(1)
    world = rng.integers(30, 225, (height // 8 + 16, width // 8 + 16, 3), np.uint8)
    world = world.repeat(8, axis=0).repeat(8, axis=1)
    instants = 9
    seen = np.zeros((height, width, 3), np.float32)
    for instant in range(instants):
        timestamp = index + 0.6 * instant / instants
        # Two tremors that are no multiples of each other: up to 15 pixels in a frame, or none.
        x = 48 + 7 * math.sin(2.1 * timestamp) + 5 * math.sin(0.37 * timestamp)
        y = 48 + 7 * math.sin(1.7 * timestamp + 1) + 5 * math.sin(0.53 * timestamp)
        left, top = round(x), round(y)
        seen += world[top : top + height, left : left + width]
    grain = np.random.default_rng(index).standard_normal((height, width, 1), np.float32)
    return np.asarray(np.clip(seen / instants + noise * grain, 0, 255).round(), np.uint8)


def _frames(size: Size, noise: float, where: torch.device) -> list[list[Tensor]]:
    found = []
    for index in range(_DRAWN):
        codes = codes_of(shaken(index, size, noise).transpose(2, 0, 1), _CODING)
        planes = [torch.from_numpy(plane).to(where) for plane in codes]
        found.append(values_of(planes, _CODING))
    return found


def gflops(rounds: int = 12) -> float:
    """Of a product of two matrices of 1024x1024 in float32, the median."""
    one, other = torch.rand(2, _SIDE, _SIDE)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        torch.mm(one, other)
        times.append(time.perf_counter() - begun)
    return 2 * _SIDE**3 / median(times[rounds // 4 :]) / 1e9


def _added(planes: Sequence[Tensor], fused: Fused) -> list[Tensor]:
    if fused.changes is None:
        return list(planes)
    return [plane + change for plane, change in zip(planes, fused.changes, strict=True)]


class _Timed:
    """A pass whose time is taken from push to push."""

    def __init__(self, burst: Burst, where: torch.device) -> None:
        self._burst, self._where = burst, where
        self._held: list[list[Tensor]] = []
        self.seconds: list[float] = []
        self.shares: list[float] = []

    def push(self, planes: list[Tensor]) -> Iterator[list[Tensor]]:
        """What is made of frames that are done by now."""
        self._held.append(planes)
        synchronize(self._where)
        begun = time.perf_counter()
        made = self._burst.push(planes, _CODING)
        synchronize(self._where)
        self.seconds.append(time.perf_counter() - begun)
        for fused in made:
            self.shares.append(fused.share)
            yield _added(self._held.pop(0), fused)


def _passes(
    frames: Sequence[list[Tensor]], where: torch.device, quick: bool, turn: Callable[[], None]
) -> dict[str, _Timed]:
    """All passes on the same frames, in turns; the second on what the first one made."""
    timed = {
        # Noise is averaged away once, as in the program.
        name: _Timed(Burst(*around, smoothing=0.0 if "second" in name else USUAL_SMOOTHING), where)
        for name, around in _PASSES.items()
    }
    first, second, causal = timed.values()
    counted = 2 if quick else _COUNTED
    for index in count():
        planes = frames[index % len(frames)]
        for made in first.push(planes):
            list(second.push(made))
        list(causal.push(planes))
        if index % 8 == 0:
            turn()
        if len(second.seconds) >= _WARM_UP + counted:
            break
    return timed


def costs(
    where: torch.device, size: Size = _SIZE, *, quick: bool = False
) -> tuple[float, list[Cost]]:
    """GFLOP/s of this machine while it was measured, and every pass."""
    rates: list[float] = []
    found: list[tuple[str, str, _Timed]] = []
    with torch.inference_mode():
        for noise, deviation in NOISE.items():
            frames = _frames(size, deviation, where)
            made = _passes(frames, where, quick, lambda: rates.append(gflops()))
            found += [(name, noise, timed) for name, timed in made.items()]
    rate = median(rates)
    return rate, [_cost(name, noise, size, timed, rate) for name, noise, timed in found]


def _cost(name: str, noise: str, size: Size, timed: _Timed, rate: float) -> Cost:
    ms = 1e3 * median(timed.seconds[_WARM_UP:])
    before, after = _PASSES[name]
    share = sum(timed.shares) / len(timed.shares)
    return Cost(name, f"{before}+{after}", noise, named(size), ms, ms * rate / _SCALED_TO, share)


def measure(plan: Plan) -> Part:
    """Flow and fusion of frames of 640x360 in 8 bits and 4:2:0."""
    size = plan.sizes[0] if plan.quick else _SIZE
    rate, found = costs(plan.where, size, quick=plan.quick)
    rows = [
        (
            *(each.size, each.fused, each.frames, each.noise),
            *(figure(each.ms), figure(each.scaled_ms), f"{each.from_neighbors:.0%}"),
        )
        for each in found
    ]
    columns = ("size", "pass", "frames", "noise", "ms a frame", "at 100 GFLOP/s", "from neighbors")
    note = (
        f"Median of {_COUNTED} frames of 8 bits and 4:2:0, after {_WARM_UP} that do not count: a "
        "still scene filmed by a shaking hand. Frames: how many before and after each one it is "
        "fused with; the second pass works on what the first one made, and averages no noise. A "
        f"product of 1024x1024 matrices in float32 had {figure(rate)} GFLOP/s in the same run."
    )
    table = Table("Flow and fusion", columns, rows, names=4, note=note)
    return Part({"gflops": rate, "fusion": [asdict(each) for each in found]}, [table])
