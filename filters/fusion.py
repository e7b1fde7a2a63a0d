"""Keeping what any frame of a moment has kept: Fourier burst fusion of neighboring frames.

A shaking hand blurs each frame another way, so each has lost other frequencies. In every block and
at every frequency most is taken from the frame that has most of it (Delbracio and Sapiro, "Burst
deblurring: removing camera shake through Fourier burst accumulation", CVPR 2015; "Hand-held video
deblurring via efficient Fourier aggregation", IEEE TCI 2015). Three things are added:

- The frame outweighs its neighbors, the more the less they are sharper, and wholly where they are
  not: registration is never perfect, and what is sharp must stay what it is.
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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from filters.color import Coding
from filters.motion import Guide, differences, flow, guide, interleaved, trust

USUAL_SMOOTHING = 0.8
"""How much noise is averaged away where nothing is said."""
_BLOCK, _STEP = 64, 48
"""Side of a block, and from one to the next; the rest overlaps. Blocks of 32 lose 0.14 dB, of 128
gain 0.04, and half of a block as overlap gains 0.02 at twice the cost."""
_OVERLAP = _BLOCK - _STEP
_SIGMA = _BLOCK / 50
"""Standard deviation in frequencies of the smoothing of magnitudes."""
_FLOOR = 1e-4 * _BLOCK
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
_ASKED = 4
"""So many neighbors are asked, unless there is noise to be averaged away."""
_SHARPER = 1.02
"""Neighbors with so many times the detail of a region can help it ..."""
_NEARLY = 0.9
"""... if it is no less than so many times that of the one that has most."""
_CLEAN = 0.6 / 255
"""Standard deviation of what could be noise, in a single frame, that is none."""
_CELL = 16
"""Side of the regions in which noise is estimated."""
_QUIET = 0.25
"""The share of such regions that are free of anything but noise."""
_GAIN = 1.5 * 36
"""Variance of the Laplacian of a difference per variance of the noise in either frame: 36, the sum
of the squared coefficients, once for the frame and about half for what was interpolated."""
_ROUNDING = 0.25 / 255**2
"""Variance that is no noise: what rounding to 8 bits, and looking up between pixels, add."""
_QUIETEST = 0.1
"""The share of regions that tell whether there is noise at all, ..."""
_TEXTURE, _NOISE = 0.5, 1.2
"""... by what differs between frames as a share of what there is in one: of noise 1.2 or more."""
_LEVELS = 6
"""Brightnesses at which noise is estimated."""
_FEW = 24
"""Regions of a brightness that are too few to estimate its noise by."""
_AT_ONCE = 1 << 25
"""Elements of spectra that are worked on at once: what bounds the memory."""


@dataclass(frozen=True, eq=False)
class Fused:
    """What fusion makes of a frame."""

    changes: list[Tensor] | None
    """What is to be added to each plane; None: nothing."""
    share: float
    """The share of the picture that comes from neighbors, 0..1: the mean over blocks and
    frequencies."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame of a sequence."""

    planes: Sequence[Tensor]
    guide: Guide
    scene: int
    """Frames of one scene have the same number."""
    usable: bool
    """Whether it may be anybody's neighbor."""


