"""An upscaler as one function from picture to picture, for what runs whole networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.coding import LUMA
from filters.color import luma
from filters.sampling import FACTOR, PHASES, interpolate, mirrored
from filters.upscale import BEYOND, MARGIN, Enlarging, UpscalerNet, range_around


class Whole(nn.Module):
    """What an `Upscaler` makes, without its strips: (N, 3, H, W) R'G'B' in 0..1, H and W from
    6 up, to (N, 3, 3H, 3W)."""

    def __init__(self, net: UpscalerNet) -> None:
        super().__init__()
        self.enlarging = Enlarging(net)

    def forward(self, image: Tensor) -> Tensor:
        low = mirrored(image, MARGIN)
        light = luma(low)
        colors = torch.cat([low[:, :1] - light, low[:, 2:] - light], dim=1)
        dtype = self.enlarging.net.slope.dtype
        y = _inner(self.enlarging(light)).float() + _inner(light)
        change = _inner(interpolate(colors, dtype)).float()
        least, most = (_inner(limit) for limit in range_around(colors))
        red, blue = (
            torch.clamp(
                _inner(colors)[:, index : index + 1]
                + change[:, PHASES * index : PHASES * (index + 1)],
                least[:, index : index + 1] - BEYOND,
                most[:, index : index + 1] + BEYOND,
            )
            for index in range(2)
        )
        kr, kb = LUMA["bt601"]
        green = y - red * (kr / (1 - kr - kb)) - blue * (kb / (1 - kr - kb))
        return F.pixel_shuffle(torch.cat([red + y, green, blue + y], dim=1).clamp(0, 1), FACTOR)


def _inner(picture: Tensor) -> Tensor:
    """All but the margin."""
    return picture[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
