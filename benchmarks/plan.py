"""What is to be measured, and for how long."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from mssnet import PRESETS
from stream.compute.models import choose_device

Size = tuple[int, int]
"""Width and height."""

_USUAL: tuple[Size, ...] = ((640, 360), (1280, 720), (1920, 1080))
_GROWING: tuple[Size, ...] = (*_USUAL, (2560, 1440), (3840, 2160))
_SMALL: tuple[Size, ...] = ((192, 112), (320, 176))
SMALLEST: Size = _SMALL[0]
LONG_S: float = 600.0
"""Of the video that shows whether a frame takes longer in long ones."""


@dataclass(frozen=True)
class Plan:
    """Sizes, lengths and seconds of all parts."""

    folder: Path
    """For clips and weights, while it lasts."""
    device: str = "auto"
    presets: tuple[str, ...] = ("lite", "wide", "small", "base", "large")
    sizes: tuple[Size, ...] = _USUAL
    growing: tuple[Size, ...] = _GROWING
    """Sizes for what grows with them."""
    clips: tuple[Path, ...] = ()
    """Videos for the pipeline; those drawn here where there are none."""
    lengths_s: tuple[float, ...] = (10.0, 60.0)
    long: bool = False
    """Whether growth is measured with `LONG_S` of video as well, at the smallest size."""
    rounds: int = 5
    turn_s: float = 0.6
    """How long each of those that are compared has its turn."""
    limit_s: float = 120.0
    """After which those that are compared get no further round, once they had two."""
    frames: int = 240
    """Of a clip, at most."""
    run_s: float = 12.0
    """How long one run of the program is to take, about."""
    quick: bool = False
    where: torch.device = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", choose_device(self.device))

    def sizes_of(self, preset: str) -> tuple[Size, ...]:
        """The sizes a preset is tried at: on a CPU the heavy ones at the smallest alone."""
        if preset == "lite" or self.where.type != "cpu":
            return self.sizes
        return self.sizes[:1]

    def drawn(self, size: Size, frames: int | None = None) -> Path:
        """A clip of a size, drawn when it is first asked for."""
        from benchmarks.clip import clip

        count = frames or self.frames
        path = self.folder / f"{size[0]}x{size[1]}-{count}.mp4"
        return path if path.exists() else clip(path, *size, count)

    def checkpoint(self, preset: str) -> Path:
        """A weights file of a preset."""
        from benchmarks.presets import checkpoint

        return checkpoint(preset, self.folder)


def quick(folder: Path, device: str = "auto") -> Plan:
    """All parts within two minutes on two cores: to see that they work, not for figures."""
    return Plan(
        folder,
        device,
        presets=("lite",),
        sizes=_SMALL[:1],
        growing=_SMALL,
        lengths_s=(0.5, 1.0),
        rounds=2,
        turn_s=0.05,
        limit_s=10.0,
        frames=24,
        run_s=1.0,
        quick=True,
    )


def parse_size(text: str) -> Size:
    """`640x360` as (640, 360). Raises `ValueError`."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"a size is WIDTHxHEIGHT such as 1280x720, got {text}")
    return int(width), int(height)


def named(size: Size) -> str:
    """(640, 360) as `640x360`."""
    return f"{size[0]}x{size[1]}"


def check_presets(names: tuple[str, ...]) -> None:
    """Raise `ValueError` for a preset that there is none of."""
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name}; there are {', '.join(PRESETS)}")
