"""The picture, code by code: colors, formats, sizes, turns, fields, and what changes on the way."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import stream
from filters import Coding, to_rgb
from filters.color import to_planes
from stream.media.convert import Unpacker
from stream.media.hdr import hdr_of
from stream.media.orientation import display_matrix
from stream.stages.processor import Processor
from tests.pictures import (
    COLORS,
    LOSSLESS,
    Planes,
    Tags,
    Unchanged,
    apart,
    chart,
    drawn,
    exact,
    filled,
    frames,
    moving,
    opaque,
    packed,
    paired,
    raw,
    run,
    swapped,
    write,
)


def test_the_formulas_give_the_published_codes() -> None:
    bars = {  # SMPTE RP 219: BT.709, 75 %; ITU-R BT.2111: BT.2020, 10 bits
        (1, 8, Fraction(3, 4)): [
            *((180, 128, 128), (168, 44, 136), (145, 147, 44), (133, 63, 52)),
            *((63, 193, 204), (51, 109, 212), (28, 212, 120)),
        ],
        (9, 10, Fraction(1)): [
            *((940, 512, 512), (888, 64, 548), (710, 637, 64), (658, 189, 100)),
            *((346, 835, 924), (294, 387, 960), (116, 960, 476)),
        ],
    }
    order = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
    for (matrix, depth, level), codes in bars.items():
        coding = Coding({1: "bt709", 9: "bt2020"}[matrix], depth=depth, subsampling=(1, 1))
        for bar, code in zip(order, codes, strict=True):
            assert exact([level * part for part in bar], matrix, False, depth) == code
            made = to_planes(torch.tensor(bar).float().view(1, 3, 1, 1) * float(level), coding)
            assert tuple(int(plane[0, 0]) for plane in made) == code


DEPTHS = {8: "", 10: "10le", 12: "12le"}
CHARTS = [
    *(
        (f"yuv{chroma}p{bits}", (matrix, 2, 2, full), "ffv1")
        for chroma, bits in product((420, 422, 444), DEPTHS.values())
        for matrix, full in product((1, 6, 9), (1, 2))
    ),
    *((f"gray{bits}", (2, 2, 2, full), "ffv1") for bits in DEPTHS.values() for full in (1, 2)),
    *((f"yuv444p{bits}", (code, 2, 2, 0), "ffv1") for bits in DEPTHS.values() for code in (2, 5)),
    *(("yuv444p", (1, 2, 2, full), "libx264") for full in (1, 2)),
    ("yuv420p", (5, 2, 2, 1), "libx264"),
    ("yuv420p10le", (9, 2, 2, 1), "libx265"),
]


@pytest.mark.parametrize(("pix_fmt", "tags", "codec"), CHARTS, ids=str)
def test_every_code_comes_through_and_is_seen_in_its_color(
    pix_fmt: str, tags: Tags, codec: str, tmp_path: Path
) -> None:
    charts, options = chart(pix_fmt, tags), LOSSLESS.get(codec)
    path = write(tmp_path / "in.mkv", pix_fmt, charts, tags=tags, codec=codec, options=options)
    read, restore = frames(path), Unchanged()
    for strength in (0.0, 1.0):
        processor = Processor(restore.submit, restore.device, strength=strength)
        made = [each for frame in read for each in processor.push(frame)]
        assert [apart(a.planes, b) for a, b in zip(made, charts, strict=True)] == [0] * len(charts)
    coding, depth = read[0].coding, av.VideoFormat(pix_fmt).components[0].bits
    assert (coding.depth, coding.full_range) == (depth, tags[3] == 2)
    black, white = (
        exact([Fraction(0)] * 3, 6, tags[3] == 2, depth)[0],
        exact([Fraction(1)] * 3, 6, tags[3] == 2, depth)[0],
    )
    grays = (charts[0][0] - float(black)) / (white - black)
    assert np.abs(restore.seen[0][0].numpy() - grays.clip(0, 1)).max() < 1e-6
    for rgb, seen in zip(COLORS, restore.seen[2:], strict=not coding.gray):
        off = seen[0] - torch.tensor([[[float(part)]] for part in rgb])
        assert off.abs().max() * (white - black) < 1.5, "no tint"
    for number, planes in enumerate(charts):
        back = to_planes(to_rgb([torch.from_numpy(plane) for plane in planes], coding), coding)
        # Ramps of subsampled chroma are smoothed where they begin anew.
        count = 1 if number == 1 and coding.subsampling != (1, 1) else len(planes)
        assert apart([plane.numpy() for plane in back[:count]], planes[:count]) <= 1


@pytest.mark.parametrize(
    ("size", "matrix"), [((1280, 16), 1), ((16, 578), 1), ((1278, 16), 6), ((16, 576), 6)], ids=str
)
def test_without_tags_the_size_decides_the_matrix(
    size: tuple[int, int], matrix: int, tmp_path: Path
) -> None:
    codes = exact(COLORS[4], matrix, False, 8)
    flat = [np.full(size[::-1], code, np.uint8) for code in codes]
    restore, path = Unchanged(), write(tmp_path / "in.mkv", "yuv444p", [flat], size)
    list(Processor(restore.submit, restore.device).push(frames(path)[0]))
    assert (restore.seen[0][0, :, 5, 5] - torch.tensor([1.0, 0, 0])).abs().max() < 1.5 / 219


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("pix_fmt", "full", "codec", "suffix"),
    [
        ("yuv420p", 1, "ffv1", ".mkv"),
        ("yuv420p", 2, "h264", ".mp4"),
        ("yuv422p10le", 1, "ffv1", ".mkv"),
        ("yuv444p12le", 2, "ffv1", ".mkv"),
        ("gray", 1, "h264", ".mp4"),
        ("gray10le", 2, "ffv1", ".mkv"),
        ("gray", 1, "vp9", ".webm"),
        ("gray", 2, "vp9", ".webm"),
        ("gray", 1, "prores", ".mov"),
        ("yuv422p10le", 1, "prores", ".mov"),
    ],
)
def test_a_whole_job_changes_no_code(
    pix_fmt: str, full: int, codec: str, suffix: str, whole: bool, tmp_path: Path
) -> None:
    tags = (1, 1, 1, full)
    charts = chart(pix_fmt, tags)[:7]
    times = 64 // len(charts[0][0])
    charts = [[np.tile(plane, (times, times)) for plane in planes] for planes in charts]
    path = write(tmp_path / "in.mkv", pix_fmt, charts, tags=tags)
    quality = None if codec in ("ffv1", "prores") else 0
    encoder = stream.EncoderSettings(codec=codec, quality=quality)
    report = run(path, tmp_path / f"out{suffix}", whole=whole, encoder=encoder)
    assert report.conforms
    depth = av.VideoFormat(pix_fmt).components[0].bits
    loss = {"prores": 4, "vp9": 1}.get(codec, 0)
    for made, planes in zip(frames(report.output), charts, strict=True):
        assert made.coding.full_range == (full == 2)
        off = made.planes[0] - planes[0] * ((made.coding.top + 1) / 2**depth)
        assert np.abs(off).mean() <= loss, "gray is no darker or brighter"
        if not loss:
            assert apart(made.planes[: len(planes)], planes) == 0


FORMATS: dict[str, tuple[str, Callable[[Planes], Planes]]] = {
    "yuyv422": ("yuv422p", lambda planes: packed(planes, "yuyv")),
    "uyvy422": ("yuv422p", lambda planes: packed(planes, "uyvy")),
    "nv12": ("yuv420p", paired),
    "p010le": ("yuv420p10le", lambda planes: paired(planes, 6)),
    "yuv420p10be": ("yuv420p10le", swapped),
    "yuv444p12be": ("yuv444p12le", swapped),
    "gray10be": ("gray10le", swapped),
    "gray": ("gray", list),
    "yuva420p": ("yuv420p", opaque),
}
SIZES = [(64, 48), (65, 47), (16, 16), (2, 2), (1, 7), (9, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_and_size_comes_through(
    pix_fmt: str, size: tuple[int, int], tmp_path: Path
) -> None:
    planar, pack = FORMATS[pix_fmt]
    form = av.VideoFormat(planar, *size)
    planes = drawn([(each.height, each.width) for each in form.components], form.components[0].bits)
    if pix_fmt == "p010le":  # which no container holds as it is; GPUs' decoders give it
        frame = filled(pix_fmt, pack(planes), size)
        assert apart(Unpacker(frame).unpack(frame, 0, Fraction(1)).planes, planes) == 0
        return
    path = write(tmp_path / "in.nut", pix_fmt, [pack(planes)] * 2, size, codec="rawvideo")
    assert [apart(frame.planes, planes) for frame in frames(path)] == [0, 0]
    if size not in SIZES[1:4:2] or "12" in planar:
        return
    lossless = stream.EncoderSettings(codec="ffv1") if min(size) >= 16 else None
    for whole in (False, True):
        settings = {"encoder": lossless} if lossless else {}
        report = run(path, tmp_path / "out.mkv", whole=whole, **settings)
        assert report.conforms
        with av.open(str(report.output)) as container:
            seen = list(container.decode(video=0))
        assert [(frame.width, frame.height) for frame in seen] == [size] * 2
        if lossless:
            assert [apart(frame.planes, planes) for frame in frames(report.output)] == [0, 0]


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (2, 2)], ids=str)
@pytest.mark.parametrize("pix_fmt", ["rgb24", "bgra", "gbrp", "gbrp10le", "gbrp12be", "rgb48le"])
def test_rgb_becomes_what_the_formulas_say(
    pix_fmt: str, size: tuple[int, int], tmp_path: Path
) -> None:
    depth = max(each.bits for each in av.VideoFormat(pix_fmt).components)
    rgb = np.stack(drawn([size[::-1]] * 3, depth))
    wide = rgb.astype(">u2" if pix_fmt.endswith("be") else rgb.dtype)
    raw = {"g": [wide[1], wide[2], wide[0]]}.get(pix_fmt[0])
    if raw is None:
        order = [wide[2], wide[1], wide[0], wide[0]] if pix_fmt == "bgra" else list(wide)
        raw = [np.stack(order, axis=2).reshape(size[1], -1)]
    codec = "rawvideo"
    path = write(tmp_path / "in.nut", pix_fmt, [raw], size, codec=codec)
    made = frames(path)[0]
    assert made.coding.depth == depth
    top = 2**depth - 1
    for y, x in [(0, 0), (-1, -1), (size[1] // 2, size[0] // 3)]:
        color = [Fraction(int(part), top) for part in rgb[:, y, x]]
        codes = [int(plane[y, x]) for plane in made.planes]
        assert np.abs(np.subtract(codes, exact(color, 6, False, depth))).max() <= 1


@pytest.mark.parametrize("pix_fmt", ["pal8", "monob", "yuv440p", "yuv411p", "yuvj440p"])
def test_odd_formats_keep_their_colors(pix_fmt: str, tmp_path: Path) -> None:
    picture = av.VideoFrame.from_ndarray(
        np.repeat(np.array([[[235, 40, 40], [20, 20, 230]]], np.uint8), 32, axis=1).repeat(48, 0),
        format="rgb24",
    )
    form = "rgb8" if pix_fmt == "pal8" else pix_fmt
    codec, suffix = ("gif", ".gif") if pix_fmt == "pal8" else ("rawvideo", ".nut")
    raw = picture.reformat(format=form, dst_color_range=2 if "j" in pix_fmt else 1, threads=1)
    path = tmp_path / f"in{suffix}"
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, form
        output.mux(video.encode(raw))
        output.mux(video.encode(None))
    with av.open(str(path)) as container:
        before = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    report = run(path, tmp_path / "out.mkv", whole=True)
    with av.open(str(report.output)) as container:
        after = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(before - after)[:, 4:28].mean() < 4
    assert np.abs(before - after)[:, 36:60].mean() < 4


TURNS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
TURNS += [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize(
    ("suffix", "size"), [(".mp4", (64, 48)), (".mov", (65, 47)), (".mkv", (64, 48))], ids=str
)
@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_every_way_to_show_a_picture(
    turn: tuple[int, ...], size: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    a, b, c, d = (part << 16 for part in turn)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    width, height = size
    shapes = [(height, width), *[(-(-height // 2), -(-width // 2))] * 2]
    planes = [np.full(shape, 120, np.uint8) for shape in shapes]
    for number, plane in enumerate(planes):
        tall, wide = (8, 8) if number == 0 else (4, 4)
        plane[:tall, :wide], plane[:tall, -wide:] = 40, 90
        plane[-tall:, :wide], plane[-tall:, -wide:] = 160, 220
    odd = size[0] % 2 == 1
    held = tmp_path / ("held.mkv" if odd else "held.mp4")
    codec, aspect = ("ffv1", None) if odd else ("libx264", Fraction(4, 3))
    options = LOSSLESS.get(codec)
    write(held, "yuv420p", [planes], codec=codec, matrix=matrix, aspect=aspect, options=options)
    kept_as = stream.EncoderSettings("h264", 0)
    kept = run(held, tmp_path / f"kept{suffix}", encoder=kept_as)
    with av.open(str(kept.output)) as container:
        first = next(container.decode(video=0))
        assert display_matrix(first) == (None if turn == TURNS[0] else matrix)
        shown = Fraction(container.streams.video[0].sample_aspect_ratio or 1)
    # Matroska stores the width to show a picture in, in whole pixels.
    whole = Fraction(suffix == ".mkv", 48)
    assert abs(shown - (aspect or 1)) <= whole
    upright = run(held, tmp_path / f"up{suffix}", apply_rotation=True, encoder=kept_as)
    assert kept.conforms
    assert upright.conforms
    with av.open(str(upright.output)) as container:
        first = next(container.decode(video=0))
        assert display_matrix(first) is None
        across = Fraction(container.streams.video[0].sample_aspect_ratio or 1)
    expected = 1 if odd else Fraction(4, 3) if a else Fraction(3, 4)
    assert abs(across - expected) <= whole
    # Where the corners go: (x, y) to (a x + c y, b x + d y), counted from the middle.
    places = {40: (-1, -1), 90: (1, -1), 160: (-1, 1), 220: (1, 1)}
    for turned in frames(upright.output)[0].planes:
        for code, (x, y) in places.items():
            right, below = turn[0] * x + turn[2] * y > 0, turn[1] * x + turn[3] * y > 0
            assert abs(int(turned[-2 if below else 1, -2 if right else 1]) - code) <= 1
    assert (first.width, first.height) == (size if a else size[::-1])


BEST = stream.EncoderSettings()
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_kept(transfer: int, suffix: str, tmp_path: Path) -> None:
    params = "bframes=0:log-level=error"
    if transfer == 16:
        params += f":hdr10=1:master-display={DISPLAY}:max-cll=1000,400"
    tags = (9, 9, transfer, 1)
    path = write(
        tmp_path / f"in{suffix}",
        "yuv420p10le",
        chart("yuv420p10le", tags)[:4],
        tags=tags,
        codec="libx265",
        options={"x265-params": params},
    )
    report = run(path, tmp_path / f"out{suffix}", whole=True, encoder=BEST)
    assert report.conforms
    with av.open(str(report.output)) as container:
        for frame in container.decode(video=0):
            assert frame.format.name == "yuv420p10le"
            assert (frame.colorspace, frame.color_primaries, frame.color_trc) == tags[:3]
            found = hdr_of(frame)
            if transfer == 18:
                assert found.mastering is None is found.light
                continue
            assert found.light == (1000, 400)
            assert found.mastering is not None
            said = [34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450]
            for place, units in zip(found.mastering.primaries, said, strict=True):
                assert abs(place * 50000 - units) <= 1
            assert abs(found.mastering.brightest - 1000) < 1
            assert abs(found.mastering.darkest - Fraction(50, 10000)) < Fraction(1, 2000)


CHANGES: dict[str, tuple[str, tuple[int, int], Tags]] = {
    "smaller": ("yuv420p", (64, 48), (6, 6, 6, 1)),
    "larger, of another shape": ("yuv420p", (144, 200), (6, 6, 6, 1)),
    "finer chroma": ("yuv444p", (96, 64), (6, 6, 6, 1)),
    "10 bits": ("yuv420p10le", (96, 64), (6, 6, 6, 1)),
    "full range": ("yuv420p", (96, 64), (6, 6, 6, 2)),
    "another matrix": ("yuv420p", (96, 64), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_on_the_way_is_brought_to_the_beginning(change: str, tmp_path: Path) -> None:
    pix_fmt, size, tags = CHANGES[change]
    path = tmp_path / "in.h264"
    first = raw(tmp_path / "a.h264", "yuv420p", (96, 64), (6, 6, 6, 1), 12)
    path.write_bytes(first + raw(tmp_path / "b.h264", pix_fmt, size, tags))
    report = run(path, tmp_path / "out.mkv", whole=True, encoder=BEST)
    assert report.frames == 17
    what = "another size" if size != (96, 64) else "other colors or depth"
    assert any(f"5 frames had {what}" in warning for warning in report.warnings)
    made = frames(report.output)
    assert len(made) == 17
    red = exact(COLORS[4], 6, False, 8)
    for frame in made:
        assert (frame.width, frame.height) == (96, 64)
        assert frame.coding == Coding("bt601")
        for plane, code in zip(frame.planes, red, strict=True):
            assert np.abs(plane[4:-4, 4:-4].astype(int) - code).max() <= 3, "the same red"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("aspect", ["4/3", "40/33"])
def test_pixels_keep_their_shape(aspect: str, suffix: str, tmp_path: Path) -> None:
    codec, options = "libx264", LOSSLESS["libx264"]
    pictures, shape = moving(3), Fraction(aspect)
    path = tmp_path / f"in{suffix}"
    write(path, "yuv420p", pictures, codec=codec, options=options, aspect=shape)
    report = run(path, tmp_path / f"out{suffix}")
    assert report.conforms
    with av.open(str(report.output)) as container:
        shown = container.streams.video[0].sample_aspect_ratio
    assert shown is not None
    assert abs(shown - shape) <= Fraction(suffix == ".mkv", 64)
