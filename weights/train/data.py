"""Endless training samples, made ahead of the network by threads.

Samples come in groups. A group is a number of scenes, each used several times, turned and degraded
anew at each use, in random order: making scenes is the costly part. A group depends on the seed and
its own number alone, so a run can go on anywhere in the stream.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from weights.train.camera import CameraSettings, compress, sensor, subsample
from weights.train.photos import Photos, PhotoSettings, symmetric
from weights.train.response import Response, srgb
from weights.train.synthesis import BlurSettings, scenes

_AHEAD = 2
"""Groups made ahead per worker."""


@dataclass(frozen=True)
class DataSettings:
    """Where the samples come from and what is done to them."""

    images: Path | None = None
    """A folder of sharp photographs, searched through; None draws procedural pictures."""
    response: Path | None = None
    """A measured inverse response curve, .npy of 256 rows, used beside the sRGB curve."""
    patch: int = 192
    """Side of a sample in pixels, even."""
    scenes: int = 48
    """Scenes in a group."""
    uses: int = 4
    """How often each scene is used."""
    seed: int = 0
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    blur: BlurSettings = field(default_factory=BlurSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)

    @property
    def group(self) -> int:
        """Samples in a group."""
        return self.scenes * self.uses


class Samples:
    """The stream of samples of one seed."""

    def __init__(self, settings: DataSettings, device: torch.device) -> None:
        """Raises `ValueError` or `OSError` where the pictures or the curve cannot be used."""
        self.settings, self.device = settings, device
        self.photos = Photos(
            settings.images,
            settings.photos,
            size=settings.patch,
            seed=settings.seed,
            device=device,
        )
        self.responses = [srgb().to(device)]
        if settings.response:
            curve = np.load(settings.response, allow_pickle=False)
            measured = Response(curve.reshape(len(curve), -1).mean(axis=1).astype(np.float64))
            self.responses.append(measured.to(device))

    @property
    def size(self) -> int:
        """Samples in a group."""
        return self.settings.group

    def with_settings(self, settings: DataSettings) -> "Samples":
        """The same pictures and curves, which are costly to read, with other settings."""
        other = copy(self)
        other.settings = settings
        return other

    def group(self, number: int, helpers: Executor | None = None) -> tuple[Tensor, Tensor]:
        """Group `number`: (blurred, sharp), each (group, 3, patch, patch) uint8 RGB on the device.

        `helpers` compress the samples, which is work for the CPU wherever the rest is made.
        """
        settings = self.settings
        rng = np.random.default_rng([settings.seed, number])
        blurred, sharp = scenes(
            self.photos,
            settings.scenes,
            settings.patch,
            settings.blur,
            self.responses,
            rng,
            self.device,
        )
        inputs, targets = [], []
        for _ in range(settings.uses):
            worse, better = sensor(blurred, settings.camera, rng), sharp
            halved = np.flatnonzero(rng.random(settings.scenes) < settings.camera.subsampled)
            if len(halved):
                where = torch.from_numpy(halved).to(self.device)
                worse = worse.index_copy(0, where, subsample(worse[where]))
                better = sharp.index_copy(0, where, subsample(sharp[where]))
            for one, target in zip(_bytes(worse), _bytes(better), strict=True):
                way = int(rng.integers(8))
                inputs.append(symmetric(one, way))
                targets.append(symmetric(target, way))
        order = torch.from_numpy(rng.permutation(settings.group)).to(self.device)
        compressed = compressed_all(torch.stack(inputs), settings.camera, rng, helpers)
        return compressed[order], torch.stack(targets)[order]


def compressed_all(
    images: Tensor,
    settings: CameraSettings,
    rng: np.random.Generator,
    helpers: Executor | None = None,
) -> Tensor:
    """`compress` each of (N, 3, H, W) uint8 images; `helpers` share the work."""
    arrays = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    generators = rng.spawn(len(arrays))
    each = (helpers.map if helpers else map)(compress, arrays, [settings] * len(arrays), generators)
    return torch.from_numpy(np.stack(list(each))).to(images.device).permute(0, 3, 1, 2)


class Stream(Protocol):
    """An endless stream of samples, made in groups."""

    @property
    def device(self) -> torch.device: ...

    @property
    def size(self) -> int:
        """Samples in a group."""

    def group(self, number: int, helpers: Executor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a group, (size, C, H, W) uint8, on the device."""


class Batches:
    """Batches of a stream of samples, made ahead by `workers` threads; close it after use.

    Iterating yields (inputs, targets), float32 (batch, C, H, W) in 0..1, from `step` on; step 0 is
    the first of the stream.
    """

    def __init__(self, samples: Stream, batch: int, *, step: int = 0, workers: int = 1) -> None:
        if samples.size % batch:
            raise ValueError(f"a batch of {batch} does not divide a group of {samples.size}")
        self._samples, self._batch, self._step = samples, batch, step
        self._workers = ThreadPoolExecutor(workers, "samples")
        # Threads that wait for others of their own pool could wait forever, so these have theirs.
        helps = samples.device.type == "cuda"
        self._helpers = ThreadPoolExecutor(workers, "codec") if helps else None
        # On a GPU one thread feeds it; the others compress.
        self._most = _AHEAD if helps else _AHEAD * workers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(1)  # the workers are the parallelism
        each = self._samples.size // self._batch
        number, skip = divmod(self._step, each)
        ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
        while True:
            while len(ahead) < self._most:
                task = self._samples.group
                ahead.append(self._workers.submit(task, number + len(ahead), self._helpers))
            blurred, sharp = ahead.popleft().result()
            number += 1
            for index in range(skip, each):
                part = slice(index * self._batch, (index + 1) * self._batch)
                yield blurred[part].float() / 255, sharp[part].float() / 255
            skip = 0

    def close(self) -> None:
        """Stop making samples; returns when the group in the making is done."""
        self._workers.shutdown(cancel_futures=True)
        if self._helpers:
            self._helpers.shutdown(cancel_futures=True)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255).byte()
