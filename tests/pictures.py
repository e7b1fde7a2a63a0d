"""Files whose every sample is known, and what is compared of them."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import mssnet
import stream
from mssnet.regions import Where
from stream.frame import Frame
from stream.input.deinterlace import FieldMarker, top_first
from stream.input.source import Source
from stream.options.reading import Reading
from stream.stages.processor import Submit

Planes = Sequence[NDArray[Any]]
Tags = tuple[int, int, int, int]
"""Matrix, primaries, transfer and range."""

MATRICES = {1: ("2126/10000", "722/10000"), 9: ("2627/10000", "593/10000")}
MATRICES |= dict.fromkeys((5, 6, 2), ("299/1000", "114/1000"))
"""Kr and Kb by H.273's code; 2 is "not said", and small."""
LEVELS = (Fraction(1), Fraction(3, 4))
COLORS = [
    tuple(level * part for part in bar) for level in LEVELS for bar in product((0, 1), repeat=3)
]


class Unchanged(mssnet.Deblurrer):
    """A restorer that changes nothing, and remembers what it was given."""

    def __init__(self) -> None:
        self.engine, self.tile = mssnet.Eager(), None
        self.seen: list[Tensor] = []

    @property
    def is_told(self) -> bool:
        return False

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        self.seen.append(image.clone())
        return image.clone


def begins(change: Callable[[Tensor], Tensor]) -> Submit:
    """What `Processor` takes for a network: one that looks at the image alone."""
    return lambda image, told, where: partial(change, image)


def exact(rgb: Iterable[Fraction], matrix: int, full: bool, depth: int) -> tuple[int, int, int]:
    """Y, Cb and Cr of a color by the formulas of BT.601, BT.709 and BT.2020."""
    red, green, blue = rgb
    kr, kb = map(Fraction, MATRICES[matrix])
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    unit, top = 2 ** (depth - 8), 2**depth - 1
    black, span, wide = (0, top, top) if full else (16 * unit, 219 * unit, 224 * unit)
    parts = [black + span * luma]
    parts += [
        128 * unit + wide * (part - luma) / (2 * (1 - k)) for part, k in ((blue, kb), (red, kr))
    ]
    y, cb, cr = (min(top, int(part + Fraction(1, 2))) for part in parts)
    return y, cb, cr


