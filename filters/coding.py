"""How the samples of a picture stand for color; loads nothing, where PyTorch takes seconds."""

from dataclasses import dataclass
from typing import Final

LUMA: Final = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt601": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020": (0.2627, 0.0593),
}
"""(Kr, Kb) by name of the matrix."""


@dataclass(frozen=True)
class Coding:
    """How the samples of a picture's planes stand for color."""

    matrix: str = "bt709"
    """A key of `LUMA`."""
    full_range: bool = False
    """Whether luma uses all codes (0..255 in 8 bits) or the studio ones (16..235)."""
    depth: int = 8
    """Bits per sample."""
    subsampling: tuple[int, int] = (2, 2)
    """Luma samples per chroma sample, across and down; (1, 1) is 4:4:4."""
    gray: bool = False
    """Whether there is luma alone."""
    alpha: bool = False
    """Whether opacity is told beside color: from 0 (transparent) to `top`, whatever the range."""

    def __post_init__(self) -> None:
        if self.matrix not in LUMA:
            raise ValueError(f"matrix must be one of {', '.join(LUMA)}, got {self.matrix}")
        if not 8 <= self.depth <= 16:
            raise ValueError(f"depth must be in 8..16 bits, got {self.depth}")
        if any(factor not in (1, 2) for factor in self.subsampling):
            raise ValueError(f"subsampling must be 1 or 2 each way, got {self.subsampling}")

    @property
    def top(self) -> int:
        """The largest code."""
        return int(2**self.depth - 1)

    @property
    def black(self) -> float:
        """The code of black luma."""
        return 0.0 if self.full_range else 16.0 * 2 ** (self.depth - 8)

    @property
    def luma_span(self) -> float:
        """Codes from black to white."""
        return float(self.top) if self.full_range else 219.0 * 2 ** (self.depth - 8)

    @property
    def chroma_span(self) -> float:
        """Codes from the least to the greatest chroma."""
        return float(self.top) if self.full_range else 224.0 * 2 ** (self.depth - 8)

    @property
    def neutral(self) -> float:
        """The code of no chroma."""
        return float(2 ** (self.depth - 1))
