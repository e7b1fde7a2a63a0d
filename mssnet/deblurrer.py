"""A network as a function on images of any size."""

import logging
import math
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mssnet.config import Exit
from mssnet.engine import Eager, Engine, Program, Result
from mssnet.model import Leaving, MSSNet
from mssnet.motion import unknown
from mssnet.regions import Region, Where, as_pixels, regions
from mssnet.state import from_state_dict

_log = logging.getLogger(__name__)

_OVERLAP = 96
"""Pixels by which tiles overlap: past them, what a tile does not see changes next to nothing."""
_SMALLEST_TILE = 128


def load(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    tile: int | None = None,
    engine: Engine | None = None,
) -> "Deblurrer":
    """Build the network in a safetensors file; its sizes are read off the tensors' shapes.

        restore = mssnet.load("lite.safetensors", device="cuda", dtype=torch.float16)
        sharp = restore(blurred)  # (N, 3, H, W) in 0..1, any height and width

    `dtype` is what the network computes in. `tile` is the largest side in pixels that is restored
    in one piece (None: no limit, until memory runs out). `engine` is what runs the network; it
    takes the place of `device` and `dtype`. Raises `ValueError` for a file that is not an MSSNet's
    weights, `OSError` for one that cannot be read.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
    net = from_state_dict(state)
    return Deblurrer(net, tile=tile, engine=engine or Eager(device, dtype))


class Deblurrer:
    """Restores images of any size, in tiles where memory demands it."""

    def __init__(
        self, net: MSSNet, *, tile: int | None = None, engine: Engine | None = None
    ) -> None:
        """`engine` runs the network; None: PyTorch, where and in what the network is."""
        if tile is not None and tile < _SMALLEST_TILE:
            raise ValueError(f"tile must be at least {_SMALLEST_TILE} pixels, got {tile}")
        self.net = net.eval()
        self.engine = engine or Eager(net.slope.device, net.slope.dtype)
        self.tile = tile
        self._programs: dict[Exit, Program] = {}
        self._program(self.exits[-1])

    def __repr__(self) -> str:
        return (
            f"Deblurrer({self.net.config}, {self.engine.name}, {self.device}, {self.dtype}, "
            f"tile={self.tile})"
        )

    @property
    def device(self) -> torch.device:
        return self.engine.device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self.engine.dtype

    @property
    def exits(self) -> tuple[Exit, ...]:
        """Where the network can be left, the cheapest first; the last one is its end."""
        exits: tuple[Exit, ...] = self.net.config.exits
        return exits

    @property
    def is_told(self) -> bool:
        """Whether the network is one that is told the motion."""
        return self.net.config.motion

    def __call__(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: Exit | None = None,
    ) -> Tensor:
        """Restore `image`, (N, 3, H, W) RGB in 0..1, H and W from 1 up; same shape and dtype.

        `told` is what `mssnet.motion` makes to be told beside it, (N, PLANES, H, W), of any
        floating-point type; without it, or where the network is not one that is told, it works on
        the image alone. `where`, of one image, is what `mssnet.motion.extent` makes: where it is 0
        the image stays as it is, and on a CPU costs no time; None: it is 1 everywhere. `exit` is
        where the network is left, one of `exits`; None: at its end. The result is clamped to 0..1.
        When memory runs out the tile is halved and the image restored again;
        `torch.OutOfMemoryError` is raised only below 128 pixels.
        """
        return self.submit(image, told, where, exit=exit)()

    @torch.inference_mode()
    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: Exit | None = None,
    ) -> Result:
        """Begin with an image and go on; the result, once asked for, is as that of a call.

        It is worth having as many images begun at once as `engine.in_flight` says.
        """
        if image.ndim != 4 or image.shape[1] != 3 or not image.numel():
            raise ValueError(f"image must have shape (N, 3, H, W), got {tuple(image.shape)}")
        if not image.is_floating_point():
            raise ValueError(f"image must hold floating-point values in 0..1, got {image.dtype}")
        exact = image.to(self.device, torch.promote_types(image.dtype, torch.float32))
        told = told.to(exact.device) if self.is_told and told is not None else None
        program = self._program(exit or self.exits[-1])
        begun: Result | None = None
        tile = self.tile
        try:
            begun = self._begin(program, exact, told, where)
        except RuntimeError as error:
            self._smaller_tile(error, exact, tile)

        @torch.inference_mode()
        def result() -> Tensor:
            nonlocal begun, tile
            while True:
                try:
                    if begun is None:
                        tile = self.tile
                        begun = self._begin(program, exact, told, where)
                    restored = begun()
                    return restored.clamp_(0, 1).to(image.dtype)
                except RuntimeError as error:
                    begun = None
                    self._smaller_tile(error, exact, tile)

        return result

    def _begin(
        self, program: Program, image: Tensor, told: Tensor | None, where: Where | None
    ) -> Result:
        if where is None:
            return self._piece(program, image, told)
        height, width = image.shape[2:]
        whole = Region(0, height, 0, width)
        # A GPU is as quick with the whole frame.
        found = regions(where, height, width) if self.device.type == "cpu" else [(whole, whole)]
        begun = [
            self._piece(program, image[seen.index], told if told is None else told[seen.index])
            for _, seen in found
        ]
        share = as_pixels(torch.from_numpy(where).to(image), image)

        def result() -> Tensor:
            made = image.clone()
            for (own, seen), piece in zip(found, begun, strict=True):
                restored = piece()[own.within(seen).index]
                made[own.index] = torch.lerp(image[own.index], restored, share[own.index])
            return made

        return result

    def _piece(self, program: Program, image: Tensor, told: Tensor | None) -> Result:
        if self.tile is None or max(image.shape[2:]) <= self.tile:
            return self._whole(program, image, told)
        tile = self.tile
        return lambda: self._tiled(program, image, told, tile)

    def _smaller_tile(self, error: RuntimeError, image: Tensor, tried: int | None) -> None:
        """Go on in smaller tiles after an error that is for want of memory; raise it otherwise."""
        if not _out_of_memory(error):
            raise error
        if self.tile != tried:
            # Another image that was under way has found out already.
            return
        self.tile = smaller_tile(self.tile, image.shape[2], image.shape[3])
        if self.tile is None:
            raise error
        # The error holds on to the frames that hold the memory.
        error.__traceback__ = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("out of memory on %s: going on in tiles of %s", self.device, self.tile)

    def _program(self, exit: Exit) -> Program:
        if exit not in self._programs:
            self._programs[exit] = self.engine.compile(Leaving(self.net, exit))
        return self._programs[exit]

    def _whole(self, program: Program, image: Tensor, told: Tensor | None) -> Result:
        height, width = image.shape[2:]
        padded = pad_to_multiple(image, self.net.config.multiple_of)
        if self.is_told:
            # Joined here, a tile at a time: for a whole frame of 4K it takes 0.8 GB.
            told = told if told is None else pad_to_multiple(told, self.net.config.multiple_of)
            padded = torch.cat([padded, unknown(padded) if told is None else told], dim=1)
        change = program(padded)
        return lambda: image + change()[:, :, :height, :width]

    def _tiled(self, program: Program, image: Tensor, told: Tensor | None, tile: int) -> Tensor:
        """Restore overlapping tiles and blend them over the overlaps."""
        total = torch.zeros_like(image)
        weights = torch.zeros_like(image[:1, :1])
        for top, bottom in spans(image.shape[2], tile, self.net.config.multiple_of):
            for left, right in spans(image.shape[3], tile, self.net.config.multiple_of):
                where = (..., slice(top, bottom), slice(left, right))
                beside = None if told is None else told[where]
                piece = self._whole(program, image[where], beside)()
                down = _ramp(bottom - top, top > 0, bottom < image.shape[2])
                across = _ramp(right - left, left > 0, right < image.shape[3])
                weight = (down[:, None] * across[None, :]).to(piece)
                total[where] += piece * weight
                weights[where] += weight
        return total / weights


def tile_within(net: MSSNet, budget_bytes: int, dtype: torch.dtype | None = None) -> int:
    """The largest tile side in pixels that `net` restores within so much memory.

    Measured with every preset on a CPU, the network takes 8 to 21 times the bytes of one feature
    map of its finest level; this counts 24. `dtype` is what it computes in; None: what it is in.
    """
    config, dtype = net.config, dtype or net.slope.dtype
    per_pixel = 24 * config.widths[0] * dtype.itemsize / config.unshuffle**2
    return max(_SMALLEST_TILE, math.isqrt(int(budget_bytes / per_pixel)))


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Mirror (N, C, H, W) beyond its right and bottom edge up to multiples; any H, W from 1."""
    for dim in (2, 3):
        size = image.shape[dim]
        if extra := -size % multiple:
            # A triangle wave, so that an image smaller than its padding mirrors again and again.
            place = torch.arange(size + extra, device=image.device)
            period = max(2 * (size - 1), 1)
            place = place % period
            image = image.index_select(
                dim, torch.minimum(place, period - place).clamp_(0, size - 1)
            )
    return image