class Burst:
    """Fuses every frame of a sequence with those around it, in order.

    A frame's result depends on `before` frames before it and `after` frames after it, and on
    nothing else: a sequence may begin anywhere. As many as that are held: their planes, and while
    one is fused its neighbors' differences from it.
    """

    def __init__(
        self,
        before: int,
        after: int,
        *,
        smoothing: float = USUAL_SMOOTHING,
        sharpen: bool = True,
    ) -> None:
        """`smoothing`: how much noise is averaged away, from 0 to 1. Without `sharpen` that is all
        that is done."""
        if min(before, after) < 0:
            raise ValueError(f"there cannot be {before} frames before and {after} after")
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in 0..1, got {smoothing}")
        self.before, self.after = before, after
        self._smoothing = 4 * smoothing * smoothing
        self._sharpen = sharpen
        self._frames: dict[int, _Shown] = {}
        self._count = self._fused = self._scene = 0

    @torch.inference_mode()
    def push(
        self, planes: Sequence[Tensor], coding: Coding, *, cut: bool = False, usable: bool = True
    ) -> list[Fused]:
        """Take the next frame; returns what is made of the one that is `after` frames older.

        `planes` must stay as they are until then. No frame from before a `cut` is a neighbor of one
        from then on, and one that is not `usable`, as it is damaged, is nobody's.
        """
        last = self._frames.get(self._count - 1)
        other = last is not None and last.planes[0].shape != planes[0].shape
        self._scene += cut or other
        planes = interleaved(planes)
        seen = guide(planes, coding)
        self._frames[self._count] = _Shown(planes, seen, self._scene, usable)
        self._count += 1
        return [self._fuse()] if self._count - self._fused > self.after else []

    @torch.inference_mode()
    def flush(self) -> list[Fused]:
        """The end of the sequence: what is made of all frames that wait."""
        return [self._fuse() for _ in range(self._fused, self._count)]

    def _fuse(self) -> Fused:
        now = self._fused
        frame = self._frames[now]
        others = [
            self._frames[index]
            for index in range(now - self.before, now + self.after + 1)
            if index != now and index in self._frames
        ]
        others = [each for each in others if each.usable and each.scene == frame.scene]
        self._fused += 1
        for index in [each for each in self._frames if each < self._fused - self.before]:
            del self._frames[index]
        found = []
        for other in self._helpful(frame, others):
            there = flow(frame.guide, other.guide)
            trusted = trust(frame.guide, other.guide, there)
            if trusted is not None:
                found.append((other, there, trusted))
        if not found:
            return Fused(None, 0.0)
        apart = _room(frame.planes, len(found))
        for index, (other, there, trusted) in enumerate(found):
            differences(frame.planes, other.planes, there, trusted, [each[index] for each in apart])
        noise = noise_of(frame.planes[0], apart[0]) if self._smoothing else None
        if noise is None and not self._sharpen:
            return Fused(None, 0.0)
        return fuse(
            frame.planes, apart, noise=noise, smoothing=self._smoothing, sharpen=self._sharpen
        )

    def _helpful(self, frame: _Shown, others: Sequence[_Shown]) -> Sequence[_Shown]:
        """The neighbors from which there is something to be had."""
        if self._smoothing and frame.guide.noise > _CLEAN:
            return others
        if not self._sharpen or not others:
            return ()
        # By how much each is sharper than the frame, where it is the sharpest of all.
        detail = np.stack([each.guide.detail for each in others])
        gain = detail / (frame.guide.detail + 1e-6) - _SHARPER
        gain[detail < _NEARLY * detail.max(0)] = 0
        use = np.maximum(gain, 0).sum((1, 2))
        best = sorted(np.argsort(-use, kind="stable")[:_ASKED].tolist())
        return [others[index] for index in best if use[index] > 0]


def _room(planes: Sequence[Tensor], count: int) -> list[Tensor]:
    """Room for the differences of so many frames, each plane of which is as `interleaved` is."""
    luma, *chroma = planes
    made = [torch.empty((count, *luma.shape), device=luma.device)]
    if chroma and luma.device.type == "cpu":
        both = torch.empty((count, *chroma[0].shape, 2))
        return [*made, both[..., 0], both[..., 1]]
    return made + [torch.empty((count, *each.shape), device=each.device) for each in chroma]


def fuse(
    planes: Sequence[Tensor],
    apart: Sequence[Tensor],
    *,
    noise: Tensor | None = None,
    smoothing: float = 1.0,
    sharpen: bool = True,
) -> Fused:
    """Fuse a frame with its neighbors.

    `planes` are the frame's, each (h, w): luma first, chroma of the same or half the size each way.
    `apart` holds for each plane, (K, h, w), by how much the K registered neighbors differ from it,
    0 where they are not to be trusted. `noise` is the noise's variance by brightness, as
    `noise_of` gives it; None: there is none. `smoothing` scales the difference, in standard
    deviations of noise squared, below which frames are averaged. Without `sharpen` they are
    averaged alone.
    """
    neighbors = len(apart[0])
    layout = _Layout(planes, neighbors)
    places = layout.places
    out = [torch.zeros(layout.room(place), device=planes[0].device) for place in places]
    luma = layout.padded(planes[0][None], places[0])
    given = [layout.padded(each, place) for each, place in zip(apart, places, strict=True)]
    share = 0.0
    for rows in layout.chunks():
        own = torch.fft.rfft2(layout.blocks(luma, places[0], rows)[0])
        spectra = torch.fft.rfft2(layout.blocks(given[0], places[0], rows))
        weights = _weights(own, spectra, noise, smoothing, sharpen)
        share += float(weights.sum(0).mean()) * len(rows) / layout.rows
        for index, place in enumerate(places):
            taken = weights
            if index:
                spectra = torch.fft.rfft2(layout.blocks(given[index], place, rows))
                taken = _lower(weights, place.block)
            blocks = torch.fft.irfft2(_sum(spectra, taken), s=place.block)
            layout.add(out[index], blocks.mul_(place.window), place, rows)
    changes = [
        made[place.margin[0] :, place.margin[1] :][: plane.shape[0], : plane.shape[1]]
        for made, place, plane in zip(out, places, planes, strict=True)
    ]
    return Fused(changes, share)


