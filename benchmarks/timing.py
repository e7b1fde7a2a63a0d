"""Clocks, turns and medians."""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch


@dataclass(frozen=True)
class Spread:
    """The median of some values and the quarter of them below and above."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value, that value. Raises `ValueError` for none."""
    if not values:
        raise ValueError("there is nothing to take the median of")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high, len(values))


def in_turns(
    work: Mapping[str, Callable[[], float]],
    rounds: int,
    warm_up: int = 1,
    limit_s: float = math.inf,
) -> dict[str, list[float]]:
    """Ask each for a figure, one after the other, `rounds` times; the first rounds do not count.

    The figures of one round stand at the same place of each list. After `limit_s` there is no other
    round, but there are two at least; where there are no more than that, all of them count.
    """
    found: dict[str, list[float]] = {name: [] for name in work}
    ends = time.monotonic() + limit_s
    for turn in range(warm_up + rounds):
        if turn >= 2 and time.monotonic() >= ends:
            break
        for name, measure in work.items():
            found[name].append(measure())
    return {
        name: figures[warm_up:] if len(figures) > 2 or rounds < 2 else figures
        for name, figures in found.items()
    }


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median of the ratios of figures that were taken in the same round."""
    return median(a / b for a, b in zip(these, those, strict=True))


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    wall_s: float
    cpu_s: float
    """Processor time of all threads of this process."""


class Stopwatch:
    """Measures what is done within a `with`; `cost` is there after it."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self.cost = Cost(0.0, 0.0)

    def __enter__(self) -> "Stopwatch":
        synchronize(self._device)
        self._begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        synchronize(self._device)
        wall, cpu = self._begun
        self.cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
