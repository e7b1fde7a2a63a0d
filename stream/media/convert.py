"""Where PyAV's objects end: decoded frames to `Frame` and back."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

import filters
from filters import Coding
from stream.colors import SWSCALE, ColorTags, is_gray, is_rgb, tags_of
from stream.errors import SourceError
from stream.frame import Frame, Plane
from stream.media.orientation import Orientation

FATAL = {"yaf32be", "yaf32le"}
"""Formats from which swscale cannot convert and, instead of saying so, ends the process."""
_PLANAR = re.compile(r"(?:yuvj?(420|422|444)p|gray)(9|10|12|14|16)?(?:le)?$")
_WITH_ALPHA = re.compile(r"yuva(420|422|444)p(9|10|12|14|16)?(?:le)?$")


def coding_of(pix_fmt: str, tags: ColorTags, width: int, height: int) -> Coding:
    """How the planes of a planar format are coded, deciding what the file did not say: the matrix
    as `ColorTags.matrix_of` does, and limited range."""
    match = _PLANAR.match(pix_fmt)
    if match is None:
        raise ValueError(f"{pix_fmt} is not a planar format")
    subsampling = {"420": (2, 2), "422": (2, 1), "444": (1, 1), None: (1, 1)}[match[1]]
    return Coding(
        matrix=tags.matrix_of(width, height),
        full_range=tags.full,
        depth=int(match[2] or 8),
        subsampling=subsampling,
        gray=match[1] is None,
    )


def pix_fmt_of(coding: Coding) -> str:
    """FFmpeg's name of the planar format with this coding."""
    bits = f"{coding.depth}le" if coding.depth > 8 else ""
    if coding.gray:
        return f"gray{bits}"
    chroma = {(2, 2): "420p", (2, 1): "422p", (1, 1): "444p"}[coding.subsampling]
    return ("yuva" if coding.alpha else "yuv") + chroma + bits


def planar_format(format: av.VideoFormat) -> str:
    """The planar format that holds the given one without loss (RGB and alpha apart)."""
    if _PLANAR.match(format.name):
        return format.name
    bits_of = [component.bits for component in format.components]
    # A sensor's mosaic shares a sample's bits out among the colors.
    depth = sum(bits_of) if format.name.startswith("bayer_") else max(bits_of, default=8)
    depth = min((known for known in (8, 10, 12, 16) if known >= depth), default=16)
    bits = f"{depth}le" if depth > 8 else ""
    if is_gray(format):
        return f"gray{bits}"
    if is_rgb(format) or format.chroma_width(16) == 16:
        return f"yuv444p{bits}"
    return ("yuv420p" if format.chroma_height(16) == 8 else "yuv422p") + bits


class Unpacker:
    """Decoded frames to `Frame`, all with the size, format and coding of the first one.

    A stream may change them on the way; what comes after the first frame is brought to that one's,
    as players do; `rescaled` counts those of another size, `recoded` others.
    """

    def __init__(
        self, first: av.VideoFrame, turn: Orientation | None = None, *, alpha: bool = False
    ) -> None:
        """`turn` is applied to the pictures, where it is given. Without `alpha` that is left out;
        with it, frames that have none are opaque."""
        self.rescaled = self.recoded = 0
        self.transparent = False
        """Whether a frame so far was, somewhere."""
        _, *self._colors = _form(first)
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
        self.coding = replace(coding, alpha=alpha)
        self._plain = {self._pix_fmt, *packed(self._pix_fmt)}
        if not coding.gray:
            self._plain.add(self._pix_fmt.replace("yuv", "yuva").replace("yuvaj", "yuva"))
        """Formats that hold the codes as they are, if size, matrix and range fit as well."""
        if first.format.name not in self._plain:
            self._try(first.format.name)
        self._same = self._plain if first.format.name in self._plain else {first.format.name}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        width, height = self._size
        return (height, width) if self._turn is not None and self._turn.transposed else self._size

    def _try(self, name: str) -> None:
        """Raise a `SourceError` where FFmpeg cannot convert from a format."""
        rgb = is_rgb(av.VideoFormat(name))
        try:
            if name in FATAL:
                raise av.error.InvalidDataError(0, name)
            self._reformatter.reformat(
                av.VideoFrame(16, 16, name), format="gbrp" if rgb else self._pix_fmt, threads=1
            )
        except av.error.FFmpegError as error:
            raise SourceError(
                f"its pictures are stored as {name}, which cannot be converted here; "
                "make them another pixel format first"
            ) from error

    def unpack(self, decoded: av.VideoFrame, pts: int, time_base: Fraction) -> Frame:
        """A decoded frame in the first one's form, shown at `pts`."""
        resized = (decoded.width, decoded.height) != self._size
        changed = not resized and self._changed(decoded)
        damaged = decoded.is_corrupt
        self.rescaled += resized
        self.recoded += changed
        if not self.transparent:
            self.transparent = opacity(decoded, self._reformatter) < 1
        alpha = self._alpha(decoded) if self.coding.alpha else None
        if is_rgb(decoded.format):
            planes = self._from_rgb(decoded)
        else:
            if resized or changed or decoded.format.name not in self._plain:
                decoded = _reformat(
                    self._reformatter, decoded, self._size, self._pix_fmt, self.coding
                )
            planes = planes_of(decoded, self.coding)
        if self._turn is not None:
            planes = tuple(self._turn.apply(plane) for plane in planes)
            alpha = None if alpha is None else self._turn.apply(alpha)
        return Frame(planes, self.coding, pts, time_base, alpha, damaged=damaged)

    def _changed(self, decoded: av.VideoFrame) -> bool:
        """Whether a frame of the first one's size is of another format, matrix or range."""
        name, *colors = _form(decoded)
        return name not in self._same or colors != self._colors

    def _from_rgb(self, decoded: av.VideoFrame) -> tuple[Plane, ...]:
        # swscale is up to 3 codes off in 10 bits; from one form of RGB to another it is exact.
        bits = f"{self.coding.depth}le" if self.coding.depth > 8 else ""
        # From a form with alpha to one without, the end of the last row would not be written.
        form = "gbrap" if has_alpha(decoded.format) else "gbrp"
        decoded = self._reformatter.reformat(decoded, *self._size, f"{form}{bits}", threads=1)
        green, blue, red = planes_of(decoded, self.coding)
        return tuple(filters.codes_of(np.stack([red, green, blue]), self.coding))

    def _alpha(self, decoded: av.VideoFrame) -> Plane:
        """How opaque each pixel is, in codes of the coding's depth."""
        width, height = self._size
        if not has_alpha(decoded.format):
            dtype: type[Any] = np.uint8 if self.coding.depth == 8 else np.uint16
            opaque: Plane = np.full((height, width), self.coding.top, dtype)
            return opaque
        return alpha_of(decoded, self._reformatter, self._size, self.coding.depth)


