"""Keeping what any frame of a moment has kept: Fourier burst fusion of neighboring frames.

A shaking hand blurs each frame another way, so each has lost other frequencies. In every block and
at every frequency most is taken from the frame that has kept most of it (Delbracio and Sapiro,
"Burst deblurring: removing camera shake through Fourier burst accumulation", CVPR 2015; "Hand-held
video deblurring via efficient Fourier aggregation", IEEE TCI 2015). Four things are added:

- The frame outweighs its neighbors, the more the less they are sharper, and wholly where they are
  not: registration is never perfect, and what is sharp must stay what it is.
- Where a network has restored the frames, what each has kept is told by how it was filmed: what
  the network put back is a guess, which must not outweigh what another frame has really kept. On
  GoPro's pairs that is worth 0.08 dB.
- Where registered frames differ by no more than noise they are averaged, by a pairwise Wiener
  filter in the same transform (Hasinoff et al., "Burst photography for high dynamic range and
  low-light imaging on mobile cameras", SIGGRAPH Asia 2016).
- Only changes are transformed: a neighbor's registered pixels less the frame's own, which are zero
  where the neighbor is not trusted. Where there is nothing to gain nothing is changed, exactly.

Planes are as `filters.color.values_of` has them: float32, (h, w), luma in 0..1 and chroma in
-0.5..0.5. A frame's result depends on its neighbors and on nothing else.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters.blocks import BLOCK, Blocks, Place
from filters.noise import LEVELS

_SIGMA = BLOCK / 50
"""Standard deviation in frequencies of the smoothing of magnitudes."""
_FLOOR = 1e-4 * BLOCK
"""A magnitude that counts as nothing."""
_EVEN = 3.0
"""How many times a frame outweighs neighbors that are clearly sharper ..."""
_MOST = 1000.0
"""... and those that are just as sharp as it is."""
_BLURRIER, _EQUAL = 0.8, 1.0
"""Sharpness of a block as a share of that of its sharpest neighbor: from the first on neighbors
lose weight, and at the second they have none."""
_BAND = 1 / 16, 0.3
"""Frequencies in cycles per pixel whose magnitudes make up sharpness."""


@dataclass(frozen=True, eq=False)
class Fused:
    """What fusion makes of a frame."""

    changes: list[Tensor] | None
    """What is to be added to each plane; None: nothing."""
    share: float
    """The share of the picture that comes from neighbors, 0..1: the mean over blocks and
    frequencies."""
    filmed: Tensor | None = None
    """What the same makes of the luma as it was filmed, to be added to it; None: nothing else, or
    nobody asks."""


@dataclass(frozen=True, eq=False)
class Filmed:
    """The luma by which it is told what each frame has kept, where that is not the frames' own."""

    luma: Tensor
    """(h, w)."""
    apart: Tensor
    """(K, h, w): by how much that of the K registered neighbors differs from it."""
    fused: bool = True
    """Whether it is to be fused as well, as another pass needs it."""


def fuse(
    planes: Sequence[Tensor],
    apart: Sequence[Tensor],
    *,
    filmed: Filmed | None = None,
    noise: Tensor | None = None,
    smoothing: float = 1.0,
    sharpen: bool = True,
) -> Fused:
    """Fuse a frame with its neighbors.

    `planes` are the frame's, each (h, w): luma first, chroma of the same or half the size each way.
    `apart` holds for each plane, (K, h, w), by how much the K registered neighbors differ from it,
    0 where they are not to be trusted. `filmed` is the luma before a network restored it; None: no
    network did. `noise` is the noise's variance by brightness, as `noise_of` gives it; None: there
    is none. `smoothing` scales the difference, in standard deviations of noise squared, below which
    frames are averaged. Without `sharpen` they are averaged alone.
    """
    neighbors = len(apart[0])
    layout = Blocks(planes, neighbors if filmed is None else 2 * neighbors + 1)
    places, beside = list(layout.places), list(apart)
    luma = layout.padded(planes[0][None], places[0])
    seen = luma if filmed is None else layout.padded(filmed.luma[None], places[0])
    if filmed is not None:
        # The last of what is fused; its blocks lie as those of luma.
        places.append(places[0])
        beside.append(filmed.apart)
    given = [layout.padded(each, place) for each, place in zip(beside, places, strict=True)]
    wanted = len(planes) + (filmed is not None and filmed.fused)
    out = [torch.zeros(layout.room(place), device=luma.device) for place in places[:wanted]]
    share = 0.0
    for rows in layout.chunks():

        def spectra(padded: Tensor, place: Place, rows: range = rows) -> Tensor:
            found: Tensor = torch.fft.rfft2(layout.blocks(padded, place, rows))
            return found

        own, known = spectra(luma, places[0])[0], {0: spectra(given[0], places[0])}
        kept, others = own, known[0]
        if filmed is not None:
            kept, others = spectra(seen, places[0])[0], spectra(given[-1], places[0])
            known[len(planes)] = others
        weights = _sharpening(kept, others) if sharpen else None
        weights = _weights(own, known[0], weights, noise, smoothing)
        share += float(weights.sum(0).mean()) * len(rows) / layout.rows
        for index, place in enumerate(places[:wanted]):
            found = known[index] if index in known else spectra(given[index], place)
            blocks = torch.fft.irfft2(_sum(found, _lower(weights, place.block)), s=place.block)
            layout.add(out[index], blocks.mul_(place.window), place, rows)
    changes = [
        made[place.margin[0] :, place.margin[1] :][: place.shape[0], : place.shape[1]]
        for made, place in zip(out, places[:wanted], strict=True)
    ]
    return Fused(changes[: len(planes)], share, *changes[len(planes) :])


