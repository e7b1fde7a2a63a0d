"""Gradients of the training loss, on a GPU or spread over the cores of a CPU."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssnet import has_bfloat16

Loss = Callable[[Tensor, Tensor], Tensor]
"""Inputs and targets of a batch to a scalar."""


def autocast(device: torch.device, *, cached: bool = True) -> torch.autocast:
    """What networks are trained in on a device: bfloat16 where it has that, float32 elsewhere."""
    half = has_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=cached)


def loss(images: Sequence[Tensor], sharp: Tensor) -> Tensor:
    """The published loss: L1 plus 0.1 times L1 of the 2-D Fourier transform, on every stage.

    MSSNet (Kim et al., ECCVW 2022), section 3.3. `images` as the network returns them in
    training, `sharp` (N, 3, H, W); the half-size images are compared with a half-size target.
    """
    total = torch.zeros((), device=sharp.device)
    half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear", align_corners=True)
    for image in images:
        target = sharp if image.shape == sharp.shape else half
        difference = image.float() - target
        spectrum = torch.view_as_real(torch.fft.rfft2(difference))
        total = total + difference.abs().mean() + 0.1 * spectrum.abs().mean()
    return total


def absolute(images: Sequence[Tensor], sharp: Tensor) -> Tensor:
    """The mean absolute error of every stage, summed."""
    half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear", align_corners=True)
    targets = [sharp if image.shape == sharp.shape else half for image in images]
    errors = [(i.float() - t).abs().mean() for i, t in zip(images, targets, strict=True)]
    return torch.stack(errors).sum()


def squared(images: Sequence[Tensor], sharp: Tensor) -> Tensor:
    """The mean squared error of every stage, summed: what PSNR counts.

    Where it cannot be known whether something is blurred, the published loss leaves it as it is and
    this one goes half of the way, which is closer on average.
    """
    half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear", align_corners=True)
    targets = [sharp if image.shape == sharp.shape else half for image in images]
    errors = [(i.float() - t).square().mean() for i, t in zip(images, targets, strict=True)]
    return torch.stack(errors).sum()


LOSSES = {"published": loss, "absolute": absolute, "squared": squared}


class Gradients:
    """Computes gradients of a batch; on a CPU each of `threads` threads takes a part of it.

    Two threads with half a batch each are 1.6 times as fast as torch's own two threads inside
    every operation, most of which are too small to share. The caller sets `torch.set_num_threads`.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], threads: int, device: torch.device
    ) -> None:
        self._parameters = list(parameters)
        self._threads = threads if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(threads, "gradients") if self._threads > 1 else None

    def __call__(self, loss: Loss, inputs: Tensor, targets: Tensor) -> Tensor:
        """Set the parameters' gradients to the batch's mean; returns the loss, a scalar."""
        if self._pool is None:
            value, gradients = self._part(loss, inputs, targets)
        else:
            shares = [len(part) / len(inputs) for part in inputs.tensor_split(self._threads)]
            parts = list(
                self._pool.map(
                    self._part,
                    [loss] * self._threads,
                    inputs.tensor_split(self._threads),
                    targets.tensor_split(self._threads),
                )
            )
            # In a fixed order, so that the same seed gives the same weights.
            value = torch.stack([v * s for (v, _), s in zip(parts, shares, strict=True)]).sum()
            gradients = [gradient * shares[0] for gradient in parts[0][1]]
            for (_, more), share in zip(parts[1:], shares[1:], strict=True):
                torch._foreach_add_(gradients, more, alpha=share)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return value

    def _part(self, loss: Loss, inputs: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        # Without the cache of casted weights, which the threads would share.
        with autocast(inputs.device, cached=not self._pool):
            value = loss(inputs, targets)
        return value.detach(), list(torch.autograd.grad(value, self._parameters))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
