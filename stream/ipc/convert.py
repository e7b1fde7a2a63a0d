"""Where PyAV's pictures end in a live feed: any decoded frame to planar 4:2:0 in 8 bits."""

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from stream.ipc.mailbox import Plane

Tags = tuple[int, int, int, int]
"""As `Picture.tags`."""

_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix codes of ITU-T H.273 to those of swscale."""
_BT709, _BT601 = 1, 6
_UNSPECIFIED = 2
_LIMITED, _FULL = 1, 2


def tags_of(frame: av.VideoFrame) -> Tags:
    """A decoded frame's color tags, as `stream.media.convert.tags_of` has them."""
    if _is_rgb(frame.format):
        matrix = _guess(frame.width, frame.height)
        return matrix, int(frame.color_primaries), int(frame.color_trc), _LIMITED
    name = frame.format.name
    full = name.startswith(("yuvj", "mono"))
    full = full or (int(frame.color_range) == 0 and _is_gray(frame.format))
    return (
        int(frame.colorspace) or _UNSPECIFIED,
        int(frame.color_primaries),
        int(frame.color_trc),
        _FULL if full else int(frame.color_range),
    )


def swscale_matrix(tags: Tags, width: int, height: int) -> int:
    """The matrix of a picture as swscale counts them, as players guess it where nothing is said."""
    return _SWSCALE.get(tags[0]) or _SWSCALE[_guess(width, height)]


def is_full(tags: Tags) -> bool:
    """Whether codes use their full range."""
    return tags[3] == _FULL


class Unpacker:
    """Decoded frames of one connection to the planes of a `Picture`."""

    def __init__(self) -> None:
        # It keeps up to 15 MB for each form of frames that it has seen.
        self._reformatter = VideoReformatter()

    def unpack(self, frame: av.VideoFrame) -> Plane:
        """(H * 3 / 2, W) as `Picture.data`; an odd row or column at the end is left out."""
        width, height = max(2, frame.width & ~1), max(2, frame.height & ~1)
        tiny = frame.width < 2 or frame.height < 2
        if tiny or frame.format.name not in ("yuv420p", "yuvj420p"):
            frame = self._planar(frame, max(2, frame.width), max(2, frame.height))
        data = np.empty((height * 3 // 2, width), np.uint8)
        flat, start = data.reshape(-1), 0
        for plane, part in zip(frame.planes, (1, 2, 2), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            shape = height // part, width // part
            end = start + shape[0] * shape[1]
            flat[start:end].reshape(shape)[:] = rows[: shape[0], : shape[1]]
            start = end
        return data

    def _planar(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        tags = tags_of(frame)
        code, full = swscale_matrix(tags, frame.width, frame.height), is_full(tags)
        # To swscale all gray is full, so that only to full it stays what it is; told nothing, it
        # would make yuvj formats limited whatever they are tagged.
        gray = _is_gray(frame.format)
        return self._reformatter.reformat(
            frame,
            width,
            height,
            "yuv420p",
            src_colorspace=code,
            dst_colorspace=code,
            src_color_range=_FULL if full or gray or _is_rgb(frame.format) else _LIMITED,
            dst_color_range=_FULL if full or gray else _LIMITED,
            threads=1,
        )


def _guess(width: int, height: int) -> int:
    """Players' rule for what does not say its matrix."""
    return _BT709 if width >= 1280 or height > 576 else _BT601


def _is_gray(format: av.VideoFormat) -> bool:
    return len(format.components) <= 2 and not _is_rgb(format)


def _is_rgb(format: av.VideoFormat) -> bool:
    return bool(format.is_rgb or format.has_palette)