def has_alpha(format: av.VideoFormat) -> bool:
    """Whether frames of a format may be transparent."""
    return bool(format.has_palette or any(part.is_alpha for part in format.components))


def opacity(decoded: av.VideoFrame, reformatter: VideoReformatter) -> float:
    """How opaque a frame is where it is least, from 0 (transparent) to 1."""
    if not has_alpha(decoded.format) or decoded.format.name in FATAL:
        return 1.0
    depth = _own(decoded).depth
    try:
        alpha = alpha_of(decoded, reformatter, (decoded.width, decoded.height), depth)
    except av.error.FFmpegError:  # there is no way from this format to others
        return 1.0
    return float(int(np.min(alpha)) / (2**depth - 1))


def alpha_of(
    decoded: av.VideoFrame, reformatter: VideoReformatter, size: tuple[int, int], depth: int
) -> Plane:
    """How opaque each pixel of a frame that `has_alpha` is, (H, W) of codes of 8, 10, 12 or 16
    bits, in another size (width, height) if wanted."""
    match, own = _WITH_ALPHA.match(decoded.format.name), (decoded.width, decoded.height)
    if match is None or own != size or int(match[2] or 8) != depth:
        bits = f"{depth}le" if depth > 8 else ""
        decoded = reformatter.reformat(decoded, *size, f"gbrap{bits}", threads=1)
    plane = decoded.planes[3]
    dtype = np.uint8 if depth == 8 else np.uint16
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return np.ascontiguousarray(rows[:, : plane.width])


def to_planar(decoded: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """A frame in the planar format that holds it without loss; RGB stays what it is."""
    form = planar_format(decoded.format)
    planar = _WITH_ALPHA.match(decoded.format.name) or decoded.format.name == form
    if planar or is_rgb(decoded.format):
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
        src_colorspace=SWSCALE[own.matrix],
        dst_colorspace=SWSCALE[wanted.matrix],
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


def planes_of(decoded: av.VideoFrame, coding: Coding) -> tuple[Plane, ...]:
    """Copy the planes of color out of FFmpeg's memory, of a frame that is planar or in one of its
    `packed` forms."""
    shift = _shift(decoded.format.name, coding)
    planes: list[Plane] = []
    for rows, width, pair in _rows(decoded, coding):
        for first in range(pair):
            plane = rows[:, first : pair * width : pair]
            planes.append(np.ascontiguousarray(plane >> shift if shift else plane))
    return tuple(planes[: 1 if coding.gray else 3])


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
    """A frame in another coding of the same matrix, for an encoder that needs it; without
    its alpha where that has none."""
    alpha = None
    if frame.alpha is not None and coding.alpha:
        alpha = frame.alpha
        if coding.depth != frame.coding.depth:
            exact = np.rint(alpha.astype(np.float32) * (coding.top / frame.coding.top))
            alpha = exact.astype(np.uint8 if coding.depth == 8 else np.uint16)
    planes = tuple(filters.recode(frame.planes, frame.coding, coding))
    return replace(frame, planes=planes, coding=coding, alpha=alpha)


def to_av(frame: Frame, tags: ColorTags, pix_fmt: str | None = None) -> av.VideoFrame:
    """A frame for an encoder, with the picture type left to it.

    `pix_fmt` is the planar format of the frame's coding or one of its `packed` forms.
    """
    made = av.VideoFrame(frame.width, frame.height, pix_fmt or pix_fmt_of(frame.coding))
    shift = _shift(made.format.name, frame.coding)
    planes = iter(frame.stored)
    for rows, width, pair in _rows(made, frame.coding):
        for first in range(pair):
            rows[:, first : pair * width : pair] = next(planes) << shift
    # ProRes tells the colors of each frame, and takes them from there.
    tags.put(made)
    made.pts = frame.pts
    made.time_base = frame.time_base
    return made
