"""Before and after side by side, as pictures, video and stills."""

import math
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from typing import Literal

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from stream.ipc.mailbox import Picture, Plane, Size
from stream.live.encoding.video import Quality, VideoEncoder, frame_of
from stream.live.output.slate import square_size

MOST_PIXELS = 1280 * 720
"""Of each of both in the video; stills have all of theirs."""
_QUALITY = Quality(crf=22, preset="superfast", profile="baseline")
"""What all browsers decode, and what costs little: the cores are the network's."""
_JPEG, _JPEG_STILL = 85, 92
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

Pair = tuple[Picture, Picture]
"""Before and after, of one moment."""


def shown_size(after: Picture) -> Size:
    """How large each of both is in the video, where pixels are as wide as high."""
    width, height = square_size(*after.shape)
    scale = min(1.0, math.sqrt(MOST_PIXELS / (width * height)))
    return (width, height) if scale == 1.0 else (_even(width * scale), _even(height * scale))


def side_by_side(pair: Pair, size: Size) -> Picture:
    """One picture with before on its left and after on its right, each as large as `size`."""
    before, after = (_scaled(each, size) for each in pair)
    width, height = size
    data = np.empty((height * 3 // 2, 2 * width), np.uint8)
    joined = replace(pair[1], data=data, aspect=Fraction(1))
    for whole, left, right in zip(joined.planes, before, after, strict=True):
        half = left.shape[1]
        whole[:, :half], whole[:, half:] = left, right
    return joined


class Pairs:
    """Encodes pairs for those who watch; for one thread at a time."""

    def __init__(self) -> None:
        self._encoder: VideoEncoder | None = None
        self._container = av.open(BytesIO(), "w", format="h264")
        self._form: tuple[Size, tuple[int, int, int, int]] | None = None
        self._reformatter = VideoReformatter()

    def video(self, joined: Picture) -> list["av.Packet[av.VideoStream]"]:
        """H.264 as RTP wants it, each key frame with all that is needed to begin there."""
        form = joined.size, joined.tags
        if self._encoder is None or form != self._form:
            self._container = av.open(BytesIO(), "w", format="h264")
            self._encoder = VideoEncoder(self._container, joined, _QUALITY)
            self._form = form
        return self._encoder.encode(joined)

    def key(self) -> None:
        """Have the next frame be one to begin with, soon."""
        if self._encoder is not None:
            self._encoder.key()

    def jpeg(self, joined: Picture) -> bytes:
        """The pair as JPEG."""
        return _encoded(".jpg", self._bgr(joined), cv2.IMWRITE_JPEG_QUALITY, _JPEG)

    def png(self, pair: Pair) -> bytes:
        """The pair without loss, both as large as after."""
        before, after = (self._bgr(each) for each in pair)
        height, width = after.shape[:2]
        if before.shape != after.shape:
            larger = cv2.resize(before, (width, height), interpolation=cv2.INTER_CUBIC)
            before = np.asarray(larger, np.uint8)
        return _encoded(".png", np.hstack([before, after]), cv2.IMWRITE_PNG_COMPRESSION, 3)

    def one(self, pair: Pair, show: Literal["before", "after"]) -> bytes:
        """One of both alone, as JPEG."""
        picture = pair[0] if show == "before" else pair[1]
        return _encoded(".jpg", self._bgr(picture), cv2.IMWRITE_JPEG_QUALITY, _JPEG_STILL)

    def _bgr(self, picture: Picture) -> NDArray[np.uint8]:
        code = picture.tags.swscale_of(*picture.size)
        width, height = square_size(*picture.shape)
        made = self._reformatter.reformat(
            frame_of(picture),
            width,
            height,
            format="bgr24",
            src_colorspace=code,
            src_color_range=2 if picture.tags.full else 1,
            dst_color_range=2,
            interpolation=_EXACT,
            threads=1,
        )
        return np.asarray(made.to_ndarray(), np.uint8)


def _scaled(picture: Picture, size: Size) -> tuple[Plane, ...]:
    if picture.size == size:
        return picture.planes
    made = []
    for plane, part in zip(picture.planes, (1, 2, 2), strict=True):
        wanted = size[0] // part, size[1] // part
        how = cv2.INTER_AREA if wanted[0] < plane.shape[1] else cv2.INTER_CUBIC
        made.append(np.asarray(cv2.resize(plane, wanted, interpolation=how), np.uint8))
    return tuple(made)


def _encoded(kind: str, picture: NDArray[np.uint8], *settings: int) -> bytes:
    _, data = cv2.imencode(kind, picture, settings)
    return bytes(data)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)
