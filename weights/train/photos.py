"""Sharp pictures to make scenes of: photographs, or pictures drawn from nothing."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from weights.pictures import find_images, read_rgb
from weights.train.procedural import chart, picture

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

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
    """Made smaller by a bicubic filter, which is sharper than one that averages areas."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of a picture, made smaller, mirrored or turned."""

    square: Picture
    """(side, side, 3)."""
    _photo: Picture
    _middle: tuple[float, float]
    """Of the square in the photograph, x and y."""
    _zoom: float
    """Pixels of the photograph for each of the square."""
    _way: int

    def around(self, side: int, factor: int) -> Picture:
        """What lies about the middle of the square, `factor` times smaller, (side, side, 3).

        Beyond the edges of the photograph it is mirrored.
        """
        step = self._zoom * factor
        height, width = self._photo.shape[:2]
        size = max(round(width / step), 2), max(round(height / step), 2)
        less = cv2.resize(self._photo, size, interpolation=cv2.INTER_AREA)
        place = np.array(
            [
                [1, 0, (side - 1) / 2 - (self._middle[0] + 0.5) * size[0] / width + 0.5],
                [0, 1, (side - 1) / 2 - (self._middle[1] + 0.5) * size[1] / height + 0.5],
            ]
        )
        found = cv2.warpAffine(less, place, (side, side), borderMode=cv2.BORDER_REFLECT)
        return symmetric(np.asarray(found, np.uint8), self._way)


class Photos:
    """Random crops of the pictures in a folder, and of drawn ones; safe to share by threads."""

    def __init__(
        self, folder: Path | None, settings: PhotoSettings, *, size: int, seed: int
    ) -> None:
        """`size` is that of the patches; without a folder all pictures are drawn.

        Raises `ValueError` if there is nothing in the folder.
        """
        self.files = find_images(folder) if folder else []
        self._settings = settings
        self._drawn = settings.drawn if folder else 1.0
        self._size, self._seed = size, seed
        self._cache: dict[Path | int, Picture] = {}

    def crop(self, side: int, rng: np.random.Generator) -> Crop:
        """A square of `side` pixels.

        Mostly the one with the most detail of a few: sky and blurred backgrounds, of which
        photographs are full, teach nothing about blur.
        """
        tries = _TRIES if rng.random() < self._settings.detailed else 1
        photo, top, left, taken = max(
            (self._place(side, rng) for _ in range(tries)), key=lambda place: _detail(*place)
        )
        square = photo[top : top + taken, left : left + taken]
        if taken != side:
            square = _resized(square, side, crisp=self._settings.crisp)
        way = int(rng.integers(8))
        middle = left + (taken - 1) / 2, top + (taken - 1) / 2
        return Crop(symmetric(square, way), photo, middle, taken / side, way)

    def _place(self, side: int, rng: np.random.Generator) -> tuple[Picture, int, int, int]:
        photo = self._photo(rng)
        height, width = photo.shape[:2]
        taken = int(min(side * rng.uniform(0.95, self._settings.shrink), height, width))
        top = int(rng.integers(height - taken + 1))
        left = int(rng.integers(width - taken + 1))
        return photo, top, left, taken

    def _photo(self, rng: np.random.Generator) -> Picture:
        key: Path | int
        if rng.random() < self._drawn:
            key = int(rng.integers(_DRAWN))
        else:
            key = self.files[rng.integers(len(self.files))]
        if key not in self._cache:
            # Two threads may both come here for the same picture, which does no harm.
            self._cache[key] = self._load(key)
        return self._cache[key]

    def _load(self, key: Path | int) -> Picture:
        if isinstance(key, Path):
            return read_rgb(key)
        rng = np.random.default_rng([self._seed, key])
        draw = chart if key % 4 == 0 else picture
        return np.asarray(np.round(draw(4 * self._size, rng) * 255), np.uint8)


def _resized(square: Picture, side: int, *, crisp: bool) -> Picture:
    """A square of `side` pixels."""
    if len(square) > side and crisp:
        image = torch.from_numpy(np.ascontiguousarray(square)).permute(2, 0, 1)[None].float()
        less = F.interpolate(image, (side, side), mode="bicubic", antialias=True)
        return less[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    way = cv2.INTER_AREA if len(square) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=way), np.uint8)


def _detail(photo: Picture, top: int, left: int, taken: int) -> float:
    """Mean difference of neighbors in the green channel, every third row."""
    green = photo[top : top + taken : 3, left : left + taken, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=1)).mean())


def symmetric(image: Picture, which: int) -> Picture:
    """(H, W, ...) turned and mirrored in one of the 8 ways, `which` in 0..7."""
    image = image[:, ::-1] if which >= 4 else image
    return np.ascontiguousarray(np.rot90(image, which % 4))
