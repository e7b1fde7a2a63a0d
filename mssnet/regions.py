"""Which parts of an image are worth a network's time."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CELL: Final = 8
"""Pixels each way for which there is one value of a `Where`."""
Where = NDArray[np.float32]
"""(H / CELL, W / CELL), rounded up: the share of its change that an image has there, 0..1."""
SIDE: Final = 128
"""Pixels each way of what a network sees of a region. All are of one size, as engines prepare for
each; smaller ones see more twice, and larger ones more that is of no use."""
_MARGIN = 16
"""Pixels of them around the region. What a network makes of regions of 64 px differs by 49 to 59 dB
from what it makes there of the whole frame, and gains as much."""
_WORTH = 0.9
"""Share of an image from which on it is restored as a whole."""


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, in pixels; ends are not part of it."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def index(self) -> tuple[Any, ...]:
        """What picks it of an image, (N, C, H, W)."""
        return (..., slice(self.top, self.bottom), slice(self.left, self.right))

    def within(self, outer: "Region") -> "Region":
        """The same, counted from the corner of one around it."""
        down, across = outer.top, outer.left
        return Region(self.top - down, self.bottom - down, self.left - across, self.right - across)


def as_pixels(values: Tensor, image: Tensor, cell: int = CELL) -> Tensor:
    """From one value for each `cell` pixels each way, (h, w), to one for each pixel of an image,
    (1, 1, H, W)."""
    pixels = F.interpolate(values[None, None], scale_factor=cell, mode="bilinear")
    return pixels[..., : image.shape[2], : image.shape[3]]


def regions(where: Where, height: int, width: int) -> list[tuple[Region, Region]]:
    """Rectangles that hold all of an image that is to be changed, and what a network is to see for
    each: `SIDE` pixels each way, it and more.

    The whole image where that is nearly as quick, and none where there is nothing to change.
    """
    # Interpolated, a value reaches half a cell into the next ones.
    left_over = cv2.dilate((where > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    most = _WORTH * height * width / SIDE**2
    found: list[tuple[Region, Region]] = []
    while (rows := left_over.any(axis=1)).any():
        if len(found) + 1 > most or min(height, width) < SIDE:
            whole = Region(0, height, 0, width)
            return [(whole, whole)]
        # The highest rows, from the left on, and down to where they begin there.
        inner = SIDE // CELL - 2 * (_MARGIN // CELL)
        row = int(rows.argmax())
        column = int(left_over[row : row + inner].any(axis=0).argmax())
        row += int(left_over[row : row + inner, column : column + inner].any(axis=1).argmax())
        own, seen = _around(row * CELL, column * CELL, height, width)
        left_over[row : -(-own.bottom // CELL), column : -(-own.right // CELL)] = False
        found.append((own, seen))
    return found


def _around(top: int, left: int, height: int, width: int) -> tuple[Region, Region]:
    """The region from a corner on, and what is seen for it."""
    above, below, bottom = _along(top, height)
    before, after, right = _along(left, width)
    return Region(top, bottom, left, right), Region(above, below, before, after)


def _along(start: int, size: int) -> tuple[int, int, int]:
    """Where what is seen begins and ends, and where the region does that begins at `start`."""
    first = min(max(start - _MARGIN, 0), size - SIDE)
    last = first + SIDE
    return first, last, last if last == size else last - _MARGIN
