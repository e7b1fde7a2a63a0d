"""Steadying a restored video along time, and making it sharper by it.

A network that looks at single frames answers each a little differently, which flickers. This is a
recursive filter: the steadied frame before is moved to where the picture is now and blended in,
pixel by pixel, as far as the motion can be trusted and the colors agree. And blur comes and goes
with a shaking hand: where the past is sharper than the present more of it is taken, where it is
less sharp less, so that the average loses no sharpness but collects it. It never looks ahead and
so delays nothing.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filters.color import luma
from filters.memory import sent
from filters.motion import Motion, look_up

State = Mapping[str, Tensor]
"""What is remembered from frame to frame, by name; empty at the beginning."""

USUAL_SMOOTHING = 0.8
"""The share of the past that serves most videos."""
_AGREE = 3.0
"""Colors agree within so many times the difference that is usual in the whole picture ..."""
_USUAL = 0.9
"""Which is what this share of the picture does not exceed."""
_LEAST, _MOST = 3 / 255, 40 / 255
"""... but no less and no more than these."""
_SHARE = 0.94
"""The most that is taken of the past."""
_NOISE = 0.5 / 255
"""Detail that is none."""


class Smoother:
    """Blends each frame with the ones before it, along their motion."""

    def __init__(self, amount: float = USUAL_SMOOTHING) -> None:
        """`amount`: the share of the past where it is as sharp as the present, in 0..1."""
        if not 0 <= amount <= 1:
            raise ValueError(f"amount must be in 0..1, got {amount}")
        self.amount = amount

    @torch.inference_mode()
    def __call__(
        self, image: Tensor, state: State, motion: Motion | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Steady `image`, (1, 3, H, W) R'G'B', not necessarily within 0..1.

        `state` is what the call for the frame before returned; without `motion`, or with a state
        of another size, nothing is blended and the image comes back as it is. Returns the image
        and what to remember.
        """
        past = state.get("steady")
        if motion is None or past is None or past.shape != image.shape:
            return image, {"steady": _kept(image)}
        trust, past = _moved(past.float(), motion)
        sharper = _detail(past).add_(_NOISE).div_(_detail(image).add_(_NOISE))
        difference = past.sub_(image)
        red, green, blue = (difference[:, index : index + 1] for index in range(3))
        apart = _smooth(red.abs().add_(green.abs()).add_(blue.abs()).mul_(1 / 3))
        some = apart[..., ::4, ::4].flatten()
        usual = some.kthvalue(int(_USUAL * (len(some) - 1)) + 1).values
        agree = (_AGREE * usual).clamp(_LEAST, _MOST)
        trust = apart.div_(agree).square_().mul_(-0.5).exp_().mul_(trust)
        # To the power of 1.5; a general power takes ten times as long.
        share = sharper.mul_(sharper.sqrt()).mul_(self.amount).clamp_(max=_SHARE).mul_(trust)
        steady = torch.addcmul(image, difference, share)
        return steady, {"steady": _kept(steady)}


def _kept(image: Tensor) -> Tensor:
    """A frame as it is remembered: in half the bytes, and channels last, as OpenCV wants it."""
    kept = torch.empty_like(image, dtype=torch.half, memory_format=torch.channels_last)
    return kept.copy_(image)


def _moved(past: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """The trust, (1, 1, H, W), and the past moved to where the picture is now."""
    if past.device.type != "cpu":
        return _moved_by_torch(past, motion)
    height, width = past.shape[2:]
    rows, columns = motion.trust.shape
    multiply: Any = cv2.multiply  # takes a number for each channel, which its types do not know
    scaled = multiply(motion.back, (width / columns, height / rows, 0, 0))
    back = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    trust = cv2.resize(motion.trust, (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = past[0].permute(1, 2, 0).contiguous().numpy()
    moved = look_up(rgb, np.asarray(back, np.float32), cv2.INTER_CUBIC)
    planes = torch.from_numpy(moved).permute(2, 0, 1)[None].contiguous()
    return torch.from_numpy(trust)[None, None], planes


def _moved_by_torch(past: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """The same where frames stay on a GPU; OpenCV is five times as fast on a CPU."""
    height, width = past.shape[2:]
    rows, columns = motion.trust.shape
    flow = sent(motion.back, past.device).permute(2, 0, 1)[None]
    flow = F.interpolate(flow, (height, width), mode="bilinear")
    trust = sent(motion.trust, past.device)[None, None]
    trust = F.interpolate(trust, (height, width), mode="bilinear")
    # In units of the grid, whose corners -1 and 1 are the outer edges of the picture.
    y, x = torch.meshgrid(
        (2 * torch.arange(height, device=past.device) + 1) / height - 1,
        (2 * torch.arange(width, device=past.device) + 1) / width - 1,
        indexing="ij",
    )
    grid = torch.stack([x + flow[0, 0] * (2 / columns), y + flow[0, 1] * (2 / rows)], dim=-1)
    moved = F.grid_sample(
        past, grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )
    return trust, moved


def _detail(image: Tensor) -> Tensor:
    """How much detail there is around each pixel, (1, 1, H, W)."""
    light = luma(image)
    return _mean(light.sub_(_mean(light, 5)).abs_(), 7)


def _smooth(plane: Tensor) -> Tensor:
    """(1, 1, H, W) without its finest grain."""
    return _mean(_mean(plane, 3), 3)


def _mean(plane: Tensor, size: int) -> Tensor:
    """The mean around each pixel of (1, 1, H, W), over `size` times `size` of them."""
    if plane.device.type == "cpu":  # ten times as fast as torch's
        array = np.ascontiguousarray(plane[0, 0].numpy())
        means = cv2.blur(array, (size, size), borderType=cv2.BORDER_REPLICATE)
        return torch.from_numpy(means)[None, None]
    margin = size // 2
    padded = F.pad(plane, (margin, margin, margin, margin), mode="replicate")
    return F.avg_pool2d(padded, size, stride=1)
