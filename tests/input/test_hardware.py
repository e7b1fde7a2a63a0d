"""Decoding and encoding by a GPU: what is asked for, what works here, and what stands in."""

import logging
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

import stream
from filters import Coding
from stream.colors import ColorTags
from stream.errors import DeviceError, SinkError, UsageError
from stream.frame import Frame, Plane
from stream.input.decoding import same_pictures
from stream.input.source import Source
from stream.media import hardware
from stream.media.convert import Unpacker, coding_of, packed, pix_fmt_of, planes_of, to_av
from stream.media.encoders import CODECS, ENCODERS, NVENC, Encoder, candidates
from stream.options.encoding import EncoderSettings
from stream.options.reading import Reading
from stream.output.checkpoint import JobCheckpoint
from stream.output.segment_sink import SegmentSink, plan
from stream.stages.build import reading_of
from tests.clips import look, make_clip

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
EVERY = {encoder.name: encoder for encoder in (*ENCODERS, *NVENC)}
PLANAR = (
    *("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv420p12le"),
    *("yuv422p10le", "yuv444p10le", "yuv444p12le"),
)
FORMS = [(planar, form) for planar in PLANAR for form in sorted(packed(planar))]


def coding(pix_fmt: str) -> Coding:
    return coding_of(pix_fmt, ColorTags(1, 1, 1, 1), 64, 48)


