"""Frames of several videos that show the same moment."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from stream.compare.measure.clip import Timed
from stream.compare.measure.pictures import Picture, fitted, picture_of
from stream.frame import Frame


@dataclass(frozen=True, eq=False)
class Match:
    """A frame of the input, and what became of it in each of the other videos."""

    moment: float
    """When the input shows it, in seconds on its clock."""
    frames: tuple[Frame, ...]
    follows: bool = True
    """Whether no frame was left out since the match before."""

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Each at its own size."""
        return tuple(map(picture_of, self.frames))

    @cached_property
    def reduced(self) -> tuple[Picture, ...]:
        """Each at the size that the input has."""
        height, width = self.pictures[0].shape[:2]
        return tuple(fitted(each, (width, height)) for each in self.pictures)


class Matching:
    """Finds for each frame of one video the nearest of each of the others, and counts those left.

    Only frames that all videos have are matched, so that figures of all are of the same frames.
    """

    def __init__(self, shifts: Sequence[float], slack: float) -> None:
        """The moments of each other video, and its shift, are those of the first.

        Frames that are further apart than `slack` do not match. All in seconds.
        """
        self.matches = 0
        self.skipped = 0
        """Frames of any video, between the first match and the last, that are in none."""
        self._shifts = shifts
        self._slack = slack

    def of(self, first: Iterable[Timed], others: Sequence[Iterable[Timed]]) -> Iterator[Match]:
        """The matches of runs of frames, all in the order of time."""
        rows = [
            _Row(frames, shift, self._slack)
            for frames, shift in zip(others, self._shifts, strict=True)
        ]
        begun, alone = False, 0
        for (moment, frame), after in _ahead(first):
            following = None if after is None else after[0]
            found = [row.find(moment, following) for row in rows]
            if any(row.ended for row in rows):
                return
            there = [frame for frame in found if frame is not None]
            if len(there) < len(rows):
                alone += 1 + len(there)
                continue
            alone += sum(row.passed for row in rows)
            for row in rows:
                row.passed = 0
            self.matches += 1
            self.skipped += alone if begun else 0
            yield Match(moment, (frame, *there), follows=begun and not alone)
            begun, alone = True, 0


class _Row:
    """The frames of one of the other videos."""

    def __init__(self, frames: Iterable[Timed], shift: float, slack: float) -> None:
        self.passed = 0
        """Frames that were the nearest of none, since this was last set to 0."""
        self.ended = False
        self._frames = _ahead(frames)
        self._shift = shift
        self._slack = slack
        self._now = next(self._frames, None)

    def find(self, moment: float, following: float | None) -> Frame | None:
        """The frame that belongs to one of the first video's, which is followed by another."""

        def gap(theirs: Timed, ours: float) -> float:
            return abs(theirs[0] + self._shift - ours)

        while self._now is not None:
            this, after = self._now
            if after is None or gap(after, moment) >= gap(this, moment):
                break
            self._pass()
        if self._now is None:
            self.ended = True
            return None
        this, _ = self._now
        if following is not None and gap(this, following) < gap(this, moment):
            return None
        self._now = next(self._frames, None)
        if gap(this, moment) <= self._slack:
            return this[1]
        # Each is the nearest to the other, and the others are further away still.
        self.passed += 1
        return None

    def _pass(self) -> None:
        self.passed += 1
        self._now = next(self._frames, None)


def _ahead(frames: Iterable[Timed]) -> Iterator[tuple[Timed, Timed | None]]:
    """Each frame with the one after it."""
    before: Timed | None = None
    for each in frames:
        if before is not None:
            yield before, each
        before = each
    if before is not None:
        yield before, None
