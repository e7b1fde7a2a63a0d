"""The stage that finds out how the picture moved, beside the network's work."""

from collections.abc import Iterator
from dataclasses import replace

from filters import Tracker
from stream.frame import Frame, Memory

REFERENCE = "reference"
"""The name under which a frame's memory holds what its motion was found with."""


class Follow:
    """Adds to each frame its motion from the one before it."""

    def __init__(self, memory: Memory | None = None) -> None:
        """`memory` is that of the last frame of an earlier run, with which it goes on."""
        self._tracker = Tracker((memory or {}).get(REFERENCE))

    def push(self, frame: Frame) -> Iterator[Frame]:
        motion = None
        if not frame.damaged:
            # What follows a damaged frame is compared with the one before it.
            motion = self._tracker.push(frame.luma, cut=frame.cut)
        memory = {} if self._tracker.reference is None else {REFERENCE: self._tracker.reference}
        yield replace(frame, motion=motion, memory={**frame.memory, **memory})

    def flush(self) -> Iterator[Frame]:
        yield from ()
