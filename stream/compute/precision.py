"""Which kind of half precision a network keeps more of its answers in."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssnet.deblurrer import pad_to_multiple
from mssnet.model import Leaving

_SIDE = 192


def closest(module: nn.Module, device: torch.device, image: Tensor | None = None) -> torch.dtype:
    """float16 or bfloat16: in which `module` makes of `image`, (N, C, H, W), what float32 makes.

    float16 has three bits more and so is closer, unless values overflow, beyond 65504. Where a
    module cannot be run in either it is float32. Without an image it is one of hard edges and
    noise, for an MSSNet. The module itself is left as it is.
    """
    image = (sample(module) if image is None else image).to(device)
    exact = _answer(module, image, torch.float32)
    errors = {
        dtype: _error(module, image, exact, dtype) for dtype in (torch.float16, torch.bfloat16)
    }
    least = min(errors.values())
    if least == math.inf:
        return torch.float32
    # In that order, so that float16 is chosen where they are equal.
    return next(dtype for dtype, error in errors.items() if error == least)


def sample(module: nn.Module) -> Tensor:
    """A picture with all that is hard for a network: (1, 3, H, W)."""
    draw = torch.Generator().manual_seed(1)
    blocks = torch.rand(1, 3, _SIDE // 16, _SIDE // 16, generator=draw).round_()
    image = F.interpolate(blocks, scale_factor=16.0, mode="nearest")
    image[..., _SIDE // 2 :] = torch.rand(1, 3, _SIDE, _SIDE // 2, generator=draw)
    multiple = module.net.config.multiple_of if isinstance(module, Leaving) else 1
    return pad_to_multiple(image, multiple)


def _error(module: nn.Module, image: Tensor, exact: Tensor, dtype: torch.dtype) -> float:
    try:
        error = float((_answer(module, image, dtype) - exact).square().mean())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation that the device does not have in this precision
        return math.inf
    return error if math.isfinite(error) else math.inf


@torch.inference_mode()
def _answer(module: nn.Module, image: Tensor, dtype: torch.dtype) -> Tensor:
    copied = copy.deepcopy(module).eval()
    copied.to(image.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # GPUs of NVIDIA else round what float32 is multiplied with to as many bits as float16 has.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        answer: Tensor = copied(image)
    return answer.float()
