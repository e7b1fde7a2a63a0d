"""The optimizer: Muon for the inner convolutions, AdamW for the rest."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mssnet import has_bfloat16

_MOMENTUM = 0.95
_DECAY = 0.5
_ITERATIONS = 5
# Of the quintic polynomial that brings all singular values near 1 (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_OUTER = ("tail", "embed.", "embed_motion.")
"""What names of convolutions contain that read pictures or make them."""
_ADAMW_RATE = 0.02
"""AdamW's learning rate as a share of Muon's; three times as much made runs diverge."""


class Optimizer:
    """Muon on the matrices of the convolutions, AdamW on what is no such.

    The network has no normalization, and AdamW alone learns slowly with it: removing a known 9 px
    blur, 300 steps gained 1.5 dB with AdamW and 6.3 dB with Muon (Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks", 2024). torch's own Muon takes one matrix at a
    time; taking all of one shape together is twice as fast on a CPU, and on a GPU it spares it
    thousands of tiny kernels.
    """

    def __init__(self, net: nn.Module) -> None:
        inner: dict[tuple[int, int], list[nn.Parameter]] = {}
        rest = []
        for name, parameter in net.named_parameters():
            if parameter.ndim == 4 and not any(outer in name for outer in _OUTER):
                shape = len(parameter), parameter[0].numel()
                inner.setdefault(shape, []).append(parameter)
            else:
                rest.append(parameter)
        self._inner = list(inner.values())
        self._momenta = [
            torch.zeros(len(group), *shape, device=group[0].device)
            for shape, group in inner.items()
        ]
        self._adamw = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the parameters from their gradients; `rate` is Muon's learning rate."""
        for group, momentum in zip(self._inner, self._momenta, strict=True):
            gradients = torch.stack([_matrix(_gradient(parameter)) for parameter in group])
            momentum.lerp_(gradients, 1 - _MOMENTUM)
            update = orthogonal(gradients.lerp(momentum, _MOMENTUM))  # Nesterov's
            rows, columns = momentum.shape[1:]
            update *= -rate * max(1.0, rows / columns) ** 0.5
            weights: list[Tensor] = list(group)
            torch._foreach_mul_(weights, 1 - rate * _DECAY)
            changes = [
                change.unflatten(1, (*parameter.shape[2:], -1)).permute(0, 3, 1, 2)
                for parameter, change in zip(group, update, strict=True)
            ]
            torch._foreach_add_(weights, changes)
        self._adamw.param_groups[0]["lr"] = rate * _ADAMW_RATE
        self._adamw.step()

    def tensors(self) -> dict[str, Tensor]:
        """All there is to remember between steps."""
        found = {f"muon/{index}": tensor for index, tensor in enumerate(self._momenta)}
        for index, state in self._adamw.state_dict()["state"].items():
            found |= {f"adamw/{index}/{name}": tensor for name, tensor in state.items()}
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what `tensors()` gave; nothing if that is empty."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            kind, index, *name = key.split("/")
            if kind == "muon":
                self._momenta[int(index)].copy_(tensor)
            else:
                state.setdefault(int(index), {})[name[0]] = tensor
        self._adamw.load_state_dict({**self._adamw.state_dict(), "state": state})


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns) with all singular values brought near 1, in float32.

    By the Newton-Schulz iteration, in bfloat16 where the device has that.
    """
    x = matrices.bfloat16() if has_bfloat16(matrices.device) else matrices.float()
    turned = x.shape[1] > x.shape[2]
    x = x.mT if turned else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        x = torch.baddbmm(x, polynomial, x, beta=_A)
    return (x.mT if turned else x).float()


def _matrix(kernel: Tensor) -> Tensor:
    """A convolution's (out, in, h, w) as (out, h * w * in), a view if it is channels-last."""
    return kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
