"""The same network, whose first convolutions take larger steps instead of a rearranged image."""

import copy

import torch
from torch import Tensor, nn

from mssnet.model import MSSNet, Scale


def strided(net: MSSNet) -> MSSNet:
    """A copy of `net` that reads the image itself where `net` reads it unshuffled.

    A convolution of k by k after a pixel-unshuffle by r is one of rk by rk pixels in steps of r on
    the image: the very same products are summed up. An engine that has to copy the image for each
    rearrangement is spared that. The copy is in evaluation mode, and where and in what `net` is.
    """
    copied = copy.deepcopy(net)
    for module in copied.scales:
        assert isinstance(module, Scale)
        if module.unshuffle > 1:
            module.embed = _strided(module.embed, module.unshuffle)
        if net.config.motion:
            module.embed_motion = _strided(module.embed_motion, 2)
    return copied.eval()


def _strided(embed: nn.Conv2d, step: int) -> nn.Conv2d:
    kernel = _spread(embed.weight.detach(), step)
    outputs, inputs, side, _ = kernel.shape
    padding = step * (embed.weight.shape[2] // 2)
    with torch.device("meta"):
        made = nn.Conv2d(inputs, outputs, side, stride=step, padding=padding, bias=False)
    made.weight = nn.Parameter(kernel, requires_grad=False)
    return made


def _spread(kernel: Tensor, step: int) -> Tensor:
    """(N, C * step², k, k) to (N, C, step * k, step * k): each channel to its place in a cell."""
    outputs, inputs, height, width = kernel.shape
    cells = kernel.reshape(outputs, inputs // step**2, step, step, height, width)
    return (
        cells.permute(0, 1, 4, 2, 5, 3)
        .reshape(outputs, inputs // step**2, step * height, step * width)
        .contiguous()
    )
