"""Y'CbCr planes to R'G'B' and back, exactly as the frame says it is coded.

The matrices follow from two numbers each (ITU-T H.273, table 4): Kr and Kb, the parts of red and
blue in luma. kornia's are those of BT.601 in full range alone, so these few lines are our own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters.coding import LUMA, Coding


def values_of(planes: Sequence[Tensor], coding: Coding) -> list[Tensor]:
    """Planes Y, U, V (or Y alone) of codes as float32: luma from 0 (black) to 1 (white), chroma
    from -0.5 to 0.5, and beyond where the codes lie beyond; same shapes."""
    spans = (coding.luma_span, coding.chroma_span, coding.chroma_span)
    zeros = (coding.black, coding.neutral, coding.neutral)
    return [
        plane.float().sub_(zero).mul_(1 / span)
        for plane, zero, span in zip(planes, zeros, spans, strict=False)
    ]


def to_rgb(planes: Sequence[Tensor], coding: Coding) -> Tensor:
    """Planes Y, U, V (or Y alone), each (h, w) of codes, to (1, 3, H, W) float32 R'G'B'.

    Values are in 0..1 for legal codes, and beyond where the codes lie beyond; nothing is clamped.
    Chroma is taken to be sited as in MPEG-2 and H.264: left across, midway down.
    """
    return rgb_of(values_of(planes, coding), coding)


def rgb_of(values: Sequence[Tensor], coding: Coding) -> Tensor:
    """`to_rgb` of planes as `values_of` has them."""
    luma = values[0]
    height, width = luma.shape
    if coding.gray:
        return luma.repeat(1, 3, 1, 1)
    blue, red = (_upsample(value, coding)[:height, :width] for value in values[1:])
    kr, kb = LUMA[coding.matrix]
    rgb = luma.new_empty(1, 3, height, width)
    torch.add(luma, red, alpha=2 * (1 - kr), out=rgb[0, 0])
    torch.add(luma, blue, alpha=2 * (1 - kb), out=rgb[0, 2])
    green = torch.add(luma, red, alpha=-2 * kr * (1 - kr) / (1 - kr - kb), out=rgb[0, 1])
    green.sub_(blue, alpha=2 * kb * (1 - kb) / (1 - kr - kb))
    return rgb


def luma(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) R'G'B' to (N, 1, H, W) luma of BT.601, in which restoration is measured."""
    kr, kb = LUMA["bt601"]
    red, green, blue = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    return torch.add(red * kr, green, alpha=1 - kr - kb).add(blue, alpha=kb)


def add_change(planes: Sequence[Tensor], change: Tensor, coding: Coding) -> list[Tensor]:
    """Add a change of R'G'B', (1, 3, H, W), to the planes; same shapes and dtypes.

    The planes are changed by what the picture changed by, instead of being made anew from R'G'B':
    where nothing changed every sample stays what it was, codes outside the legal range included,
    and chroma is not resampled for nothing.
    """
    return add_values(planes, changes_of(change, coding), coding)


def changes_of(change: Tensor, coding: Coding) -> list[Tensor]:
    """A change of R'G'B', (1, 3, H, W), as one of planes, each (h, w), in the units of
    `values_of`."""
    kr, kb = LUMA[coding.matrix]
    red, green, blue = change[0].float()
    luma = (red * kr).add_(green, alpha=1 - kr - kb).add_(blue, alpha=kb)
    if coding.gray:
        return [luma]
    chroma = [
        _downsample(part - luma, coding).mul_(0.5 / (1 - k)) for part, k in ((blue, kb), (red, kr))
    ]
    return [luma, *chroma]


def add_values(planes: Sequence[Tensor], changes: Sequence[Tensor], coding: Coding) -> list[Tensor]:
    """Add changes, in the units of `values_of`, to planes of codes; same shapes and dtypes."""
    spans = (coding.luma_span, coding.chroma_span, coding.chroma_span)
    return [
        _add_codes(plane, change, span, coding)
        for plane, change, span in zip(planes, changes, spans, strict=False)
    ]


