"""What a network is told beside a frame: the frame along its motion, and its neighbors.

In video the blur is known: motion times the time that the shutter was open. Sampled along it, every
blur looks the same, whatever its direction and length, and what undoes it lies at the same places.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mssnet.regions import CELL, Where

Flow = NDArray[np.float32]
"""(h, w, 2): where what a pixel shows is in another frame, x and y, relative to where it is, in
pixels of this size, which may be smaller than that of the frames."""
TAPS: Final = (-1.0, -0.5, 0.5, 1.0)
"""Where the frame is sampled, as shares of the blur's length, from the pixel's own place on."""
AROUND: Final = (-1, 1, -2, 2)
"""Which frames beside it a network sees, counted from the frame itself, in this order."""
PLANES: Final = 2 + 3 * len(TAPS) + 3 * len(AROUND)
"""What there is beside the frame, in this order: the blur, x and y, in units of 20 pixels and with
x not below 0; the frame at each tap, R'G'B' in 0..1; the frames `AROUND` it, each registered to it,
R'G'B' in 0..1. What is not known is the frame itself, and a blur of 0."""
_UNIT = 20.0
_LEAST_BLUR, _WHOLE_BLUR = 1.5, 2.5
"""Pixels of blur up to which, and from which on wholly, a network changes anything: of what `lite`
takes off the error of real pairs nearly nothing lies where they are blurred by less, and what it
changes there, 44 to 55 dB below the picture, is not seen but takes as long."""
_SMOOTH = 2.0
"""Standard deviation, in pixels of what is followed, of what a lag is averaged over."""
_LEAST_LAG, _WHOLE_LAG = 0.25, 0.5
"""Pixels of lag up to which, and from which on wholly, frames are resampled for it."""
_NEAR = 5
"""Cells each way within which the longest blur counts: flow is not sure of where something ends."""


@dataclass(frozen=True, eq=False)
class Neighbor:
    """A frame before or after."""

    picture: Tensor
    """As `planes` takes the frame."""
    there: Flow
    """From the frame to it."""


def planes(
    frame: Tensor,
    neighbors: Sequence[Neighbor | None],
    share: float,
    *,
    stand_in: bool = False,
    blur: Flow | None = None,
) -> Tensor:
    """What to tell a network of a frame: (1, PLANES, H, W).

    `frame` is (H, W, 3) uint8 RGB on a CPU, of which float16 is made, or (1, 3, H, W)
    floating-point RGB in 0..1 on any device, of which float32 is. `neighbors` are those of
    `AROUND`, the first ones at least, None where there is none. `share` is that of the frame
    interval for which the shutter was open, 0..1. Where there is only one of those next to the
    frame, the motion is taken to be steady; without any it is not known. With `stand_in` the frame
    two before is shown in the place of that after as well, where there is none after. `blur`, where
    it was measured, is the way of each point while the shutter was open, in the place of the motion
    times `share`.
    """
    beside = [*neighbors, *(None,) * len(AROUND)][: len(AROUND)]
    back, ahead = (each.there if each else None for each in beside[:2])
    if stand_in and beside[1] is None:
        beside[1] = beside[2]
    if back is None and ahead is None and blur is None:
        return unknown(frame.float() if frame.ndim == 4 else _values(frame))
    motion = steady(back, ahead)
    sample = _by_torch if frame.ndim == 4 else _by_opencv
    if blur is None:
        assert motion is not None
        blur = np.asarray(motion * np.float32(share), np.float32)
    return sample(frame, beside, blur)


