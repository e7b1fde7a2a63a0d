"""Networks of every size, with weights where there are any."""

from functools import cache
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import nn

import weights
from mssnet import PRESETS, MSSNet
from mssnet.model import Scale
from stream.compute.engines import choose_engine
from stream.compute.models import DTYPES
from stream.errors import DeblurError
from stream.options.settings import ENGINES

_CHANGE = 0.03
"""Standard deviation of what networks change, on a scale of 0 to 1."""


@cache
def shipped() -> frozenset[str]:
    """The presets of which there is a checkpoint with the preset's name."""
    return frozenset(each.name for each in weights.checkpoints() if each.shipped) & PRESETS.keys()


def checkpoint(preset: str, folder: Path) -> Path:
    """A weights file of a preset: the shipped one, or random weights, written into `folder`."""
    if preset in shipped():
        return weights.path(preset)
    file = folder / f"{preset}.safetensors"
    if not file.exists():
        save_file(made_up(preset).state_dict(), file)
    return file


def made_up(preset: str) -> MSSNet:
    """A network with random weights.

    They decide nothing of the speed; and it changes images by as much as trained ones do, so that
    engines can be compared by what they make of them.
    """
    torch.manual_seed(1)
    net = MSSNet(PRESETS[preset]).eval()
    probe = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for exit in net.config.exits:
            tail = cast(Scale, net.scales[exit.scale - 1]).tails[exit.stage - 1]
            cast(nn.Conv2d, tail).weight.mul_(_CHANGE / net.change(probe, exit).std())
    return net


def engines(device: torch.device) -> list[tuple[str, str]]:
    """Every engine that is here, with every precision that it is worth trying in."""
    # Float16 on a CPU is slower than float32 almost everywhere.
    precisions = [name for name in DTYPES if device.type != "cpu" or name != "float16"]
    found = []
    for engine in ENGINES:
        for precision in precisions:
            try:
                if engine != "auto":
                    choose_engine(engine, device, DTYPES[precision])
                    found.append((engine, precision))
            except DeblurError:
                continue
    return found
