"""Pictures of any size, made by an upscaler or by interpolation alone."""

from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filters.upscale import Upscaler

INTERPOLATIONS: Final = ("lanczos", "bicubic")


class Enlarger:
    """Makes pictures larger, to one size."""

    def __init__(self, size: tuple[int, int], upscaler: Upscaler | str) -> None:
        """`size` is the width and height; `upscaler` may be one of `INTERPOLATIONS` as well.

        An upscaler's pictures are brought to sizes other than its own by bicubic resampling.
        """
        if isinstance(upscaler, str) and upscaler not in INTERPOLATIONS:
            raise ValueError(f"upscaler must be one of {', '.join(INTERPOLATIONS)}")
        self.size = size
        self._upscaler = upscaler

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Enlarge `image`, (N, 3, H, W) R'G'B', to (N, 3, height, width), same dtype."""
        if isinstance(self._upscaler, Upscaler):
            return resampled(self._upscaler(image), self.size)
        if self._upscaler == "bicubic":
            return resampled(image, self.size)
        return _lanczos(image, self.size)


def resampled(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) to the given width and height: bicubic (a = -0.5), antialiased."""
    width, height = size
    if tuple(image.shape[2:]) == (height, width):
        return image
    # With `antialias` torch's kernel is that of Keys; without it another one, a = -0.75.
    return F.interpolate(image, (height, width), mode="bicubic", antialias=True)


def _lanczos(image: Tensor, size: tuple[int, int]) -> Tensor:
    """By OpenCV, which takes eight pixels across and down."""
    made = [
        cv2.resize(
            np.ascontiguousarray(each.permute(1, 2, 0).float().cpu().numpy()),
            size,
            interpolation=cv2.INTER_LANCZOS4,
        )
        for each in image
    ]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).to(image)
