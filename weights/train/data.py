"""Endless training samples, made ahead of the network by threads.

Samples come in groups. A group is a number of scenes, each filmed several times with other
exposures, cameras and codecs, in random order: making scenes is the costly part. A group depends on
the seed and its own number alone, so a run can go on anywhere in the stream.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters import displaced
from mssnet.motion import AROUND, Neighbor, lag, planes
from weights.train.camera import CameraSettings, codes, compress, sensor, subsample
from weights.train.photos import Photos, PhotoSettings
from weights.train.response import Response, srgb
from weights.train.synthesis import NOW, BlurSettings, Clip, Scene, share

_AHEAD = 2
"""Groups made ahead per worker."""
_MARGIN = 32
"""Pixels around a patch that are rendered as well: what its motion leads to."""
_TOLD = (0.85, 1.15)
"""How far from the true one the shutter's share that the network is told may be."""


@dataclass(frozen=True)
class NeighborSettings:
    """Shares of the samples in which a neighbor is not what it should be."""

    no_after: float = 0.20
    """There are no frames after, as live and at the end of a file."""
    stand_in: float = 0.80
    """In so many of these the one two before is shown in the place of the one after as well."""
    no_before: float = 0.05
    """There are no frames before."""
    no_earlier: float = 0.08
    """There is none two before ..."""
    no_later: float = 0.15
    """... or two after, as live with a delay."""
    wrong: float = 0.02
    """One of them is of another scene."""
    repeated: float = 0.02
    """One of them is the frame itself, as where a camera could not keep up."""


