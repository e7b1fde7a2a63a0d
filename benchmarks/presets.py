"""Networks of every size, with weights where there are any."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

import mssnet
import weights
from mssnet import PRESETS
from stream.engine import ENGINES, choose_engine
from stream.errors import DeblurError
from stream.models import PRECISIONS


@cache
def shipped() -> frozenset[str]:
    """The presets of which there is a checkpoint with the preset's name."""
    return frozenset(each.name for each in weights.checkpoints() if each.shipped) & PRESETS.keys()


def checkpoint(preset: str, folder: Path) -> Path:
    """A weights file of a preset: the shipped one, or random weights, written into `folder`.

    What the weights are decides nothing of the speed.
    """
    if preset in shipped():
        return weights.path(preset)
    file = folder / f"{preset}.safetensors"
    if not file.exists():
        torch.manual_seed(1)
        save_file(mssnet.MSSNet(PRESETS[preset]).state_dict(), file)
    return file


def engines(device: torch.device) -> list[tuple[str, str]]:
    """Every engine that is here, with every precision that it is worth trying in."""
    # Float16 on a CPU is slower than float32 almost everywhere.
    precisions = [name for name in PRECISIONS if device.type != "cpu" or name != "float16"]
    found = []
    for engine in ENGINES:
        for precision in precisions:
            try:
                if engine != "auto":
                    choose_engine(engine, device, PRECISIONS[precision])
                    found.append((engine, precision))
            except DeblurError:
                continue
    return found
