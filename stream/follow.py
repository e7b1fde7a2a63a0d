"""The stage that finds out how the picture moved, beside the network's work."""

from collections.abc import Iterator
from dataclasses import replace

from filters import Tracker
from stream.frame import Frame, Memory

_REFERENCE, _CUTS = "reference", "cuts"
"""The names under which a frame's memory holds what its motion was found with."""


class Follow:
    """Adds to each frame its motion from the one before it."""

    def __init__(self, memory: Memory | None = None) -> None:
        """`memory` is that of the last frame of an earlier run, with which it goes on."""
        memory = memory or {}
        self._tracker = Tracker(memory.get(_REFERENCE), memory.get(_CUTS))

    def push(self, frame: Frame) -> Iterator[Frame]:
        motion = None
        if not frame.damaged:
            # What follows a damaged frame is compared with the one before it.
            motion = self._tracker.push(frame.luma, cut=frame.cut)
        reference, cuts = self._tracker.reference, self._tracker.cuts.state
        memory = dict(frame.memory)
        if reference is not None and cuts is not None:
            memory |= {_REFERENCE: reference, _CUTS: cuts}
        yield replace(frame, motion=motion, memory=memory)

    def flush(self) -> Iterator[Frame]:
        yield from ()
