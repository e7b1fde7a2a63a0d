"""Which model suits this machine."""

import functools
import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import platformdirs
import torch

import mssnet
from filters import Coding, Shutter
from stream.compute.models import choose_devices, fingerprint, load_model
from stream.frame import Frame
from stream.options.restore import NONE, TOLD
from stream.options.settings import Settings
from stream.stages.build import bursts_of
from stream.stages.motion import Motion
from stream.stages.processor import Processor

_USUAL = "lite"
CHOICES = (_USUAL, NONE)
"""What `auto` can come to."""
_WORTH = 0.25
"""A network is worth at most so much of the time of fusion, to which it adds a twentieth of the
gain."""
_KEPT_S = 7 * 24 * 3600.0
"""For how long the figure that was measured is taken for that of the machine."""
_WIDTH, _HEIGHT, _COUNT = 640, 360, 8
"""Frames that networks and fusion are measured with: smaller ones would make much of what fusion
costs however small they are."""


@dataclass(frozen=True)
class ModelChoice:
    """A model, and why it was chosen."""

    model: str
    why: str


def choose_model(settings: Settings) -> ModelChoice:
    """What `auto` stands for on this machine.

    On a GPU that is lite. On a CPU the network is measured beside fusion, which takes a few
    seconds once a week, and left out where it takes more than a quarter of fusion's time: it gains
    far less.
    Raises as `stream.compute.models.load_model` does.
    """
    if settings.strength == 0:
        return ModelChoice(NONE, "at strength 0 there is nothing for a network to do")
    return _choose(settings.device, settings.precision, settings.engine)


@functools.cache
def _choose(device: str, precision: str, engine: str) -> ModelChoice:
    where = choose_devices(device)[0]
    if where.type != "cpu":
        return ModelChoice(_USUAL, f"{where} runs {_USUAL}")
    kept = _kept(device, precision, engine)
    ratio = _read(kept)
    if ratio is None:
        restore = load_model(_USUAL, device=device, precision=precision, engine=engine)
        frames = _frames()
        network, fusion = (_seconds(make, frames) for make in _processors(restore))
        ratio = network / fusion
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(repr(ratio))
    model = _USUAL if ratio <= _WORTH else NONE
    return ModelChoice(model, f"{_USUAL} takes {ratio:.1f} times as long as fusion here")


def _kept(*settings: str) -> Path:
    """Where the figure of this machine is kept, which takes seconds to measure."""
    same = (version("deblur-stream"), fingerprint(_USUAL), torch.__version__, platform.node())
    name = hashlib.sha256(repr((*same, torch.get_num_threads(), *settings)).encode()).hexdigest()
    return platformdirs.user_cache_path("deblur-stream", appauthor=False) / f"ratio-{name[:24]}"


def _read(kept: Path) -> float | None:
    """The figure, unless it is old: a machine can have been busy with something else."""
    with suppress(OSError, ValueError):
        if time.time() - kept.stat().st_mtime < _KEPT_S:
            return float(kept.read_text())
    return None


def _processors(restore: mssnet.Deblurrer) -> tuple[Callable[[], Processor], ...]:
    """The network alone, with all that it is told, and fusion alone."""

    def network() -> Processor:
        motion = Motion(Shutter(share=1.0), ahead=TOLD) if restore.is_told else None
        many = restore.engine.in_flight
        return Processor(restore.submit, restore.device, in_flight=many, motion=motion)

    return network, lambda: Processor(None, restore.device, fusion=bursts_of(Settings(model=NONE)))


def _frames() -> list[Frame]:
    """A texture that moves and is blurred in every frame by something else."""
    # Of squares: fine grain would be taken for noise, for which all neighbors are asked.
    squares = np.random.default_rng(0).integers(0, 256, (_HEIGHT // 8 + 1, _WIDTH // 8 + _COUNT))
    texture = np.kron(squares, np.ones((8, 8))).astype(np.float32)
    chroma = np.full((_HEIGHT // 2, _WIDTH // 2), 128, np.uint8)
    frames = []
    for index in range(_COUNT):
        part = texture[:, 8 * index : 8 * index + _WIDTH]
        many = [part[row : row + _HEIGHT] for row in range(1 + 3 * (index % 3))]
        luma = np.mean(many, axis=0).astype(np.uint8)
        frames.append(Frame((luma, chroma, chroma), Coding(), index, Fraction(1, 25)))
    return frames


def _seconds(make: Callable[[], Processor], frames: Sequence[Frame]) -> float:
    """Per frame: of the quicker of two runs, after one to warm up."""
    times = []
    for _ in range(3):
        processor = make()
        begun = time.perf_counter()
        for frame in frames:
            list(processor.push(frame))
        list(processor.flush())
        times.append(time.perf_counter() - begun)
    return min(times[1:]) / len(frames)
