"""Frames of two videos that show the same moment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from stream.compare.clip import Timed
from stream.compare.pictures import Picture, fitted, picture_of
from stream.frame import Frame


@dataclass(frozen=True, eq=False)
class Pair:
    """A frame of the input, and what became of it."""

    moment: float
    """When the input shows it, in seconds on its clock."""
    frames: tuple[Frame, Frame]
    follows: bool = True
    """Whether no frame was left out since the pair before."""

    @cached_property
    def before(self) -> Picture:
        return picture_of(self.frames[0])

    @cached_property
    def after(self) -> Picture:
        """At its own size."""
        return picture_of(self.frames[1])

    @cached_property
    def reduced(self) -> Picture:
        """What became of it, at the size that the input has."""
        height, width = self.before.shape[:2]
        return fitted(self.after, (width, height))


class Pairing:
    """Finds for each frame of one video the nearest of the other, and counts those left over."""

    def __init__(self, shift: float, slack: float) -> None:
        """The second video's moments, and `shift`, are those of the first.

        Frames that are further apart than `slack` are no pair. Both in seconds.
        """
        self.pairs = 0
        self.skipped = 0
        """Frames of either video, between the first pair and the last, without a partner."""
        self._shift = shift
        self._slack = slack

    def of(self, first: Iterable[Timed], second: Iterable[Timed]) -> Iterator[Pair]:
        """The pairs of two runs of frames, both in the order of time."""
        ours, theirs = _ahead(first), _ahead(second)
        left, right = next(ours, None), next(theirs, None)
        begun, alone = False, 0
        while left is not None and right is not None:
            (a, next_a), (b, next_b) = left, right
            gap = self._gap(a, b)
            if next_b is not None and abs(self._gap(a, next_b)) < abs(gap):
                right, alone = next(theirs, None), alone + 1
            elif next_a is not None and abs(self._gap(next_a, b)) < abs(gap):
                left, alone = next(ours, None), alone + 1
            elif abs(gap) <= self._slack:
                self.pairs += 1
                self.skipped += alone if begun else 0
                yield Pair(a[0], (a[1], b[1]), follows=begun and not alone)
                begun, alone = True, 0
                left, right = next(ours, None), next(theirs, None)
            else:
                # Each is the nearest to the other, and the others are further away still.
                left, right, alone = next(ours, None), next(theirs, None), alone + 2

    def _gap(self, a: Timed, b: Timed) -> float:
        """By how much the second video's frame is later."""
        return b[0] + self._shift - a[0]


def _ahead(frames: Iterable[Timed]) -> Iterator[tuple[Timed, Timed | None]]:
    """Each frame with the one after it."""
    before: Timed | None = None
    for each in frames:
        if before is not None:
            yield before, each
        before = each
    if before is not None:
        yield before, None
