"""What runs a network: PyTorch itself, or anything that agrees with it."""

from typing import Protocol

import torch
from torch import Tensor, nn


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; where it does not, as on CPUs without AVX-512, PyTorch
    emulates it, ten times slower than float32."""
    # Private, but the only way to ask.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type != "cpu" or bool(ask())


class Result(Protocol):
    """An image that is being made."""

    def __call__(self) -> Tensor:
        """Wait for it; called once."""
        ...


class Program(Protocol):
    """A module that an engine runs."""

    def __call__(self, image: Tensor, /) -> Result:
        """Begin with an image, (N, C, H, W) of any size; returns at once where the engine can.

        The image must stay as it is until the result is there. On a GPU a result is there as that
        of any operation of PyTorch is: for what is done next on the same stream.
        """
        ...


class Engine(Protocol):
    """Runs modules on one device. All engines agree with PyTorch in float32 within tolerances."""

    @property
    def name(self) -> str:
        """One word, such as "eager"."""
        ...

    @property
    def device(self) -> torch.device:
        """Where images are to be and results are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """What modules compute in."""
        ...

    @property
    def in_flight(self) -> int:
        """How many images it is worth having begun at once; 1 where nothing is won by more."""
        ...

    def compile(self, module: nn.Module) -> Program:
        """Make `module`, which maps one image to another, into a program.

        Images go in and come out in float32, whatever is computed in. Parameters are as they were
        loaded, in float32 or in `dtype`, and must not change any more.
        """
        ...


class Eager:
    """PyTorch as it is, on any of its devices."""

    name = "eager"
    in_flight = 1

    def __init__(
        self, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.device = torch.device(device)
        self.dtype = dtype

    def compile(self, module: nn.Module) -> Program:
        module.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

        @torch.inference_mode()
        def begin(image: Tensor) -> Result:
            made = module(image.contiguous(memory_format=torch.channels_last)).float()
            return lambda: made

        return begin
