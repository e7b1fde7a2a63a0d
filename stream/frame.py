"""What travels through the pipeline."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from filters import Coding, Correction, Motion

Plane = NDArray[np.uint8] | NDArray[np.uint16]
Packet: TypeAlias = "av.Packet[Any]"
Memory: TypeAlias = dict[str, Any]
"""What filters carry from frame to frame, by name; never changed once it is made. These are arrays,
or tensors on a GPU, which they leave only to be stored."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, as planes of codes, and the moment it is shown."""

    planes: tuple[Plane, ...]
    """Y, U, V (or Y alone), each (h, w), uint8 up to 8 bits and uint16 above."""
    coding: Coding
    pts: int
    """When the picture is shown, in units of `time_base`."""
    time_base: Fraction
    """Seconds."""
    cut: bool = False
    """Whether this is the first frame after a cut, a seek or a reconnect."""
    damaged: bool = False
    """Whether the decoder concealed something that was lost."""
    motion: Motion | None = None
    """How the picture moved since the frame before; None where nothing is known of it."""
    need: NDArray[np.float32] | None = None
    """How much of restoration each region needs, as `filters.need` tells; None: all of it."""
    correction: Correction | None = None
    """Where the finished picture is to be taken from, so that the camera seems steady; None: from
    where it is."""
    memory: Memory = field(default_factory=dict)
    """What the filters remember after this frame; with it they can go on at the next one."""

    def __post_init__(self) -> None:
        if len(self.planes) != (1 if self.coding.gray else 3):
            raise ValueError(f"{len(self.planes)} planes do not fit {self.coding}")

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height}, {self.seconds:.3f} s, {self.coding})"

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def seconds(self) -> float:
        """For people; arithmetic is done on `pts`."""
        return float(self.pts * self.time_base)

    @property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W), in 8 bits."""
        if self.coding.depth == 8:
            return self.planes[0].view(np.uint8)
        return (self.planes[0] >> (self.coding.depth - 8)).astype(np.uint8)

    @property
    def nbytes(self) -> int:
        moved = self.motion.nbytes if self.motion is not None else 0
        arrays = (*self.planes, *self.memory.values())
        return moved + sum(int(array.nbytes) for array in arrays)
