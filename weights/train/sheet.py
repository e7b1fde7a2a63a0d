"""A sheet of samples that are never trained on: blurred, restored and sharp."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from kornia.metrics import psnr
from numpy.typing import NDArray
from torch import Tensor

from mssnet import MSSNet
from weights.train.data import Samples
from weights.train.gradients import autocast

KEPT_ASIDE = 2**31
"""The number of a group that no run reaches."""
SCENES = 16
_COLUMNS = 2


class Sheet:
    """Sixteen scenes of a stream of samples, the same ones each time."""

    def __init__(self, samples: Samples, device: torch.device) -> None:
        settings = replace(samples.settings, scenes=SCENES, uses=1)
        shown, sharp = samples.with_settings(settings).group(KEPT_ASIDE)
        self._shown, self._sharp = shown.to(device).float(), sharp.to(device).float() / 255

    @torch.inference_mode()
    def draw(self, net: MSSNet, mean: Mapping[str, Tensor]) -> tuple[NDArray[np.uint8], float]:
        """Restore the scenes with the averaged weights.

        Returns the sheet, (H, W, 3) RGB, and the mean gain in dB of PSNR.
        """
        averaged = MSSNet(net.config).to(self._shown.device)
        averaged.load_state_dict(dict(mean))
        averaged = averaged.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        shown = self._shown[:, : net.config.inputs]
        with autocast(shown.device):
            after = torch.cat([averaged(each).float().clamp(0, 1) for each in shown[:, None]])
        return side_by_side(shown[:, :3], after, self._sharp)


def side_by_side(before: Tensor, after: Tensor, target: Tensor) -> tuple[NDArray[np.uint8], float]:
    """Pictures before and after, and what they should be, each (N, 3, H, W) in 0..1.

    Returns the sheet, (H, W, 3) RGB, and the mean gain in dB of PSNR.
    """
    rows = torch.cat([before, after, target], dim=3).permute(0, 2, 3, 1)
    pictures = (rows.cpu().numpy() * 255 + 0.5).astype(np.uint8)
    columns = [np.concatenate(list(column)) for column in np.array_split(pictures, _COLUMNS)]
    gains = [
        float(psnr(new, wanted, 1.0)) - float(psnr(old, wanted, 1.0))
        for old, new, wanted in zip(before, after, target, strict=True)
    ]
    # Still scenes can be equal to their target, which PSNR calls infinite.
    gain = float(np.mean([gain for gain in gains if np.isfinite(gain)]))
    return np.concatenate(columns, axis=1), gain
