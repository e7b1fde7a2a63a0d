"""Frames made three times smaller, restored, fused, and enlarged again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee
from typing import TypeAlias

import numpy as np
from torch import Tensor

from filters.resize import resampled
from filters.sampling import FACTOR, third
from stream.options.exposure import Exposure
from stream.options.restore import USUAL_FUSE
from weights.evaluate.measure import Restore, Row, measure
from weights.evaluate.pairs import Frame, Pair, PairSet
from weights.evaluate.quality import to_frame, to_tensor
from weights.evaluate.restored import AUTO, Restored

Enlarge: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB, not necessarily within 0..1, to (N, 3, 3H, 3W)."""


class UpscaledVersions:
    """The versions of the frames of a sequence.

    `bicubic` is the small blurred frame enlarged; `restored, bicubic`, `restored, upscaler`,
    `fused, bicubic` and so on say what was done to it before, and what enlarged it.
    """

    def __init__(
        self,
        restore: Restore,
        enlarge: Enlarge,
        fuse: int,
        smooth: float | None,
        exposure: Exposure = AUTO,
    ) -> None:
        """All but `enlarge` is as for `Restored`."""
        self._restored = Restored(restore, fuse, smooth, exposure=exposure)
        self._enlarge = enlarge

    def __call__(self, frames: Iterable[Frame]) -> Iterator[dict[str, Tensor]]:
        """Of each frame in turn; height and width are multiples of 3."""
        large, small = tee(frames)
        made = self._restored(to_frame(third(to_tensor(frame))) for frame in small)
        for frame, found in zip(large, made, strict=True):
            size = frame.shape[1], frame.shape[0]
            versions = {"bicubic": resampled(found.pop("blurred"), size)}
            for name, image in found.items():
                versions[f"{name}, bicubic"] = resampled(image, size)
                versions[f"{name}, upscaler"] = self._enlarge(image)
            yield versions


def evaluate_enlarged(
    restore: Restore,
    enlarge: Enlarge,
    pairs: Sequence[PairSet],
    *,
    fuse: int = USUAL_FUSE,
    smooth: float | None = None,
    exposure: Exposure = AUTO,
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Measure a restorer and an upscaler on blurred frames made three times smaller.

    What becomes of them is compared with the sharp frames at full size, both without the last one
    or two rows and columns where the size is no multiple of 3. `fuse`, `smooth` and `exposure` are
    as in `evaluate`. Returns a row for each set, and a last one, `all`, with the means over all
    frames. Raises `PairsError` for pairs that cannot be read.
    """
    return measure(
        UpscaledVersions(restore, enlarge, fuse, smooth, exposure),
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
