"""How near a picture is to what it should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import kornia.metrics
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters import luma
from weights.evaluate.align import align
from weights.evaluate.pairs import Frame

_HIGHEST = 100.0
"""dB; keeps equal frames from turning a mean into infinity."""
_MARGIN = 4
"""Pixels cut off on every side of aligned frames."""


@dataclass(frozen=True)
class Quality:
    """Of one picture, or means over pictures; PSNR in dB."""

    psnr: float
    ssim: float


class Reference:
    """The sharp frame that versions of a blurred one are compared with."""

    def __init__(self, sharp: Frame, blurred: Frame, *, pixel_aligned: bool) -> None:
        """Frames that are not pixel-aligned are compared aligned as well."""
        self._sharp = to_tensor(sharp)
        self._aligned: Tensor | None = None
        self.converged = True
        """Whether the frame could be aligned where it had to be."""
        if not pixel_aligned:
            shifted, self.converged = align(sharp, blurred)
            self._aligned = to_tensor(shifted)

    def plain(self, image: Tensor) -> Quality:
        return _compare(image, self._sharp)

    def aligned(self, image: Tensor) -> Quality | None:
        if self._aligned is None:
            return None
        inside = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
        return _compare(image[inside], self._aligned[inside])


def mean(qualities: Sequence[Quality]) -> Quality:
    """The mean of each figure."""
    return Quality(fmean(one.psnr for one in qualities), fmean(one.ssim for one in qualities))


def psnr(image: Tensor, target: Tensor) -> float:
    """In dB, at most 100, of images in 0..1."""
    return min(float(kornia.metrics.psnr(image, target, max_val=1.0)), _HIGHEST)


def ssim(image: Tensor, target: Tensor, *, padding: str = "same") -> float:
    """The mean of the map; `padding` is kornia's, "same" or "valid"."""
    found = kornia.metrics.ssim(image, target, window_size=11, max_val=1.0, padding=padding)
    return float(found.mean())


def gradient_energy(image: Tensor) -> float:
    """Mean of the squared differences of luma between neighbors, across and down."""
    light = luma(image)
    return float(sum(light.diff(dim=way).square().mean() for way in (2, 3)))


def _compare(image: Tensor, target: Tensor) -> Quality:
    return Quality(psnr(image, target), ssim(image, target))


def to_tensor(image: Frame | NDArray[np.float32]) -> Tensor:
    """(H, W, 3) in 0..255 as (1, 3, H, W) float32 in 0..1."""
    planar = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return torch.from_numpy(planar)[None] / 255


def to_frame(image: Tensor) -> Frame:
    """(1, 3, H, W) in 0..1, or beyond, which is cut off, as (H, W, 3) RGB."""
    rounded = image[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte()
    return np.asarray(rounded.cpu().numpy(), np.uint8)
