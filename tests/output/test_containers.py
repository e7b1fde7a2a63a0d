"""Every container that can be named against everything that can come out of it."""

from pathlib import Path

import av
import pytest

import mssnet
import stream
from stream.media.encoders import CODECS
from stream.output.segment_sink import CONTAINERS
from stream.verify import verify
from tests.clips import make_clip
from tests.tracks import Piece, sound, together

LABELS = ("title", "language", "color primaries", "color transfer", "color matrix", "levels")
"""What some containers have no place for, and is named then; levels are those of a codec (ProRes
rounds the corners of so small a picture)."""


HELD = {
    ".mp4": {"h264", "hevc", "av1", "vp9"},
    ".m4v": {"h264", "hevc", "av1", "vp9"},
    ".mov": {"h264", "hevc", "prores"},
    ".mkv": {*CODECS},
    ".webm": {"av1", "vp9", "vp8"},
    ".ts": {"h264", "hevc"},
}


def endings() -> set[str]:
    """All that FFmpeg knows a format for, to write it."""
    known = set()
    for name in av.formats_available:
        try:
            known |= {f".{each.strip()}" for each in av.ContainerFormat(name, "w").extensions}
        except ValueError:
            continue
    return known


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(
        tmp_path_factory.mktemp("in") / "in.mkv", frames=6, size=(64, 64), audio=("eng",)
    )


def written(source: Path, output: Path, codec: str, restore: mssnet.Deblurrer) -> stream.Report:
    settings = stream.Settings(
        model="none", strength=0, device="cpu", encoder=stream.EncoderSettings(codec=codec)
    )
    return stream.Job(source, output, settings).run(restore=restore)


@pytest.mark.parametrize("ending", CONTAINERS)
@pytest.mark.parametrize("codec", CODECS)
def test_a_container_holds_a_codec_or_that_is_said_before_the_work(
    codec: str, ending: str, source: Path, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    output = tmp_path / f"out{ending}"
    if codec not in HELD.get(ending, HELD[".ts"]):
        said = f"{ending} files cannot hold {codec} video; use .mkv, or --codec "
        with pytest.raises(stream.SinkError, match=said) as refused:
            written(source, output, codec, restore)
        assert refused.value.exit_code == 73
        assert list(tmp_path.iterdir()) == []
        return
    report = written(source, output, codec, restore)
    assert report.conformance is not None
    differing = report.conformance.having("lost") + report.conformance.having("changed")
    assert [row.said for row in differing if not row.what.endswith(LABELS)] == []
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
        assert sum(1 for _ in container.decode(video=0)) == 6
    with av.open(str(output)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 23_000


@pytest.mark.parametrize("codec", ["h264", "ffv1", "vp8"])
def test_other_endings_are_refused_before_the_work(
    codec: str, source: Path, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    others = endings() - CONTAINERS.keys()
    assert len(others) > 100
    assert {".avi", ".wmv", ".asf", ".ogv", ".f4v", ".ismv", ".h264", ".flv", ".3gp"} <= others
    for ending in sorted({*others, ".xyz"}):
        with pytest.raises(stream.SinkError, match=r"use \.mkv, \.mp4, \.mov or \.webm") as refused:
            written(source, tmp_path / f"out{ending}", codec, restore)
        assert refused.value.exit_code == 73
    assert list(tmp_path.iterdir()) == []


def content(path: Path) -> bytes:
    """All packets of the sound in a row, without the headers that MPEG-TS puts before each."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        size = 7 if path.suffix == ".ts" and track.codec_context.name == "aac" else 0
        return b"".join(bytes(packet)[size:] for packet in container.demux(track))


SOUNDS = {
    "aac": {},
    "ac3": {},
    "eac3": {},
    "alac": {},
    "flac": {},
    "libmp3lame": {},
    "libopus": {},
    "mp2": {},
    "vorbis": {},
    "wavpack": {},
    "tta": {},
    "pcm_s16le": {},
    "pcm_s24le": {"depth": 24},
    "pcm_u8": {},
    "pcm_f32le": {},
}


@pytest.mark.parametrize("codec", SOUNDS)
def test_sound_is_heard_in_every_container(
    codec: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """Copied, or coded anew and said: as long as it was, with nothing that does not decode."""
    picture = make_clip(tmp_path / "picture.mkv", frames=25)
    voice = sound(tmp_path / "voice.mkv", codec, **SOUNDS[codec])  # type: ignore[arg-type]
    source = together(tmp_path / "in.mkv", Piece(picture), Piece(voice))
    for ending in (".mp4", ".mov", ".mkv", ".webm", ".ts"):
        output = tmp_path / f"out{ending}"
        report = written(source, output, "vp9" if ending == ".webm" else "h264", restore)
        assert report.conforms, report.conformance and report.conformance.summary
        with av.open(str(output)) as container:
            track = container.streams.audio[0]
            heard = sum(frame.samples for frame in container.decode(track)) / track.rate
        assert heard == pytest.approx(1.0, abs=0.06)
        said = f"{ending} needs other codings: audio stream 1" in " ".join(report.warnings)
        assert said == (content(output) != content(source))
    assert codec != "tta" or content(tmp_path / "out.mkv") != content(source)


def test_sound_that_does_not_decode_any_more_is_seen(tmp_path: Path) -> None:
    picture = make_clip(tmp_path / "picture.mkv", frames=25)
    voice = sound(tmp_path / "voice.mkv", "vorbis")
    source = together(tmp_path / "in.mkv", Piece(picture), Piece(voice))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        said = container.streams.audio[0].codec_context.extradata or b""
    # The packets stay what they are, but for what their decoder is told beforehand.
    place = data.index(said)
    data[place : place + 64] = bytes(64)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    assert "audio 1 decoding does not decode any more" in verify(source, broken).summary
    assert verify(source, source).conforms
