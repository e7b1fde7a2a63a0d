"""A clock and a counter, drawn into the luma of a picture as blocks that survive much."""

import binascii
import struct
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""Pixels; a macroblock of H.264, and still 16/3 where a picture was made three times smaller."""
COLUMNS, ROWS = 16, 4
WIDTH, HEIGHT = COLUMNS * BLOCK, ROWS * BLOCK
"""Pixels of the stamp, in the upper left corner."""
DARK, LIGHT = 40, 210
LAMP = 32
"""Rows of a lamp below the stamp, as wide as that."""
_FIELDS = struct.Struct(">IH")
_CHECK = struct.Struct(">H")
_CONTRAST = 60
"""Levels between dark and light blocks, below which nothing is read."""
_WRAP_MS = 1 << 32


@dataclass(frozen=True)
class Stamp:
    """What a stamp says."""

    clock_ms: int
    """CLOCK_MONOTONIC when it was drawn, modulo 2**32; the same in all processes of a machine."""
    count: int
    """The number of the frame, modulo 2**16."""

    @property
    def age_ms(self) -> int:
        """Since it was drawn."""
        return (now_ms() - self.clock_ms) % _WRAP_MS


def now_ms() -> int:
    """The clock of the stamps."""
    return time.monotonic_ns() // 1_000_000 % _WRAP_MS


def draw(luma: NDArray[np.uint8], count: int) -> None:
    """Draw the time and `count` into (H, W) luma, of at least 64 rows and 256 columns."""
    fields = _FIELDS.pack(now_ms(), count & 0xFFFF)
    data = fields + _CHECK.pack(binascii.crc_hqx(fields, 0xFFFF))
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(ROWS, COLUMNS)
    levels = np.where(bits, LIGHT, DARK).astype(np.uint8)
    luma[:HEIGHT, :WIDTH] = levels.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


def read(
    luma: NDArray[np.uint8], scale: float = 1.0, corner: tuple[float, float] = (0.0, 0.0)
) -> Stamp | None:
    """Read the stamp of a picture that was made `scale` times as large and lies at `corner`.

    `corner` is (x, y) in pixels of `luma`. None: there is none, or it is not readable.
    """
    left, top = corner
    levels = np.empty((ROWS, COLUMNS))
    for row in range(ROWS):
        for column in range(COLUMNS):
            # The inner half of a block, as its edges are smoothed.
            y = slice(*(round(top + scale * BLOCK * (row + part)) for part in (0.25, 0.75)))
            x = slice(*(round(left + scale * BLOCK * (column + part)) for part in (0.25, 0.75)))
            part = luma[y, x]
            if part.size == 0:
                return None
            levels[row, column] = part.mean()
    if levels.max() - levels.min() < _CONTRAST:
        return None
    data = np.packbits(levels > (levels.max() + levels.min()) / 2).tobytes()
    fields = data[: _FIELDS.size]
    if _CHECK.unpack(data[_FIELDS.size :])[0] != binascii.crc_hqx(fields, 0xFFFF):
        return None
    return Stamp(*_FIELDS.unpack(fields))


def light(luma: NDArray[np.uint8], lit: bool) -> None:
    """Draw a lamp below the stamp."""
    luma[HEIGHT : HEIGHT + LAMP, :WIDTH] = LIGHT if lit else DARK


def lit(
    luma: NDArray[np.uint8], scale: float = 1.0, corner: tuple[float, float] = (0.0, 0.0)
) -> bool:
    """Whether the lamp below the stamp is lit; arguments as in `read`."""
    left = round(corner[0] + scale * WIDTH / 4)
    top = round(corner[1] + scale * (HEIGHT + LAMP / 4))
    part = luma[top : top + round(scale * LAMP / 2), left : left + round(scale * WIDTH / 2)]
    return bool(part.mean() > (DARK + LIGHT) / 2)


def fitted(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[float, tuple[float, float]]:
    """The scale and corner of a picture of `size` that fills a canvas, with bars where it must."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    return scale, ((canvas[0] - size[0] * scale) / 2, (canvas[1] - size[1] * scale) / 2)