def _weights(
    own: Tensor, apart: Tensor, weights: Tensor | None, noise: Tensor | None, smoothing: float
) -> Tensor:
    """What is taken of each neighbor's difference, (K, rows, columns, B, B / 2 + 1); `weights` are
    those that sharpen."""
    neighbors = len(apart)
    if noise is None:
        return weights if weights is not None else torch.zeros_like(apart.real)
    # The pairwise Wiener average replaces what the frame itself contributes.
    light = own[..., 0, 0].real / BLOCK**2
    place = light.clamp(0, 1) * (LEVELS - 1)
    low = place.long().clamp_(max=LEVELS - 2)
    variance = torch.lerp(noise[low], noise[low + 1], place - low)
    usual = variance.mul_(2 * smoothing * BLOCK**2)[..., None, None]
    average = _power(apart).add_(usual).add_(1e-12).reciprocal_().mul_(usual)
    average.mul_(1 / (neighbors + 1))
    if weights is None:
        return average
    return weights.add_(average.mul_(1 - weights.sum(0)))


def _sharpening(own: Tensor, apart: Tensor) -> Tensor:
    """What is taken of neighbors as far as they are sharper."""
    maps = _maps(own.device)
    magnitudes = [_power(own).sqrt_()] + [_power(own + each).sqrt_() for each in apart]
    smooth = torch.stack([maps.down @ (each @ maps.across) for each in magnitudes])
    sharpness = (smooth * maps.band).sum((-1, -2))
    ratio = sharpness[0] / sharpness[1:].amax(0).clamp_(min=1e-6)
    equal = ratio.sub_(_BLURRIER).mul_(1 / (_EQUAL - _BLURRIER)).clamp_(0, 1)
    lightness = torch.exp(equal * -math.log(_MOST / _EVEN)).div_(_EVEN)
    lightness = torch.where(equal < 1, lightness, 0.0)
    smooth += _FLOOR
    smooth /= smooth.amax(0)
    # To the power of 11; a general power takes ten times as long.
    square = smooth * smooth
    smooth *= square
    square *= square
    square *= square
    smooth *= square
    smooth[1:] *= lightness[..., None, None]
    smooth /= smooth.sum(0)
    return maps.up @ (smooth[1:] @ maps.along)


def _power(spectra: Tensor) -> Tensor:
    parts = torch.view_as_real(spectra)
    real, imaginary = parts[..., 0], parts[..., 1]
    return (real * real).addcmul_(imaginary, imaginary)


def _sum(spectra: Tensor, weights: Tensor) -> Tensor:
    total = spectra[0] * weights[0]
    for each, weight in zip(spectra[1:], weights[1:], strict=True):
        total.add_(each * weight)
    return total


def _lower(weights: Tensor, block: tuple[int, int]) -> Tensor:
    """Weights of the frequencies that chroma of a smaller size has."""
    rows, columns = block
    if rows < BLOCK:
        weights = torch.cat([weights[..., : rows // 2, :], weights[..., -rows // 2 :, :]], dim=-2)
    return weights[..., : columns // 2 + 1]


@dataclass(frozen=True)
class _Maps:
    """Matrices that smooth and thin out magnitudes, and bring weights back to all frequencies."""

    down: Tensor
    across: Tensor
    up: Tensor
    along: Tensor
    band: Tensor


@functools.cache
def _maps(device: torch.device) -> _Maps:
    whole, half = BLOCK, BLOCK // 2 + 1

    def near(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-(distance**2) / (2 * _SIGMA**2))

    rows = np.abs(np.arange(0, whole, 2)[:, None] - np.arange(whole))
    down = near(np.minimum(rows, whole - rows).astype(float))
    across = np.zeros((half, (half + 1) // 2))
    for column in range(half):
        # Beyond the first and the last column are those on the other side of it.
        for seen in {column, -column, 2 * (half - 1) - column}:
            across[column] += near(np.arange(0, half, 2.0) - seen)
    up = np.zeros((whole, whole // 2))
    along = np.zeros(((half + 1) // 2, half))
    for row in range(whole):
        for index in (row // 2, (row + 1) // 2 % (whole // 2)):
            up[row, index] += 0.5
    for column in range(half):
        for index in (column // 2, (column + 1) // 2):
            along[index, column] += 0.5
    down /= down.sum(1, keepdims=True)
    across /= across.sum(0)
    radius = np.hypot(np.fft.fftfreq(whole)[::2, None], np.fft.rfftfreq(whole)[::2])
    band = (radius > _BAND[0]) & (radius < _BAND[1])
    with torch.inference_mode(False):
        down_, across_, up_, along_, band_ = (
            torch.from_numpy(each.astype(np.float32)).to(device)
            for each in (down, across, up, along, band)
        )
    return _Maps(down_, across_, up_, along_, band_)
