"""What is compared of the restored video apart from its frames' moments."""

import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from stream.errors import UsageError
from stream.options.scale import Scale, Size
from stream.verify.conformance import ABSENT, Case, Row
from stream.verify.facts import UPRIGHT, Picture, Turn
from stream.verify.labels import label_rows
from stream.verify.seen import mean, span, stretched, tinted

# The codes of ITU-T H.273; 2 is "not said", 0 and 3 are reserved.
_MATRICES: Final = {
    0: "RGB",
    1: "BT.709",
    2: ABSENT,
    4: "FCC",
    5: "BT.470BG",
    6: "SMPTE 170M",
    7: "SMPTE 240M",
    8: "YCgCo",
    9: "BT.2020",
    10: "BT.2020 constant",
    14: "ICtCp",
}
_PRIMARIES: Final = {
    0: ABSENT,
    1: "BT.709",
    2: ABSENT,
    4: "BT.470M",
    5: "BT.470BG",
    6: "SMPTE 170M",
    7: "SMPTE 240M",
    8: "film",
    9: "BT.2020",
    11: "DCI-P3",
    12: "Display P3",
}
_TRANSFERS: Final = {
    0: ABSENT,
    1: "BT.709",
    2: ABSENT,
    4: "gamma 2.2",
    5: "gamma 2.8",
    6: "SMPTE 170M",
    7: "SMPTE 240M",
    8: "linear",
    11: "xvYCC",
    13: "sRGB",
    14: "BT.2020 10 bits",
    15: "BT.2020 12 bits",
    16: "PQ",
    18: "HLG",
}
_RANGES: Final = {0: ABSENT, 1: "limited", 2: "full"}
_CHROMA: Final = {
    (0, 0): "gray",
    (4, 4): "4:1:0",
    (4, 16): "4:1:1",
    (8, 8): "4:2:0",
    (8, 16): "4:2:2",
    (16, 8): "4:4:0",
    (16, 16): "4:4:4",
}
_ONE_MATRIX: Final = {5, 6}
"""Two codes for the same matrix."""


def picture_rows(case: Case) -> list[Row]:
    """What became of the pictures: codec, size, color, rotation and all that is said of them."""
    a, b = case.input.picture, case.output.picture
    codec = Row("video codec", a.track.codec, b.track.codec)
    if a.track.codec != b.track.codec:
        codec = codec.allowed("the restored video is encoded anew")
    levels = _levels(case)
    color = _color(a, b, alike=bool(levels) and levels[-1].verdict != "changed")
    if all(row.verdict in ("same", "allowed") for row in color):
        color += levels  # which would say the same again
    return [
        codec,
        *_geometry(case),
        *_precision(a, b),
        *color,
        *_extra(case),
        _fields(case),
        _rate(case),
        *label_rows("video", a.track, b.track, case),
    ]


def _geometry(case: Case) -> list[Row]:
    a, b = case.input.picture, case.output.picture
    size, aspect, turn = (a.width, a.height), a.aspect, a.turn
    if case.asked.apply_rotation:
        if abs(turn[1]) > abs(turn[0]):
            size, aspect = (a.height, a.width), 1 / aspect
        turn = UPRIGHT
    if case.asked.scale is not None:
        size = _enlarged(size, a, case.asked.scale)
    # Matroska stores the width to show a picture in, in whole pixels.
    whole_pixels = Fraction(1, b.width) if case.output.kind in ("matroska", "webm") else 0
    straight = all(math.isclose(x, y, abs_tol=0.01) for x, y in zip(turn, b.turn, strict=True))
    checks = (
        ("size", f"{a.width}x{a.height}", f"{b.width}x{b.height}", (b.width, b.height) == size),
        ("pixel aspect", _ratio(a), _ratio(b), abs(b.aspect - aspect) <= whole_pixels),
        ("rotation", _turned(a.turn), _turned(b.turn), straight),
    )
    rows = []
    for what, before, after, right in checks:
        row = Row(what, before, after)
        if not right:
            row = row.changed()
        elif before != after:
            asked = case.asked.apply_rotation or case.asked.scale is not None
            row = row.allowed("as asked" if asked else "rounded")
        rows.append(row)
    if a.resized or b.resized:
        row = Row("frames of another size", str(a.resized), str(b.resized))
        why = "they were brought to the first one's"
        rows.append(row.allowed(why) if b.resized == 0 else row.plain())
    return rows


