"""Before and after of a file that is being restored, for those who look."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from filters import recode
from stream.colors import FULL, LIMITED, MATRIX_CODES, ColorTags
from stream.frame import Frame
from stream.ipc.mailbox import Picture, packed
from stream.ipc.window import Window
from stream.pipeline import Stage

_EVERY_NS = 66_000_000
"""More than 15 pairs a second are of no use to anybody who looks, and cost."""


class PreviewTap:
    """Puts what goes into a stage beside what comes out of it, while the window is open."""

    def __init__(self, stage: Stage[Frame], window: Window) -> None:
        self._stage = stage
        self._window = window
        self._before: deque[Frame] = deque()
        self._put_ns = 0

    def push(self, frame: Frame) -> Iterator[Frame]:
        if not frame.beyond:
            self._before.append(frame)
        yield from map(self._seen, self._stage.push(frame))

    def flush(self) -> Iterator[Frame]:
        yield from map(self._seen, self._stage.flush())

    def _seen(self, after: Frame) -> Frame:
        before = self._before.popleft()
        now = time.monotonic_ns()
        fits = max(after.width * after.height, before.width * before.height) <= self._window.most
        if now - self._put_ns >= _EVERY_NS and fits and self._window.open:
            self._put_ns = now
            self._window.put(picture_of(before, now), picture_of(after, now))
        return after


def picture_of(frame: Frame, timestamp: int) -> Picture:
    """A frame in 8 bits and 4:2:0; an odd row or column at the end is left out."""
    wanted = replace(frame.coding, depth=8, subsampling=(2, 2), gray=False)
    planes = frame.planes
    if frame.coding != wanted:
        planes = tuple(recode(planes, frame.coding, wanted))
    width, height = frame.width & ~1, frame.height & ~1
    data = packed(
        np.asarray(plane[: height // part, : width // part], np.uint8)
        for plane, part in zip(planes, (1, 2, 2), strict=True)
    )
    range_ = FULL if frame.coding.full_range else LIMITED
    tags = ColorTags(MATRIX_CODES[frame.coding.matrix], range=range_)
    return Picture(data, timestamp, timestamp, tags=tags, cut=frame.cut, damaged=frame.damaged)
