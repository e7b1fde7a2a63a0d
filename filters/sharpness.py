"""How blurred each region of a picture is, told from the picture alone.

What is sharp changes much when it is blurred once more, what is blurred already changes little
(Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur
metric", Human Vision and Electronic Imaging XII, 2007). Here it is measured region by region, and
what is no more than noise does not count.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 16
"""Side of a region in pixels."""
_REBLUR = 9
"""Pixels that the further blur takes the mean of, along rows or columns."""
_SHARP, _BLURRED = 0.25, 0.45
"""Blur of what is left alone, and of what is restored fully. Photographs at half their size measure
0.2, with 2 pixels of motion 0.3, with 5 pixels 0.4, with 15 pixels 0.75 (medians)."""
_NOISE = 4.0
"""Differences of so many standard deviations of the noise count."""
_FAINT = 0.004
"""Mean difference of neighboring pixels, of 1, below which a region has nothing to measure; it
takes after those around it."""
_NEAR, _FAR = 1.0, 4.0
"""Standard deviations of the regions' mixing, in regions."""
_FROM_AFAR = 0.02
"""The share of what is farther away."""
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)

Map = NDArray[np.float32]


def blur(luma: NDArray[np.uint8]) -> Map:
    """How blurred luma, (H, W), is: 0 sharp, 1 blurred, one value for each 16x16 pixels, (h, w)."""
    found = np.zeros((-(-luma.shape[0] // CELL), -(-luma.shape[1] // CELL)), np.float32)
    if min(luma.shape) < 2:
        return found
    light = np.asarray(luma / np.float32(255), np.float32)
    least = max(1 / 255, _NOISE * noise(light))
    for axis in (0, 1):
        size = (_REBLUR, 1) if axis else (1, _REBLUR)
        again: Any = cv2.blur(light, size, borderType=cv2.BORDER_REFLECT)
        own, others = (np.abs(np.diff(each, axis=axis)) for each in (light, again))
        own[own < least] = 0
        lost = np.maximum(own - others, 0)
        strength, loss = (_regions(each, found.shape) for each in (own, lost))
        near = strength + _FAINT * _FROM_AFAR
        # Motion blurs along its own direction alone.
        found = np.maximum(found, np.where(strength > 0, 1 - loss / near, 0))
    return np.asarray(found, np.float32)


def need(luma: NDArray[np.uint8]) -> Map:
    """How much of restoration each 16x16 pixels of luma, (H, W), need: (h, w) in 0..1.

    0 is sharp, and restoring it could only do harm.
    """
    ramp = np.clip((blur(luma) - _SHARP) / (_BLURRED - _SHARP), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def noise(light: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in a picture, (H, W) in 0..1.

    Immerkaer, "Fast noise variance estimation", CVIU 64, 1996, in the quietest tenth of it.
    """
    response: Any = np.abs(cv2.filter2D(light, -1, _LAPLACIAN, borderType=cv2.BORDER_REFLECT))
    rows, columns = (max(length // CELL, 1) for length in light.shape)
    # Of whole cells alone, which takes a tenth of the time.
    response = response[: rows * CELL, : columns * CELL]
    means = cv2.resize(response, (columns, rows), interpolation=cv2.INTER_AREA)
    return float(np.percentile(means, 10)) * float(np.sqrt(np.pi / 2)) / 6


def _regions(plane: Any, shape: tuple[int, ...]) -> Map:
    """The mean of each region, and a little of those around it."""
    small = cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_AREA)
    near, far = (cv2.GaussianBlur(small, (0, 0), sigma) for sigma in (_NEAR, _FAR))
    return np.asarray(near + _FROM_AFAR * far, np.float32)
