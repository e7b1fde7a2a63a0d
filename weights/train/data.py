"""Endless training samples: photographs in, blurred and sharp patches out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from weights.train.camera import CameraSettings, degrade
from weights.train.procedural import picture
from weights.train.synthesis import BlurSettings, Image, Response, scene, srgb

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class DataSettings:
    """Where the samples come from and what is done to them."""

    images: Path | None = None
    """A folder of sharp photographs, searched through; None draws procedural pictures."""
    response: Path | None = None
    """A measured inverse response curve, .npy of 256 rows, used beside the sRGB curve."""
    patch: int = 192
    """Side of a sample in pixels, even."""
    uses: int = 2
    """How often a scene is used, each time degraded anew; making scenes is the costly part."""
    seed: int = 0
    blur: BlurSettings = field(default_factory=BlurSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)


class Samples(IterableDataset[tuple[Tensor, Tensor]]):
    """Pairs (blurred, sharp), float32 (3, patch, patch) RGB in 0..1, without end."""

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings
        self.files = find_images(settings.images) if settings.images else []
        self.responses = [srgb()]
        if settings.response:
            curve = np.load(settings.response, allow_pickle=False)
            self.responses.append(Response(curve.reshape(256, -1).mean(axis=1).astype(np.float64)))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        settings = self.settings
        worker = get_worker_info()
        rng = np.random.default_rng([settings.seed, worker.id if worker else 0])
        cv2.setNumThreads(1)  # the workers are the parallelism
        photo = self._photos(rng)
        pool: list[tuple[Image, Image, int]] = []
        while True:
            if len(pool) < 48 or rng.random() < 1 / settings.uses:
                pair = scene(photo, settings.patch, settings.blur, self.responses, rng)
                pool.append((*pair, settings.uses))
            if len(pool) < 16:
                continue
            blurred, sharp, uses = pool.pop(int(rng.integers(len(pool))))
            if uses > 1:
                pool.append((blurred, sharp, uses - 1))
            turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
            blurred, sharp = (
                np.rot90(image[:, ::-1] if mirrored else image, turns) for image in (blurred, sharp)
            )
            blurred = degrade(np.ascontiguousarray(blurred), settings.camera, rng)
            yield _tensor(blurred), _tensor(sharp)

    def _photos(self, rng: np.random.Generator) -> Callable[[], Image]:
        cache: dict[Path, NDArray[np.uint8]] = {}

        def photo() -> Image:
            if not self.files:
                return picture(3 * self.settings.patch, rng)
            path = self.files[rng.integers(len(self.files))]
            if path not in cache:
                cache[path] = read_rgb(path)
            return cache[path].astype(np.float32) / np.float32(255)

        return photo


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


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
