"""What a container cannot hold as it is becomes what it can hold, and says the same in time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.subtitles.subtitle import AssSubtitle
from numpy.typing import NDArray

import mssnet
import stream
from tests import tracks
from tests.clips import make_clip
from tests.tracks import Cue, Piece, carried, told

FRAME_S = 1 / 25


def texts(path: Path) -> dict[str, list[tuple[Fraction, Fraction, str]]]:
    """By language, what stands on the screen from one moment to another."""
    with av.open(str(path)) as container:
        found: dict[str, list[tuple[Fraction, Fraction, str]]] = {}
        for track in container.streams.subtitles:
            said = found.setdefault(track.metadata["language"], [])
            container.seek(0)
            for packet in container.demux(track):
                made = packet.decode() if packet.size else []
                lines = [x.dialogue.decode() for x in made if isinstance(x, AssSubtitle)]
                if lines and packet.pts is not None:
                    start, end = packet.pts, packet.pts + (packet.duration or 0)
                    text = re.sub(r"{.*?}", "", "\n".join(lines)).strip()
                    said.append((start * packet.time_base, end * packet.time_base, text))
        return found


def clocked(*cues: Cue) -> list[tuple[Fraction, Fraction, str]]:
    millis = Fraction(1, 1000)
    return [(round(a * 1000) * millis, round(b * 1000) * millis, text) for a, b, text in cues]


OTHERS: Sequence[Cue] = ((0.12, 0.4, "Bonjour"), (0.4, 1.0, "Salut,\nça va ?"))


@pytest.mark.parametrize("kind", [".srt", ".ass", ".vtt"])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_subtitles_survive_the_way_through_mp4(
    kind: str, ending: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    first = tracks.words(tmp_path / f"one{kind}", tracks.CUES)
    second = tracks.words(tmp_path / f"two{kind}", OTHERS)
    source = tracks.together(
        tmp_path / "in.mkv",
        shown,
        # MOV knows no roles.
        Piece(
            first,
            {"language": "eng", "title": "Signs"},
            Disposition.forced if ending == ".mp4" else None,
        ),
        Piece(second, {"language": "fra"}),
    )
    there = carried(source, tmp_path / f"there{ending}", restore)
    back = carried(tmp_path / f"there{ending}", tmp_path / "back.mkv", restore)
    for report in (there, back):
        assert report.conforms, told(report)
        assert report.dropped == []
    assert [line.split(":")[0] for line in there.warnings] == [f"{ending} needs other codings"]
    assert there.warnings[0].count("to mov_text") == 2
    assert back.warnings[0].count("to ass") == 2
    said = {"eng": clocked(*tracks.CUES), "fra": clocked(*OTHERS)}
    assert texts(tmp_path / f"there{ending}") == said
    assert texts(tmp_path / "back.mkv") == said


def test_lines_that_overlap_are_cut_where_mp4_has_one_at_a_time(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    cues = [
        (0.1, 0.6, "one"),
        (0.3, 0.8, "two"),
        (0.3, 0.5, "<i>three</i>"),
        (0.8, 1.0, "four"),
        (0.8, 1.0, "five"),
    ]
    words = tracks.words(tmp_path / "words.srt", cues)
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(words, {"language": "eng"}))
    report = carried(source, tmp_path / "out.mp4", restore)
    assert report.conforms, told(report)
    assert texts(tmp_path / "out.mp4")["eng"] == clocked(
        (0.1, 0.3, "one"),
        (0.3, 0.5, "one\ntwo\nthree"),
        (0.5, 0.6, "one\ntwo"),
        (0.6, 0.8, "two"),
        (0.8, 1.0, "four\nfive"),
    )
    same = carried(source, tmp_path / "same.mkv", restore)
    assert same.conforms
    assert same.warnings == []
    assert [cue[:2] for cue in texts(tmp_path / "same.mkv")["eng"]] == [
        cue[:2] for cue in clocked(*cues)
    ]


@pytest.mark.parametrize("kind", [".srt", ".ass", ".vtt"])
def test_subtitles_of_webm_are_webvtt(
    kind: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    cues = [(0.1, 0.6, "one"), (0.3, 0.8, "two,\nthree"), (0.8, 1.0, "four & five")]
    if kind != ".vtt":
        cues.append((1.0, 1.04, "1 < 2 > 0"))
    words = tracks.words(tmp_path / f"words{kind}", cues)
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(words, {"language": "eng"}))
    report = carried(source, tmp_path / "out.webm", restore)
    assert report.conforms, told(report)
    assert texts(tmp_path / "out.webm")["eng"] == clocked(*cues)
    assert any("to webvtt" in line for line in report.warnings) == (kind != ".vtt")


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".ts"])
def test_subtitles_that_are_pictures_are_named_where_they_are_dropped(
    ending: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    pictures = tracks.bitmaps(tmp_path / "pictures.mkv", "pgssub")
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(pictures, {"language": "eng"}))
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.dropped == ["subtitle stream 1 (hdmv_pgs_subtitle, eng)"]
    assert not report.conforms


def test_blu_rays_own_container_keeps_its_subtitles(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    pictures = tracks.bitmaps(tmp_path / "pictures.mkv", "pgssub")
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(pictures))
    report = carried(source, tmp_path / "out.m2ts", restore)
    assert report.warnings == []
    with av.open(str(tmp_path / "out.m2ts")) as container:
        assert [each.codec_context.name for each in container.streams.subtitles] == ["pgssub"]
        assert sum(packet.size > 0 for packet in container.demux(subtitles=0)) == 2


def decoded(path: Path) -> NDArray[Any]:
    """All samples of a file's sound as they come: (channels, samples)."""
    with av.open(str(path)) as container:
        voice = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", voice.layout, voice.rate)
        made = [each for frame in container.decode(voice) for each in resampler.resample(frame)]
        return np.concatenate([each.to_ndarray() for each in made], axis=1)


