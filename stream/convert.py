"""Where PyAV's objects end: decoded frames to `Frame` and back."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from filters import Coding
from stream.frame import Frame, Plane
from stream.orientation import Orientation

# AVColorSpace (ITU-T H.273, table 4) to the names of filters.color.
_MATRICES = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
UNSPECIFIED = 2
"""The code for "not said" of matrix, primaries and transfer."""

_PLANAR = re.compile(r"(?:yuvj?(420|422|444)p|gray)(9|10|12|14|16)?(?:le)?$")


@dataclass(frozen=True)
class Tags:
    """What the file says of its colors, as the codes of ITU-T H.273; copied to the output."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0
    """0 not said, 1 limited, 2 full (FFmpeg's AVColorRange)."""


def tags_of(frame: av.VideoFrame) -> Tags:
    """A decoded frame's color tags; those of an RGB frame are the ones it is converted to."""
    if frame.format.is_rgb or frame.format.has_palette:
        large = frame.width >= 1280 or frame.height > 576
        return Tags(
            matrix=1 if large else 6,
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
            range=1,
        )
    full = frame.format.name.startswith("yuvj")
    return Tags(
        matrix=int(frame.colorspace),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        range=2 if full else int(frame.color_range),
    )


def coding_of(pix_fmt: str, tags: Tags, width: int, height: int) -> Coding:
    """How the planes of a planar format are coded, deciding what the file did not say.

    Players' rule for files without tags: BT.709 from 1280 wide or above 576 high, BT.601 below
    (as mpv decides); limited range.
    """
    match = _PLANAR.match(pix_fmt)
    if match is None:
        raise ValueError(f"{pix_fmt} is not a planar format")
    guess = "bt709" if width >= 1280 or height > 576 else "bt601"
    subsampling = {"420": (2, 2), "422": (2, 1), "444": (1, 1), None: (1, 1)}[match[1]]
    return Coding(
        matrix=_MATRICES.get(tags.matrix, guess),
        full_range=tags.range == 2,
        depth=int(match[2] or 8),
        subsampling=subsampling,
        gray=match[1] is None,
    )


def pix_fmt_of(coding: Coding) -> str:
    """FFmpeg's name of the planar format with this coding."""
    bits = f"{coding.depth}le" if coding.depth > 8 else ""
    if coding.gray:
        return f"gray{bits}"
    return {(2, 2): "yuv420p", (2, 1): "yuv422p", (1, 1): "yuv444p"}[coding.subsampling] + bits


def planar_format(format: av.VideoFormat) -> str:
    """The planar format that holds the given one without loss (RGB and alpha apart)."""
    if _PLANAR.match(format.name):
        return format.name
    depth = max((component.bits for component in format.components), default=8)
    depth = min((known for known in (8, 10, 12, 16) if known >= depth), default=16)
    bits = f"{depth}le" if depth > 8 else ""
    if len(format.components) <= 2 and not format.has_palette:
        return f"gray{bits}"
    if format.is_rgb or format.has_palette or format.chroma_width(16) == 16:
        return f"yuv444p{bits}"
    return ("yuv420p" if format.chroma_height(16) == 8 else "yuv422p") + bits


class Unpacker:
    """Decoded frames to `Frame`, all with the size and format of the first one.

    A stream may change its size or format on the way; what comes after the first frame is
    brought to that one's, as players do, and `rescaled` counts it.
    """

    def __init__(self, first: av.VideoFrame, turn: Orientation | None = None) -> None:
        """`turn` is applied to the pictures, where it is given."""
        self.rescaled = 0
        self._reformatter = VideoReformatter()
        self._turn = turn
        self._size = first.width, first.height
        self._tags = tags_of(first)
        self._pix_fmt = planar_format(first.format)
        coding = coding_of(self._pix_fmt, self._tags, *self._size)
        if turn is not None and turn.transposed and coding.subsampling == (2, 1):
            # Turned, it would have all of its chroma across and half of it down.
            coding = replace(coding, subsampling=(1, 1))
            self._pix_fmt = pix_fmt_of(coding)
        self.coding = coding

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        width, height = self._size
        return (height, width) if self._turn is not None and self._turn.transposed else self._size

    def unpack(self, decoded: av.VideoFrame, pts: int, time_base: Fraction) -> Frame:
        width, height = self._size
        if (decoded.width, decoded.height) != self._size:
            self.rescaled += 1
        if (decoded.width, decoded.height) != self._size or decoded.format.name != self._pix_fmt:
            decoded = self._reformatter.reformat(
                decoded, width, height, self._pix_fmt, threads=1, **self._rgb_to_yuv(decoded)
            )
        planes = planes_of(decoded, self.coding)
        if self._turn is not None:
            planes = tuple(self._turn.apply(plane) for plane in planes)
        return Frame(planes, self.coding, pts, time_base)

    def _rgb_to_yuv(self, decoded: av.VideoFrame) -> dict[str, int]:
        if not (decoded.format.is_rgb or decoded.format.has_palette):
            return {}
        # swscale would use BT.601 whatever the size. Its own codes: 1 is BT.709, 5 is BT.601.
        return {"dst_colorspace": 1 if self._tags.matrix == 1 else 5, "dst_color_range": 1}


def planes_of(decoded: av.VideoFrame, coding: Coding) -> tuple[Plane, ...]:
    """Copy the planes of a planar frame out of FFmpeg's memory."""
    dtype = np.uint8 if coding.depth == 8 else np.uint16
    planes = []
    for plane in decoded.planes:
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        planes.append(np.ascontiguousarray(rows[:, : plane.width]))
    return tuple(planes)


def to_av(frame: Frame) -> av.VideoFrame:
    """A frame for an encoder, with the picture type left to it."""
    made = av.VideoFrame(frame.width, frame.height, pix_fmt_of(frame.coding))
    for plane, data in zip(made.planes, frame.planes, strict=True):
        rows = np.frombuffer(memoryview(plane), data.dtype).reshape(plane.height, -1)
        rows[:, : plane.width] = data
    made.pts = frame.pts
    made.time_base = frame.time_base
    return made