def extent(blur: Flow, width: int, height: int) -> Where:
    """Where a frame of this size is blurred enough for a network to be worth its time.

    `blur` is the way of each point while the shutter was open, as `planes` takes it.
    """
    size = -(-width // CELL), -(-height // CELL)
    scale = np.array([width / blur.shape[1], height / blur.shape[0]], np.float32)
    length = cv2.resize(np.linalg.norm(blur * scale, axis=2), size, interpolation=cv2.INTER_AREA)
    longest = cv2.dilate(length, np.ones((_NEAR, _NEAR), np.uint8))
    share = (longest - _LEAST_BLUR) / (_WHOLE_BLUR - _LEAST_BLUR)
    return np.asarray(np.clip(share, 0, 1), np.float32)


def steady(back: Flow | None, ahead: Flow | None) -> Flow | None:
    """The motion in a frame interval, by the ways to the frames before and after."""
    if back is None or ahead is None:
        return ahead if back is None else -back
    return np.asarray((ahead - back) / 2, np.float32)


def lag(back: Flow | None, ahead: Flow | None, share: float, scale: float) -> Flow | None:
    """How far what a frame shows lies from where it was in the middle of the exposure, by the ways
    to the frames before and after; None where one of them is not known.

    `share` is that of the frame interval for which the shutter was open, and `scale` how many
    pixels of the frame are one of theirs. What is too little to be worth a resampling is none.

    What speeds up or turns is not filmed evenly around the middle: with the acceleration a, in
    pixels per frame interval squared, its mean place is a t^2 / 24 away for an exposure of t. On
    GoPro's frames, shaken by a hand, that is 1 to 2 pixels.
    """
    if back is None or ahead is None:
        return None
    uneven: Any = cv2.GaussianBlur((back + ahead) * np.float32(share * share / 24), (0, 0), _SMOOTH)
    length = np.linalg.norm(uneven, axis=2, keepdims=True) * scale
    worth = np.clip((length - _LEAST_LAG) / (_WHOLE_LAG - _LEAST_LAG), 0, 1)
    return np.asarray(uneven * worth, np.float32)


def unknown(image: Tensor) -> Tensor:
    """What a network is told where nothing is known beside (N, 3, H, W), RGB in 0..1."""
    count = PLANES // 3
    return torch.cat([torch.zeros_like(image[:, :2]), image.repeat(1, count, 1, 1)], dim=1)


def _by_opencv(frame: Tensor, beside: Sequence[Neighbor | None], motion: Flow) -> Tensor:
    picture = frame.numpy()
    height, width = picture.shape[:2]
    blur = _enlarged(motion, (width, height))
    # Blurs of opposite directions are the same.
    np.copyto(blur, -blur, where=blur[..., :1] < 0)
    own = _own(height, width)
    shown = [_at(picture, cv2.scaleAdd(blur, tap, own)) for tap in TAPS]
    # Once each: one may stand in for another.
    registered = {
        each: picture
        if each is None
        else _at(each.picture.numpy(), _enlarged(each.there, (width, height)) + own)
        for each in dict.fromkeys(beside)
    }
    shown += [registered[each] for each in beside]
    # Half of what float32 takes, and exact to a sixteenth of a code.
    made = torch.empty(PLANES, height, width, dtype=torch.float16)
    torch.mul(torch.from_numpy(blur).permute(2, 0, 1), 1 / _UNIT, out=made[:2])
    colors = (color for one in shown for color in cv2.split(one))
    for plane, color in zip(made[2:], colors, strict=True):
        torch.mul(torch.from_numpy(color), 1 / 255, out=plane)
    return made[None]


@functools.lru_cache(8)
def _own(height: int, width: int) -> Flow:
    """Where each pixel is."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def _enlarged(field: Flow, size: tuple[int, int]) -> Flow:
    height, width = field.shape[:2]
    scale = np.array([size[0] / width, size[1] / height], np.float32)
    return np.asarray(cv2.resize(field * scale, size), np.float32)


def _at(picture: NDArray[np.uint8], places: Any) -> NDArray[np.uint8]:
    remap: Any = cv2.remap  # takes both coordinates in one array, which its types do not know
    found = remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def _values(picture: Tensor) -> Tensor:
    return picture.permute(2, 0, 1)[None].half() / 255


def _by_torch(frame: Tensor, beside: Sequence[Neighbor | None], motion: Flow) -> Tensor:
    height, width = frame.shape[2:]
    image = frame.float()
    # In units of the grid, whose corners -1 and 1 are the outer edges of the picture.
    x = (2 * torch.arange(width, device=image.device) + 1) / width - 1
    y = (2 * torch.arange(height, device=image.device) + 1) / height - 1
    own = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    to_grid = torch.tensor([2 / width, 2 / height], device=image.device)

    def enlarge(field: Flow) -> Tensor:
        scale = [width / field.shape[1], height / field.shape[0]]
        scaled = torch.from_numpy(field * np.array(scale, np.float32)).to(image.device)
        made = F.interpolate(scaled.permute(2, 0, 1)[None], (height, width), mode="bilinear")
        return made[0].permute(1, 2, 0)

    def at(picture: Tensor, moved: Tensor) -> Tensor:
        places = (own + moved * to_grid)[None]
        return F.grid_sample(picture.to(image), places, padding_mode="border", align_corners=False)

    blur = enlarge(motion)
    blur = torch.where(blur[..., :1] < 0, -blur, blur)
    shown = [at(image, tap * blur) for tap in TAPS]
    registered = {
        each: image if each is None else at(each.picture, enlarge(each.there))
        for each in dict.fromkeys(beside)
    }
    shown += [registered[each] for each in beside]
    return torch.cat([blur.permute(2, 0, 1)[None] / _UNIT, *shown], dim=1)
