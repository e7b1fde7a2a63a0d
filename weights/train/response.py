"""Camera response curves: what an encoded value means in light."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENTRIES = 4096


class Response:
    """A camera's response curve: encoded values in 0..1 to light in 0..1, and back."""

    def __init__(self, light: NDArray[np.float64]) -> None:
        """`light[i]` is the light that the encoded value `i / (len(light) - 1)` stands for."""
        if light.ndim != 1 or len(light) < 2 or np.any(np.diff(light) < 0):
            raise ValueError(f"a response curve must be one rising row, got {light.shape = }")
        encoded = np.linspace(0, 1, _ENTRIES)
        curve = np.interp(encoded, np.linspace(0, 1, len(light)), light)
        curve = (curve - curve[0]) / (curve[-1] - curve[0])
        # Strictly rising, so that it can be turned around.
        curve = curve * (1 - 1e-6) + encoded * 1e-6
        self._light = curve.astype(np.float32)
        self._encoded = np.interp(encoded**2, curve, encoded).astype(np.float32)

    def to_light(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        """Any shape; clipped to 0..1 before."""
        found: NDArray[np.float32] = self._light[_index(np.asarray(encoded, np.float32))]
        return found

    def to_encoded(self, light: NDArray[Any]) -> NDArray[np.float32]:
        """Any shape; clipped to 0..1 before."""
        # The table is spaced by the square root, which keeps its steps even in the shadows.
        found: NDArray[np.float32] = self._encoded[_index(np.sqrt(np.clip(light, 0, 1)))]
        return found


def _index(values: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.asarray(np.clip(values, 0, 1) * (_ENTRIES - 1) + 0.5, np.int16)


def srgb() -> Response:
    """The response curve of IEC 61966-2-1."""
    encoded = np.linspace(0, 1, _ENTRIES)
    return Response(
        np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    )
