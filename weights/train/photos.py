"""Sharp pictures to make scenes of: photographs, or pictures drawn from nothing."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from weights.train.procedural import chart, picture

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_DRAWN = 96
"""Drawn pictures to choose from; each costs as much time as several scenes."""
_TRIES = 3


@dataclass(frozen=True)
class PhotoSettings:
    """What is taken from the pictures."""

    drawn: float = 0.05
    """Share of drawn pictures and test charts."""
    detailed: float = 0.7
    """Share of crops that are the one with the most detail of three."""
    shrink: float = 2.1
    """How much smaller a crop is made at most."""
    crisp: bool = False
    """Made smaller by a bicubic filter, which is sharper than the bilinear one."""


class Photos:
    """Random crops of the pictures in a folder, and of drawn ones; safe to share by threads."""

    def __init__(
        self,
        folder: Path | None,
        settings: PhotoSettings,
        *,
        size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """`size` is that of the patches; without a folder all pictures are drawn.

        Raises `ValueError` if there is nothing in the folder.
        """
        self.files = find_images(folder) if folder else []
        self._settings = settings
        self._drawn = settings.drawn if folder else 1.0
        self._size, self._seed, self._device = size, seed, device
        self._cache: dict[Path | int, Tensor] = {}

    def crop(self, side: int, rng: np.random.Generator) -> Tensor:
        """(3, side, side) RGB in 0..1: a square, made smaller, mirrored or turned.

        Mostly the one with the most detail of a few: sky and blurred backgrounds, of which
        photographs are full, teach nothing about blur.
        """
        tries = _TRIES if rng.random() < self._settings.detailed else 1
        square = max((self._square(side, rng) for _ in range(tries)), key=_detail)
        taken = square.shape[-1]
        square = square.float() / 255
        if taken != side:
            way = "bilinear" if taken > side and not self._settings.crisp else "bicubic"
            resized = F.interpolate(square[None], (side, side), mode=way, antialias=taken > side)
            square = resized[0].clamp(0, 1)
        return symmetric(square, int(rng.integers(8)))

    def _square(self, side: int, rng: np.random.Generator) -> Tensor:
        photo = self._photo(rng)
        height, width = photo.shape[1:]
        taken = int(min(side * rng.uniform(0.95, self._settings.shrink), height, width))
        top = int(rng.integers(height - taken + 1))
        left = int(rng.integers(width - taken + 1))
        return photo[:, top : top + taken, left : left + taken]

    def _photo(self, rng: np.random.Generator) -> Tensor:
        key: Path | int
        if rng.random() < self._drawn:
            key = int(rng.integers(_DRAWN))
        else:
            key = self.files[rng.integers(len(self.files))]
        if key not in self._cache:
            # Two threads may both come here for the same picture, which does no harm.
            self._cache[key] = self._load(key).to(self._device)
        return self._cache[key]

    def _load(self, key: Path | int) -> Tensor:
        if isinstance(key, Path):
            rgb = read_rgb(key)
        else:
            rng = np.random.default_rng([self._seed, key])
            draw = chart if key % 4 == 0 else picture
            rgb = np.round(draw(3 * self._size, rng) * 255).astype(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def _detail(square: Tensor) -> float:
    """Mean difference of neighbors in the green channel, every third row."""
    green = square[1, ::3].int()
    return float((green[:, 1:] - green[:, :-1]).abs().sum()) / green.numel()


def symmetric(image: Tensor, which: int) -> Tensor:
    """(..., H, W) turned and mirrored in one of the 8 ways, `which` in 0..7."""
    image = image.flip(-1) if which >= 4 else image
    return torch.rot90(image, which % 4, (-2, -1))


def find_images(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders below it, in order of their names."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"no pictures ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    return files


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"cannot read the picture {path}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
