"""Moments of frames and packets, and how far two lists of them agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm
from statistics import median_low

NOTHING = Fraction(1, 1_000_000)
"""Seconds that no player can tell from none."""


@dataclass(frozen=True)
class Timestamps:
    """Times in ticks of a clock of their own; None where a file gives no time."""

    ticks: Sequence[int | None]
    base: Fraction
    """Seconds a tick."""

    @classmethod
    def of(cls, seconds: Sequence[Fraction | None]) -> "Timestamps":
        unit = _unit(each for each in seconds if each is not None)
        return cls([None if each is None else int(each / unit) for each in seconds], unit)

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def known(self) -> list[int]:
        return [tick for tick in self.ticks if tick is not None]

    @property
    def orderly(self) -> bool:
        """Whether every moment is given, and is later than the one before."""
        known = self.known
        return len(known) == len(self.ticks) and all(a < b for a, b in pairwise(known))

    @property
    def first(self) -> Fraction | None:
        return next((tick * self.base for tick in self.ticks if tick is not None), None)

    @property
    def last(self) -> Fraction | None:
        return next((tick * self.base for tick in reversed(self.ticks) if tick is not None), None)

    @property
    def step(self) -> int:
        """How many ticks there usually are from one moment to the next."""
        steps = [b - a for a, b in pairwise(self.known)]
        return median_low(steps) if steps else 0

    def pick(self, indices: Iterable[int]) -> "Timestamps":
        return Timestamps([self.ticks[index] for index in indices], self.base)

    def within(self, begin: Fraction, end: Fraction | None) -> list[int]:
        """Indices of the moments in [begin, end)."""
        # Limits come from decimal seconds, which hit hardly any tick exactly.
        first = (begin - NOTHING) / self.base
        last = None if end is None else (end - NOTHING) / self.base
        return [
            index
            for index, tick in enumerate(self.ticks)
            if tick is not None and tick >= first and (last is None or tick < last)
        ]

    def on(self, unit: Fraction) -> list[int]:
        """The known moments, counted in a unit that divides this clock's tick."""
        factor = int(self.base / unit)
        return [tick * factor for tick in self.known]


@dataclass(frozen=True)
class Agreement:
    """How the moments of one list are met by those of another, later by some shift."""

    worst: Fraction = Fraction(0)
    """The largest deviation in seconds, where both lists are equally long."""
    deviating: int = 0
    """How many pairs deviate by more than the tolerance."""
    missing: tuple[int, ...] = ()
    """Indices in the first list that nothing in the second meets."""
    added: tuple[int, ...] = ()
    """Indices in the second list that meet nothing in the first."""


def agree(first: Timestamps, second: Timestamps, shift: Fraction, tolerance: Fraction) -> Agreement:
    """Compare two lists: pair by pair if they are equally long, else by which moments meet."""
    if len(first.known) != len(second.known):
        return meet(first, second, shift, tolerance)
    unit = _unit((first.base, second.base, shift, tolerance))
    later, most = int(shift / unit), int(tolerance / unit)
    off = [abs(b - a - later) for a, b in zip(first.on(unit), second.on(unit), strict=True)]
    return Agreement(max(off, default=0) * unit, sum(each > most for each in off))


def meet(first: Timestamps, second: Timestamps, shift: Fraction, tolerance: Fraction) -> Agreement:
    """Find the moments of either of two ascending lists that the other one lacks."""
    unit = _unit((first.base, second.base, shift, tolerance))
    a, b = first.on(unit), second.on(unit)
    later, most = int(shift / unit), int(tolerance / unit)
    missing, added = [], []
    i = j = 0
    while i < len(a) and j < len(b):
        off = b[j] - a[i] - later
        if abs(off) <= most:
            i, j = i + 1, j + 1
        elif off > 0:
            missing.append(i)
            i += 1
        else:
            added.append(j)
            j += 1
    return Agreement(
        missing=(*missing, *range(i, len(a))),
        added=(*added, *range(j, len(b))),
    )


def best_shift(
    first: Timestamps, second: Timestamps, tolerance: Fraction, step: Fraction, likely: Fraction
) -> Fraction:
    """By how much the second list is later as a whole, so that most of its moments meet.

    A clock that rounds moments shifts them by whole steps; a step of 0 is any shift. Where a frame
    is missing at an end, several shifts are as good; the one nearest to `likely` is taken.
    """
    if not first.known or not second.known:
        return Fraction(0)
    ends = zip((first.first, first.last), (second.first, second.last), strict=True)
    guesses = {Fraction(0), likely, *(y - x for x, y in ends if x is not None and y is not None)}
    if step:
        guesses = {round(guess / step) * step for guess in guesses}
    fewest: int | None = None
    best = Fraction(0)
    for shift in sorted(guesses, key=lambda guess: (abs(guess - likely), abs(guess))):
        met = meet(first, second, shift, tolerance)
        unmet = len(met.missing) + len(met.added)
        if fewest is None or unmet < fewest:
            fewest, best = unmet, shift
        if not unmet:
            break
    return best


def _unit(values: Iterable[Fraction]) -> Fraction:
    """The largest unit that all values are whole multiples of."""
    return Fraction(1, lcm(*(value.denominator for value in values)))