def _enlarged(size: Size, picture: Picture, scale: Scale) -> Size:
    try:
        return scale.of(size, even=picture.chroma not in ((0, 0), (16, 16)))
    except UsageError:
        return size


def _ratio(picture: Picture) -> str:
    return f"{picture.aspect.numerator}:{picture.aspect.denominator}"


def _turned(turn: Turn) -> str:
    a, b, c, d = turn
    angle = round(math.degrees(math.atan2(b, a))) % 360
    return f"{angle} degrees" + (", mirrored" if a * d - b * c < 0 else "")


def _precision(a: Picture, b: Picture) -> list[Row]:
    depth = Row("bit depth", str(a.bits), str(b.bits))
    if a.bits != b.bits:
        depth = depth.allowed("finer") if a.bits < b.bits else depth.changed()
    chroma = Row("chroma", _sampling(a), _sampling(b))
    finer = all(x <= y for x, y in zip(a.chroma, b.chroma, strict=True))
    if chroma.input == chroma.output:
        pass
    elif a.chroma == (0, 0):
        chroma = chroma.allowed("the same gray with chroma that is empty")
    elif not finer:
        chroma = chroma.changed()
    elif a.rgb:
        chroma = chroma.allowed("video encoders take Y'CbCr, as fine as RGB")
    else:
        odd = a.width % 2 or a.height % 2
        chroma = chroma.allowed("finer, which the odd size needs" if odd else "finer")
    rows = [depth, chroma]
    if a.transparent or b.transparent:
        # Of an output not every frame need have been decoded.
        kept = b.transparent or (a.transparent and b.alpha)
        rows.append(Row("transparency", _yes(a.transparent), _yes(kept)).plain())
    return rows


def _sampling(picture: Picture) -> str:
    return "RGB" if picture.rgb else _CHROMA.get(picture.chroma, str(picture.chroma))


def _yes(there: bool) -> str:
    return "yes" if there else ABSENT


def _color(a: Picture, b: Picture, *, alike: bool) -> list[Row]:
    """What is said of colors; `alike` is whether the same is seen."""
    matrix = _coded("color matrix", _MATRICES, a.matrix, b.matrix)
    if {a.matrix, b.matrix} == _ONE_MATRIX:
        matrix = matrix.allowed("another name of the same matrix")
    elif a.chroma == (0, 0) and matrix.verdict != "same":
        matrix = matrix.allowed("gray has no use for it")
    elif a.matrix == 0 and b.matrix == 2:
        matrix = matrix.allowed("RGB it is not")
    elif b.track.codec == "vp8" and {a.matrix, b.matrix} <= {2, *_ONE_MATRIX}:
        matrix = matrix.allowed("VP8 has no other")
    range = _coded("color range", _RANGES, a.range, b.range)
    ours, theirs = (each.range or (2 if each.chroma == (0, 0) else 1) for each in (a, b))
    if ours == theirs and a.range != b.range:
        range = range.allowed(f"{_RANGES[ours]} is what players take where nothing is said")
    elif ours > theirs and (alike or b.track.codec == "prores"):
        range = range.allowed("its codes are limited as well")
    if a.rgb and not b.rgb:
        why = "that of the Y'CbCr that RGB became"
        matrix, range = (row.allowed(why) for row in (matrix, range))
    return [
        matrix,
        _coded("color primaries", _PRIMARIES, a.primaries, b.primaries),
        _coded("color transfer", _TRANSFERS, a.transfer, b.transfer),
        range,
    ]


def _coded(what: str, names: Mapping[int, str], ours: int, theirs: int) -> Row:
    return Row(what, names.get(ours, str(ours)), names.get(theirs, str(theirs))).plain()


