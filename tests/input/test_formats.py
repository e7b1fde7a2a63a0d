"""Every pixel format that FFmpeg knows, by what a player shows of it: range, color and opacity."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
import torch
from av.video.format import names  # type: ignore[attr-defined]
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

import stream
from filters import to_rgb
from stream.colors import tags_of
from stream.errors import SourceError
from stream.input.container.opening import decoder_of
from stream.input.source import Source
from stream.ipc import convert as live
from stream.media.convert import FATAL, Unpacker, has_alpha
from stream.options.reading import Reading
from stream.output.checkpoint import JobCheckpoint
from stream.verify import facts, verify
from tests.pictures import run, write

ON_A_DEVICE = {
    *("amf", "cuda", "d3d11", "d3d11va_vld", "d3d12", "drm_prime", "dxva2_vld", "mediacodec"),
    *("mmal", "ohcodec", "opencl", "qsv", "vaapi", "vdpau", "videotoolbox_vld", "vulkan"),
}
FORMATS = sorted(names - ON_A_DEVICE)
RANGES = {0: "unsaid", 1: "limited", 2: "full"}
SIZE = (64, 48)
USUAL = stream.EncoderSettings()


def drawn(index: int = 0, opaque: bool = False) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA, smooth, so that coarse chroma holds it."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    shades = [30 + 2.8 * x, 215 - 3 * y, 60 + 1.5 * (x + y), 255 - 2 * x - index]
    if opaque:
        shades[3] = np.full_like(shades[0], 255)
    return np.stack(shades, axis=2).clip(0, 255).astype(np.uint8)


def is_gray(form: av.VideoFormat) -> bool:
    return len(form.components) <= 2 and not (form.is_rgb or form.has_palette)


def shown_full(form: av.VideoFormat, said: int) -> bool:
    """What players take for the range."""
    if form.is_rgb or form.has_palette or form.name.startswith(("yuvj", "mono")):
        return True
    return said == 2 or (said == 0 and is_gray(form))


def stored(name: str, said: int, picture: NDArray[np.uint8] | None = None) -> av.VideoFrame:
    """The picture in a format, coded as players take it for that range. Raises an `FFmpegError`
    for formats that swscale does not write."""
    picture = drawn() if picture is None else picture
    form = av.VideoFormat(name)
    frame = VideoReformatter().reformat(
        *(av.VideoFrame.from_ndarray(picture, "rgba"), *SIZE, name, 5, 5),
        # It takes all gray for full.
        src_color_range=2,
        dst_color_range=2 if shown_full(form, said) or is_gray(form) else 1,
        threads=1,
    )
    frame.color_range, frame.colorspace = said, 2
    return frame


def shown(frame: av.VideoFrame) -> NDArray[np.float64]:
    """(H, W, 4), what a player shows: RGB and opacity, 0..1."""
    full = shown_full(frame.format, int(frame.color_range))
    matrix = {1: 1}.get(int(frame.colorspace), 5)
    made = VideoReformatter().reformat(
        *(frame, *SIZE, "rgba64le", matrix, matrix),
        src_color_range=2 if full else 1,
        dst_color_range=2,
        threads=1,
    )
    seen = made.to_ndarray().astype(float) / 65535
    if is_gray(frame.format) and not full:
        seen[..., :3] = (seen[..., :3] * 255 - 16) / 219
    return np.asarray(seen)


def decoded(path: Path) -> list[NDArray[np.float64]]:
    """What a player shows of each frame of a file."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        decoder = decoder_of(video)
        packets = (packet if packet.size else None for packet in container.demux(video))
        return [shown(frame) for packet in packets for frame in decoder.decode(packet)]