def noise(pix_fmt: str, size: tuple[int, int], seed: int = 0) -> Frame:
    """Every code that there is, at random."""
    random, form = np.random.default_rng(seed), coding(pix_fmt)
    (width, height), (across, down) = size, form.subsampling
    chroma = (-(-height // down), -(-width // across))
    dtype = np.uint8 if form.depth == 8 else np.uint16
    planes: list[Plane] = [
        random.integers(0, form.top, shape, dtype, endpoint=True)
        for shape in ((height, width), chroma, chroma)
    ]
    return Frame(tuple(planes), form, seed, Fraction(1, 25))


def same(one: tuple[Plane, ...], two: tuple[Plane, ...]) -> bool:
    return all(map(np.array_equal, one, two))


# What works here -----------------------------------------------------------------------------


def test_every_software_encoder_and_decoder_is_really_tried(
    capfd: pytest.CaptureFixture[str],
) -> None:
    begun = time.process_time()
    encoders, decoders = hardware.encoders(), hardware.decoders()
    assert torch.cuda.is_available() or time.process_time() - begun < 3
    assert [tried.name for tried in encoders] == list(EVERY)
    software = {tried.name: tried for tried in encoders if "nvenc" not in tried.name}
    software |= {tried.name: tried for tried in decoders if "software" in tried.name}
    assert {f"{codec} (software)" for codec in CODECS} <= set(software)
    assert all(tried.works and not tried.why for tried in software.values()), software
    assert capfd.readouterr() == ("", "")
    assert av.logging.get_level() is None


@no_gpu
def test_without_a_gpu_nvidias_are_unusable_and_it_is_said_why() -> None:
    tried = [*hardware.encoders(), *hardware.decoders()]
    nvidias = [each for each in tried if "nvenc" in each.name or "cuda" in each.name]
    assert len(nvidias) == 7
    for each in nvidias:
        assert not each.works
        assert each.why.startswith("no usable GPU (Cannot load libcuda"), each


@pytest.mark.parametrize(
    ("size", "options", "why"),
    [
        ((0, 0), {}, "dimensions not set"),
        ((100_000, 100_000), {}, "Picture size 100000x100000 is invalid"),
        ((64, 48), {"preset": "p5"}, "Error setting preset/tune p5/(null)"),
    ],
)
def test_a_frame_that_cannot_be_encoded_is_refused(
    size: tuple[int, int], options: dict[str, str], why: str
) -> None:
    x264 = EVERY["libx264"]
    packets, _ = hardware.encode(x264, coding("yuv420p"), (64, 48), {})
    assert len(packets) == 1
    with pytest.raises(hardware.Refused) as refused:
        hardware.encode(x264, coding("yuv420p"), size, options)
    assert str(refused.value) == why


# Choosing an encoder -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "nvenc"),
    [
        (EncoderSettings(), False),
        (EncoderSettings("hevc"), False),
        (EncoderSettings(encoder="software"), False),
        (EncoderSettings(encoder="nvenc"), True),
        (EncoderSettings("hevc", encoder="nvenc"), True),
        (EncoderSettings("hevc_nvenc"), True),
        (EncoderSettings("hevc_nvenc", encoder="software"), False),
    ],
)
def test_nvenc_is_used_where_it_is_asked_for_alone(asked: EncoderSettings, nvenc: bool) -> None:
    assert asked.nvenc is nvenc


def order(asked: EncoderSettings, codec: str = "h264", suffix: str = ".mp4") -> list[str]:
    held = {".mp4": ("h264", "hevc", "av1"), ".webm": ("vp8", "vp9", "av1"), ".mxf": ("dnxhd",)}
    found = candidates(asked, codec, (640, 480), held[suffix], suffix)
    return [encoder.name for encoder in found]


def test_the_sources_codec_comes_first() -> None:
    nvenc = EncoderSettings(encoder="nvenc")
    assert order(nvenc) == ["h264_nvenc", "hevc_nvenc", "av1_nvenc"]
    assert order(nvenc, "hevc") == ["hevc_nvenc", "h264_nvenc", "av1_nvenc"]
    assert order(nvenc, "vp9", ".webm") == ["av1_nvenc"]
    assert order(EncoderSettings("hevc", encoder="nvenc")) == ["hevc_nvenc"]
    assert order(EncoderSettings("hevc_nvenc")) == ["hevc_nvenc"]


@pytest.mark.parametrize(
    ("asked", "suffix", "error", "said"),
    [
        (("vp9", "nvenc"), ".webm", UsageError, "NVENC encodes no vp9; choose a --codec of h264"),
        (("libx264", "nvenc"), ".mp4", UsageError, "NVENC encodes no libx264"),
        (("hevc_nvenc", "software"), ".mp4", UsageError, "unknown --codec hevc_nvenc"),
        (("x", "nvenc"), ".mp4", UsageError, "unknown --codec x; choose one of h264, hevc, av1"),
        (("hevc", "nvenc"), ".webm", SinkError, ".webm files cannot hold hevc"),
        ((None, "nvenc"), ".mxf", SinkError, "no kind of video that NVENC encodes"),
    ],
)
def test_what_nvenc_has_no_encoder_for(
    asked: tuple[str | None, str], suffix: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        order(EncoderSettings(asked[0], encoder=asked[1]), suffix=suffix)


def test_another_kind_of_encoder_is_unknown() -> None:
    with pytest.raises(UsageError, match="--encoder must be auto, software, nvenc, got x"):
        EncoderSettings(encoder="x")


def test_the_first_that_really_encodes_and_keeps_all_is_chosen() -> None:
    deep, size, asked = coding("yuv420p10le"), (64, 48), EncoderSettings()
    x264, x265, vp8 = EVERY["libx264"], EVERY["libx265"], EVERY["libvpx"]
    assert hardware.choose([x264, x265], asked, deep, size) == (x264, deep)
    # VP8 has 8 bits alone, and libx264 as told here frames of 32 pixels.
    assert hardware.choose([vp8, x265], asked, deep, size) == (x265, deep)
    assert hardware.choose([vp8], asked, deep, size) == (vp8, coding("yuv420p"))
    assert hardware.choose([replace(x264, longest=32), x265], asked, deep, size)[0] == x265
    with pytest.raises(DeviceError) as refused:
        hardware.choose([replace(x264, longest=32)], asked, deep, size)
    assert str(refused.value) == (
        "libx264 cannot encode 64x48 yuv420p10le here: it takes frames of up to 32 pixels a side; "
        "use --encoder software"
    )


@no_gpu
def test_nvenc_gives_way_to_what_works() -> None:
    usual = coding("yuv420p")
    chosen = hardware.choose([*NVENC, EVERY["libx264"]], EncoderSettings(), usual, (256, 256))
    assert chosen == (EVERY["libx264"], usual)


# NVENC's options -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", NVENC, ids=lambda encoder: encoder.name)
def test_ffmpeg_knows_all_that_nvenc_is_told(encoder: Encoder) -> None:
    known = av.CodecContext.create(encoder.name, "w").supported_options
    private = {option.name: option for option in known.private}
    shared = {option.name for option in known.generic}
    for preset in (None, *encoder.presets):
        for quality in (None, 0, encoder.worst):
            asked = EncoderSettings(quality=quality, preset=preset, encoder="nvenc")
            told = encoder.settings(asked)
            assert set(told) == {"rc", "bf", "preset", "qp"}
            assert told["bf"] == "0"
            assert "bf" in shared
            for name in ("rc", "preset"):
                assert told[name] in {choice.name for choice in private[name].choices}
            assert private["qp"].min <= int(told["qp"]) <= private["qp"].max
            assert told["qp"] == str(encoder.quality if quality is None else quality)
    assert private["qp"].max == encoder.worst
    taken = {format.name for format in av.Codec(encoder.name, "w").video_formats or ()}
    assert {form for _, form in encoder.formats} <= taken


@pytest.mark.parametrize("encoder", NVENC, ids=lambda encoder: encoder.name)
def test_options_that_nvenc_has_not(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match=rf"--quality of {encoder.name} goes from 0"):
        encoder.settings(EncoderSettings(quality=encoder.worst + 1))
    with pytest.raises(UsageError, match=rf"unknown --encoder-preset fast of {encoder.name}"):
        encoder.settings(EncoderSettings(preset="fast"))


@pytest.mark.parametrize(
    ("name", "own", "size", "taken", "form"),
    [
        ("h264_nvenc", "yuv420p", (64, 48), "yuv420p", "yuv420p"),
        ("h264_nvenc", "yuv420p", (65, 49), "yuv444p", "yuv444p"),
        ("hevc_nvenc", "yuv420p10le", (64, 48), "yuv420p10le", "p010le"),
        ("hevc_nvenc", "yuv422p10le", (64, 48), "yuv422p10le", "p210le"),
        ("hevc_nvenc", "yuv444p10le", (64, 48), "yuv444p10le", "yuv444p10msble"),
        ("hevc_nvenc", "yuv420p12le", (64, 48), "yuv420p10le", "p010le"),
        ("hevc_nvenc", "gray", (64, 48), "yuv420p", "yuv420p"),
        ("av1_nvenc", "yuv444p", (64, 48), "yuv420p", "yuv420p"),
        ("av1_nvenc", "yuv420p10le", (65, 49), "yuv420p10le", "p010le"),
    ],
)
def test_the_form_in_which_nvenc_takes_frames(
    name: str, own: str, size: tuple[int, int], taken: str, form: str
) -> None:
    encoder = EVERY[name]
    chosen = encoder.coding(coding(own), *size)
    assert pix_fmt_of(chosen) == taken
    assert encoder.pix_fmt(chosen) == form


@pytest.mark.parametrize(
    ("name", "size", "held"),
    [
        ("h264_nvenc", (4096, 2160), True),
        ("h264_nvenc", (4098, 2160), False),
        ("h264_nvenc", (2160, 4098), False),
        ("hevc_nvenc", (7680, 4320), True),
        ("hevc_nvenc", (8194, 4320), False),
        ("av1_nvenc", (8192, 4352), True),
        ("av1_nvenc", (8194, 2160), False),
    ],
)
def test_how_large_frames_nvenc_takes(name: str, size: tuple[int, int], held: bool) -> None:
    assert EVERY[name].holds(size) is held


# Packed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize(("planar", "form"), FORMS)
@pytest.mark.parametrize("size", [(66, 50), (65, 49)])
def test_packed_frames_hold_every_code(planar: str, form: str, size: tuple[int, int]) -> None:
    frame = noise(planar, size)
    made = to_av(frame, ColorTags(), form)
    assert made.format.name == form
    assert same(planes_of(made, frame.coding), frame.planes)
    if size == (66, 50):  # at an odd size FFmpeg's own conversion leaves out a row of chroma
        # With threads, swscale now and then writes over the first samples of another thread's rows.
        theirs = VideoReformatter().reformat(to_av(frame, ColorTags()), *size, form, threads=1)
        assert same(planes_of(theirs, frame.coding), frame.planes)


@pytest.mark.parametrize(
    ("planar", "form"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le"), ("yuv420p12le", "p016le")]
)
def test_frames_from_a_gpu_are_like_those_from_software(planar: str, form: str) -> None:
    """They come in another form, amid a stream that began in the planar one."""
    frame, tags = noise(planar, (66, 50)), ColorTags(1, 1, 1, 1)
    unpacker = Unpacker(to_av(frame, tags))
    for each in (None, form):
        assert same(unpacker.unpack(to_av(frame, tags, each), 0, Fraction(1)).planes, frame.planes)
    assert unpacker.recoded == unpacker.rescaled == 0
    unpacker.unpack(to_av(frame, ColorTags(1, 1, 1, 2), form), 0, Fraction(1))
    assert unpacker.recoded == 1


@pytest.mark.parametrize("size", [(66, 50), (65, 49)])
def test_files_of_packed_frames_lose_nothing(size: tuple[int, int], tmp_path: Path) -> None:
    frames = [noise("yuv420p", size, seed) for seed in range(3)]
    with av.open(str(tmp_path / "raw.mkv"), "w") as output:
        video = output.add_stream("rawvideo", rate=25)
        video.width, video.height = size
        video.pix_fmt = "nv12"
        for frame in frames:
            output.mux(video.encode(to_av(frame, ColorTags(1, 1, 1, 1), "nv12")))
        output.mux(video.encode(None))
    source = Source(tmp_path / "raw.mkv")
    assert source.info.first.format.name == "nv12"
    read = list(source)
    source.close()
    assert len(read) == 3
    for ours, theirs in zip(read, frames, strict=True):
        assert same(ours.planes, theirs.planes)


def test_an_encoder_that_takes_packed_frames_gives_the_same(tmp_path: Path) -> None:
    """x264 takes NV12 as well, and shows what NVENC's way through the program does to it."""
    path, pictures = make_clip(tmp_path / "in.mp4"), []
    for formats in ((), (("yuv420p", "nv12"),)):
        source, work = Source(path), JobCheckpoint.begin(tmp_path / f"work{len(formats)}", {})
        chosen = plan(tmp_path / "out.mp4", source, EncoderSettings())
        sink = SegmentSink(
            work, source, replace(chosen, encoder=replace(chosen.encoder, formats=formats))
        )
        for frame in source:
            sink.push(frame)
        sink.flush()
        pictures.append(look(work.segments[0].file).pictures)
        work.close()
        source.close()
    assert len(pictures[0]) == 12
    assert same(tuple(pictures[0]), tuple(pictures[1]))


# Where frames are decoded --------------------------------------------------------------------


def test_the_same_pictures_have_the_same_codes_and_times() -> None:
    tags = ColorTags(1, 1, 1, 1)
    frames = [noise("yuv420p10le", (66, 50), seed) for seed in range(3)]
    software = [to_av(frame, tags) for frame in frames]
    gpus = [to_av(frame, tags, "p010le") for frame in frames]
    assert same_pictures(software, gpus)
    assert same_pictures(software, gpus[:2])
    for frame in (software[2], gpus[2]):
        frame.pts = 7
    assert same_pictures(software, gpus)
    gpus[2].pts = 8
    assert not same_pictures(software, gpus)
    changed = [plane.copy() for plane in frames[1].planes]
    changed[2][-1, -1] ^= 1
    gpus = [to_av(replace(frames[1], planes=tuple(changed)), tags, "p010le")]
    assert not same_pictures(software[1:], gpus)
    assert not same_pictures(software[:1], [to_av(frames[0], ColorTags(9, 1, 1, 1), "p010le")])


def test_auto_is_software_where_the_network_runs_on_the_cpu() -> None:
    assert reading_of(stream.Settings(device="cpu")).decoder == "software"
    assert reading_of(stream.Settings(device="cpu", decoder="cuda")).decoder == "cuda"
    with pytest.raises(UsageError, match="--decoder must be auto, software, cuda, got x"):
        _ = reading_of(stream.Settings(decoder="x"))


@no_gpu
def test_without_a_gpu_auto_is_software_and_it_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert reading_of(stream.Settings()).decoder == "software"
    caplog.set_level(logging.INFO)
    source = Source(make_clip(tmp_path / "in.mp4"), Reading(decoder="auto"))
    assert source.decoding.where == "software"
    assert len(list(source)) == 12
    source.close()
    assert "decoding in software, as the GPU does not: no usable GPU" in caplog.text


def test_a_codec_that_no_gpu_decodes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mov", codec="prores_ks", pix_fmt="yuv422p10le")
    with pytest.raises(DeviceError, match=r"prores is not decoded by a GPU here; use --decoder"):
        Source(clip, Reading(decoder="cuda"))


@no_gpu
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decoder", "cuda"], "deblur: --decoder cuda cannot decode "),
        (["--encoder", "nvenc"], "deblur: h264_nvenc cannot encode 64x48 yuv420p here: "),
        (["--codec", "av1_nvenc"], "deblur: av1_nvenc cannot encode 64x48 yuv420p here: "),
    ],
)
def test_what_is_asked_for_and_not_there_ends_with_69_and_one_line(
    words: list[str], said: str, tmp_path: Path
) -> None:
    clip, output = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("deblur")), "run", str(clip), str(output), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 69
    assert ended.stdout == ""
    assert ended.stderr.startswith(said)
    assert "no usable GPU" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [clip]


