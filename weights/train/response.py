"""Camera response curves: what an encoded value means in light."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        self._light = torch.from_numpy(curve.astype(np.float32))
        self._encoded = torch.from_numpy(np.interp(encoded**2, curve, encoded).astype(np.float32))

    def to(self, device: torch.device) -> "Response":
        """The same curve with its tables on a device."""
        moved = Response.__new__(Response)
        moved._light, moved._encoded = self._light.to(device), self._encoded.to(device)
        return moved

    def to_light(self, encoded: Tensor) -> Tensor:
        """Any shape; clipped to 0..1 before."""
        index = (encoded.clamp(0, 1) * (_ENTRIES - 1) + 0.5).int()
        return self._light[index]

    def to_encoded(self, light: Tensor) -> Tensor:
        """Any shape; clipped to 0..1 before."""
        # The table is spaced by the square root, which keeps its steps even in the shadows.
        index = (light.clamp(0, 1).sqrt() * (_ENTRIES - 1) + 0.5).int()
        return self._encoded[index]


def srgb() -> Response:
    """The response curve of IEC 61966-2-1."""
    encoded = np.linspace(0, 1, _ENTRIES)
    return Response(
        np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    )
