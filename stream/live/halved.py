"""Restoring at half the size, where the whole picture takes too long."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from stream.frame import Frame, Plane
from stream.pipeline import Stage


class Halved:
    """Passes frames through stages at half the size, and adds what these changed to the whole.

    Frames are in 8 bits. What the halved picture cannot show, its finest detail, stays as it is.
    """

    def __init__(self, stages: Sequence[Stage[Frame]]) -> None:
        """`stages` hand on each frame at once, in its size."""
        self._stages = stages

    def push(self, frame: Frame) -> Iterator[Frame]:
        small = replace(frame, planes=tuple(_half(plane) for plane in frame.planes))
        made = small
        for stage in self._stages:
            (made,) = stage.push(made)
        planes = tuple(map(_with_change, frame.planes, small.planes, made.planes))
        yield replace(made, planes=planes)

    def flush(self) -> Iterator[Frame]:
        yield from ()


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
