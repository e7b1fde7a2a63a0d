"""Making pictures three times smaller, and the way back that loses nothing.

Smaller is antialiased bicubic, Keys' kernel with a = -0.5 stretched by three, as MATLAB's imresize
does it and every published x3 figure assumes. Everything works on pictures folded by phase: the
nine pixels that share a low-resolution pixel are channels, so that no operation is larger than the
low-resolution picture.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FACTOR = 3
PHASES = FACTOR**2
_REACH = 5
"""High-resolution pixels to each side of its center that a low-resolution pixel is made of."""
_BACK = 2
"""Low-resolution pixels to each side that the way back looks at."""
_SMOOTH = 1e-3
"""What smoothness is worth beside exactness; with far less a difference leaves a pattern."""


def keys(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The cubic kernel of Keys (IEEE TASSP 29, 1981) with a = -0.5, at distances `x`."""
    x = np.abs(x).astype(np.float64)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _smaller() -> NDArray[np.float64]:
    """(2 * _REACH + 1) weights of the high-resolution pixels around a center; their sum is 1."""
    weights = keys(np.arange(-_REACH, _REACH + 1) / FACTOR)
    return np.asarray(weights / weights.sum())


def _larger() -> NDArray[np.float64]:
    """(2 * _BACK + 1, FACTOR) weights that spread a low-resolution difference.

    The smoothest ones with which making it smaller again gives the difference back, but for 0.3 %,
    and with which a constant stays one at every phase.
    """
    weights = _smaller()
    reach = _BACK + 2
    pixels = FACTOR * (2 * _BACK + 1)
    smaller = np.zeros((2 * reach + 1, pixels))
    for row in range(2 * reach + 1):
        center = FACTOR * (row - reach + _BACK) + FACTOR // 2
        for offset in range(-_REACH, _REACH + 1):
            if 0 <= center + offset < pixels:
                smaller[row, center + offset] += weights[offset + _REACH]
    wanted = np.zeros(2 * reach + 1)
    wanted[reach] = 1
    steps = np.eye(pixels + 1, pixels) - np.eye(pixels + 1, pixels, -1)
    constant = np.tile(np.eye(FACTOR), 2 * _BACK + 1)
    # Least squares under the constraint of the constants, by Lagrange's multipliers.
    square = smaller.T @ smaller + _SMOOTH * steps.T @ steps
    left = np.block([[square, constant.T], [constant, np.zeros((FACTOR, FACTOR))]])
    right = np.concatenate([smaller.T @ wanted, np.ones(FACTOR)])
    return np.asarray(np.linalg.solve(left, right)[:pixels].reshape(-1, FACTOR))


def _down_kernel() -> Tensor:
    """(1, PHASES, 5, 5): the picture folded by phase to the one a third of its size."""
    reach = -(-_REACH // FACTOR)
    line = np.zeros(FACTOR * (2 * reach + 1))
    start = FACTOR * reach + FACTOR // 2 - _REACH
    line[start : start + 2 * _REACH + 1] = _smaller()
    folded = line.reshape(-1, FACTOR)
    kernel = np.einsum("ya,xb->abyx", folded, folded).reshape(1, PHASES, *(2 * reach + 1,) * 2)
    return torch.from_numpy(kernel).float()


def _up_kernel() -> Tensor:
    """(PHASES, 1, 5, 5): a low-resolution difference to one of the picture folded by phase."""
    # A convolution of torch is a correlation: turned around.
    spread = _larger()[::-1]
    kernel = np.einsum("ya,xb->abyx", spread, spread).reshape(PHASES, 1, *spread.shape[:1] * 2)
    return torch.from_numpy(np.ascontiguousarray(kernel)).float()


DOWN, UP = _down_kernel(), _up_kernel()


def _blocks(kernel: Tensor, channels: int, like: Tensor) -> Tensor:
    """The kernel once for each channel, along the diagonal: far faster than groups on a CPU."""
    out, into, *size = kernel.shape
    whole = kernel.new_zeros(channels * out, channels * into, *size)
    for channel in range(channels):
        rows = slice(channel * out, (channel + 1) * out)
        whole[rows, channel * into : (channel + 1) * into] = kernel
    return whole.to(like).contiguous(memory_format=torch.channels_last)


def downscale(folded: Tensor) -> Tensor:
    """(N, 9 C, H, W), folded by phase, to (N, C, H, W): the picture a third of its size."""
    channels = folded.shape[1] // PHASES
    kernel = _blocks(DOWN, channels, folded)
    return F.conv2d(folded, kernel, padding=DOWN.shape[-1] // 2)


def spread(difference: Tensor) -> Tensor:
    """(N, C, H, W) to (N, 9 C, H, W) such that `downscale` gives the difference back."""
    kernel = _blocks(UP, difference.shape[1], difference)
    return F.conv2d(difference, kernel, padding=UP.shape[-1] // 2)


def rough(low: Tensor) -> Tensor:
    """What (N, C, H, W) loses when every pixel becomes a block of nine that is made smaller."""
    kernel = -DOWN.sum(dim=1, keepdim=True)
    kernel[:, :, 2, 2] += 1
    channels = low.shape[1]
    return F.conv2d(low, kernel.to(low).expand(channels, -1, -1, -1), padding=2, groups=channels)


def _interpolation() -> Tensor:
    """(PHASES, 1, 9, 9): bicubic interpolation, less the pixel itself, made exact.

    To bicubic is added what makes it give the input again when made smaller.
    """
    reach = 4
    low = torch.zeros(1, 1, 4 * reach + 1, 4 * reach + 1)
    low[..., 2 * reach, 2 * reach] = 1
    line = np.zeros((2 * reach + 1, FACTOR))
    for phase in range(FACTOR):
        at = (phase - FACTOR // 2) / FACTOR
        line[:, phase] = keys(np.arange(-reach, reach + 1) - at)
    kernel = np.einsum("ya,xb->abyx", line, line).reshape(PHASES, 1, 2 * reach + 1, -1)
    cubic = F.conv2d(low, torch.from_numpy(kernel).float(), padding=reach)
    made = cubic + spread(low - downscale(cubic))
    # The answer to a single pixel, turned around, is the kernel.
    whole = made[:, :, reach:-reach, reach:-reach].flip(2, 3)[0].unsqueeze(1)
    whole = whole + (1 - whole.sum((2, 3), keepdim=True)) / whole[0].numel()
    whole[:, :, reach, reach] -= 1
    return whole


def interpolate(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) to (N, 9 C, H, W), folded by phase, less the pixel itself."""
    kernel = _blocks(INTERPOLATION, planes.shape[1], planes.to(dtype))
    return F.conv2d(planes.to(dtype), kernel, padding=INTERPOLATION.shape[-1] // 2)


def third(image: Tensor) -> Tensor:
    """(N, C, 3H, 3W) made a third of its size, (N, C, H, W); mirrored beyond the edges."""
    image = mirrored(image, 2 * FACTOR)
    return downscale(F.pixel_unshuffle(image, FACTOR))[:, :, 2:-2, 2:-2]


def mirrored(image: Tensor, margin: int) -> Tensor:
    """(N, C, H, W) with a mirrored margin, the edge itself repeated; H and W from 1 up."""
    for dim in (2, 3):
        size = image.shape[dim]
        # A triangle wave, so that an image smaller than its margin mirrors again and again.
        place = torch.arange(-margin, size + margin, device=image.device) % (2 * size)
        place = torch.minimum(place, 2 * size - 1 - place)
        image = image.index_select(dim, place)
    return image


INTERPOLATION = _interpolation()