@dataclass(frozen=True)
class Heard:
    """What is heard of a file's sound."""

    codec: str
    rate: int
    layout: str
    depth: int
    samples: NDArray[Any]
    """(channels, samples), from the moment of the first frame of the picture on."""


def listen(path: Path) -> Heard:
    """Decode sound as a player does, and put it against the picture's clock."""
    with av.open(str(path)) as container:
        voice, video = container.streams.audio[0], container.streams.video[0]
        first = next(f.time for f in container.decode(video) if f.time is not None)
        container.seek(0)
        context = voice.codec_context
        resampler = av.AudioResampler("fltp", context.layout, context.sample_rate)
        samples = np.zeros((context.channels, context.sample_rate * 3), np.float32)
        end = 0
        for frame in container.decode(voice):
            assert frame.time is not None
            start = round((frame.time - first) * frame.sample_rate)
            frame.pts = None
            for made in resampler.resample(frame):
                block = made.to_ndarray()[:, max(-start, 0) :]
                begin = max(start, 0)
                samples[:, begin : begin + block.shape[1]] = block
                end = max(end, begin + block.shape[1])
        return Heard(
            codec=context.codec.canonical_name,
            rate=context.sample_rate,
            layout=context.layout.name,
            depth=context.format.bits,
            samples=samples[:, :end],
        )