def spans(size: int, tile: int, multiple: int) -> list[tuple[int, int]]:
    """Ranges of at most `tile` that cover 0..size, overlap, start at multiples, and are alike."""
    if size <= tile:
        return [(0, size)]
    overlap = min(_OVERLAP, tile // 2)
    count = math.ceil((size - overlap) / (tile - overlap - multiple))
    step = (size - overlap) / count
    length = min(math.ceil((step + overlap) / multiple + 1) * multiple, tile)
    step = (size - length) / (count - 1)
    starts = [math.ceil(index * step / multiple) * multiple for index in range(count)]
    return [(start, min(start + length, size)) for start in starts]


def smaller_tile(tile: int | None, height: int, width: int) -> int | None:
    """Half the tile (or half the image's longer side), or None where that is too small."""
    side = max(height, width)
    half = (side if tile is None else min(tile, side)) // 2
    return half if half >= _SMALLEST_TILE else None


def _out_of_memory(error: RuntimeError) -> bool:
    # The CPU's allocator has no exception class of its own.
    said = str(error)
    named = "DefaultCPUAllocator" in said or "bad_alloc" in said
    return isinstance(error, torch.OutOfMemoryError) or named


def _ramp(size: int, rises: bool, falls: bool) -> Tensor:
    """Blending weights of a tile along one side, above 0 everywhere."""
    ramp = torch.ones(size)
    rise = torch.arange(1, min(_OVERLAP, size) + 1) / (_OVERLAP + 1)
    if rises:
        ramp[: len(rise)] = rise
    if falls:
        ramp[-len(rise) :] = torch.minimum(ramp[-len(rise) :], rise.flip(0))
    return ramp