def noise_of(luma: Tensor, apart: Tensor) -> Tensor | None:
    """The variance of the noise in a frame by brightness, (6,), from black to white.

    `luma` is (h, w), `apart` (K, h, w) as in `fuse`. It is told by what remains of differences
    between registered frames at the highest frequencies, in the quietest regions: what moves, and
    what could not be registered well, is loud there and not taken for noise. None where it is no
    more than rounding.
    """
    # Strips of cells, with what is between them left out: a quarter of the work tells as much.
    height, width = luma.shape[0] - 2, (luma.shape[1] - 2) // _CELL * _CELL
    tops = range(0, height - _CELL + 1, _CELL * max(1, min(4, height // (4 * _CELL))))
    if not tops or not width:
        return None
    pieces = [slice(top, top + _CELL + 2) for top in tops]
    across = [_rough(apart[:, piece, : width + 2]) for piece in pieces]
    own = [_rough(luma[None, piece, : width + 2]) for piece in pieces]
    inner = [luma[None, piece, : width + 2][:, 1:-1, 1:-1] for piece in pieces]
    # Of each cell the median over neighbors: one that repeats the frame tells nothing.
    loud = _means(across).median(0).values
    texture, light = _means(own)[0], _means(inner)[0]
    # Where neighbors are not trusted, or a coder repeated the picture, nothing is to be told.
    seen = loud > 0
    loud, texture, light = loud[seen], texture[seen], light[seen]
    if len(loud) < _FEW:
        return None
    # Noise is all that there is in the quietest cells, and differs from frame to frame. Texture
    # that could not be registered well differs as well, but by less than there is of it.
    quietest = loud <= loud.kthvalue(int(_QUIETEST * (len(loud) - 1)) + 1).values
    ratio = float((loud[quietest] / texture[quietest].clamp(min=1e-12)).median())
    sure = min(max((ratio - _TEXTURE) / (_NOISE - _TEXTURE), 0.0), 1.0)
    if not sure:
        return None
    usual = _quiet(loud)
    levels = torch.linspace(0, 1, _LEVELS, device=luma.device)
    found = []
    for level in levels:
        like = loud[(light - level).abs() < 1 / _LEVELS]
        # Noise in a brightness that hardly occurs is that of the others.
        found.append(_quiet(like) if len(like) >= _FEW else usual)
    variance = (sure * torch.stack(found) / _GAIN - _ROUNDING).clamp_(min=0)
    return variance if float(variance.max()) > 0 else None


def _rough(apart: Tensor) -> Tensor:
    """The squared Laplacian of (K, h, w), without its margin of a pixel."""
    down = apart[:, :-2] + apart[:, 2:] - 2 * apart[:, 1:-1]
    across = down[:, :, :-2] + down[:, :, 2:] - 2 * down[:, :, 1:-1]
    return across.square_()


def _means(strips: Sequence[Tensor]) -> Tensor:
    """(K, cells): the means over cells of strips, each (K, 16, w)."""
    whole = torch.stack(list(strips), dim=1)
    return F.avg_pool2d(whole, _CELL).flatten(1)


def _quiet(loud: Tensor) -> Tensor:
    return loud.kthvalue(int(_QUIET * (len(loud) - 1)) + 1).values


def _weights(
    own: Tensor, apart: Tensor, noise: Tensor | None, smoothing: float, sharpen: bool
) -> Tensor:
    """What is taken of each neighbor's difference, (K, rows, columns, B, B / 2 + 1)."""
    neighbors = len(apart)
    weights = None
    if sharpen:
        weights = _sharpening(own, apart)
    if noise is None:
        return weights if weights is not None else torch.zeros_like(apart.real)
    # The pairwise Wiener average replaces what the frame itself contributes.
    light = own[..., 0, 0].real / _BLOCK**2
    place = light.clamp(0, 1) * (_LEVELS - 1)
    low = place.long().clamp_(max=_LEVELS - 2)
    variance = torch.lerp(noise[low], noise[low + 1], place - low)
    usual = variance.mul_(2 * smoothing * _BLOCK**2)[..., None, None]
    average = _power(apart).add_(usual).add_(1e-12).reciprocal_().mul_(usual)
    average.mul_(1 / (neighbors + 1))
    if weights is None:
        return average
    return weights.add_(average.mul_(1 - weights.sum(0)))


def _sharpening(own: Tensor, apart: Tensor) -> Tensor:
    """The same, as far as neighbors are sharper."""
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
    if rows < _BLOCK:
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
    whole, half = _BLOCK, _BLOCK // 2 + 1

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


@dataclass(frozen=True)
class _Place:
    """How one plane is cut into blocks, down and across."""

    block: tuple[int, int]
    step: tuple[int, int]
    margin: tuple[int, int]
    """By how much the first block lies before the plane."""
    shape: tuple[int, int]
    window: Tensor


class _Layout:
    """How a picture's planes are cut into overlapping blocks, and put together again."""

    def __init__(self, planes: Sequence[Tensor], neighbors: int) -> None:
        height, width = planes[0].shape
        # Past its margin each row of blocks adds a step.
        self.rows = -(-(height + _OVERLAP) // _STEP)
        self.columns = -(-(width + _OVERLAP) // _STEP)
        self._neighbors = neighbors
        self.places = []
        for plane in planes:
            parts = [1 if plane.shape[dim] == planes[0].shape[dim] else 2 for dim in (0, 1)]
            block, step, margin = (
                (length // parts[0], length // parts[1]) for length in (_BLOCK, _STEP, _OVERLAP)
            )
            down, across = (_window(length, plane.device) for length in block)
            shape = int(plane.shape[0]), int(plane.shape[1])
            self.places.append(_Place(block, step, margin, shape, down[:, None] * across))

    def room(self, place: _Place) -> tuple[int, int]:
        """Rows and columns of what blocks are added up in."""
        down, across = (
            # One step more, so that blocks two apart can be seen as a grid.
            (count + 1) * step + block
            for count, step, block in zip(
                (self.rows, self.columns), place.step, place.block, strict=True
            )
        )
        return down, across

    def chunks(self) -> list[range]:
        """Rows of blocks that are worked on at once."""
        row = self.columns * (self._neighbors + 1) * _BLOCK * _BLOCK
        count = max(1, _AT_ONCE // row)
        return [range(first, min(first + count, self.rows)) for first in range(0, self.rows, count)]

    def padded(self, planes: Tensor, place: _Place) -> Tensor:
        """(K, h, w) with what its blocks reach beyond it, mirrored."""
        bottom, right = (
            (count - 1) * step + block - margin - size
            for count, step, block, margin, size in zip(
                (self.rows, self.columns),
                place.step,
                place.block,
                place.margin,
                place.shape,
                strict=True,
            )
        )
        top, left = place.margin
        if max(top, bottom) < place.shape[0] and max(left, right) < place.shape[1]:
            return F.pad(planes[None], (left, right, top, bottom), mode="reflect")[0]
        rows = _mirrored(-top, place.shape[0] + bottom, place.shape[0], planes.device)
        columns = _mirrored(-left, place.shape[1] + right, place.shape[1], planes.device)
        return planes[:, rows][:, :, columns]

    def blocks(self, padded: Tensor, place: _Place, rows: range) -> Tensor:
        """(K, rows, columns, B, B) of what is padded."""
        first, last = rows.start * place.step[0], (rows.stop - 1) * place.step[0] + place.block[0]
        piece = padded[:, first:last]
        return piece.unfold(1, place.block[0], place.step[0]).unfold(
            2, place.block[1], place.step[1]
        )

    def add(self, out: Tensor, blocks: Tensor, place: _Place, rows: range) -> None:
        """Add blocks, (rows, columns, B, B), where they belong."""
        (high, wide), (down, across) = place.block, place.step
        line = out.stride(0)
        for top in (0, 1):
            for left in (0, 1):
                some = blocks[top::2, left::2]
                # Blocks two apart do not overlap: one addition for all of them.
                start = (rows.start + top) * down * line + left * across
                strides = (2 * down * line, 2 * across, line, 1)
                out.as_strided((*some.shape[:2], high, wide), strides, start).add_(some)


def _mirrored(first: int, last: int, size: int, device: torch.device) -> Tensor:
    place = torch.arange(first, last, device=device) % max(2 * size - 2, 1)
    return torch.minimum(place, (2 * size - 2 - place).clamp_(min=0)) if size > 1 else place * 0


@functools.cache
def _window(length: int, device: torch.device) -> Tensor:
    """Weights of a block's pixels; those of overlapping ones add up to 1."""
    overlap = length - length * _STEP // _BLOCK
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap)
    whole = np.concatenate([ramp, np.ones(length - 2 * overlap), ramp[::-1]])
    with torch.inference_mode(False):
        return torch.from_numpy(whole).to(device, torch.float32)