def lag_s(heard: Heard, wave: NDArray[Any]) -> float:
    """By how many seconds what is heard is later than it was made."""
    width = 2 * max(wave.shape[1], heard.samples.shape[1])
    spectra = [np.fft.rfft(each[0], width) for each in (heard.samples, wave)]
    met = np.fft.irfft(spectra[0] * spectra[1].conj(), width)
    best = int(np.argmax(met))
    return (best if best < width // 2 else best - width) / heard.rate


SOUNDS = [
    # Vorbis and the encoders of MP3, AC-3 and E-AC-3 are those of FFmpeg.
    ("vorbis", {}, ".ts", "aac"),
    ("vorbis", {}, ".mov", "aac"),
    ("ac3", {"layout": "5.1"}, ".webm", "opus"),
    ("eac3", {"rate": 44100}, ".webm", "opus"),
    ("aac", {"layout": "mono", "rate": 44100}, ".webm", "opus"),
    ("aac", {"rate": 22050}, ".webm", "opus"),
    ("libmp3lame", {"layout": "mono"}, ".webm", "opus"),
    ("libopus", {"layout": "5.1"}, ".mov", "aac"),
    ("flac", {"layout": "mono", "rate": 44100}, ".ts", "aac"),
    ("flac", {"layout": "5.1(side)"}, ".webm", "opus"),
    ("flac", {"layout": "2.1"}, ".webm", "opus"),
    ("pcm_s24le", {"depth": 24, "rate": 44100}, ".webm", "opus"),
    ("pcm_s16le", {"layout": "5.1"}, ".ts", "aac"),
]
LAYOUTS = {"5.1(side)": "5.1", "2.1": "5.1"}
"""What becomes of layouts that Opus does not have; channels that were not there are silent."""


@pytest.mark.parametrize(("codec", "made", "ending", "becomes"), SOUNDS)
def test_sound_in_another_coding_is_as_long_and_in_time(
    codec: str,
    made: dict[str, Any],
    ending: str,
    becomes: str,
    shown: Piece,
    tmp_path: Path,
    restore: mssnet.Deblurrer,
) -> None:
    said = {"language": "eng", "title": "Main"}
    voice = Piece(tracks.sound(tmp_path / "voice.mkv", codec, **made), said)
    source = tracks.together(tmp_path / "in.mkv", shown, voice)
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith(f"{ending} needs other codings: audio stream 1 (")
    assert report.warnings[0].endswith(f") to {becomes}")
    before, after = listen(source), listen(tmp_path / f"out{ending}")
    layout = made.get("layout", "stereo")
    assert after.codec == becomes
    assert after.layout == LAYOUTS.get(layout, layout)
    assert after.rate == (48000 if becomes == "opus" else before.rate), "Opus knows but one"
    wave = tracks.tone(1.0, after.rate, before.samples.shape[0])
    assert abs(lag_s(after, wave)) < 0.002
    length_s = after.samples.shape[1] / after.rate
    assert abs(length_s - before.samples.shape[1] / before.rate) < FRAME_S
    ours, theirs = (
        sorted(np.sqrt((each.samples**2).mean(axis=1)), reverse=True) for each in (before, after)
    )
    full = len(ours) - ("1" in layout)  # of what is for a subwoofer, low tones alone are kept
    assert np.allclose(ours[:full], theirs[:full], rtol=0.25), "every channel is there"


@pytest.mark.parametrize(
    ("codec", "depth", "rate", "ending", "becomes"),
    [
        ("wavpack", 24, 96000, ".mp4", "flac"),
        ("wavpack", 16, 44100, ".mov", "alac"),
        ("flac", 24, 48000, ".mov", "alac"),
        ("flac", 24, 48000, ".mp4", "flac"),
        ("alac", 24, 48000, ".mp4", "alac"),
        ("pcm_s24le", 24, 48000, ".mp4", "pcm_s24le"),
        ("pcm_s24le", 24, 48000, ".mov", "pcm_s24le"),
    ],
)
def test_sound_without_loss_stays_without_loss(
    codec: str,
    depth: int,
    rate: int,
    ending: str,
    becomes: str,
    shown: Piece,
    tmp_path: Path,
    restore: mssnet.Deblurrer,
) -> None:
    voice = tracks.sound(tmp_path / "voice.mkv", codec, depth=depth, rate=rate, seconds=1.1)
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(voice))
    report = carried(source, tmp_path / f"out{ending}", restore)
    before, after = listen(source), listen(tmp_path / f"out{ending}")
    assert (after.codec, after.rate, after.layout) == (becomes, rate, "stereo")
    assert bool(report.warnings) == (codec != becomes)
    assert after.depth >= depth
    assert abs(after.samples.shape[1] - before.samples.shape[1]) <= rate / 500
    first, second = decoded(source), decoded(tmp_path / f"out{ending}")
    assert first.shape == (2, round(1.1 * rate))
    assert np.array_equal(first, second)