def chart(pix_fmt: str, tags: Tags) -> list[Planes]:
    """A ramp of every code of luma, one of every code of chroma, and frames of one color each."""
    depth = av.VideoFormat(pix_fmt).components[0].bits
    side, middle, ramp = 2 ** (depth // 2), 2 ** (depth - 1), np.arange(2**depth)
    form = av.VideoFormat(pix_fmt, side, side)
    shapes = [(each.height, each.width) for each in form.components]
    found = [[np.resize(ramp, shapes[0]), *(np.full(shape, middle) for shape in shapes[1:])]]
    if shapes[1:]:
        hues = [np.resize(ramp[::step], shapes[1]) for step in (1, -1)]
        found.append([np.full(shapes[0], middle), *hues])
    for rgb in COLORS if shapes[1:] else []:
        codes = exact(rgb, tags[0], tags[3] == 2, depth)
        found.append([np.full(shape, code) for shape, code in zip(shapes, codes, strict=True)])
    dtype = np.uint8 if depth == 8 else np.uint16
    return [[plane.astype(dtype) for plane in planes] for planes in found]


def filled(pix_fmt: str, planes: Planes, size: tuple[int, int]) -> av.VideoFrame:
    """A frame with these samples, as many in each row as they come to."""
    frame = av.VideoFrame(*size, pix_fmt)
    for plane, data in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        raw = np.ascontiguousarray(data).view(np.uint8).reshape(len(data), -1)
        rows[: len(raw), : raw.shape[1]] = raw
    return frame


def write(
    path: Path,
    pix_fmt: str,
    pictures: Sequence[Planes],
    size: tuple[int, int] | None = None,
    *,
    tags: Tags = (2, 2, 2, 0),
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    upper_first: bool | None = None,
    container: str | None = None,
) -> Path:
    """Write frames sample for sample, where the codec is lossless."""
    size = size or pictures[0][0].shape[::-1]
    marker = None if upper_first is None else FieldMarker(upper_first)
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream(codec, rate=25, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        if matrix:
            video.set_display_matrix(list(matrix))
        if aspect:
            context.sample_aspect_ratio = aspect
        if upper_first is not None:
            context.field_order = 2 if upper_first else 3
        for index, planes in enumerate(pictures):
            frame = filled(pix_fmt, planes, size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(marker.mark(frame) if marker else frame))
        output.mux(video.encode(None))
    return path


def frames(path: Path, reading: Reading | None = None) -> list[Frame]:
    source = Source(path, reading)
    found = list(source)
    source.close()
    return found


def run(source: Path, output: Path, *, whole: bool = False, **settings: Any) -> stream.Report:
    """Run a job at strength 0, or with a restorer that changes nothing, losslessly if it can."""
    encoder = settings.pop("encoder", stream.EncoderSettings(quality=0))
    chosen = stream.Settings(
        strength=1.0 if whole else 0.0,
        fuse=0,
        device="cpu",
        overwrite=True,
        encoder=encoder,
        **settings,
    )
    return stream.Job(source, output, chosen).run(restore=Unchanged())


def apart(ours: Planes, theirs: Planes) -> int:
    """The largest difference in codes."""
    assert [plane.shape for plane in ours] == [plane.shape for plane in theirs]
    return max(
        int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(ours, theirs, strict=True)
    )


def drawn(shapes: Sequence[tuple[int, int]], depth: int = 8) -> list[NDArray[Any]]:
    draw = np.random.default_rng(5)
    kind = np.uint8 if depth == 8 else np.uint16
    return [draw.integers(0, 2**depth, shape).astype(kind) for shape in shapes]


def packed(planes: Planes, order: str) -> Planes:
    """4:2:2 in one plane, as yuyv422 and uyvy422 have it."""
    y, u, v = planes
    pairs = np.pad(y, ((0, 0), (0, y.shape[1] % 2)))
    parts = {"y": iter((pairs[:, ::2], pairs[:, 1::2])), "u": iter((u,)), "v": iter((v,))}
    return [np.stack([next(parts[name]) for name in order], axis=2).reshape(len(y), -1)]


def paired(planes: Planes, shift: int = 0) -> Planes:
    """Chroma in one plane, as nv12 and p010 have it."""
    y, u, v = planes
    return [y << shift, (np.stack([u, v], axis=2) << shift).reshape(len(u), -1)]


def swapped(planes: Planes) -> Planes:
    return [plane.byteswap() for plane in planes]


def opaque(planes: Planes) -> Planes:
    return [*planes, np.full_like(planes[0], 90)]


def moving(count: int, *, upper_first: bool | None = True) -> list[Planes]:
    """Stripes that move; where they are interlaced the fields are of different moments."""
    found: list[Planes] = []
    for index in range(count):
        luma = np.empty((48, 64), np.uint8)
        for line in range(2):
            later = 0 if upper_first is None else line if upper_first else 1 - line
            luma[line::2] = 128 + 90 * np.sin((np.arange(64) + 3 * (2 * index + later)) / 5)
        found.append([luma, *[np.full((24, 32), 128, np.uint8)] * 2])
    return found


def combed(planes: Planes) -> float:
    """How far lines are from the ones beside them; nothing where all are of one moment."""
    luma = planes[0].astype(float)
    return float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())


def fields(path: Path) -> tuple[set[bool | None], list[Fraction]]:
    """Of each frame, None for a progressive one or whether the upper field is first; and times."""
    with av.open(str(path)) as container:
        found = list(container.decode(video=0))
        base = Fraction(container.streams.video[0].time_base or 1)
    order = {top_first(frame) if frame.interlaced_frame else None for frame in found}
    return order, [(frame.pts or 0) * base for frame in found]


LOSSLESS = {
    "libx264": {"qp": "0", "preset": "ultrafast"},
    "libx265": {"x265-params": "lossless=1:bframes=0:log-level=error", "preset": "ultrafast"},
}


def raw(path: Path, pix_fmt: str, size: tuple[int, int], tags: Tags, count: int = 5) -> bytes:
    """An elementary stream of one color: red, as the tags say it is coded."""
    depth = av.VideoFormat(pix_fmt).components[0].bits
    form, codes = av.VideoFormat(pix_fmt, *size), exact(COLORS[4], tags[0], tags[3] == 2, depth)
    dtype = np.uint8 if depth == 8 else np.uint16
    flat = [
        np.full((each.height, each.width), code, dtype)
        for each, code in zip(form.components, codes, strict=True)
    ]
    options = {"crf": "1", "bf": "0"}
    write(
        path, pix_fmt, [flat] * count, tags=tags, codec="libx264", options=options, container="h264"
    )
    return path.read_bytes()
