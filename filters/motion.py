"""How a picture moved from one frame to another, and how far that can be trusted.

Optical flow by OpenCV's DIS (Kroeger et al., "Fast optical flow using dense inverse search", ECCV
2016) on the CPU, between pictures that are made small first: blurred frames have no fine detail to
follow, and a flow that looks for it is the worse for it. Fusion compares farther frames directly;
adding up the steps between them costs it more accuracy than it saves time at this size.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from filters.coding import Coding
from filters.color import rgb_of
from filters.memory import sent

_Array = TypeVar("_Array", NDArray[np.uint8], NDArray[np.float32])
Flow = NDArray[np.float32]
"""(h, w, 2): where each pixel of one picture is in another, x and y, relative to where it is, in
pixels of this size."""

_LONGEST = 192
"""Longest side, in pixels, of what is followed. At twice that GoPro's frames gain 0.7 dB less."""
_LEAST = 24
"""Pixels that a side must have for flow to be found at all."""
_GAP = 1.0
"""Squared pixels of the full picture by which the way back along the same field may miss its start
..."""
_GAP_SHARE = 0.03
"""... beyond this share of the squared lengths of both ways."""
_LOW_PASS = 6.0
"""Pixels of the full picture, the standard deviation of the blur under which colors are compared,
so that a neighbor is not refused for being sharper."""
_COLOR = 3 / 255
"""Difference of color beyond which a pixel is not the same ..."""
_COLOR_SLOPE = 2.0
"""... added to that which a shift of so many pixels of the full picture makes there."""
_EDGE = 2.0
"""Pixels of the full picture over which trust fades."""
_REGIONS = 8
"""Across and down, the regions in which detail is told."""
_RELATED = 0.1
"""Where less than this share of a picture is found again, the other one is of another scene."""


@dataclass(frozen=True, eq=False)
class FlowFrame:
    """A frame as it is followed: small, and its colors without detail."""

    luma: NDArray[np.uint8]
    """(h, w)."""
    color: NDArray[np.float32]
    """(h, w, 3) R'G'B' in 0..1."""
    slope: NDArray[np.float32]
    """(h, w): by how much the color changes from one pixel of the full picture to the next."""
    detail: NDArray[np.float32]
    """(8, 8): how much detail there is in each region of the picture."""
    scale: float
    """Pixels of the full picture per pixel of this one."""
    found: "WeakKeyDictionary[FlowFrame, Registration | None]" = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )
    """What `registered` found in other frames, for as long as they are there."""


@dataclass(frozen=True, eq=False)
class Registration:
    """How one frame is found in another."""

    flow: Flow
    """As `flow` finds it."""
    trusted: NDArray[np.float32]
    """As `trust` tells it, (h, w) in 0..1."""


