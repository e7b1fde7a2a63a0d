"""Where PyAV's pictures end in a live feed: any decoded frame to planar 4:2:0 in 8 bits."""

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from stream.colors import FULL, LIMITED, is_gray, is_rgb, tags_of
from stream.ipc.mailbox import Plane


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
        code = tags.swscale_of(frame.width, frame.height)
        # To swscale all gray is full, so that only to full it stays what it is; told nothing, it
        # would make yuvj formats limited whatever they are tagged.
        full = tags.full or is_gray(frame.format)
        return self._reformatter.reformat(
            frame,
            width,
            height,
            "yuv420p",
            src_colorspace=code,
            dst_colorspace=code,
            src_color_range=FULL if full or is_rgb(frame.format) else LIMITED,
            dst_color_range=FULL if full else LIMITED,
            threads=1,
        )
