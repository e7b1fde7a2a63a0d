"""What players show of a picture, coarsely: whether blacks, whites and colors are in place."""

from typing import Final, TypeAlias

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from stream.media.convert import FATAL

Seen: TypeAlias = NDArray[np.float32]
"""(4, 8, 8): red, green, blue and opacity from 0 to 1, means of what lies there."""

_SIDE, _FINE = 8, 64
"""How many fields there are on each side, and samples in between: swscale places those of other
formats a little elsewhere, which must not count."""
_SWSCALE: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix codes of ITU-T H.273 to those of swscale."""
_ALIKE, _FLAT = 0.95, 0.06
"""Pictures that agree less are of other moments, or moved; ones that vary less say nothing."""
_OFF, _STRETCHED = 0.04, 0.1
"""By how much means, and contrast, may differ: encoding and what is restored change less."""


def seen(frame: av.VideoFrame, reformatter: VideoReformatter) -> Seen | None:
    """What a player shows of a frame; None of a format that cannot be converted.

    It shares no rule with `stream.media.convert`, so that a mistake there is seen: FFmpeg's own
    conversion, with what is not said decided as players do.
    """
    form = frame.format
    rgb = form.is_rgb or form.has_palette
    gray = len(form.components) <= 2 and not rgb
    large = frame.width >= 1280 or frame.height > 576
    matrix = _SWSCALE.get(int(frame.colorspace), 1 if large else 5)
    full = rgb or form.name.startswith("yuvj") or frame.color_range == 2
    if form.name in FATAL:
        return None
    mono = form.name in ("monob", "monow")
    try:
        if mono:  # which swscale makes smaller and darker at once
            frame = reformatter.reformat(frame, format="gray", threads=1)
        small = reformatter.reformat(
            *(frame, _FINE, _FINE, "rgba64le", matrix, matrix),
            interpolation=Interpolation.AREA,
            src_color_range=2 if full else 1,
            dst_color_range=2,
            threads=1,
        )
    except (av.error.FFmpegError, ValueError):
        return None
    each = _FINE // _SIDE
    fine = small.to_ndarray().astype(np.float32).reshape(_SIDE, each, _SIDE, each, 4)
    codes: Seen = fine.mean(axis=(1, 3)) / np.float32(65535)
    if gray and not mono and frame.color_range == 1:
        # To swscale all gray is full.
        codes[..., :3] = (codes[..., :3] * 255 - 16) / 219
    return np.moveaxis(codes, 2, 0)


def span(values: Seen) -> str:
    """In codes of 8 bits, from the least to the greatest."""
    low, high = (round(float(each) * 255) for each in (values.min(), values.max()))
    return f"{low}..{high}"


def mean(colors: Seen) -> str:
    """Red, green and blue on average, in codes of 8 bits."""
    return " ".join(f"{round(float(each.mean()) * 255)}" for each in colors)


def tinted(one: Seen, two: Seen) -> bool:
    """Whether colors of the same picture are others on average."""
    return _alike(one, two) and float(np.abs((one - two).mean(axis=(1, 2))).max()) > _OFF


def stretched(one: Seen, two: Seen) -> bool:
    """Whether values of the same picture are darker, brighter, or have another contrast."""
    off = abs(float(one.mean() - two.mean())) > _OFF
    low, high = sorted((float(one.std()), float(two.std())))
    if high < _FLAT:
        return off
    return _alike(one, two) and (off or low < high * (1 - _STRETCHED))


def _alike(one: Seen, two: Seen) -> bool:
    """Whether it is the same picture, or one that is too flat to tell."""
    if min(float(one.std()), float(two.std())) < _FLAT:
        return True
    return float(np.corrcoef(one.ravel(), two.ravel())[0, 1]) > _ALIKE
