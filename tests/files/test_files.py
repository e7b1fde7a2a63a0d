"""Files through the whole program: nothing but the picture changes."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import stream
from demo import scene
from stream.input.source import Source
from stream.media.encoders import ENCODERS, Encoder
from stream.options.encoding import EncoderSettings
from stream.output.checkpoint import JobCheckpoint
from stream.output.segment_sink import SegmentSink, plan
from tests.clips import Seen, look, make_clip

LOSSLESS = stream.EncoderSettings(quality=0)
SUFFIXES = {"prores": ".mov", "vp8": ".webm", "vp9": ".webm"}
"""The endings of codecs that are not tried in .mkv."""


def untouched(source: Path, output: Path, encoder: EncoderSettings | None = None) -> Seen:
    """Run a job that restores nothing, and look at what it wrote."""
    settings = stream.Settings(strength=0, encoder=encoder or EncoderSettings(), device="cpu")
    stream.Job(source, output, settings).run()
    return look(output)


CLIPS: dict[str, dict[str, object]] = {
    "plain": {},
    "b-frames": {"options": {"bf": "3", "b-adapt": "0"}, "frames": 30},
    "variable rate": {"time_base": Fraction(1, 1000), "pts": [0, 7, 40, 41, 90, 300, 1005, 1500]},
    "fine clock": {"time_base": Fraction(1, 90000), "pts": [0, 3003, 6007, 9009, 12012, 15015]},
    "starts late": {"pts": range(25, 37)},
    "starts late, on a fine clock": {
        "time_base": Fraction(1, 30000),
        "pts": range(2002, 12012, 1001),
        "mux": {"movie_timescale": "30000"},
    },
    "one frame": {"frames": 1},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "10 bits, 4:2:2": {"pix_fmt": "yuv422p10le"},
    "4:4:4": {"pix_fmt": "yuv444p"},
    "gray": {"pix_fmt": "gray"},
    "full range": {"tags": (1, 1, 1, 2)},
    "BT.601": {"tags": (6, 6, 6, 1)},
    "HLG": {"tags": (9, 9, 18, 1), "pix_fmt": "yuv420p10le"},
    "nothing said": {"tags": (2, 2, 2, 0)},
    "rotated": {"rotation": 90},
    "rotated back": {"rotation": -90},
    "anamorphic": {"aspect": Fraction(16, 11)},
    "two languages": {"audio": ("deu", "fra")},
    "chapters": {"chapters": True},
    "tags": {"metadata": {"title": "A title", "comment": "said"}},
}


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        *((name, suffix) for name in CLIPS for suffix in (".mp4", ".mkv", ".mov")),
        ("subtitles", ".mkv"),
    ],
)
def test_everything_stays(name: str, suffix: str, tmp_path: Path) -> None:
    options = dict(CLIPS.get(name, {"subtitles": True}))
    options["frames"] = len(options["pts"]) if "pts" in options else options.get("frames", 12)  # type: ignore[arg-type]
    source = make_clip(tmp_path / f"in{suffix}", **options)  # type: ignore[arg-type]
    before = look(source)
    after = untouched(source, tmp_path / f"out{suffix}")
    assert after.timestamps == before.timestamps
    assert len(before.timestamps) == options["frames"]
    assert after.format == before.format
    # Matroska has the size to show a picture in, in whole pixels.
    whole = Fraction(suffix == ".mkv", 64)
    assert abs(Fraction(after.aspect or 1) - Fraction(before.aspect or 1)) <= whole
    assert after.packets == before.packets
    assert after.streams == before.streams
    assert after.chapters == before.chapters
    for key in ("title", "comment"):
        assert after.metadata.get(key) == before.metadata.get(key)
    for ours, theirs in zip(after.pictures, before.pictures, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() <= 0.012 * theirs.max()


def test_sound_and_picture_start_as_they_did(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", audio=("eng",), frames=30)
    before, after = look(source), untouched(source, tmp_path / "out.mp4")
    assert (
        after.packets[0][0][0] - after.timestamps[0]
        == before.packets[0][0][0] - before.timestamps[0]
    )


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_every_encoder_works(encoder: Encoder, tmp_path: Path) -> None:
    name = encoder.codec
    suffix = SUFFIXES.get(name, ".mkv")
    source = make_clip(tmp_path / "in.mp4", size=(128, 96))
    output = tmp_path / f"out{suffix}"
    after = untouched(source, output, EncoderSettings(codec=name))
    assert len(after.timestamps) == 12
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == name
    limit = 0.001 if suffix in (".webm", ".mkv") else 0
    for ours, theirs in zip(after.timestamps, look(source).timestamps, strict=True):
        assert abs(ours - theirs) <= limit


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root, on Linux, is given real-time threads",
)
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_no_encoder_makes_real_time_threads(encoder: Encoder, tmp_path: Path) -> None:
    """SVT-AV1 does, and its caller one of them: on two cores, other threads never ran again."""
    source = Source(make_clip(tmp_path / "in.mp4", size=(128, 96)))
    output = tmp_path / f"out{SUFFIXES.get(encoder.codec, '.mkv')}"
    work = JobCheckpoint.begin(tmp_path / "work", {})
    sink = SegmentSink(work, source, plan(output, source, EncoderSettings(codec=encoder.codec)))
    sink.push(next(iter(source)))
    threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    policies = {os.sched_getscheduler(thread) for thread in threads}
    sink.abandon()
    work.remove()
    source.close()
    assert policies == {os.SCHED_OTHER}


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (16, 17), (33, 18), (17, 17)])
def test_tiny_and_odd_sizes_stay_what_they_are(size: tuple[int, int], tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "in.mkv", size=size, codec="ffv1", frames=3, options={"level": "1"}
    )
    for suffix in (".mp4", ".mkv"):
        output = tmp_path / f"out{suffix}"
        stream.run(source, output, device="cpu")
        seen = look(output)
        assert seen.format[1] == size
        assert len(seen.timestamps) == 3


def test_a_shaky_clip_comes_nearer_to_its_sharp_original(tmp_path: Path) -> None:
    shaky, sharp = tmp_path / "shaky.mp4", tmp_path / "sharp.mp4"
    scene.render(shaky, sharp, size=(320, 180), seconds=0.4)
    report = stream.run(shaky, tmp_path / "clean.mkv", device="cpu", precision="float32")
    assert report.frames == 12
    assert not report.stopped
    truth = [picture.astype(float) for picture in look(sharp).pictures]

    def distance(path: Path) -> float:
        seen = look(path).pictures
        return float(np.mean([np.mean((a - b) ** 2) for a, b in zip(seen, truth, strict=True)]))

    assert distance(tmp_path / "clean.mkv") < 0.98 * distance(shaky)


def test_strength_is_a_blend(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", size=(96, 64), frames=2, codec="ffv1")
    pictures = {}
    for strength in (0.0, 0.5, 1.0):
        output = tmp_path / f"{strength}.mkv"
        stream.run(source, output, strength=strength, device="cpu", precision="float32")
        pictures[strength] = look(output).pictures[0].astype(float)
    assert np.array_equal(pictures[0.0], look(source).pictures[0]), "lossless and untouched"
    middle = (pictures[0.0] + pictures[1.0]) / 2
    assert np.abs(pictures[0.5] - middle).max() <= 1.01
    assert np.abs(pictures[1.0] - pictures[0.0]).max() > 2


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("png", "rgb24", ".mov"),
        ("ffv1", "bgra", ".mkv"),
        ("ffv1", "yuv410p", ".mkv"),
        ("ffv1", "yuv440p", ".mkv"),
        ("utvideo", "gbrp", ".avi"),
        ("gif", "rgb8", ".gif"),
        ("mjpeg", "yuvj422p", ".avi"),
    ],
)
def test_formats_that_are_not_planar_are_converted(
    codec: str, pix_fmt: str, suffix: str, tmp_path: Path
) -> None:
    source = make_clip(
        tmp_path / f"in{suffix}", frames=2, codec=codec, pix_fmt=pix_fmt, tags=(2, 2, 2, 0)
    )
    seen = untouched(source, tmp_path / "out.mp4")
    assert len(seen.timestamps) == 2
    with av.open(str(source)) as a, av.open(str(tmp_path / "out.mp4")) as b:
        before = next(a.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        after = next(b.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(before.mean(axis=(0, 1)) - after.mean(axis=(0, 1))).max() < 4, "no tint"


def test_a_part_of_a_file(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=50, audio=("eng",), options={"g": "10"})
    report = stream.run(
        source, tmp_path / "out.mp4", start=0.52, duration=0.4, strength=0, device="cpu"
    )
    seen = look(tmp_path / "out.mp4")
    assert report.frames == 10
    assert seen.timestamps == [Fraction(index, 25) for index in range(10)]
    whole = look(source)
    for ours, theirs in zip(seen.pictures, whole.pictures[13:23], strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_a_part_begins_with_the_first_frame(tmp_path: Path) -> None:
    # At 22/15 s, which FFmpeg rounds up to microseconds.
    pts = [132000 + 3000 * index for index in range(12)]
    source = make_clip(tmp_path / "in.ts", time_base=Fraction(1, 90000), pts=pts)
    output = tmp_path / "out.ts"
    assert stream.run(source, output, strength=0, duration=0.2, device="cpu").conforms
    assert len(look(output).timestamps) == 6


def test_a_part_behind_the_end_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    with pytest.raises(stream.SourceError, match="no frame"):
        stream.run(source, tmp_path / "out.mp4", start=100, device="cpu")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_a_change_of_size_on_the_way_does_not_stop_it(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "a.ts", size=(96, 64), container="mpegts")
    second = make_clip(
        tmp_path / "b.ts", size=(48, 32), container="mpegts", pts=range(100, 112), frames=12
    )
    source = tmp_path / "in.ts"
    source.write_bytes(first.read_bytes() + second.read_bytes())
    report = stream.run(source, tmp_path / "out.mp4", strength=0, device="cpu")
    seen = look(tmp_path / "out.mp4")
    assert len(seen.timestamps) == len(look(source).timestamps) == report.frames
    assert seen.format[1] == (96, 64)
    assert any("another size" in warning for warning in report.warnings)


def test_what_cannot_be_carried_is_named(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", subtitles=True)
    report = stream.run(source, tmp_path / "out.ts", strength=0, device="cpu")
    assert len(report.warnings) == 1
    assert "subtitle stream 1" in report.warnings[0]
    assert "swe" in report.warnings[0]
    assert not report.conforms
    assert report.conformance is not None
    assert "subtitle stream 1" in report.conformance.summary


def test_cover_art_is_kept_and_not_restored(tmp_path: Path) -> None:
    from av.stream import Disposition

    source = tmp_path / "in.mp4"
    video = make_clip(tmp_path / "video.mp4")
    art = make_clip(tmp_path / "art.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=1)
    with av.open(str(video)) as a, av.open(str(art)) as b, av.open(str(source), "w") as out:
        cover = out.add_stream_from_template(b.streams.video[0])
        cover.disposition = Disposition.attached_pic
        main = out.add_stream_from_template(a.streams.video[0])
        for packet in b.demux(video=0):
            if packet.size:
                packet.stream = cover
                out.mux(packet)
        for packet in a.demux(video=0):
            if packet.size:
                packet.stream = main
                out.mux(packet)
    report = stream.run(source, tmp_path / "out.mp4", strength=0, device="cpu")
    assert report.frames == 12
    with av.open(str(tmp_path / "out.mp4")) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == 1
        assert len(container.streams.video) == 2


def test_names_that_ffmpeg_would_misread(tmp_path: Path) -> None:
    for name in ("a:b.mp4", "%03d.mp4", "-dash.mp4", "what?#.mp4", "ünï '\"code.mp4"):
        source = make_clip(tmp_path / "plain.mp4", frames=2)
        odd = tmp_path / name
        odd.write_bytes(source.read_bytes())
        stream.run(odd, tmp_path / f"x{name}", strength=0)
        assert len(look(Path(f"file:{tmp_path / f'x{name}'}")).timestamps) == 2


def test_the_default_name_is_beside_the_input(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=2)
    report = stream.run(source, strength=0, device="cpu")
    assert report.output == tmp_path / "in.deblurred.mp4"
    assert report.output.exists()


@pytest.mark.parametrize(
    "name", ["karma.mp4", "bedroom.mp4", "book.mkv", "d10.mp4", "solidWhiteRight.mp4"]
)
def test_real_footage_keeps_its_frames_sound_and_tags(
    name: str, shared: Path, tmp_path: Path
) -> None:
    source = shared / "data" / "videos" / name
    fast = EncoderSettings(preset="ultrafast")
    before, after = look(source), untouched(source, tmp_path / name, fast)
    assert after.timestamps == before.timestamps
    assert after.format == before.format
    assert after.packets == before.packets