def _levels(case: Case) -> list[Row]:
    """Whether the first frame looks as it did, where both files begin with the same one."""
    a, b = case.input.picture, case.output.picture
    ours, theirs = a.seen, b.seen
    same = len(case.frames) == len(case.output.picture.timestamps)
    if ours is None or theirs is None or case.asked.start_s or not same or a.damaged:
        return []
    rows = [Row("levels", span(ours[:3].mean(axis=0)), span(theirs[:3].mean(axis=0)))]
    wrong = [stretched(ours[:3].mean(axis=0), theirs[:3].mean(axis=0))]
    if a.chroma != (0, 0):
        rows.append(Row("colors", mean(ours[:3]), mean(theirs[:3])))
        wrong.append(tinted(ours[:3], theirs[:3]))
    if a.transparent and b.alpha:
        rows.append(Row("opacity", span(ours[3]), span(theirs[3])))
        wrong.append(stretched(ours[3], theirs[3]))
    judged: list[Row] = []
    for row, bad in zip(rows, wrong, strict=True):
        if bad:
            return [*judged, row.changed()]
        judged.append(row if row.input == row.output else row.allowed("rounded"))
    return judged


def _extra(case: Case) -> list[Row]:
    """What frames carry beside the picture."""
    a, b = case.input.picture, case.output.picture
    rows = []
    for name in sorted({*a.fixed, *b.fixed}):
        ours, theirs = (_numbers(name, each.fixed.get(name, b"")) for each in (a, b))
        row = Row(name, _written(ours), _written(theirs))
        if len(ours) != len(theirs):
            row = row.plain()
        elif not all(map(_close, ours, theirs)):
            row = row.changed("is another one" if row.input == row.output else "")
        rows.append(row)
    for name in sorted(a.moving | b.moving):
        row = Row(name, _yes(name in a.moving), _yes(name in b.moving)).plain()
        if row.verdict == "lost" and name.startswith("timecode") and "timecode" in b.track.tags:
            row = row.allowed("the file has a timecode of its own")
        elif row.verdict == "lost" and "captions" in name and "subtitle" in case.asked.dropped:
            row = row.allowed("as asked")
        elif row.verdict == "lost":
            row = row.lost("is missing, it changes with each frame")
        rows.append(row)
    return rows


def _numbers(name: str, data: bytes) -> tuple[float, ...]:
    """What FFmpeg's structures hold, most of it as fractions."""
    if name == "content light level" and len(data) >= 8:
        return struct.unpack_from("=2I", data)
    fractions = {"mastering display": 10, "ambient light": 3}.get(name, 0)
    if not fractions or len(data) < 8 * fractions:
        return tuple(data)
    terms = struct.unpack_from(f"={2 * fractions}i", data)
    return tuple(a / b if b else 0.0 for a, b in zip(terms[::2], terms[1::2], strict=True))


def _written(numbers: tuple[float, ...]) -> str:
    if len(numbers) > 10:
        return f"{len(numbers)} bytes"
    return " ".join(f"{number:.4g}" for number in numbers) or ABSENT


def _close(a: float, b: float) -> bool:
    # Containers have denominators of their own.
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=5e-5)


def _fields(case: Case) -> Row:
    a, b = case.input.picture, case.output.picture
    row = Row("fields", _order(a), _order(b))
    if case.asked.deinterlaced and not b.interlaced:
        return row.allowed("as asked") if a.interlaced else row
    if case.asked.deinterlaced:
        return row.changed("are interlaced still")
    if a.interlaced and b.interlaced and b.top_first is None is not a.top_first:
        return row.lost("in which order is not said any more")
    return row if a.interlaced == b.interlaced and a.top_first is None else row.plain()


def _order(picture: Picture) -> str:
    if not picture.interlaced:
        return "progressive"
    return (
        "interlaced" + {True: ", top first", False: ", bottom first", None: ""}[picture.top_first]
    )


def _rate(case: Case) -> Row:
    """The frame rate that a file states, which is not always the one it has."""
    a, b = case.input.picture.rate, case.output.picture.rate
    before, after = (ABSENT if each is None else f"{float(each):.3f}" for each in (a, b))
    row = Row("frame rate", before, after)
    if a is not None and b is not None and abs(a - b) <= a / 100:
        return row
    if not case.timed:
        return row.allowed("timestamps were made anew")
    real = 1 / case.frame_s if case.timed and case.frame_s else None
    if a is None or (real is not None and abs(a - real) > a / 100):
        return row.allowed("the input's own is not what its frames have")
    if b is None and real is not None:
        return row.allowed("it is seen from the frames' times alone")
    return row.plain()
