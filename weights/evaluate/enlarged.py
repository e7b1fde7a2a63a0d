"""Frames made three times smaller, restored, steadied, and enlarged again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from torch import Tensor

from filters import USUAL_SMOOTHING
from filters.resize import resampled
from filters.sampling import FACTOR, third
from weights.evaluate.measure import Restore, Row, measure
from weights.evaluate.pairs import Frame, Pair, PairSet
from weights.evaluate.quality import to_frame, to_tensor
from weights.evaluate.restored import Restored

Enlarge: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB, not necessarily within 0..1, to (N, 3, 3H, 3W)."""


class Enlarged:
    """The versions of the frames of one sequence.

    `bicubic` is the small blurred frame enlarged; `restored, bicubic`, `restored, upscaler`,
    `steadied, bicubic` and `steadied, upscaler` say what was done to it before, and what enlarged
    it.
    """

    def __init__(self, restore: Restore, enlarge: Enlarge, smooth: float) -> None:
        """`smooth`: how much frames are steadied, in 0..1; 0 leaves these versions out."""
        self._restored = Restored(restore, smooth)
        self._enlarge = enlarge

    def __call__(self, blurred: Frame) -> dict[str, Tensor]:
        """The next frame's; height and width of `blurred` are multiples of 3."""
        size = blurred.shape[1], blurred.shape[0]
        small = self._restored(to_frame(third(to_tensor(blurred))))
        versions = {"bicubic": resampled(small.pop("blurred"), size)}
        for name, image in small.items():
            versions[f"{name}, bicubic"] = resampled(image, size)
            versions[f"{name}, upscaler"] = self._enlarge(image)
        return versions


def evaluate_enlarged(
    restore: Restore,
    enlarge: Enlarge,
    pairs: Sequence[PairSet],
    *,
    smooth: float = USUAL_SMOOTHING,
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Measure a restorer and an upscaler on blurred frames made three times smaller.

    What becomes of them is compared with the sharp frames at full size, both without the last one
    or two rows and columns where the size is no multiple of 3. Returns a row for each set, and a
    last one, `all`, with the means over all frames. Raises `PairsError` for pairs that cannot be
    read.
    """
    return measure(
        lambda: Enlarged(restore, enlarge, smooth),
        [replace(one, read=_cut(one)) for one in pairs],
        identity=None,
        on_pair=on_pair,
    )


def _cut(pairs: PairSet) -> Callable[[], Iterator[Pair]]:
    def read() -> Iterator[Pair]:
        for blurred, sharp in pairs.read():
            height, width = (side - side % FACTOR for side in blurred.shape[:2])
            inside = slice(height), slice(width)
            yield np.ascontiguousarray(blurred[inside]), np.ascontiguousarray(sharp[inside])

    return read
