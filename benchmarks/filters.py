"""What each filter costs beside the network, frame after frame in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from filters import Smoother, Tracker, Upscaler, luma, need
from stream.models import find_upscaler, load_model

_T = TypeVar("_T")
_WARM_UP = 4
"""Frames that do not count."""


@dataclass(frozen=True)
class Cost:
    """One filter on frames of one size."""

    filter: str
    size: str
    ms: float
    """Median time of a frame."""
    share: float
    """Of the network's median time."""


def costs(model: str, device: str, width: int, height: int, seconds: float) -> list[Cost]:
    """The network first, then what is done beside it: medians of one run, filters in turns."""
    restore = load_model(model, device=device)
    upscaler = find_upscaler("auto", restore.device, restore.dtype)
    assert isinstance(upscaler, Upscaler)
    where = restore.device
    tracker, smoother = Tracker(), Smoother()
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., _T], *given: object) -> _T:
        begun = time.perf_counter()
        made = work(*given)
        if where.type == "cuda":
            torch.cuda.synchronize()
        times.setdefault(name, []).append(time.perf_counter() - begun)
        return made

    state: dict[str, torch.Tensor] = {}
    ends = time.perf_counter() + seconds
    index = 0
    while time.perf_counter() < ends or index < 2 * _WARM_UP:
        frame = _frame(index % 32, width, height)
        image = torch.from_numpy(frame).permute(2, 0, 1)[None].float().div(255).to(where)
        light = (luma(image)[0, 0] * 255).byte().cpu().numpy()
        restored = timed("network", restore, image)
        motion = timed("motion", tracker.push, light)
        _, state = timed("blending", smoother, restored, state, motion)
        timed("--strength auto", need, light)
        timed("upscaler", upscaler, restored)
        index += 1
    found = {name: 1e3 * median(values[_WARM_UP:]) for name, values in times.items()}
    rows = {"network": found.pop("network")}
    rows["smoothing"] = found.pop("motion") + found.pop("blending")
    rows |= found
    size = f"{width}x{height}"
    return [
        Cost(name, size, round(ms, 1), round(ms / rows["network"], 3)) for name, ms in rows.items()
    ]


def _frame(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: colored squares that drift, with sensor-like noise."""
    rng = np.random.default_rng(1)
    world = rng.integers(0, 255, (height // 8 + 10, width // 8 + 10, 3), np.uint8)
    world = world.repeat(8, axis=0).repeat(8, axis=1)
    view = world[index : index + height, 2 * index : 2 * index + width]
    noise = np.random.default_rng(index).normal(20, 3, view.shape)
    return np.asarray(np.clip(view * 0.7 + noise, 0, 255), np.uint8)
