"""Making pictures three times smaller, and the way back that loses nothing.

Smaller is antialiased bicubic, Keys' kernel with a = -0.5 stretched by three, as MATLAB's imresize
does it and every published x3 figure assumes. Everything works on pictures folded by phase: the
nine pixels that share a low-resolution pixel are channels, so that no operation is larger than the
low-resolution picture.
"""

import functools
from collections.abc import Callable
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


def _folded(line: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two (taps, FACTOR) weights of lines as one kernel of areas, (PHASES, taps, taps)."""
    areas = np.einsum("ya,xb->abyx", line, other)
    return np.asarray(areas.reshape(PHASES, len(line), len(other)))


def _down() -> NDArray[np.float64]:
    """(1, PHASES, 5, 5): the picture folded by phase to the one a third of its size."""
    reach = -(-_REACH // FACTOR)
    line = np.zeros(FACTOR * (2 * reach + 1))
    start = FACTOR * reach + FACTOR // 2 - _REACH
    line[start : start + 2 * _REACH + 1] = _smaller()
    folded = line.reshape(-1, FACTOR)
    return _folded(folded, folded)[None]


def _rough() -> NDArray[np.float64]:
    """(1, 1, 5, 5): what the picture loses when its pixels become blocks that are made smaller."""
    kernel = -_down().sum(axis=1, keepdims=True)
    kernel[:, :, 2, 2] += 1
    return np.asarray(kernel)


def _up() -> NDArray[np.float64]:
    """(PHASES, 1, 5, 5): a low-resolution difference to one of the picture folded by phase."""
    # A convolution of torch is a correlation: turned around.
    line = _larger()[::-1]
    return _folded(line, line)[:, None]


def _interpolation() -> NDArray[np.float64]:
    """(PHASES, 1, 9, 9): bicubic interpolation, less the pixel itself, made exact.

    To bicubic is added what makes it give the input again when made smaller.
    """
    reach = 4
    taps = 2 * reach + 1

    def exact(line: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a large line (taps * FACTOR) becomes when made smaller and spread again."""
        low = np.convolve(line, _smaller())[_REACH:][FACTOR // 2 : taps * FACTOR : FACTOR]
        apart = np.zeros_like(line).reshape(taps, FACTOR)
        apart[:, 0] = low
        whole = np.convolve(apart.ravel(), _larger().ravel())
        return whole[_BACK * FACTOR :][: line.size]

    pixels = np.arange(taps * FACTOR) - (reach * FACTOR + FACTOR // 2)
    cubic = keys(pixels / FACTOR)
    one = np.zeros(taps * FACTOR)
    start = FACTOR * (reach - _BACK)
    one[start : start + _larger().size] = _larger().ravel()
    again = exact(cubic)
    lines = [each.reshape(taps, FACTOR)[::-1] for each in (cubic, one, again)]
    whole = _folded(lines[0], lines[0]) + _folded(lines[1], lines[1]) - _folded(lines[2], lines[2])
    whole += (1 - whole.sum((1, 2), keepdims=True)) / taps**2
    whole[:, reach, reach] -= 1
    return whole[:, None]


@functools.cache
def _kernel(
    make: Callable[[], NDArray[np.float64]],
    channels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The kernel once for each channel, along the diagonal: far faster than groups on a CPU."""
    kernel = make()
    out, into, *size = kernel.shape
    whole = np.zeros((channels, out, channels, into, *size))
    for channel in range(channels):
        whole[channel, :, channel] = kernel
    # One that is first needed in inference mode must serve training as well.
    with torch.inference_mode(False):
        tensor = torch.from_numpy(whole.reshape(channels * out, channels * into, *size))
        return tensor.to(device, dtype).contiguous(memory_format=torch.channels_last)


def _applied(make: Callable[[], NDArray[np.float64]], x: Tensor, channels: int) -> Tensor:
    kernel = _kernel(make, channels, x.dtype, x.device)
    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)


def downscale(folded: Tensor) -> Tensor:
    """(N, 9 C, H, W), folded by phase, to (N, C, H, W): the picture a third of its size."""
    return _applied(_down, folded, folded.shape[1] // PHASES)


def spread(difference: Tensor) -> Tensor:
    """(N, C, H, W) to (N, 9 C, H, W) such that `downscale` gives the difference back."""
    return _applied(_up, difference, difference.shape[1])


def rough(low: Tensor) -> Tensor:
    """What (N, C, H, W) loses when every pixel becomes a block of nine that is made smaller."""
    return _applied(_rough, low, low.shape[1])


def interpolate(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) to (N, 9 C, H, W), folded by phase, less the pixel itself."""
    return _applied(_interpolation, planes.to(dtype), planes.shape[1])


def third(image: Tensor) -> Tensor:
    """(N, C, 3H, 3W) made a third of its size, (N, C, H, W); mirrored beyond the edges."""
    image = mirrored(image, 2 * FACTOR)
    return downscale(F.pixel_unshuffle(image, FACTOR))[:, :, 2:-2, 2:-2]


def mirrored(image: Tensor, margin: int) -> Tensor:
    """(N, C, H, W) with a mirrored margin, the edge itself repeated; H and W from 1 up."""
    for dim in (2, 3):
        size = image.shape[dim]
        if margin <= size:
            # By far the faster way on a CPU.
            first, last = image.narrow(dim, 0, margin), image.narrow(dim, size - margin, margin)
            if margin > 1:  # one row is its own mirror image; engines need not know of flips
                first, last = first.flip(dim), last.flip(dim)
            image = torch.cat([first, image, last], dim)
            continue
        # A triangle wave, so that an image smaller than its margin mirrors again and again.
        place = torch.arange(-margin, size + margin, device=image.device) % (2 * size)
        place = torch.minimum(place, 2 * size - 1 - place)
        image = image.index_select(dim, place)
    return image