def guide(planes: Sequence[Tensor], coding: Coding) -> FlowFrame:
    """What a frame is followed by.

    `planes` are the picture's, each (h, w) of any size from 1 up, on any device, in the units of
    `color.values_of`.
    """
    height, width = planes[0].shape
    factor = max(1, -(-max(height, width) // _LONGEST))
    size = max(width // factor, 1), max(height // factor, 1)
    small = [torch.from_numpy(_resized(plane, size)) for plane in planes]
    rgb = rgb_of(small, replace(coding, subsampling=(1, 1)))[0].permute(1, 2, 0).numpy()
    color = np.asarray(cv2.GaussianBlur(rgb, (0, 0), max(_LOW_PASS / factor, 0.6)), np.float32)
    across, down = (
        _mean(np.abs(cv2.Sobel(color, cv2.CV_32F, *way, scale=1 / 8))) for way in ((1, 0), (0, 1))
    )
    slope = cv2.GaussianBlur(np.hypot(across, down), (0, 0), max(_LOW_PASS / factor, 0.6)) / factor
    luma = np.clip(small[0].numpy() * 255 + 0.5, 0, 255).astype(np.uint8)
    return FlowFrame(
        luma, color, np.asarray(slope, np.float32), _detail(planes[0]), width / size[0]
    )


def halfway(seen: FlowFrame, restored: Tensor) -> FlowFrame:
    """A frame that is followed by the mean of its luma as it was filmed and as it was `restored`,
    (h, w) at full size.

    Between filmed frames GoPro's pairs are followed better (0.11 dB once fused, DAVIDE's 0.06 dB
    worse), and by the mean as well as by the better one of both.
    """
    height, width = seen.luma.shape
    other = np.clip(255 * _resized(restored, (width, height)) + 0.5, 0, 255).astype(np.uint8)
    return replace(seen, luma=np.asarray(cv2.addWeighted(seen.luma, 0.5, other, 0.5, 0), np.uint8))


def _detail(luma: Tensor) -> NDArray[np.float32]:
    """What `FlowFrame` tells of detail, of luma at full size, (h, w)."""
    if luma.device.type == "cpu":
        light = luma.numpy()
        size = max(light.shape[1] // 2, 1), max(light.shape[0] // 2, 1)
        half = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
        across, down = (cv2.absdiff(half, np.roll(half, 1, axis)) for axis in (0, 1))
        regions = (_REGIONS, _REGIONS)
        detail = cv2.resize(cv2.add(across, down), regions, interpolation=cv2.INTER_AREA)
        return np.asarray(detail, np.float32)
    less = F.avg_pool2d(luma[None, None], 2, ceil_mode=True)
    change = (less - less.roll(1, 2)).abs() + (less - less.roll(1, 3)).abs()
    return np.asarray(F.adaptive_avg_pool2d(change, _REGIONS)[0, 0].cpu().numpy(), np.float32)


def _resized(plane: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    if plane.device.type == "cpu":
        small: Any = cv2.resize(plane.numpy(), size, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)
    # Made small where it is: only that little has to leave a GPU.
    made = F.interpolate(plane[None, None], size[::-1], mode="area")
    return np.asarray(made[0, 0].cpu().numpy(), np.float32)


def flow(one: FlowFrame, other: FlowFrame) -> Flow:
    """The motion from one frame to another of the same size; none at all where a side of what is
    followed has fewer than 24 pixels."""
    return follow(one.luma, other.luma)


def follow(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    """`flow` between two pictures, (h, w), of the size at which frames are followed."""
    start = np.zeros((*one.shape, 2), np.float32)
    if min(one.shape) < _LEAST:
        return start
    # One anew for each pair: they are not made for several threads, and cost nothing to make.
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    estimator.setFinestScale(0)
    # Fewer than the preset has, which at this size lose nothing.
    estimator.setVariationalRefinementIterations(3)
    estimator.setGradientDescentIterations(8)
    return np.asarray(estimator.calc(one, other, start), np.float32)


def registered(one: FlowFrame, other: FlowFrame) -> Registration | None:
    """How one frame is found in another of the same size; None where nearly nothing of it is.

    Looked for once, whoever asks: what tells a network of the motion, and what fuses frames.
    """
    if other not in one.found:
        there = flow(one, other)
        trusted = trust(one, other, there)
        one.found[other] = None if trusted is None else Registration(there, trusted)
    return one.found[other]


def joined(first: Flow, second: Flow) -> Flow:
    """The motion from a first picture to a third, (h, w, 2) in pixels, by that to the second and
    that from the second to the third, both of this size."""
    return np.asarray(first + look_up(second, first), np.float32)


def trust(one: FlowFrame, other: FlowFrame, there: Flow) -> NDArray[np.float32] | None:
    """Where, and how far, the other frame shows what the one does: (h, w) in 0..1.

    That is where the motion is inside the picture and steady (what is a motion's length back along
    its own line came from here), and where the colors agree. A flow that is found backwards as well
    is not asked: between frames that are blurred in different ways it differs by more than what is
    wrong, and it costs as much again. None where nearly nothing is found again, as at a cut.
    """
    height, width = there.shape[:2]
    returned = -look_up(there, -there)
    area = one.scale * one.scale
    lost = squared(returned + there) > _GAP_SHARE * (squared(there) + squared(returned)) + (
        _GAP / area
    )
    x = there[..., 0] + np.arange(width, dtype=np.float32)
    y = there[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    lost |= (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    around = cv2.dilate(lost.astype(np.float32), np.ones((3, 3), np.uint8))
    unknown = cv2.GaussianBlur(around, (0, 0), max(_EDGE / one.scale, 0.6))
    difference = _mean(cv2.absdiff(look_up(other.color, there), one.color))
    apart = difference / (_COLOR + _COLOR_SLOPE * one.slope) - 1
    found = 1 - np.maximum(unknown, np.clip(apart, 0, 1))
    return np.asarray(found, np.float32) if found.mean() > _RELATED else None


def _mean(colors: Any) -> NDArray[np.float32]:
    """The mean of three colors, (h, w, 3), thirty times as fast as NumPy's."""
    return np.asarray(cv2.transform(colors, np.full((1, 3), 1 / 3, np.float32)), np.float32)


def differences(
    planes: Sequence[Tensor],
    other: Sequence[Tensor],
    there: Flow,
    trusted: NDArray[np.float32],
    out: Sequence[Tensor],
) -> None:
    """Write to `out` by how much another frame, registered, differs from this one.

    `planes` and `other`, each (h, w), are of the same sizes, luma first; beyond the other's edge is
    what is at its edge. The differences are scaled by how far they are `trusted`, (h, w). All
    planes are as `interleaved` returns them.
    """
    if planes[0].device.type != "cpu":
        field = sent(there, planes[0].device).permute(2, 0, 1)[None]
        weight = sent(trusted, planes[0].device)[None, None]
        for plane, neighbor, made in zip(planes, other, out, strict=True):
            _difference_by_torch(plane, neighbor, field, weight, made)
        return
    # No operation of torch, whose threads would wait for those of OpenCV, and these for them.
    _difference(planes[0].numpy(), other[0].numpy(), there, trusted, out[0].numpy())
    if len(planes) > 1:
        # Both in one go: most of the work is to find the places.
        own, others, result = (_interleaved(each[1:]) for each in (planes, other, out))
        _difference(own, others, there, np.dstack([trusted, trusted]), result)


def displaced(planes: Sequence[Tensor], there: Flow) -> list[Tensor]:
    """Planes, each (h, w) of any size, as they are where `there` leads, in pixels of its own size;
    where that is nowhere else they stay what they are."""
    on_gpu = None
    made = []
    for plane in planes:
        size = plane.shape[::-1]
        scale = np.array([size[0] / there.shape[1], size[1] / there.shape[0]], np.float32)
        field = enlarged(there * scale, (size[0], size[1]))
        still = (field[..., 0] == 0) & (field[..., 1] == 0)
        if plane.device.type == "cpu":
            own = plane.contiguous().numpy()
            found = look_up(own, field, cv2.INTER_CUBIC)
            np.copyto(found, own, where=still)
            made.append(torch.from_numpy(found))
            continue
        if on_gpu is None:
            on_gpu = sent(there, plane.device).permute(2, 0, 1)[None]
        made.append(torch.where(sent(still, plane.device), plane, _moved_by_torch(plane, on_gpu)))
    return made


def _difference(
    own: NDArray[np.float32],
    other: NDArray[np.float32],
    there: Flow,
    trusted: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    size = own.shape[1::-1]
    scale = np.array([size[0] / there.shape[1], size[1] / there.shape[0]], np.float32)
    found: Any = look_up(other, enlarged(there * scale, size), cv2.INTER_CUBIC)
    np.subtract(found, own, out=found)
    np.multiply(found, enlarged(trusted, size), out=out)


def interleaved(planes: Sequence[Tensor]) -> list[Tensor]:
    """The same planes, but where they are on a CPU chroma lies as `differences` works on it."""
    if len(planes) == 1 or planes[0].device.type != "cpu":
        return list(planes)
    chroma = torch.stack(list(planes[1:]), dim=-1)
    return [planes[0].contiguous(), chroma[..., 0], chroma[..., 1]]


def _interleaved(chroma: Sequence[Tensor]) -> NDArray[np.float32]:
    """Both planes, (h, w), of what `interleaved` returned, as one array (h, w, 2)."""
    first = chroma[0].numpy()
    height, width = first.shape
    return np.lib.stride_tricks.as_strided(
        first, (height, width, 2), (*first.strides, first.itemsize)
    )


def room(planes: Sequence[Tensor], count: int) -> list[Tensor]:
    """For each plane, (h, w), an uninitialized (count, h, w); each of the `count` pictures of them
    is as `interleaved` returns it."""
    luma, *chroma = planes
    made = [torch.empty((count, *luma.shape), device=luma.device)]
    if chroma and luma.device.type == "cpu":
        both = torch.empty((count, *chroma[0].shape, 2))
        return [*made, both[..., 0], both[..., 1]]
    return made + [torch.empty((count, *each.shape), device=each.device) for each in chroma]


def _difference_by_torch(
    plane: Tensor, other: Tensor, field: Tensor, weight: Tensor, out: Tensor
) -> None:
    """`_difference` where frames are on a GPU: the motion is that of `_moved_by_torch`, and the
    trust (1, 1, h, w)."""
    trusted = F.interpolate(weight, tuple(plane.shape), mode="bilinear")[0, 0]
    torch.mul(_moved_by_torch(other, field).sub_(plane), trusted, out=out)


def _moved_by_torch(plane: Tensor, field: Tensor) -> Tensor:
    """A plane on a GPU as it is where a field leads, (1, 2, h, w) in pixels of this small size, x
    and y."""
    (height, width), (rows, columns) = plane.shape, field.shape[2:]
    there = F.interpolate(field, (height, width), mode="bilinear")[0]
    # In units of the grid, whose corners -1 and 1 are the outer edges of the picture.
    x = (2 * torch.arange(width, device=plane.device) + 1) / width - 1
    y = (2 * torch.arange(height, device=plane.device) + 1) / height - 1
    places = torch.stack([x + there[0] * (2 / columns), y[:, None] + there[1] * (2 / rows)], dim=-1)
    found = F.grid_sample(
        plane[None, None], places[None], "bicubic", padding_mode="border", align_corners=False
    )
    return found[0, 0]


def enlarged(field: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A field, (h, w) or (h, w, C), as one of another `size`, width and height."""
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)


def squared(field: Any) -> NDArray[np.float32]:
    """The squared lengths of (h, w, 2) vectors."""
    squares = field * field
    return np.asarray(squares[..., 0] + squares[..., 1], np.float32)


def look_up(image: _Array, field: Flow, how: int = cv2.INTER_LINEAR) -> _Array:
    """`image`, (h, w) or (h, w, C), at where `field`, (h, w, 2) in pixels, leads."""
    remap: Any = cv2.remap  # takes both in one array, which its types do not know
    found = remap(
        image, cv2.add(field, _own(field.shape[:2])), None, how, borderMode=cv2.BORDER_REPLICATE
    )
    return cast(_Array, found)


@functools.lru_cache(16)
def _own(shape: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, 2): where each pixel is."""
    rows, columns = np.indices(shape, np.float32)
    return np.stack([columns, rows], axis=-1)
