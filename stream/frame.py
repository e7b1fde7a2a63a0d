"""What travels through the pipeline."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from filters import Coding

if TYPE_CHECKING:
    from filters import Correction

Plane = NDArray[np.uint8] | NDArray[np.uint16]
Packet: TypeAlias = "av.Packet[Any]"
Memory: TypeAlias = dict[str, Any]
"""What steadies the camera carries from frame to frame, by name: arrays that are never changed once
they are made."""


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
    alpha: Plane | None = None
    """How opaque each pixel is, (H, W), where the coding has alpha; it is not restored."""
    cut: bool = False
    """Whether this is the first frame after a cut, a seek or a reconnect."""
    damaged: bool = False
    """Whether the decoder concealed something that was lost."""
    beyond: bool = False
    """Whether it is only there for its neighbors' sake: it is not handed on."""
    need: NDArray[np.float32] | None = None
    """How much of restoration each region needs, as `filters.need` tells; None: all of it."""
    correction: "Correction | None" = None
    """Where the finished picture is to be taken from, so that the camera seems steady; None: from
    where it is."""
    from_neighbors: float = 0.0
    """The share of the finished picture that comes from neighboring frames, 0..1."""
    memory: Memory = field(default_factory=dict)
    """What is remembered after this frame, with which work can go on at the next one."""

    def __post_init__(self) -> None:
        if len(self.planes) != (1 if self.coding.gray else 3):
            raise ValueError(f"{len(self.planes)} planes do not fit {self.coding}")
        if (self.alpha is not None) != self.coding.alpha:
            raise ValueError(f"{self.coding} and the frame differ about alpha")

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
    def stored(self) -> tuple[Plane, ...]:
        """All planes, that of alpha last."""
        return self.planes if self.alpha is None else (*self.planes, self.alpha)

    @property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W), in 8 bits."""
        if self.coding.depth == 8:
            return self.planes[0].view(np.uint8)
        return (self.planes[0] >> (self.coding.depth - 8)).astype(np.uint8)

    @property
    def nbytes(self) -> int:
        return sum(int(array.nbytes) for array in (*self.stored, *self.memory.values()))
