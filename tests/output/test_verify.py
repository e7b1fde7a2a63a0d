"""What a conformance report finds, and what it does not complain of."""

import gc
import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from typer.testing import CliRunner

import stream
from stream.cli import app
from stream.media.side_data import side_data
from stream.verify import Asked, Conformance, Known, compare, facts, verify
from tests.clips import make_clip
from tests.harm import INTRA, Corruption, clip, copied, part_of, sounding, told


def found(conformance: Conformance) -> set[tuple[str, str]]:
    """What is lost or changed."""
    rows = conformance.having("lost") + conformance.having("changed")
    return {(row.what, row.verdict) for row in rows}


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two sounds, subtitles, chapters, tags and an attachment."""
    folder = tmp_path_factory.mktemp("rich")
    plain = make_clip(
        folder / "plain.mkv",
        frames=20,
        audio=("eng", "fra"),
        chapters=True,
        subtitles=True,
        metadata={"title": "A title", "comment": "said"},
        options=INTRA,
    )
    output = folder / "rich.mkv"
    with av.open(str(plain)) as a, av.open(str(output), "w") as b:
        b.metadata.update(a.metadata)
        b.set_chapters(a.chapters())
        added = [b.add_stream_from_template(old) for old in a.streams]
        for old, new in zip(a.streams, added, strict=True):
            new.metadata.update(old.metadata)
        b.add_attachment("font.ttf", "font/ttf", b"no font at all")
        for packet in a.demux():
            if packet.size:
                packet.stream = added[packet.stream_index]
                b.mux(packet)
    return output


MS100 = Fraction(1, 10)
HARMS: dict[str, tuple[Corruption, set[tuple[str, str]]]] = {
    "nothing": (Corruption(), set()),
    "all streams late": (Corruption(delay=dict.fromkeys(range(4), MS100)), set()),
    "a frame missing": (Corruption(drop={0: [7]}), {("frames", "lost")}),
    "the first frame missing": (Corruption(drop={0: [0]}), {("frames", "lost")}),
    "the last frame missing": (Corruption(drop={0: [19]}), {("frames", "lost")}),
    "a frame late": (Corruption(late={0: {7: Fraction(1, 100)}}), {("timestamps", "changed")}),
    "picture late": (
        Corruption(delay={0: MS100}),
        {
            *((f"audio {i} {what}", "changed") for i in (1, 2) for what in ("times",)),
            *(
                (f"audio {i} to picture, {end}", "changed")
                for i in (1, 2)
                for end in ("start", "end")
            ),
            ("subtitle 3 times", "changed"),
        },
    ),
    "sound late": (
        Corruption(delay={1: MS100}),
        {
            ("audio 1 times", "changed"),
            ("audio 1 to picture, start", "changed"),
            ("audio 1 to picture, end", "changed"),
        },
    ),
    "a packet of sound missing": (Corruption(drop={2: [9]}), {("audio 2 content", "lost")}),
    "a packet of sound altered": (Corruption(alter={2: [9]}), {("audio 2 content", "changed")}),
    "sound missing": (
        Corruption(without=[2]),
        {("audio stream 2 (aac, fra, sound fra)", "lost")},
    ),
    "sounds in another order": (
        Corruption(order=[0, 2, 1, 3, 4]),
        {("order of audio streams", "changed")},
    ),
    "subtitles missing": (Corruption(without=[3]), {("subtitle stream 3 (subrip, swe)", "lost")}),
    "subtitles late": (Corruption(delay={3: MS100}), {("subtitle 3 times", "changed")}),
    "subtitles altered": (Corruption(alter={3: [0]}), {("subtitle 3 content", "changed")}),
    "attachment missing": (
        Corruption(without=[4]),
        {("attachment stream 4 (font.ttf)", "lost")},
    ),
    "language lost": (Corruption(said={1: {"language": "und"}}), {("audio 1 language", "lost")}),
    "language changed": (
        Corruption(said={1: {"language": "deu"}}),
        {("audio 1 language", "changed")},
    ),
    "title changed": (Corruption(said={1: {"title": "other"}}), {("audio 1 title", "changed")}),
    "disposition lost": (
        Corruption(disposition={1: Disposition(0)}),
        set(),
    ),
    "disposition changed": (
        Corruption(disposition={2: Disposition.comment}),
        {("audio 2 is comment", "changed")},
    ),
    "chapters lost": (Corruption(chapters=lambda chapters: []), {("chapters", "lost")}),
    "a chapter lost": (
        Corruption(chapters=lambda chapters: chapters[:1]),
        {("chapters", "changed")},
    ),
    "a chapter moved": (
        Corruption(chapters=lambda chapters: [{**chapters[0], "end": 150_000_000}, chapters[1]]),
        {("chapter 1", "changed")},
    ),
    "a chapter renamed": (
        Corruption(chapters=lambda c: [c[0], {**c[1], "metadata": {"title": "drei"}}]),
        {("chapter 2", "changed")},
    ),
    "a tag changed": (Corruption(tags={"title": "Other"}), {("file tag title", "changed")}),
    "a tag lost": (Corruption(tags={"comment": ""}), {("file tag comment", "lost")}),
    "a tag added": (Corruption(tags={"artist": "me"}), {("file tag artist", "changed")}),
}


@pytest.mark.parametrize("name", HARMS)
def test_every_harm_to_the_streams_is_found(name: str, rich: Path, tmp_path: Path) -> None:
    harm, expected = HARMS[name]
    output = copied(rich, tmp_path / "out.mkv", harm)
    conformance = verify(rich, output)
    assert found(conformance) == expected, conformance.summary
    assert conformance.conforms == (not expected)
    assert verify(rich, output, decode=False).rows == conformance.rows
    json.dumps(conformance.to_json())


HDR = "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L({},1):cll={}"
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "rotation": ({"rotation": 90}, {}, {"rotation"}),
    "rotation the other way": ({"rotation": 90}, {"rotation": -90}, {"rotation"}),
    "size": ({}, {"size": (64, 46)}, {"size"}),
    "aspect": ({"aspect": Fraction(16, 11)}, {}, {"pixel aspect"}),
    "bits": ({"pix_fmt": "yuv420p10le"}, {}, {"bit depth"}),
    "chroma": ({"pix_fmt": "yuv422p"}, {}, {"chroma"}),
    "gray": ({"codec": "ffv1"}, {"codec": "ffv1", "pix_fmt": "gray"}, {"chroma"}),
    "matrix": ({}, {"tags": (6, 1, 1, 1)}, {"color matrix"}),
    "primaries": ({}, {"tags": (1, 9, 1, 1)}, {"color primaries"}),
    "transfer": ({"tags": (1, 1, 18, 1)}, {"tags": (1, 1, 2, 1)}, {"color transfer"}),
    "range": ({"tags": (1, 1, 1, 2)}, {}, {"color range"}),
    "fields": ({"options": {**INTRA, "x264-params": "tff=1"}}, {}, {"fields"}),
    "field order": (
        {"options": {**INTRA, "x264-params": "tff=1"}},
        {"options": {**INTRA, "x264-params": "bff=1"}},
        {"fields"},
    ),
    "rate": (
        {"pts": [0, 1, 2]},
        {"pts": [0, 1, 2], "time_base": Fraction(1, 24)},
        {"timestamps", "frame rate"},
    ),
    "light": (
        {"options": {"x264-params": HDR.format(10_000_000, "1000,400")}},
        {"options": {"x264-params": HDR.format(4_000_000, "1000,300")}},
        {"mastering display", "content light level"},
    ),
    "light lost": (
        {"options": {"x264-params": HDR.format(10_000_000, "1000,400")}},
        {},
        {"mastering display", "content light level"},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_the_picture_is_found(name: str, tmp_path: Path) -> None:
    before, after, expected = CHANGES[name]
    source = clip(tmp_path, "in.mp4", **before)
    assert verify(source, source).conforms
    assert {
        what for what, _ in found(verify(source, clip(tmp_path, "out.mp4", **after)))
    } == expected


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ({}, {"pix_fmt": "yuv420p10le"}, "bit depth"),
        ({}, {"pix_fmt": "yuv444p"}, "chroma"),
        ({"codec": "ffv1", "pix_fmt": "gray"}, {}, "chroma"),
        ({"tags": (5, 5, 1, 1)}, {"tags": (6, 5, 1, 1)}, "color matrix"),
        ({"codec": "mpeg4", "tags": (1, 1, 1, 0)}, {"codec": "mpeg4"}, "color range"),
        (
            {"codec": "libx264rgb", "pix_fmt": "rgb24", "tags": (0, 1, 1, 0)},
            {"pix_fmt": "yuv444p", "tags": (6, 1, 1, 1)},
            "chroma",
        ),
        ({"codec": "mpeg4", "tags": (2, 1, 1, 0)}, {"tags": (2, 1, 1, 1)}, "video codec"),
    ],
)
def test_what_is_as_good_is_allowed(
    before: dict[str, Any], after: dict[str, Any], what: str, tmp_path: Path
) -> None:
    conformance = verify(clip(tmp_path, "in.mkv", **before), clip(tmp_path, "out.mkv", **after))
    assert conformance.conforms, conformance.summary
    assert what in {row.what for row in conformance.having("allowed") if row.why}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_another_container_is_allowed(suffix: str, tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mp4", frames=20, audio=("eng",), rotation=90, aspect=Fraction(4, 3))
    harm = Corruption(mux={"mpegts_copyts": "1"} if suffix == ".ts" else {})
    conformance = verify(source, copied(source, tmp_path / f"out{suffix}", harm))
    # MPEG-TS has neither rotation nor titles.
    lost = {("rotation", "changed"), ("audio 1 title", "lost")} if suffix == ".ts" else set()
    assert found(conformance) == lost, conformance.summary
    back = verify(
        tmp_path / f"out{suffix}",
        copied(tmp_path / f"out{suffix}", tmp_path / "b.mkv", Corruption()),
    )
    assert back.conforms, back.summary


def test_what_was_asked_for_is_allowed(tmp_path: Path) -> None:
    turned = clip(tmp_path, "in.mp4", rotation=90, size=(64, 48), aspect=Fraction(4, 3))
    upright = clip(tmp_path, "upright.mp4", size=(48, 64), aspect=Fraction(3, 4))
    assert verify(turned, upright, Asked(apply_rotation=True)).conforms
    assert {what for what, _ in found(verify(turned, upright))} == {
        "size",
        "pixel aspect",
        "rotation",
    }
    assert {what for what, _ in found(verify(turned, turned, Asked(apply_rotation=True)))} == {
        "size",
        "pixel aspect",
        "rotation",
    }
    fields = clip(tmp_path, "fields.mp4", options={"x264-params": "tff=1"})
    frames = clip(tmp_path, "frames.mp4")
    assert verify(fields, frames, Asked(deinterlaced=True)).conforms
    assert not verify(fields, frames).conforms
    assert not verify(fields, fields, Asked(deinterlaced=True)).conforms


def test_a_part_is_compared_with_that_part(tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mkv", frames=40, audio=("eng",))
    start, end = Fraction(1, 5), Fraction(9, 20)
    output = part_of(source, tmp_path / "out.mkv", start, end, start)
    assert verify(source, output, Asked(0.2, 0.25)).conforms
    assert {what for what, _ in found(verify(source, output))} >= {"frames", "audio 1 content"}
    short = part_of(source, tmp_path / "short.mkv", start + Fraction(1, 100), end, start)
    wrong = verify(source, short, Asked(0.2, 0.25))
    assert ("frames", "lost") in found(wrong), wrong.summary


ASS = b"""[Script Info]
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@pytest.mark.parametrize(("text", "expected"), [(b"Hej", set()), (b"Hi", {"subtitle 1 content"})])
def test_converted_subtitles_say_the_same(text: bytes, expected: set[str], tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mkv", subtitles=True)
    output = tmp_path / "out.mp4"
    with av.open(str(source)) as a, av.open(str(output), "w") as b:
        video = b.add_stream_from_template(a.streams.video[0])
        video.metadata.update(a.streams.video[0].metadata)
        words = b.add_stream("mov_text")
        words.codec_context.subtitle_header = ASS
        words.codec_context.time_base = Fraction(1, 1000)
        words.metadata["language"] = "swe"
        for packet in a.demux():
            if packet.size and packet.stream.type == "subtitle":
                said: av.Packet[Any] = av.Packet(struct.pack(">H", len(text)) + text)
                said.pts, said.dts, said.duration = packet.pts, packet.pts, packet.duration
                said.time_base, said.stream = packet.time_base, words
                b.mux(said)
            elif packet.size:
                packet.stream = video
                b.mux(packet)
    conformance = verify(source, output)
    assert {what for what, _ in found(conformance)} == expected, conformance.summary
    row = next(row for row in conformance.rows if row.what == "subtitle 1")
    assert (row.verdict, row.why) == ("allowed", "MP4 cannot hold subrip")


def test_moments_that_a_file_lacks_are_said_to_be_made_up(tmp_path: Path) -> None:
    raw = clip(tmp_path, "in.h264", frames=12, container="h264")
    assert None in facts(raw).picture.timestamps.ticks
    nothing = Corruption(said={0: {"language": "und"}})
    good = copied(clip(tmp_path, "12.mp4", frames=12), tmp_path / "good.mp4", nothing)
    short = copied(clip(tmp_path, "11.mp4", frames=11), tmp_path / "short.mp4", nothing)
    conformance = verify(raw, good)
    assert conformance.conforms, conformance.summary
    times = next(row for row in conformance.rows if row.what == "timestamps")
    assert times.verdict == "allowed"
    assert "made anew" in times.why
    assert found(verify(raw, short)) == {("frames", "lost")}


def test_moments_that_are_known_need_no_decoding(tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mp4", frames=30, options={"bf": "3", "b-adapt": "0"})
    whole = facts(source)
    known = [Fraction(index, 25) for index in range(30)]
    assert compare(facts(source, known=Known(known)), whole).rows == compare(whole, whole).rows
    missing = compare(facts(source, known=Known([*known, Fraction(30, 25)])), whole)
    assert found(missing) == {("frames", "lost")}


def test_broken_files_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    source = clip(tmp_path, "in.ts", frames=40, audio=("eng",), container="mpegts", size=(96, 64))
    content = bytearray(source.read_bytes())
    for place in range(5000, len(content), 3000):
        content[place : place + 40] = b"\x55" * 40
    broken = tmp_path / "broken.ts"
    broken.write_bytes(content)
    seen = facts(broken)
    assert 0 < len(seen.picture.timestamps) <= 40
    assert found(verify(source, broken)), "not the same"
    cut = tmp_path / "cut.mkv"
    whole = clip(tmp_path, "whole.mkv", frames=40, size=(96, 64))
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert ("frames", "lost") in found(verify(whole, cut))
    for name, data in (("empty.mp4", b""), ("text.mp4", b"no video" * 99)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(stream.SourceError):
            facts(tmp_path / name)
    with pytest.raises(stream.NoInputError):
        verify(whole, tmp_path / "missing.mp4")


def test_side_data_is_asked_for_by_type(tmp_path: Path) -> None:
    """Iterating what PyAV gives fails, and types that it does not know fail at once."""
    with av.open(str(clip(tmp_path, "in.mp4"))) as container:
        frame = next(container.decode(video=0))
    assert len(frame.side_data), "x264 leaves its settings in the stream"
    with pytest.raises(KeyError):
        dict(frame.side_data)
    assert side_data(frame) == {}

    class Unknown:
        @property
        def side_data(self) -> None:
            raise ValueError("31 is not a valid Type")

    assert side_data(Unknown()) == {}  # type: ignore[arg-type]


def test_a_mirrored_picture_is_not_a_turned_one(tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mp4")
    mirrored = [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    turned = [-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30]
    files = [
        copied(source, tmp_path / f"{number}.mp4", Corruption(matrix=matrix))
        for number, matrix in enumerate((mirrored, turned, ()))
    ]
    for one in files:
        for other in files:
            expected = {("rotation", "changed")} if one != other else set()
            assert found(verify(one, other)) == expected


def test_cover_art_and_a_second_picture_are_compared(tmp_path: Path) -> None:
    main, small = clip(tmp_path, "main.mp4"), clip(tmp_path, "small.mp4", size=(32, 32))
    art = clip(tmp_path, "art.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=1, options={})
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        for path in (main, small, art):
            with av.open(str(path)) as one:
                added = out.add_stream_from_template(one.streams.video[0])
                added.disposition = Disposition.attached_pic if path == art else Disposition(0)
        for index, path in enumerate((main, small, art)):
            with av.open(str(path)) as one:
                for packet in one.demux(video=0):
                    if packet.size:
                        packet.stream = out.streams.video[index]
                        out.mux(packet)
    kinds = [track.kind for track in facts(source).tracks]
    assert kinds == ["video", "cover"]
    for name, harm, expected in (
        ("same", Corruption(), set()),
        ("cover lost", Corruption(without=[2]), {("cover art stream 2 (mjpeg)", "lost")}),
        ("other cover", Corruption(alter={2: [0]}), {("cover 2 content", "changed")}),
        ("other picture", Corruption(alter={1: [1]}), {("video 1 content", "changed")}),
        ("late", Corruption(late={1: {1: Fraction(1, 100)}}), {("video 1 times", "changed")}),
    ):
        conformance = verify(source, copied(source, tmp_path / f"{name}.mp4", harm))
        assert found(conformance) == expected, (name, conformance.summary)


def test_sound_that_a_container_cannot_hold_may_be_converted(tmp_path: Path) -> None:
    for rate in (48000, 44100):
        source = sounding(tmp_path / "in.mkv", "ac3", rate=rate)
        conformance = verify(source, sounding(tmp_path / "out.webm", "libopus"))
        assert conformance.conforms, conformance.summary
        row = next(row for row in conformance.rows if row.what == "audio 1")
        assert (row.verdict, row.why) == ("allowed", "WebM cannot hold ac3")
    short = verify(source, sounding(tmp_path / "short.webm", "libopus", seconds=0.5))
    assert found(short) == {("audio 1 to picture, end", "changed")}
    needless = verify(source, sounding(tmp_path / "needless.mkv", "aac", rate=44100))
    assert found(needless) == {("audio 1", "changed")}
    slow = verify(source, sounding(tmp_path / "slow.mkv", "ac3", rate=32000))
    assert ("audio 1", "changed") in found(slow)


def test_texts_that_overlap_may_be_cut_where_they_do(tmp_path: Path) -> None:
    file = facts(clip(tmp_path, "in.mp4"))
    overlapping = told("subrip", (0, 2000, "one"), (1000, 3000, "two"))
    cut = [(0, 1000, "one"), (1000, 2000, "one\ntwo"), (2000, 3000, "two")]
    for cues, expected in (
        (cut, set()),
        (cut[:2], {"subtitle 1 content"}),
        ([(0, 1000, "one"), (1000, 3000, "two")], {"subtitle 1 lengths"}),
        ([(0, 2000, "one"), (1500, 3000, "two")], {"subtitle 1 times", "subtitle 1 lengths"}),
    ):
        before = replace(file, tracks=(overlapping,))
        after = replace(file, tracks=(told("mov_text", *cues),))
        assert {what for what, _ in found(compare(before, after))} == expected


def test_decoded_frames_do_not_pile_up(tmp_path: Path) -> None:
    source = clip(tmp_path, "in.mp4", frames=200)
    gc.collect()
    assert len(facts(source).picture.timestamps) == 200
    alive = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    assert alive < 10


@pytest.mark.parametrize(
    ("suffix", "other", "options"),
    [
        (".mp4", ".mp4", {"chapters": True, "rotation": 90}),
        (".mkv", ".mkv", {"subtitles": True, "audio": ("eng",), "pix_fmt": "yuv420p10le"}),
        (".mp4", ".mkv", {"audio": ("eng",), "tags": (1, 1, 1, 2), "frames": 20}),
        (".mkv", ".mp4", {"time_base": Fraction(1, 1000), "pts": [0, 7, 40, 41, 90]}),
        (".mp4", ".mp4", {"size": (33, 17), "codec": "mpeg4"}),
    ],
)
def test_what_a_run_writes_conforms(
    suffix: str, other: str, options: dict[str, Any], tmp_path: Path
) -> None:
    options = {"frames": len(options.get("pts", range(8))), **options}
    source = make_clip(tmp_path / f"in{suffix}", **options)
    output = tmp_path / f"out{other}"
    stream.run(source, output, strength=0, device="cpu")
    conformance = verify(source, output)
    assert conformance.conforms, conformance.summary
    assert conformance.frames == options["frames"]


def test_the_command(rich: Path, tmp_path: Path) -> None:
    worse = copied(rich, tmp_path / "out.mkv", Corruption(without=[3]))

    def run(*words: object) -> Any:
        return CliRunner().invoke(app, ["verify", *map(str, words)])

    same = run(rich, rich)
    assert (same.exit_code, same.stderr) == (0, "conforms: 20 frames, 5 streams, nothing lost\n")
    assert "audio 1 language" in same.stdout
    differs = run(rich, worse, "--json")
    assert differs.exit_code == 1
    assert differs.stderr == "differs: 1 lost: subtitle stream 3 (subrip, swe) is missing\n"
    told = json.loads(differs.stdout)
    assert told["conforms"] is False
    assert {"what", "input", "output", "verdict", "why"} == set(told["rows"][0])
    assert run(rich, tmp_path / "missing.mkv").exit_code == 66
    assert run(rich, worse, "--duration", "-1").exit_code == 2