def off(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """By how many codes of 8 bits colors are off on average, and opacity at most."""
    apart = np.abs(a - b) * 255
    return float(apart[..., :3].mean()), float(apart[..., 3].max())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_players_show_it(name: str) -> None:
    form = av.VideoFormat(name)
    for said, meant in RANGES.items():
        try:
            frame = stored(name, said)
        except av.error.FFmpegError:  # none that swscale writes: what it reads, whatever is in it
            frame = av.VideoFrame(*SIZE, name)
            for plane in frame.planes:
                np.frombuffer(memoryview(plane), np.uint8)[:] = 60
            frame.color_range = said
        try:
            expected = shown(frame) if name not in FATAL else None
        except av.error.FFmpegError:
            expected = None
        if expected is None:
            with pytest.raises(SourceError, match=name):
                Unpacker(frame)
            continue
        alpha = has_alpha(form)
        made = Unpacker(frame, alpha=alpha).unpack(frame, 0, Fraction(1))
        seen = to_rgb([torch.from_numpy(plane) for plane in made.planes], made.coding)[0]
        opacity = np.ones(SIZE[::-1]) if made.alpha is None else made.alpha / made.coding.top
        ours = np.dstack([*seen.clamp(0, 1).numpy(), opacity])
        color, opaque = off(ours, expected.clip(0, 1))
        assert (color < 1.3, opaque < 1) == (True, True), f"{meant}: {color} {opaque}"
        assert np.abs(ours - expected.clip(0, 1)).max() * 255 < 14, "to the last sample"
        bits = [component.bits for component in form.components]
        depth = sum(bits) if name.startswith("bayer") else max(bits)
        assert made.coding.depth >= min(depth, 16)


def clip(
    path: Path,
    name: str,
    codec: str,
    said: int = 0,
    *,
    count: int = 3,
    opaque: Sequence[int] = (),
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *SIZE, name
        video.codec_context.color_range = said
        for index in range(count):
            frame = stored(name, said, drawn(index, index in opaque))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


LOSSLESS = {
    **{f"{name} {said}": (name, "ffv1", ".mkv", said) for said in RANGES for name in (
        *("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le", "ya8"),
        *("yuv420p", "yuv422p10le", "yuv411p", "yuva420p", "yuva444p12le", "bgra", "gbrap16le"),
    )},
    "monob": ("monob", "png", ".mov", 0),
    "gray of PNG": ("gray", "png", ".mov", 0),
    "gray with alpha of PNG": ("ya8", "png", ".mov", 0),
    "PNG": ("rgba", "png", ".mov", 0),
    "APNG": ("rgba", "apng", ".apng", 0),
    "QuickTime Animation": ("argb", "qtrle", ".mov", 0),
    "CineForm": ("gbrap12le", "cfhd", ".mov", 0),
    "ProRes 4444": ("yuva444p10le", "prores_ks", ".mov", 1),
    "MagicYUV": ("yuva444p", "magicyuv", ".avi", 0),
    "v408": ("yuva444p", "v408", ".mov", 0),
    "JPEG": ("yuvj420p", "mjpeg", ".avi", 2),
    "JPEG that lies": ("yuvj420p", "mjpeg", ".mov", 1),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
@pytest.mark.parametrize("case", LOSSLESS)
def test_a_job_shows_the_same_picture(case: str, suffix: str, tmp_path: Path) -> None:
    name, codec, ending, said = LOSSLESS[case]
    path = clip(tmp_path / f"in{ending}", name, codec, said, count=2)
    report = run(path, tmp_path / f"out{suffix}", whole=True, encoder=USUAL)
    assert report.conformance is not None
    found = {row.what for row in report.conformance.rows if row.verdict in ("lost", "changed")}
    assert found <= {"bit depth"}, report.conformance.summary
    for before, after in zip(decoded(path), decoded(report.output), strict=True):
        color, opacity = off(before, after)
        assert color < 2.2
        assert opacity <= 1.1


ALPHA = {
    "VP9": ("libvpx-vp9", "yuva420p", "in.webm", ".webm", "vp9"),
    "VP8": ("libvpx", "yuva420p", "in.webm", ".webm", "vp8"),
    "VP9 to Matroska": ("libvpx-vp9", "yuva420p", "in.webm", ".mkv", "vp9"),
    "Animation": ("qtrle", "argb", "in.mov", ".mov", "prores"),
}


@pytest.mark.parametrize("opaque", [(), (0, 1)], ids=["", "late"])
@pytest.mark.parametrize("case", ALPHA)
def test_transparency_is_kept_through_all_that_is_done(
    case: str, opaque: tuple[int, ...], tmp_path: Path
) -> None:
    codec, name, file, suffix, expected = ALPHA[case]
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else None
    path = clip(tmp_path / file, name, codec, count=5, opaque=opaque, options=options)
    report = run(path, tmp_path / f"out{suffix}", whole=True, encoder=USUAL)
    assert report.conforms
    assert facts(report.output).picture.track.codec == expected
    assert verify(path, report.output).conforms
    for before, after in zip(decoded(path), decoded(report.output), strict=True):
        assert off(before, after)[1] <= 12
    enlarged = run(
        *(path, tmp_path / f"large{suffix}"),
        whole=True,
        encoder=USUAL,
        upscale=stream.Scale.parse("2"),
        stabilize=True,
    )
    for before, after in zip(decoded(path), decoded(enlarged.output), strict=True):
        inner = (slice(8, -8), slice(8, -8), 3)
        # What is stabilized is enlarged a little.
        assert np.abs(before[inner] - after[inner]).max() * 255 < 24


@pytest.mark.parametrize("codec", [None, "h264"])
def test_transparency_that_cannot_be_kept_is_said_before_the_work(
    codec: str | None, tmp_path: Path
) -> None:
    path = clip(tmp_path / "in.mov", "argb", "qtrle", opaque=(0,))
    said: list[str] = []
    output = tmp_path / ("out.mp4" if codec is None else "out.mov")
    settings = stream.Settings(model="none", encoder=stream.EncoderSettings(codec=codec))
    report = stream.Job(path, output, settings).run(say=said.append)
    assert any("transparency" in line for line in said)
    assert report.conformance is not None
    assert "transparency (yes) is missing" in report.conformance.summary


def test_what_is_opaque_throughout_needs_no_alpha(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mov", "argb", "qtrle", opaque=(0, 1, 2))
    report = run(path, tmp_path / "out.mkv")
    assert report.conforms
    assert facts(report.output).picture.track.codec == "h264"


def test_transparency_that_ffmpeg_does_not_decode_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.mov"
    planes = [np.full((128, 256), code, np.uint16) for code in (300, 512, 512)]
    options = {"profile": "dnxhr_444"}
    write(path, "yuv444p10le", [planes] * 2, codec="dnxhd", options=options)
    assert not facts(path).picture.transparent
    data = path.read_bytes()
    begin = data.index(b"\x00\x00\x02\x80\x03")  # a frame of DNxHR
    path.write_bytes(data[: begin + 7] + bytes([data[begin + 7] | 1]) + data[begin + 8 :])
    report = run(path, tmp_path / "out.mov", encoder=USUAL)
    assert report.conformance is not None
    assert "transparency (yes) is missing" in report.conformance.summary


HARM: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "gray, and YUV that says nothing": ({"name": "gray"}, {"as": 2}, "levels"),
    "gray called limited": ({"name": "gray"}, {"name": "gray", "said": 1}, "color range"),
    "full made limited": ({"said": 2}, {"said": 1, "as": 2}, "color range"),
    "limited made full": ({"said": 1}, {"said": 2, "as": 1}, "color range"),
    "scaled, and not said": ({"said": 1}, {"said": 1, "as": 2}, "levels"),
    "less opaque": ({"name": "bgra"}, {"name": "bgra", "less": 40}, "opacity"),
}


@pytest.mark.parametrize("case", HARM)
def test_verify_sees_levels_that_are_not_what_they_were(case: str, tmp_path: Path) -> None:
    before, after, what = HARM[case]
    paths = []
    for number, asked in enumerate((before, after)):
        path = tmp_path / f"{number}.mkv"
        name, said = asked.get("name", "yuv420p"), asked.get("said", 0)
        picture = drawn()
        picture[..., :3] = picture[..., :1]
        picture[..., 3] -= np.minimum(picture[..., 3], asked.get("less", 0))
        with av.open(str(path), "w") as output:
            video = output.add_stream("ffv1", rate=25)
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = *SIZE, name
            video.codec_context.color_range = said
            frame = stored(name, asked.get("as", said), picture)
            frame.color_range, frame.pts, frame.time_base = said, 0, Fraction(1, 25)
            output.mux(video.encode(frame))
            output.mux(video.encode(None))
        paths.append(path)
    assert verify(paths[0], paths[0]).conforms
    wrong = verify(paths[0], paths[1])
    assert what in {row.what for row in wrong.rows if row.verdict == "changed"}, wrong.summary


@pytest.mark.parametrize("name", sorted({*FORMATS} - FATAL))
def test_every_format_is_shown_live_as_players_show_it(name: str) -> None:
    for said, matrix in product(RANGES, (2, 0)):
        try:
            frame = stored(name, said)
        except av.error.FFmpegError:
            pytest.skip("swscale does not write it")
        frame.colorspace = matrix
        try:
            expected = shown(frame)
        except av.error.FFmpegError:
            pytest.skip("swscale does not read it")
        tags = tags_of(frame)
        assert tags[0] != 0, "what is sent is never RGB"
        flat, made = live.Unpacker().unpack(frame).reshape(-1), av.VideoFrame(*SIZE, "yuv420p")
        planes = np.split(flat, np.cumsum([64 * 48, 32 * 24]))
        for plane, codes in zip(made.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            rows[:, : plane.width] = codes.reshape(plane.height, plane.width)
        made.color_range, made.colorspace = tags[3], tags[0]
        # Coarse chroma takes the dither of few bits away.
        sides = [each.clip(0, 1).reshape(6, 8, 8, 8, 4) for each in (shown(made), expected)]
        coarse = [each.mean(axis=(1, 3))[..., :3] for each in sides]
        assert np.abs(coarse[0] - coarse[1]).max() * 255 < 10, RANGES[said]


def test_frames_that_are_kept_keep_their_alpha(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mov", "argb", "qtrle")
    source = Source(path, Reading(alpha=True))
    read = list(source)
    source.close()
    work = JobCheckpoint.begin(tmp_path / "work", {})
    for frame in read:
        work.keep(frame)
    work.write_kept()
    kept = list(work.kept(source.coding, source.time_base))
    work.close()
    assert source.coding.alpha
    assert [frame.pts for frame in kept] == [frame.pts for frame in read]
    for before, after in zip(read, kept, strict=True):
        for one, two in zip(before.stored, after.stored, strict=True):
            assert np.array_equal(one, two)