def test_mu_law_of_mov_is_kept_whole_in_matroska(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    shown = Piece(make_clip(tmp_path / "picture.mov", frames=26))
    voice = Piece(tracks.sound(tmp_path / "voice.mov", "pcm_mulaw", rate=8000))
    source = tracks.together(tmp_path / "in.mov", shown, voice)
    report = carried(source, tmp_path / "out.mkv", restore)
    assert report.conforms, told(report)
    assert listen(tmp_path / "out.mkv").codec == "flac"
    assert np.array_equal(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize("ending", [".webm", ".ts", ".mp4"])
def test_sound_that_starts_late_or_has_a_gap_stays_in_time(
    ending: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    shown = Piece(make_clip(tmp_path / "picture.mkv", frames=50, options={"bf": "0"}))
    voice = tracks.sound(tmp_path / "voice.mkv", "wavpack" if ending == ".mp4" else "flac")
    source = tmp_path / "in.mkv"
    late = Fraction(1, 2)
    with av.open(str(shown.file)) as a, av.open(str(voice)) as b, av.open(str(source), "w") as out:
        added = [out.add_stream_from_template(each.streams[0]) for each in (a, b)]
        packets = [packet for packet in b.demux() if packet.size]
        middle = len(packets) // 2
        for packet in a.demux():
            if packet.size:
                packet.stream = added[0]
                out.mux(packet)
        for number, packet in enumerate(packets):
            # Half a second of silence before it begins, and as much again in the middle.
            wait = late + late * (number >= middle)
            packet.pts = (packet.pts or 0) + round(wait / packet.time_base)
            packet.dts = packet.pts
            packet.stream = added[1]
            out.mux(packet)
    carried(source, tmp_path / f"out{ending}", restore)
    before, after = listen(source), listen(tmp_path / f"out{ending}")
    for at in (0.25, 0.75, 1.25, 1.75):
        first, last = (round(each * before.rate) for each in (at, at + 0.2))
        loud = [np.abs(each.samples[0, first:last]).max() for each in (before, after)]
        assert abs(loud[0] - loud[1]) < 0.05, at


def test_kinds_that_are_not_wanted_are_left_out(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    source = tracks.together(
        tmp_path / "in.mkv",
        Piece(make_clip(tmp_path / "picture.mkv", frames=26)),
        Piece(tracks.sound(tmp_path / "voice.mkv", "aac")),
        Piece(tracks.words(tmp_path / "words.srt")),
        Piece(make_clip(tmp_path / "small.mkv", frames=26, size=(32, 32))),
        attached={"font.ttf": b"no font"},
    )
    kinds = ["audio", "subtitle", "video", "attachment"]
    for kind in kinds:
        output = tmp_path / f"{kind}.mkv"
        report = carried(source, output, restore, drop=(kind,))
        assert report.conforms, told(report)
        assert report.warnings == []
        with av.open(str(output)) as container:
            found = [each.type for each in container.streams]
        assert found == ["video", *(each for each in kinds if each != kind)], kind
    report = carried(source, tmp_path / "alone.ts", restore, drop=tuple(kinds))
    assert report.conforms, told(report)
    with av.open(str(tmp_path / "alone.ts")) as container:
        assert [each.type for each in container.streams] == ["video"]
    with pytest.raises(stream.UsageError, match="--drop takes"):
        stream.Settings(drop=("sound",))


def test_tags_of_matroska_are_those_that_mp4_players_know(
    tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """Matroska has keys in capitals, and says what wrote it."""
    said = {"title": "A title", "ARTIST": "me", "DATE": "2026", "COMMENT": "said"}
    source = make_clip(tmp_path / "in.mkv", frames=3, metadata=said)
    report = carried(source, tmp_path / "out.mp4", restore)
    assert report.conforms, told(report)
    assert b"\xa9nam" in (tmp_path / "out.mp4").read_bytes(), "in iTunes' own list"
    other = make_clip(tmp_path / "other.mkv", frames=3, metadata={**said, "CAMERA": "mine"})
    report = carried(other, tmp_path / "other.mp4", restore)
    assert report.conforms, told(report)