def to_planes(rgb: Tensor, coding: Coding) -> list[Tensor]:
    """(1, 3, H, W) R'G'B', not necessarily in 0..1, to planes of codes, uint8 or uint16."""
    dtype = torch.uint8 if coding.depth == 8 else torch.uint16
    height, width = rgb.shape[2:]
    across, down = coding.subsampling
    luma = rgb.new_full((height, width), coding.black, dtype=torch.float32)
    chroma = luma.new_full((-(-height // down), -(-width // across)), coding.neutral)
    planes = [luma] if coding.gray else [luma, chroma, chroma]
    return [plane.to(dtype) for plane in add_change(planes, rgb, coding)]


def codes_of(rgb: NDArray[Any], coding: Coding) -> list[NDArray[Any]]:
    """`to_planes` for R'G'B' in codes of the coding's depth, (3, H, W), outside of torch."""
    exact = torch.from_numpy(rgb.astype(np.float32)[None]) / coding.top
    return [plane.numpy() for plane in to_planes(exact, coding)]


def recode(planes: Sequence[NDArray[Any]], coding: Coding, wanted: Coding) -> list[NDArray[Any]]:
    """Planes of codes in another depth, range and subsampling, or gray with empty chroma added.

    The matrix stays. What is the same in both codings stays exact.
    """
    height, width = planes[0].shape
    luma = torch.from_numpy(planes[0]).float().sub_(coding.black).div_(coding.luma_span)
    made = [luma.mul_(wanted.luma_span).add_(wanted.black)]
    if not wanted.gray:
        across, down = wanted.subsampling
        empty = torch.zeros(-(-height // down), -(-width // across))
        for plane in [None, None] if coding.gray else planes[1:]:
            part = empty if plane is None else _resampled(plane, coding, wanted, height, width)
            made.append(part * wanted.chroma_span + wanted.neutral)
    dtype = torch.uint8 if wanted.depth == 8 else torch.uint16
    return [each.round().clamp_(0, wanted.top).to(dtype).numpy() for each in made]


def _resampled(
    plane: NDArray[Any], coding: Coding, wanted: Coding, height: int, width: int
) -> Tensor:
    """Chroma, from -0.5 to 0.5, as finely sampled as is wanted."""
    chroma = (torch.from_numpy(plane).float() - coding.neutral) / coding.chroma_span
    if coding.subsampling == wanted.subsampling:
        return chroma
    return _downsample(_upsample(chroma, coding)[:height, :width], wanted)


def _add_codes(plane: Tensor, change: Tensor, span: float, coding: Coding) -> Tensor:
    codes = torch.add(plane.float(), change, alpha=span)
    return codes.round_().clamp_(0, coding.top).to(plane.dtype)


def _upsample(chroma: Tensor, coding: Coding) -> Tensor:
    """(h, w) to (h * down, w * across)."""
    across, down = coding.subsampling
    if down == 2:
        # Midway: a quarter of the way to the one above, and to the one below.
        tall = chroma.new_empty(chroma.shape[0], 2, chroma.shape[1])
        torch.lerp(chroma[1:], chroma[:-1], 0.25, out=tall[1:, 0])
        torch.lerp(chroma[:-1], chroma[1:], 0.25, out=tall[:-1, 1])
        tall[0, 0], tall[-1, 1] = chroma[0], chroma[-1]
        chroma = tall.flatten(0, 1)
    if across == 2:
        # On the left luma sample of each pair: every other sample is there already.
        wide = chroma.new_empty(*chroma.shape, 2)
        wide[..., 0] = chroma
        torch.lerp(chroma[:, :-1], chroma[:, 1:], 0.5, out=wide[:, :-1, 1])
        wide[:, -1, 1] = chroma[:, -1]
        chroma = wide.flatten(1)
    return chroma


def _downsample(chroma: Tensor, coding: Coding) -> Tensor:
    """(H, W) to (ceil(H / down), ceil(W / across)), filtered for the place of the samples."""
    across, down = coding.subsampling
    if down == 2:
        if chroma.shape[0] % 2:
            chroma = torch.cat([chroma, chroma[-1:]], dim=0)
        chroma = (chroma[::2] + chroma[1::2]).mul_(0.5)
    if across == 2:
        if chroma.shape[1] % 2:
            chroma = torch.cat([chroma, chroma[:, -1:]], dim=1)
        left = torch.cat([chroma[:, :1], chroma[:, 1:-1:2]], dim=1)
        chroma = left.add_(chroma[:, 1::2]).mul_(0.25).add_(chroma[:, ::2], alpha=0.5)
    return chroma