@dataclass(frozen=True)
class DataSettings:
    """Where the samples come from and what is done to them."""

    images: Path | None = None
    """A folder of sharp photographs, searched through; None draws procedural pictures."""
    response: Path | None = None
    """A measured inverse response curve, .npy of 256 rows, used beside the sRGB curve."""
    patch: int = 128
    """Side of a sample in pixels, even."""
    scenes: int = 24
    """Scenes in a group."""
    uses: int = 4
    """How often each scene is filmed."""
    seed: int = 0
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    blur: BlurSettings = field(default_factory=BlurSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    neighbors: NeighborSettings = field(default_factory=NeighborSettings)

    @property
    def group(self) -> int:
        """Samples in a group."""
        return self.scenes * self.uses


class Samples:
    """The stream of samples of one seed."""

    def __init__(self, settings: DataSettings) -> None:
        """Raises `ValueError` or `OSError` where the pictures or the curve cannot be used."""
        self.settings = settings
        self.photos = Photos(
            settings.images, settings.photos, size=settings.patch, seed=settings.seed
        )
        self.responses = [srgb()]
        if settings.response:
            curve = np.load(settings.response, allow_pickle=False)
            measured = curve.reshape(len(curve), -1).mean(axis=1).astype(np.float64)
            self.responses.append(Response(measured))

    @property
    def size(self) -> int:
        """Samples in a group."""
        return self.settings.group

    def with_settings(self, settings: DataSettings) -> "Samples":
        """The same pictures and curves, which are costly to read, with other settings."""
        other = copy(self)
        other.settings = settings
        return other

    def group(self, number: int) -> tuple[Tensor, Tensor]:
        """Group `number`: what a network is shown, (group, 3 + PLANES, patch, patch) float16, and
        what it should make of it, (group, 3, patch, patch) uint8."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, number])
        inputs, targets = [], []
        last: Clip | None = None
        size = settings.patch + 2 * _MARGIN
        for _ in range(settings.scenes):
            scene = Scene(self.photos, size, settings.blur, self.responses, rng)
            shares = [share(settings.blur, rng) for _ in range(settings.uses)]
            clips = scene.film(shares)
            for clip in clips:
                shown, target = _sample(clip, last or clip, settings, rng)
                inputs.append(shown)
                targets.append(torch.from_numpy(target).permute(2, 0, 1))
            last = clips[-1]
        order = torch.from_numpy(rng.permutation(settings.group))
        return torch.stack(inputs)[order], torch.stack(targets)[order]


def _sample(
    clip: Clip, other: Clip, settings: DataSettings, rng: np.random.Generator
) -> tuple[Tensor, NDArray[np.uint8]]:
    """What the network is shown of a clip and what it should make of it; `other` is another one."""
    filmed, sharp = sensor(clip.frames, settings.camera, rng), clip.sharp
    if rng.random() < settings.camera.subsampled:
        filmed, sharp = [subsample(each) for each in filmed], subsample(sharp)
    coded = compress([codes(each) for each in filmed], settings.camera, rng)
    frames = [torch.from_numpy(each) for each in coded]
    now = frames[NOW]
    told = float(np.clip(clip.share * rng.uniform(*_TOLD), 0, 1))
    neighbors: list[Neighbor | None] = [
        Neighbor(frames[NOW + step], flow) for step, flow in zip(AROUND, clip.flows, strict=True)
    ]
    odd, which = settings.neighbors, int(rng.integers(2))
    for far, lacking in ((2, odd.no_earlier), (3, odd.no_later)):
        if rng.random() < lacking:
            neighbors[far] = None
    kind = rng.random()
    if kind < odd.no_after:
        neighbors[1::2] = None, None
    elif kind < odd.no_after + odd.no_before:
        neighbors[::2] = None, None
    elif kind < odd.no_after + odd.no_before + odd.wrong:
        neighbors[which] = Neighbor(torch.from_numpy(codes(other.frames[NOW - 1])), other.flows[0])
    elif kind < odd.no_after + odd.no_before + odd.wrong + odd.repeated:
        neighbors[which] = Neighbor(now, np.zeros_like(clip.flows[0]))
    back, ahead = (
        each.there if each else flow for each, flow in zip(neighbors, clip.flows[:2], strict=False)
    )
    late = lag(back, ahead, told, 1.0)
    if late is not None:
        # Where frames show it: they are brought to the middle of the exposure afterwards, and
        # where a neighbor is missing nobody can tell where that is.
        sharp = np.stack([plane.numpy() for plane in displaced(_split(sharp), -late)], axis=-1)
    inside = slice(_MARGIN, _MARGIN + settings.patch)
    own = now.permute(2, 0, 1)[None].float() / 255
    beside = planes(now, neighbors, told, stand_in=bool(rng.random() < odd.stand_in))
    shown = torch.cat([own, beside], dim=1)
    return shown[0, :, inside, inside].half(), codes(sharp)[inside, inside]


def _split(picture: NDArray[np.float32]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(plane)) for plane in np.moveaxis(picture, -1, 0)]


class Stream(Protocol):
    """An endless stream of samples, made in groups."""

    @property
    def size(self) -> int:
        """Samples in a group."""

    def group(self, number: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a group, (size, C, H, W): codes in uint8, or floating point."""


class Batches:
    """Batches of a stream of samples, made ahead by `workers` threads; close it after use.

    Iterating yields (inputs, targets), float32 (batch, C, H, W) in 0..1 on the device, from `step`
    on; step 0 is the first of the stream.
    """

    def __init__(
        self,
        samples: Stream,
        batch: int,
        device: torch.device,
        *,
        step: int = 0,
        passes: int = 1,
        workers: int = 1,
    ) -> None:
        """Each sample is shown in `passes` batches, beside others each time."""
        if samples.size % batch:
            raise ValueError(f"a batch of {batch} does not divide a group of {samples.size}")
        self._samples, self._batch, self._step, self._device = samples, batch, step, device
        self._passes = passes
        self._workers = ThreadPoolExecutor(workers, "samples")
        self._most = _AHEAD * workers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(1)  # the workers are the parallelism
        each = self._samples.size // self._batch * self._passes
        number, skip = divmod(self._step, each)
        ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
        while True:
            while len(ahead) < self._most:
                ahead.append(self._workers.submit(self._samples.group, number + len(ahead)))
            inputs, targets = ahead.popleft().result()
            number += 1
            orders = np.random.default_rng([number]).permuted(
                np.tile(np.arange(len(inputs)), (self._passes, 1)), axis=1
            )
            batches = torch.from_numpy(orders.reshape(each, self._batch))
            for batch in batches[skip:]:
                yield self._values(inputs[batch]), self._values(targets[batch])
            skip = 0

    def _values(self, samples: Tensor) -> Tensor:
        there = samples.to(self._device)
        return there.float() if there.is_floating_point() else there.float() / 255

    def close(self) -> None:
        """Stop making samples; returns when the group in the making is done."""
        self._workers.shutdown(cancel_futures=True)
