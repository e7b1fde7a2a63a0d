"""How a picture is to be turned or mirrored when it is shown."""

import struct
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from stream.frame import Plane
from stream.media.side_data import side_data


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to show a picture: turned by quarters, mirrored or not."""

    transposed: bool = False
    """Whether rows become columns, before anything is mirrored."""
    across: bool = False
    """Whether left and right change places."""
    down: bool = False
    """Whether top and bottom change places."""

    def apply(self, plane: Plane) -> Plane:
        """Turn one plane, (h, w) to (h, w) or (w, h)."""
        turned: NDArray[Any] = plane.T if self.transposed else plane
        if self.across:
            turned = turned[:, ::-1]
        if self.down:
            turned = turned[::-1]
        return np.ascontiguousarray(turned)


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers that say how to show the frame, where it has them (ISO/IEC 14496-12)."""
    data = side_data(frame).get(Type.DISPLAYMATRIX)
    return struct.unpack("=9i", data) if data is not None else None


def orientation_of(matrix: tuple[int, ...]) -> Orientation | None:
    """What a display matrix asks for; None if it is more than quarter turns and mirroring."""
    # It takes the place (x, y) to (a x + c y, b x + d y), in 16.16 fixed point.
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if a and d and not b and not c:
        return Orientation(False, across=a < 0, down=d < 0)
    if b and c and not a and not d:
        return Orientation(True, across=c < 0, down=b < 0)
    return None
