"""Restored frames of a sequence, in whatever order they are asked for."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from stream.frame import Frame
from stream.live.restore.half_size import through
from stream.pipeline import Stage

KnownPiece: TypeAlias = Callable[[int], Frame]
"""A frame of the sequence, by its number, with that number as its time."""
_KEPT = 256 << 20
"""Bytes of restored frames that are kept: threads that ask side by side do not ask in order."""


class RandomAccess:
    """Restores the frames of a sequence, each as if all of them had been restored in order.

    A frame's result depends on `reach` frames before and after it. In order each frame is worked
    on once; after a jump work begins anew, so many frames before the one that is asked for.
    """

    def __init__(
        self,
        make: Callable[[], Iterable[Stage[Frame]]],
        count: int,
        *,
        reach: int,
        in_flight: int = 1,
        least_kept: int = 8,
    ) -> None:
        """`make` gives new stages for a run. `count` is how many frames there are, and `in_flight`
        how many the engine has under way at once. At least `least_kept` restored frames are
        kept."""
        self._make, self._count, self._least_kept = make, count, least_kept
        self.before = reach
        # As many more are on their way back from a GPU.
        self.after = reach + 2 * in_flight
        self._stages: list[Stage[Frame]] | None = None
        self._next = self._made = 0
        """The number of the next frame to be taken, and of the next one that is handed on."""
        self._kept: OrderedDict[int, Frame] = OrderedDict()

    def frame(self, index: int, given: KnownPiece) -> Frame:
        """Frame number `index`, restored.

        Of the sequence's frames `given` has to know those from `before` before it to `after` after
        it, as far as there are any. Not to be called by two threads at once.
        """
        if index not in self._kept:
            try:
                self._restore(index, given)
            except BaseException:
                self._stages = None  # which may lack a frame now
                raise
        self._kept.move_to_end(index)
        wanted = self._kept[index]
        held = sum(frame.nbytes for frame in self._kept.values())
        while held > _KEPT and len(self._kept) > self._least_kept:
            held -= self._kept.popitem(last=False)[1].nbytes
        return wanted

    def _restore(self, index: int, given: KnownPiece) -> None:
        stages = self._stages
        # Whether the frame is among those that come next, and all for it can be had.
        if stages is None or index < self._made or self._next < index - self.before:
            stages = self._stages = list(self._make())
            self._next, self._made = max(index - self.before, 0), index
        while index not in self._kept:
            for made in self._step(stages, given):
                self._kept[made.pts] = made
                self._made = made.pts + 1

    def _step(self, stages: list[Stage[Frame]], given: KnownPiece) -> list[Frame]:
        if self._next == self._count:
            left = list(through(stages, (), end=True))
            self._stages = None
            return left
        number, self._next = self._next, self._next + 1
        # What is before the first one asked for is there for its neighbors' sake.
        taken = replace(given(number), beyond=number < self._made)
        return list(through(stages, [taken]))
