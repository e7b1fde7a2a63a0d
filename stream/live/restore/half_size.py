"""Restoring at half the size, where the whole picture takes too long."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from stream.frame import Frame, Plane
from stream.pipeline import Stage


class HalfSize:
    """Passes frames through stages at half the size, and adds what these changed to the whole.

    Frames are in 8 bits. What the halved picture cannot show, its finest detail, stays as it is.
    """

    def __init__(self, stages: Sequence[Stage[Frame]]) -> None:
        """`stages` hand on every frame, now or later, in its size."""
        self._stages = stages
        self._waiting: deque[tuple[Frame, Frame]] = deque()
        """Those that were not handed on yet, whole and at half their size."""

    def push(self, frame: Frame) -> Iterator[Frame]:
        small = replace(frame, planes=tuple(_half(plane) for plane in frame.planes))
        self._waiting.append((frame, small))
        yield from self._whole(through(self._stages, [small]))

    def flush(self) -> Iterator[Frame]:
        yield from self._whole(through(self._stages, (), end=True))

    def _whole(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for made in frames:
            frame, small = self._waiting.popleft()
            planes = tuple(map(_with_change, frame.planes, small.planes, made.planes))
            yield replace(made, planes=planes)


def through(
    stages: Iterable[Stage[Frame]], frames: Iterable[Frame], *, end: bool = False
) -> list[Frame]:
    """What stages make of frames, one stage after the other; at the `end` of all that waits too."""
    passed = list(frames)
    for stage in stages:
        passed = [made for frame in passed for made in stage.push(frame)]
        if end:
            passed += stage.flush()
    return passed


def _half(plane: Plane) -> Plane:
    height, width = plane.shape
    size = -(-width // 2), -(-height // 2)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)


def _with_change(plane: Plane, small: Plane, made: Plane) -> Plane:
    """`plane` with the change from `small` to `made`, both of half its size."""
    height, width = plane.shape
    change = cv2.subtract(made, small, dtype=cv2.CV_16S)
    large = cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(plane, large, dtype=cv2.CV_8U), np.uint8)
