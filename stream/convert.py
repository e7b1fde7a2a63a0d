"""Where PyAV's objects end: decoded frames to `Frame` and back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from filters import Coding, codes_of, recode
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
_SWSCALE = {"bt709": 1, "fcc": 4, "bt601": 5, "smpte240m": 7, "bt2020": 9}
"""swscale's own codes."""
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
    if _is_rgb(frame.format):
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
    if _is_rgb(format) or format.chroma_width(16) == 16:
        return f"yuv444p{bits}"
    return ("yuv420p" if format.chroma_height(16) == 8 else "yuv422p") + bits


class Unpacker:
    """Decoded frames to `Frame`, all with the size, format and coding of the first one.

    A stream may change them on the way; what comes after the first frame is brought to that one's,
    as players do; `rescaled` counts those of another size, `recoded` others. Alpha is left out.
    """

    def __init__(self, first: av.VideoFrame, turn: Orientation | None = None) -> None:
        """`turn` is applied to the pictures, where it is given."""
        self.rescaled = self.recoded = 0
        self._form = _form(first)
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
        self._plain = first.format.name == self._pix_fmt
        """Whether frames like the first one need not be reformatted."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        width, height = self._size
        return (height, width) if self._turn is not None and self._turn.transposed else self._size

    def unpack(self, decoded: av.VideoFrame, pts: int, time_base: Fraction) -> Frame:
        """A decoded frame in the first one's form, shown at `pts`."""
        resized = (decoded.width, decoded.height) != self._size
        changed = not resized and _form(decoded) != self._form
        damaged = decoded.is_corrupt
        self.rescaled += resized
        self.recoded += changed
        if _is_rgb(decoded.format):
            planes = self._from_rgb(decoded)
        else:
            if resized or changed or not self._plain:
                decoded = _reformat(
                    self._reformatter, decoded, self._size, self._pix_fmt, self.coding
                )
            planes = planes_of(decoded, self.coding)
        if self._turn is not None:
            planes = tuple(self._turn.apply(plane) for plane in planes)
        return Frame(planes, self.coding, pts, time_base, damaged=damaged)

    def _from_rgb(self, decoded: av.VideoFrame) -> tuple[Plane, ...]:
        # swscale is up to 3 codes off in 10 bits; from one form of RGB to another it is exact.
        bits = f"{self.coding.depth}le" if self.coding.depth > 8 else ""
        decoded = self._reformatter.reformat(decoded, *self._size, f"gbrp{bits}", threads=1)
        green, blue, red = planes_of(decoded, replace(self.coding, gray=False))
        return tuple(codes_of(np.stack([red, green, blue]), self.coding))


def to_planar(decoded: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """A frame in the planar format that holds it without loss; RGB stays what it is."""
    form = planar_format(decoded.format)
    if _is_rgb(decoded.format) or decoded.format.name == form:
        return decoded
    return _reformat(reformatter, decoded, (decoded.width, decoded.height), form, _own(decoded))


def _reformat(
    reformatter: VideoReformatter,
    decoded: av.VideoFrame,
    size: tuple[int, int],
    pix_fmt: str,
    wanted: Coding,
) -> av.VideoFrame:
    own = _own(decoded)
    # Told nothing, swscale would make yuvj formats limited whatever they are tagged.
    return reformatter.reformat(
        decoded,
        *size,
        pix_fmt,
        src_colorspace=_SWSCALE[own.matrix],
        dst_colorspace=_SWSCALE[wanted.matrix],
        src_color_range=2 if own.full_range else 1,
        dst_color_range=2 if wanted.full_range else 1,
        threads=1,
    )


def _form(decoded: av.VideoFrame) -> tuple[str, int, int]:
    """How a frame is stored and coded, as far as it says."""
    return decoded.format.name, decoded.colorspace, decoded.color_range


def _own(decoded: av.VideoFrame) -> Coding:
    """How the planes of a frame are coded, once they are planar."""
    form = planar_format(decoded.format)
    return coding_of(form, tags_of(decoded), decoded.width, decoded.height)


def _is_rgb(format: av.VideoFormat) -> bool:
    return bool(format.is_rgb or format.has_palette)


def planes_of(decoded: av.VideoFrame, coding: Coding) -> tuple[Plane, ...]:
    """Copy the planes out of FFmpeg's memory, of a frame that is planar or in one of its `packed`
    forms."""
    shift = _shift(decoded.format.name, coding)
    planes: list[Plane] = []
    for rows, width, pair in _rows(decoded, coding):
        for first in range(pair):
            plane = rows[:, first : pair * width : pair]
            planes.append(np.ascontiguousarray(plane >> shift if shift else plane))
    return tuple(planes)


def packed(pix_fmt: str) -> frozenset[str]:
    """The formats that hold the codes of a planar one in another form: with U and V in one plane,
    or in the upper bits of 16. So GPUs give frames, and take them."""
    return _PACKED.get(pix_fmt.replace("yuvj", "yuv"), frozenset())


_PACKED = {
    "yuv420p": frozenset({"nv12"}),
    "yuv422p": frozenset({"nv16"}),
    "yuv444p": frozenset({"nv24"}),
    "yuv420p10le": frozenset({"p010le", "p016le"}),
    "yuv420p12le": frozenset({"p012le", "p016le"}),
    "yuv420p16le": frozenset({"p016le"}),
    "yuv422p10le": frozenset({"p210le", "p216le"}),
    "yuv422p12le": frozenset({"p212le", "p216le"}),
    "yuv422p16le": frozenset({"p216le"}),
    "yuv444p10le": frozenset({"p410le", "p416le", "yuv444p10msble", "yuv444p16le"}),
    "yuv444p12le": frozenset({"p412le", "p416le", "yuv444p12msble", "yuv444p16le"}),
    "yuv444p16le": frozenset({"p416le"}),
}


def _shift(format: str, coding: Coding) -> int:
    """How many bits are below the codes in a packed form."""
    return 16 - coding.depth if coding.depth > 8 and format in packed(pix_fmt_of(coding)) else 0


def _rows(frame: av.VideoFrame, coding: Coding) -> Iterator[tuple[NDArray[Any], int, int]]:
    """Of each of FFmpeg's planes, the rows in its memory, the width in samples, and how many
    planes of ours lie in it side by side."""
    dtype = np.uint8 if coding.depth == 8 else np.uint16
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        yield rows, plane.width, 2 if index == 1 and len(frame.planes) == 2 else 1


def recoded(frame: Frame, coding: Coding) -> Frame:
    """A frame in another coding of the same matrix and range, for an encoder that needs it."""
    return replace(frame, planes=tuple(recode(frame.planes, frame.coding, coding)), coding=coding)


def to_av(frame: Frame, tags: Tags, pix_fmt: str | None = None) -> av.VideoFrame:
    """A frame for an encoder, with the picture type left to it.

    `pix_fmt` is the planar format of the frame's coding or one of its `packed` forms.
    """
    made = av.VideoFrame(frame.width, frame.height, pix_fmt or pix_fmt_of(frame.coding))
    shift = _shift(made.format.name, frame.coding)
    planes = iter(frame.planes)
    for rows, width, pair in _rows(made, frame.coding):
        for first in range(pair):
            rows[:, first : pair * width : pair] = next(planes) << shift
    # ProRes tells the colors of each frame, and takes them from there.
    made.colorspace, made.color_range = tags.matrix, tags.range
    made.color_primaries, made.color_trc = tags.primaries, tags.transfer
    made.pts = frame.pts
    made.time_base = frame.time_base
    return made
