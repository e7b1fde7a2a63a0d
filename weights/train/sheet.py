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

_KEPT_ASIDE = 2**31
"""The number of a group that no run reaches."""
_SCENES = 16
_COLUMNS = 2


class Sheet:
    """Sixteen scenes of a stream of samples, the same ones each time."""

    def __init__(self, samples: Samples) -> None:
        settings = replace(samples.settings, scenes=_SCENES, uses=1)
        self._blurred, self._sharp = samples.with_settings(settings).group(_KEPT_ASIDE)

    @torch.inference_mode()
    def draw(self, net: MSSNet, mean: Mapping[str, Tensor]) -> tuple[NDArray[np.uint8], float]:
        """Restore the scenes with the averaged weights.

        Returns the sheet, (H, W, 3) RGB, and the mean gain in dB of PSNR.
        """
        averaged = MSSNet(net.config).to(self._blurred.device)
        averaged.load_state_dict(dict(mean))
        averaged = averaged.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rows, gains = [], []
        for blurred, sharp in zip(self._blurred, self._sharp, strict=True):
            before, target = blurred[None].float() / 255, sharp[None].float() / 255
            with torch.autocast(before.device.type, torch.bfloat16):
                after = averaged(before).float().clamp(0, 1)
            gains.append(float(psnr(after, target, 1.0)) - float(psnr(before, target, 1.0)))
            row = torch.cat([before, after, target], dim=3)[0].permute(1, 2, 0)
            rows.append((row.cpu().numpy() * 255 + 0.5).astype(np.uint8))
        columns = np.array_split(np.stack(rows), _COLUMNS)
        picture = np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)
        # Still scenes can be equal to their target, which PSNR calls infinite.
        return picture, float(np.mean([gain for gain in gains if np.isfinite(gain)]))
