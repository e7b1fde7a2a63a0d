"""Training the small network that tells for how long the shutter is open."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from filters.shutter import INPUTS, SAMPLES, SHARES, ShutterNet, likely_share, profiles
from weights.train.camera import codes, compress, sensor
from weights.train.data import DataSettings, Samples
from weights.train.synthesis import NOW, Scene, share

_SIZE = 192
_PLACES = 96
_WIDTHS = (96, 64)
_RATE = 2e-3
_EPOCHS = 8
_BATCH = 1024
_ASIDE = 10
"""One in so many clips is kept to measure with."""


def train_shutter(settings: DataSettings, clips: int, out: Path) -> dict[str, float]:
    """Train on so many clips and write the weights.

    Returns of the clips kept aside, each told by itself, the median of |log(told / true)|
    (`error`) and the share of those that are told to 30 % (`within`).
    """
    cv2.setNumThreads(1)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    seen, shares = zip(*_clips(settings, clips, rng), strict=True)
    kept = np.arange(len(seen)) % _ASIDE == 0
    inputs = torch.from_numpy(np.concatenate([s for s, k in zip(seen, kept, strict=True) if not k]))
    known = np.repeat([s for s, k in zip(shares, kept, strict=True) if not k], _PLACES)
    targets = torch.from_numpy(_spread(known))
    net = nn.Sequential(
        *(nn.Linear(INPUTS, _WIDTHS[0]), nn.ReLU(), nn.Linear(*_WIDTHS), nn.ReLU()),
        nn.Linear(_WIDTHS[1], len(SHARES)),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=0.02)
    steps = _EPOCHS * (len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(_EPOCHS):
        order = torch.randperm(len(inputs))
        for first in range(0, len(inputs) - _BATCH + 1, _BATCH):
            batch = order[first : first + _BATCH]
            loss = F.cross_entropy(net(_turned(inputs[batch])), targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    prior = targets.mean(0).clamp(min=1e-4).log()
    tensors = {"prior": prior}
    for index, layer in enumerate(each for each in net if isinstance(each, nn.Linear)):
        tensors |= {f"{index}.weight": layer.weight, f"{index}.bias": layer.bias}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, out)
    aside = [(s, t) for s, t, k in zip(seen, shares, kept, strict=True) if k]
    told = ShutterNet.load(out)
    errors = np.array(
        [abs(np.log(likely_share(told.evidence(s)) / max(t, SHARES[0]))) for s, t in aside]
    )
    return {"error": float(np.median(errors)), "within": float((errors < np.log(1.3)).mean())}


def _clips(
    settings: DataSettings, count: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Profiles of clips that have something to see, and their shares."""
    samples = Samples(replace(settings, patch=_SIZE))
    made = 0
    while made < count:
        scene = Scene(samples.photos, _SIZE, settings.blur, samples.responses, rng)
        for clip in scene.film([share(settings.blur, rng) for _ in range(settings.uses)]):
            made += 1
            frames = [codes(each) for each in sensor(clip.frames, settings.camera, rng)]
            now = cv2.cvtColor(compress(frames, settings.camera, rng)[NOW], cv2.COLOR_RGB2GRAY)
            seen = profiles(np.asarray(now, np.uint8), *clip.flows[:2], rng, _PLACES)
            if seen is not None:
                yield seen, clip.share


def _spread(shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """Each share as a distribution over the two of `SHARES` that it lies between."""
    logs = np.log(np.array(SHARES))
    at = np.log(np.clip(shares, SHARES[0], SHARES[-1]))
    below = np.clip(np.searchsorted(logs, at) - 1, 0, len(logs) - 2)
    part = (at - logs[below]) / (logs[below + 1] - logs[below])
    made = np.zeros((len(at), len(logs)), np.float32)
    rows = np.arange(len(at))
    made[rows, below], made[rows, below + 1] = 1 - part, part
    return made


def _turned(seen: Tensor) -> Tensor:
    """Profiles read from either end, and of the negative: they say the same."""
    made = seen.clone()
    for first in (0, SAMPLES):
        which = torch.rand(len(seen)) < 0.5
        part = slice(first, first + SAMPLES)
        made[which, part] = made[which, part].flip(1)
    made[:, : 2 * SAMPLES] *= torch.where(torch.rand(len(seen), 1) < 0.5, -1.0, 1.0)
    return made
