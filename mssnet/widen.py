"""The same network with widths that matrix units like."""

from dataclasses import replace

import torch
from torch import Tensor

from mssnet.model import MSSNet


def widened(net: MSSNet, multiple: int = 8) -> MSSNet:
    """A copy of `net` whose widths are multiples, with channels that are and stay zero.

    The matrix units of GPUs work on 8 half-precision channels at once, and run convolutions of 54
    or 138 channels, as the published networks have them, by far slower ways (NVIDIA, "Deep
    learning performance: convolutional layers"). Padded with zeros to 56 and 144 the network
    computes the very same: what is added to the sums is zero. The copy is in evaluation mode, and
    where and in what `net` is.
    """
    if multiple < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    fine, middle, coarse = (-(-width // multiple) * multiple for width in net.config.widths)
    return _with_widths(net, (fine, middle, coarse), None)


def grown(net: MSSNet, widths: tuple[int, int, int], seed: int = 0) -> MSSNet:
    """A copy of `net` with more channels that can learn to be of use, and computes the very same.

    What the new ones see is drawn by `seed`, as large as what the others see, and nothing reads
    them yet: so both sides of them have something to learn from. Raises `ValueError` for widths
    below those of `net`.
    """
    if any(width < narrow for width, narrow in zip(widths, net.config.widths, strict=True)):
        raise ValueError(f"widths must be at least {net.config.widths}, got {widths}")
    return _with_widths(net, widths, torch.Generator().manual_seed(seed))


def _with_widths(net: MSSNet, widths: tuple[int, int, int], draw: torch.Generator | None) -> MSSNet:
    with torch.device("meta"):
        wide = MSSNet(replace(net.config, widths=widths))
    shapes = {name: tensor.shape for name, tensor in wide.state_dict().items()}
    state = {}
    for name, kernel in net.state_dict().items():
        parts = 2 if name.endswith(".fuse.weight") else 1
        state[name] = made = _padded(kernel, shapes[name], parts)
        if draw is not None and len(made) > len(kernel):
            new = torch.randn(made[len(kernel) :].shape, generator=draw)
            made[len(kernel) :] = new.to(made) * kernel.std()
    wide.load_state_dict(state, assign=True)
    return wide.eval()


def _padded(kernel: Tensor, shape: torch.Size, parts: int) -> Tensor:
    """A kernel with more channels; what goes in consists of `parts` that are padded each."""
    if kernel.shape == shape:
        return kernel.clone()
    padded = kernel.new_zeros(shape)
    before, after = kernel.shape[1] // parts, shape[1] // parts
    for part in range(parts):
        padded[: len(kernel), part * after : part * after + before] = kernel[
            :, part * before : (part + 1) * before
        ]
    return padded
