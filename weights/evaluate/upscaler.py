"""Measuring an upscaler on pictures that were made three times smaller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from filters import INTERPOLATIONS, Enlarger, luma
from filters.sampling import FACTOR, third
from weights.evaluate.enlarged import Enlarge
from weights.evaluate.pairs import PairsError
from weights.evaluate.pictures import PictureSet
from weights.evaluate.quality import psnr, ssim, to_frame, to_tensor

_SHAVED = 3
"""Pixels that published figures leave out on every side."""
_BEYOND = 2 / 255
"""How far beyond its surroundings a pixel may lie before it counts as overshoot."""


@dataclass(frozen=True)
class UpscaleFigures:
    """What one method makes of pictures; means over them, of luma."""

    psnr: float
    ssim: float
    consistency: float
    """PSNR of the result made smaller again, against the input."""
    overshoot: float
    """Percentage of pixels."""
    phase_bias: float
    """The largest magnitude among `phases`."""
    phases: tuple[float, ...]
    """How much brighter than bicubic each of the nine sub-pixel phases is, in 1/255, by rows."""


@dataclass(frozen=True)
class PictureRow:
    """What was measured on one set, or on the pictures of all sets together."""

    name: str
    pictures: int
    methods: dict[str, UpscaleFigures]
    """Of each interpolation, and `upscaler`."""


@torch.inference_mode()
def evaluate_upscaler(
    enlarge: Enlarge,
    sets: Sequence[PictureSet],
    *,
    on_picture: Callable[[], None] = lambda: None,
) -> list[PictureRow]:
    """Measure `enlarge` beside bicubic and Lanczos interpolation.

    Returns a row for each set, and a last one, `all`, with the means over all pictures.
    `on_picture` is called after each picture. Raises `PairsError` for pictures that cannot be
    read.
    """
    if not sets:
        raise PairsError("there are no pictures to evaluate")
    rows, everything = [], []
    for one in sets:
        results = []
        for small, large in one.read():
            low, size = to_tensor(small), (large.shape[1], large.shape[0])
            made = {name: Enlarger(size, name)(low) for name in sorted(INTERPOLATIONS)}
            made["upscaler"] = enlarge(low)
            results.append(_measure(made, low, to_tensor(large)))
            on_picture()
        rows.append(_row(one.name, results))
        everything += results
    return [*rows, _row("all", everything)]


def _measure(made: Mapping[str, Tensor], low: Tensor, large: Tensor) -> dict[str, UpscaleFigures]:
    # Published figures are those of 8-bit pictures.
    light = {name: _luma(to_tensor(to_frame(image))) for name, image in made.items()}
    small, truth = _luma(low), _luma(large)
    inside, inside_small = (
        (..., slice(edge, -edge), slice(edge, -edge)) for edge in (_SHAVED, _SHAVED // FACTOR)
    )
    found = {}
    for name, image in light.items():
        brighter = F.pixel_unshuffle((image - light["bicubic"])[inside], FACTOR)
        phases = tuple((255 * brighter.mean((0, 2, 3))).tolist())
        found[name] = UpscaleFigures(
            psnr=psnr(image[inside], truth[inside]),
            ssim=ssim(image[inside], truth[inside], padding="valid"),
            consistency=psnr(third(image)[inside_small], small[inside_small]),
            overshoot=_overshoot(image, small),
            phase_bias=max(map(abs, phases)),
            phases=phases,
        )
    return found


def _luma(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W): luma of BT.601 in 16..235, as a share of 255."""
    return (16 + 219 * luma(rgb)) / 255


def _overshoot(large: Tensor, small: Tensor) -> float:
    """Percentage of pixels more than 2/255 beyond the nine around them in the small picture."""
    around = F.pad(small, (1, 1, 1, 1), mode="replicate")
    most, least = F.max_pool2d(around, 3, stride=1), -F.max_pool2d(-around, 3, stride=1)
    folded = F.pixel_unshuffle(large, FACTOR)
    beyond = (folded > most + _BEYOND) | (folded < least - _BEYOND)
    return 100 * float(beyond.float().mean())


def _row(name: str, results: Sequence[Mapping[str, UpscaleFigures]]) -> PictureRow:
    methods = {method: _mean([result[method] for result in results]) for method in results[0]}
    return PictureRow(name, len(results), methods)


def _mean(pictures: Sequence[UpscaleFigures]) -> UpscaleFigures:
    phases = tuple(fmean(values) for values in zip(*(one.phases for one in pictures), strict=True))
    return UpscaleFigures(
        psnr=fmean(one.psnr for one in pictures),
        ssim=fmean(one.ssim for one in pictures),
        consistency=fmean(one.consistency for one in pictures),
        overshoot=fmean(one.overshoot for one in pictures),
        phase_bias=max(map(abs, phases)),
        phases=phases,
    )
