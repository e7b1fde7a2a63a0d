"""Networks as ONNX, the form that most programs that run networks take."""

import copy
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import mssnet
from filters.upscale import upscaler_from_state_dict
from filters.whole import Whole
from mssnet.motion import PLANES
from stream.errors import ModelError, UsageError

OPSET: Final = 17
"""The version of ONNX's operators: one that every provider of ONNX Runtime takes by now."""
SIZES: Final = {0: "batch", 2: "height", 3: "width"}
"""What may be of any size, by its place in a shape."""
_TRACED = 32
"""Pixels each way of the image that a module is traced with."""


class Restoring(nn.Module):
    """A network from picture to picture: (N, 3, H, W) R'G'B' in 0..1 to the same, restored."""

    def __init__(self, net: mssnet.MSSNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, motion: Tensor | None = None) -> Tensor:
        """`motion` is what `mssnet.motion` makes to be told beside the image."""
        seen = image if motion is None else torch.cat([image, motion], dim=1)
        restored: Tensor = image + self.net.change(seen).float()
        return restored.clamp(0, 1)


class _Exact(nn.Module):
    """A module whose result is in float32, whatever it computes in."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *images: Tensor) -> Tensor:
        made: Tensor = self.module(*images)
        return made.float()


@dataclass(frozen=True, eq=False)
class Network:
    """A network that can be exported."""

    module: nn.Module
    output: str
    """What its result is called."""
    multiple_of: int
    """Height and width of its input must be multiples of this."""
    is_told: bool
    """Whether it is one that is told the motion."""


def network(path: Path, name: str) -> Network:
    """The network in a safetensors file. Raises `ModelError`."""
    try:
        state = load_file(path)
        if "kernels" in state:
            return Network(Whole(upscaler_from_state_dict(state)), "enlarged", 1, False)
        net = mssnet.from_state_dict(state).eval()
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"cannot export the model {name}: {error}") from error
    return Network(Restoring(net), "restored", net.config.multiple_of, net.config.motion)


def exported(
    made: Network,
    *,
    motion: bool = False,
    dtype: torch.dtype = torch.float32,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """An ONNX file of a network that takes `image`, and with `motion` also `motion`.

    All goes in and comes out in float32, whatever is computed in. `notes` are kept in the file's
    metadata. Raises `UsageError`.
    """
    import onnx

    if motion and not made.is_told:
        raise UsageError("this model is not told the motion; leave out --motion")
    images = {"image": torch.rand(1, 3, _TRACED, _TRACED)}
    if motion:
        images["motion"] = torch.rand(1, PLANES, _TRACED, _TRACED)
    module = made.module
    if isinstance(module, Restoring):
        # Else pictures are rearranged along six axes, and some providers know but five.
        module = Restoring(mssnet.strided(module.net))
    model = onnx.load_from_string(traced(module, images, made.output, dtype))
    said = {"multiple_of": str(made.multiple_of), **(notes or {})}
    onnx.helper.set_model_props(model, said)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def traced(
    module: nn.Module, images: Mapping[str, Tensor], output: str, dtype: torch.dtype
) -> bytes:
    """An ONNX model of what `module` makes of images like these, of any size, by input's names."""
    module = copy.deepcopy(module).to(dtype).eval()
    inputs = [image.float().clone() for image in images.values()]
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "traced.onnx"
        # Checks of shapes are traced as passed; and the other exporter takes a minute for lite.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exact(module),
            tuple(inputs),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(images),
            output_names=[output],
            dynamic_axes=dict.fromkeys((*images, output), SIZES),
        )
        return file.read_bytes()
