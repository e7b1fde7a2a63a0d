"""Reading a network's configuration off a state dict, ours or the authors'."""

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mssnet.config import Config
from mssnet.model import MSSNet
from mssnet.motion import PLANES


def from_state_dict(state: Mapping[str, Tensor]) -> MSSNet:
    """Build the network that `state` belongs to, in evaluation mode, in the dtype it has.

    Names may be ours or those of the authors' published checkpoints. Raises `ValueError` when
    the tensors are not an MSSNet's or when one holds a value that is not finite.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if any(name.startswith("shallow_feat") for name in state):
        state = from_published_names(state)
    config = read_config(state)
    with torch.device("meta"):
        net = MSSNet(config)
    expected = net.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise ValueError(f"the weights lack the tensor {name}")
        if name.endswith("embed_motion.weight"):
            state[name] = _of_more_planes(state[name], tensor.shape)
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            )
        if not state[name].is_floating_point() or not state[name].isfinite().all():
            raise ValueError(f"{name} holds values that are not finite numbers")
    if extra := sorted(state.keys() - expected.keys()):
        raise ValueError(f"the weights hold {len(extra)} tensors too many, among them {extra[0]}")
    net.load_state_dict(state, assign=True)
    return net.eval()


def _of_more_planes(kernel: Tensor, shape: torch.Size) -> Tensor:
    """The kernel of a network that saw no frames two away, which takes no notice of them."""
    outputs, inputs, *size = shape
    missing = inputs * 6 // PLANES
    seen = (outputs, inputs - missing, *size)
    return F.pad(kernel, (0, 0, 0, 0, 0, missing)) if kernel.shape == seen else kernel


def read_config(state: Mapping[str, Tensor]) -> Config:
    """Read the sizes of the network off its tensors' names and shapes (our names)."""

    def count(pattern: str) -> int:
        return len({m[0] for name in state if (m := re.match(pattern, name))})

    try:
        widths = [
            state[f"scales.0.stages.0.encoder.{level}.0.conv1.weight"].shape[0]
            for level in range(3)
        ]
        channels = state["scales.2.embed.weight"].shape[1]
        return Config(
            widths=(widths[0], widths[1], widths[2]),
            stages=(
                count(r"scales\.0\.stages\.\d+\."),
                count(r"scales\.1\.stages\.\d+\."),
                count(r"scales\.2\.stages\.\d+\."),
            ),
            blocks=count(r"scales\.0\.stages\.0\.encoder\.0\.\d+\."),
            unshuffle=math.isqrt(channels // 3),
            motion="scales.2.embed_motion.weight" in state,
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"these are not the weights of an MSSNet ({error})") from None


def from_published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the authors' state dict to ours.

    Their 328 names hold one PReLU 87 times over, because every block shares it; it is kept once.
    A name that is not known is kept as it is.
    """
    renamed: dict[str, Tensor] = {}
    slope: Tensor | None = None
    for name, tensor in state.items():
        if name.endswith(".body.1.weight"):
            if slope is not None and not torch.equal(slope, tensor):
                raise ValueError(f"{name} differs from the other activations; they share one slope")
            slope = tensor
        else:
            renamed[_rename(name)] = tensor
    if slope is not None:
        renamed["slope"] = slope
    return renamed


def _rename(name: str) -> str:
    name = re.sub(r"\.body\.(0|2)\.", lambda m: f".body.conv{int(m[1]) // 2 + 1}.", name)
    if m := re.fullmatch(r"shallow_feat(\d)\.0\.weight", name):
        return f"scales.{int(m[1]) - 1}.embed.weight"
    if m := re.fullmatch(r"shallow_feat(\d)\.1\.body\.(.+)", name):
        return f"scales.{int(m[1]) - 1}.embed_block.{m[2]}"
    if m := re.fullmatch(r"up_scale(\d)_feat\.scaleUp\.1\.weight", name):
        return f"scales.{m[1]}.lift.weight"
    if m := re.fullmatch(r"fusion\d(\d)\.weight", name):
        return f"scales.{int(m[1]) - 1}.fuse.weight"
    if m := re.fullmatch(r"tail(\d)_(\d)(\.tail)?\.weight", name):
        return f"scales.{int(m[1]) - 1}.tails.{int(m[2]) - 1}.weight"
    if m := re.fullmatch(r"[ED](\d)_(\d)\.(.+)", name):
        return f"scales.{int(m[1]) - 1}.stages.{int(m[2]) - 1}.{_rename_in_stage(m[3])}"
    return name


def _rename_in_stage(name: str) -> str:
    if m := re.fullmatch(r"(encoder|decoder)_level(\d)\.(\d+)\.body\.(.+)", name):
        return f"{m[1]}.{int(m[2]) - 1}.{m[3]}.{m[4]}"
    if m := re.fullmatch(r"skip_attn(\d)\.body\.(.+)", name):
        return f"skip.{int(m[1]) - 1}.{m[2]}"
    if m := re.fullmatch(r"down(\d)\d\.down\.1\.weight", name):
        return f"down.{int(m[1]) - 1}.weight"
    if m := re.fullmatch(r"up\d(\d)\.up\.1\.weight", name):
        return f"up.{int(m[1]) - 1}.weight"
    if m := re.fullmatch(r"csff_(enc|dec)(\d)\.weight", name):
        return f"from_{m[1]}oder.{int(m[2]) - 1}.weight"
    return name
