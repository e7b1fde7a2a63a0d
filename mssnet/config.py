"""The sizes an MSSNet can have."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from mssnet.motion import PLANES


class Exit(NamedTuple):
    """Where the network is left: after which scale and which of its stages, counted from 1."""

    scale: int
    stage: int


@dataclass(frozen=True)
class Config:
    """What decides every tensor shape of an MSSNet.

    The published networks are `small`, `base` and `large` of Kim, Lee and Cho, "MSSNet:
    Multi-Scale-Stage Network for Single Image Deblurring", ECCV Workshops 2022, table 1.
    """

    widths: tuple[int, int, int] = (54, 96, 138)
    """Channels at the three levels of every U-Net, finest first."""

    stages: tuple[int, int, int] = (1, 2, 3)
    """U-Net stages at each of the three scales, coarsest first."""

    blocks: int = 2
    """Residual blocks per level, in the encoder and again in the decoder."""

    unshuffle: int = 1
    """Pixel-unshuffle factor before the last scale: 1 as published, 2 halves the size inside."""

    motion: bool = False
    """Whether the network is told the motion, see `mssnet.motion`; the published ones are not."""

    def __post_init__(self) -> None:
        for name in ("widths", "stages"):
            values = getattr(self, name)
            if len(values) != 3 or min(values) < 1:
                raise ValueError(f"{name} must be three positive numbers, got {values}")
        if self.blocks < 1:
            raise ValueError(f"blocks must be at least 1, got {self.blocks}")
        if self.unshuffle < 1:
            raise ValueError(f"unshuffle must be at least 1, got {self.unshuffle}")
        if self.motion and self.unshuffle != 2:
            raise ValueError("a network that is told the motion has an unshuffle of 2")

    @property
    def inputs(self) -> int:
        """Planes of the network's input: the frame's own three and what it is told beside it."""
        return 3 + PLANES if self.motion else 3

    @property
    def multiple_of(self) -> int:
        """Height and width of the network's input must be multiples of this."""
        # The coarsest scale works at 1/4 of the last one's size, and its U-Net halves that twice.
        return 16 * self.unshuffle

    @property
    def exits(self) -> tuple[Exit, ...]:
        """Where the network can be left with an image of the full size; the cheapest first.

        The first scale's image has half the height and width. Of `lite`'s time the exit after the
        second scale takes a third; weights/README.md says what it is worth.
        """
        return tuple(
            Exit(scale, stage) for scale in (2, 3) for stage in range(1, self.stages[scale - 1] + 1)
        )


PRESETS: Final = {
    "small": Config(widths=(20, 60, 100)),
    "base": Config(widths=(54, 96, 138)),
    "large": Config(widths=(80, 130, 180)),
    "lite": Config(widths=(32, 48, 64), stages=(1, 1, 1), blocks=1, unshuffle=2, motion=True),
    "wide": Config(widths=(64, 96, 128), unshuffle=2, motion=True),
}
"""`small`, `base`, `large` as published; `lite` for a CPU in real time; `wide` for a GPU."""