# With a GPU ----------------------------------------------------------------------------------


@pytest.mark.needs_cuda
@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("libx264", "yuv420p"), ("libx265", "yuv420p"), ("libx265", "yuv420p10le")],
)
def test_the_gpu_decodes_what_software_does(codec: str, pix_fmt: str, tmp_path: Path) -> None:
    options = {"bf": "3"} if codec == "libx264" else {"x265-params": "log-level=error"}
    clip = make_clip(
        tmp_path / "in.mp4",
        codec=codec,
        pix_fmt=pix_fmt,
        size=(320, 240),
        frames=60,
        options=options,
    )
    software, gpus = Source(clip), Source(clip, Reading(decoder="auto"))
    assert gpus.decoding.where == "cuda"
    for one, two in zip(software, gpus, strict=True):
        assert one.pts == two.pts
        assert same(one.planes, two.planes)
    assert not gpus.recoded
    software.close()
    gpus.close()


@pytest.mark.needs_cuda
@pytest.mark.parametrize("encoder", NVENC, ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_nvenc_keeps_times_tags_and_pictures(
    encoder: Encoder, pix_fmt: str, tmp_path: Path
) -> None:
    size, pts = (320, 240), [n * 1001 for n in range(60)]
    clip = make_clip(
        tmp_path / "in.mp4",
        pix_fmt=pix_fmt,
        size=size,
        frames=60,
        time_base=Fraction(1, 30_000),
        pts=pts,
    )
    asked = EncoderSettings(encoder.codec, encoder="nvenc")
    try:
        hardware.encode(encoder, coding(pix_fmt), size, encoder.settings(asked))
    except hardware.Refused as reason:
        pytest.skip(f"this GPU's {encoder.name}: {reason}")  # those for data centers have none
    report = stream.Job(
        clip, tmp_path / "out.mp4", stream.Settings(strength=0, encoder=asked)
    ).run()
    assert report.conforms
    before, after = look(clip), look(tmp_path / "out.mp4")
    assert after.timestamps == before.timestamps
    assert after.format == before.format
    for ours, theirs in zip(after.pictures, before.pictures, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() <= 0.012 * theirs.max()
