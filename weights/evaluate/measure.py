"""Measuring a restorer on sets of pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

import kornia.metrics
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weights.evaluate.align import align
from weights.evaluate.pairs import Frame, PairsError, PairSet
from weights.evaluate.temporal import Steadiness, Video

Restore: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB in 0..1, blurred in, restored out."""

_HIGHEST = 100.0
"""dB; keeps equal frames from turning a mean into infinity."""
_MARGIN = 4
"""Pixels cut off on every side of aligned frames."""


@dataclass(frozen=True)
class Figures:
    """Means over frames; PSNR in dB."""

    pairs: int
    psnr_before: float
    psnr_after: float
    psnr_gain: float
    ssim_before: float
    ssim_after: float


@dataclass(frozen=True)
class Row:
    """What was measured on one set, or on the frames of all sets together."""

    name: str
    plain: Figures
    aligned: Figures | None
    """None for pixel-aligned pairs; in the row of all sets, over the pairs that are not."""
    unaligned: int
    """Pairs that ECC failed to align; they count in `aligned` as they are."""
    identity_psnr: float
    steadiness: Steadiness | None
    """None in the row of all sets, and for sets of one frame."""


@dataclass(frozen=True)
class _Measured:
    """PSNR and SSIM before and after, of one pair."""

    psnr: tuple[float, float]
    ssim: tuple[float, float]


@dataclass(frozen=True)
class _Result:
    """Everything measured on one pair."""

    plain: _Measured
    aligned: _Measured | None
    converged: bool
    identity: float


@torch.inference_mode()
def evaluate(
    restore: Restore, pairs: Sequence[PairSet], *, on_pair: Callable[[], None] = lambda: None
) -> list[Row]:
    """Measure `restore`, which never sees the sharp frame of what it restores.

    Returns a row for each set, and a last one, `all`, with the means over all frames. `on_pair` is
    called after each pair. Raises `PairsError` for pairs that cannot be read.
    """
    if not pairs:
        raise PairsError("there are no pairs to evaluate")
    rows, everything = [], []
    for one in pairs:
        results, video = [], Video()
        for blurred, sharp in one.read():
            result, restored = _measure(restore, blurred, sharp, one.pixel_aligned)
            video.add(blurred, restored, sharp)
            results.append(result)
            on_pair()
        rows.append(_row(one.name, results, video.result()))
        everything += results
    return [*rows, _row("all", everything, None)]


def _measure(
    restore: Restore, blurred: Frame, sharp: Frame, pixel_aligned: bool
) -> tuple[_Result, Frame]:
    before, target = to_tensor(blurred), to_tensor(sharp)
    # The figures are computed on the CPU, so that they compare between devices.
    after = restore(before).cpu()
    plain = _compare(before, after, target)
    identity = _psnr(restore(target).cpu(), target)
    if pixel_aligned:
        return _Result(plain, None, True, identity), to_frame(after)
    shifted, converged = align(sharp, blurred)
    inside = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    aligned = _compare(before[inside], after[inside], to_tensor(shifted)[inside])
    return _Result(plain, aligned, converged, identity), to_frame(after)


def _compare(before: Tensor, after: Tensor, target: Tensor) -> _Measured:
    return _Measured(
        psnr=(_psnr(before, target), _psnr(after, target)),
        ssim=(_ssim(before, target), _ssim(after, target)),
    )


def _psnr(image: Tensor, target: Tensor) -> float:
    return min(float(kornia.metrics.psnr(image, target, max_val=1.0)), _HIGHEST)


def _ssim(image: Tensor, target: Tensor) -> float:
    return float(kornia.metrics.ssim(image, target, window_size=11, max_val=1.0).mean())


def _row(name: str, results: Sequence[_Result], steadiness: Steadiness | None) -> Row:
    aligned = [result.aligned for result in results if result.aligned]
    return Row(
        name=name,
        plain=_means([result.plain for result in results]),
        aligned=_means(aligned) if aligned else None,
        unaligned=sum(not result.converged for result in results),
        identity_psnr=fmean(result.identity for result in results),
        steadiness=steadiness,
    )


def _means(measured: Sequence[_Measured]) -> Figures:
    psnr_before, psnr_after = (fmean(m.psnr[index] for m in measured) for index in (0, 1))
    ssim_before, ssim_after = (fmean(m.ssim[index] for m in measured) for index in (0, 1))
    return Figures(
        pairs=len(measured),
        psnr_before=psnr_before,
        psnr_after=psnr_after,
        psnr_gain=psnr_after - psnr_before,
        ssim_before=ssim_before,
        ssim_after=ssim_after,
    )


def to_tensor(image: Frame | NDArray[np.float32]) -> Tensor:
    """(H, W, 3) in 0..255 as (1, 3, H, W) float32 in 0..1."""
    planar = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return torch.from_numpy(planar)[None] / 255


def to_frame(image: Tensor) -> Frame:
    """(1, 3, H, W) in 0..1 as (H, W, 3) RGB."""
    rounded = image[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte()
    return np.asarray(rounded.numpy(), np.uint8)
