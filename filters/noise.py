"""How much noise there is, told by frames that show the same."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_CELL = 16
"""Side of the regions in which noise is estimated."""
_QUIET = 0.25
"""The share of such regions that are free of anything but noise."""
_GAIN = 1.5 * 36
"""Variance of the Laplacian of a difference per variance of the noise in either frame: 36, the sum
of the squared coefficients, once for the frame and about half for what was interpolated."""
_ROUNDING = 0.25 / 255**2
"""Variance that is no noise: what rounding to 8 bits, and looking up between pixels, add."""
_QUIETEST = 0.1
"""The share of regions that tell whether there is noise at all, ..."""
_TEXTURE, _NOISE = 0.5, 1.2
"""... by what differs between frames as a share of what there is in one: of noise 1.2 or more."""
LEVELS = 6
"""Brightnesses at which noise is estimated."""
_FEW = 24
"""Regions of a brightness that are too few to estimate its noise by."""


def noise_of(luma: Tensor, apart: Tensor) -> Tensor | None:
    """The variance of the noise in a frame by brightness, (6,), from black to white.

    `luma` is (h, w), `apart` (K, h, w) as in `fuse`. It is told by what remains of differences
    between registered frames at the highest frequencies, in the quietest regions: what moves, and
    what could not be registered well, is loud there and not taken for noise. None where it is no
    more than rounding.
    """
    # Strips of cells, with what is between them left out: a quarter of the work tells as much.
    height, width = luma.shape[0] - 2, (luma.shape[1] - 2) // _CELL * _CELL
    tops = range(0, height - _CELL + 1, _CELL * max(1, min(4, height // (4 * _CELL))))
    if not tops or not width:
        return None
    pieces = [slice(top, top + _CELL + 2) for top in tops]
    across = [_rough(apart[:, piece, : width + 2]) for piece in pieces]
    own = [_rough(luma[None, piece, : width + 2]) for piece in pieces]
    inner = [luma[None, piece, : width + 2][:, 1:-1, 1:-1] for piece in pieces]
    # Of each cell the median over neighbors: one that repeats the frame tells nothing.
    loud = _means(across).median(0).values
    texture, light = _means(own)[0], _means(inner)[0]
    # Where neighbors are not trusted, or a coder repeated the picture, nothing is to be told.
    seen = loud > 0
    loud, texture, light = loud[seen], texture[seen], light[seen]
    if len(loud) < _FEW:
        return None
    # Noise is all that there is in the quietest cells, and differs from frame to frame. Texture
    # that could not be registered well differs as well, but by less than there is of it.
    quietest = loud <= loud.kthvalue(int(_QUIETEST * (len(loud) - 1)) + 1).values
    ratio = float((loud[quietest] / texture[quietest].clamp(min=1e-12)).median())
    sure = min(max((ratio - _TEXTURE) / (_NOISE - _TEXTURE), 0.0), 1.0)
    if not sure:
        return None
    usual = _quiet(loud)
    levels = torch.linspace(0, 1, LEVELS, device=luma.device)
    found = []
    for level in levels:
        like = loud[(light - level).abs() < 1 / LEVELS]
        # Noise in a brightness that hardly occurs is that of the others.
        found.append(_quiet(like) if len(like) >= _FEW else usual)
    variance = (sure * torch.stack(found) / _GAIN - _ROUNDING).clamp_(min=0)
    return variance if float(variance.max()) > 0 else None


def _rough(apart: Tensor) -> Tensor:
    """The squared Laplacian of (K, h, w), without its margin of a pixel."""
    down = apart[:, :-2] + apart[:, 2:] - 2 * apart[:, 1:-1]
    across = down[:, :, :-2] + down[:, :, 2:] - 2 * down[:, :, 1:-1]
    return across.square_()


def _means(strips: Sequence[Tensor]) -> Tensor:
    """(K, cells): the means over cells of strips, each (K, 16, w)."""
    whole = torch.stack(list(strips), dim=1)
    return F.avg_pool2d(whole, _CELL).flatten(1)


def _quiet(loud: Tensor) -> Tensor:
    return loud.kthvalue(int(_QUIET * (len(loud) - 1)) + 1).values
