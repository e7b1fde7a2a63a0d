"""What else a file carries, cover art and what is said of streams, and what is told of it."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition, Stream

import mssnet
import stream
from stream.input.probe import probe
from stream.media.language import terminological
from stream.verify import verify
from tests import tracks
from tests.clips import make_clip
from tests.harm import Corruption, copied
from tests.tracks import Piece, carried, told


def cover(folder: Path, codec: str = "mjpeg") -> Piece:
    pixels = {"mjpeg": "yuvj420p", "png": "rgb24"}[codec]
    art = make_clip(folder / f"{codec}.mov", frames=1, codec=codec, pix_fmt=pixels)
    return Piece(art, roles=Disposition.attached_pic)


def covers(path: Path) -> list[tuple[str, str, bytes]]:
    """Codec, file's name and content of each cover."""
    with av.open(str(path)) as container:
        stills = [s for s in container.streams.video if s.disposition == Disposition.attached_pic]
        return [
            (
                still.codec_context.codec.canonical_name,
                still.metadata.get("filename", ""),
                next(bytes(packet) for packet in container.demux(still) if packet.size),
            )
            for still in stills
        ]


def streams(path: Path, kind: str) -> list[dict[str, Any]]:
    def facts(each: Stream) -> dict[str, Any]:
        return {**each.metadata, "roles": each.disposition}

    with av.open(str(path)) as container:
        return [facts(each) for each in container.streams if each.type == kind]


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "cover.jpg"), ("png", "cover.png")])
def test_cover_art_stays_one_from_container_to_container(
    codec: str, name: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tracks.together(tmp_path / "in.mp4", shown, cover(tmp_path, codec))
    (art,) = covers(source)
    before = source
    for number, ending in enumerate((".mkv", ".mkv", ".mp4", ".m4v")):
        after = tmp_path / f"{number}{ending}"
        report = carried(before, after, restore)
        assert report.conforms, told(report)
        assert report.warnings == []
        assert covers(after) == [(codec, name if ending == ".mkv" else "", art[2])]
        assert len(streams(after, "video")) == 2
        before = after
    assert verify(source, before).conforms


def test_a_lost_or_other_cover_is_seen_across_containers(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tracks.together(tmp_path / "in.mp4", shown, cover(tmp_path))
    other = tracks.together(tmp_path / "other.mp4", shown, cover(tmp_path, "png"))
    carried(source, tmp_path / "out.mkv", restore)
    assert not verify(other, tmp_path / "out.mkv").conforms
    assert not verify(source, shown.file).conforms


@pytest.mark.parametrize("ending", [".mov", ".webm", ".ts", ".mp4"])
def test_cover_art_is_named_where_there_is_no_place_for_it(
    ending: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    codec = "gif" if ending == ".mp4" else "mjpeg"
    source = tmp_path / "in.mkv"
    if codec == "gif":
        still = make_clip(tmp_path / "cover.gif", frames=1, codec="gif", pix_fmt="rgb8")
        with av.open(str(shown.file)) as a, av.open(str(source), "w") as b:
            added = b.add_stream_from_template(a.streams.video[0])
            b.add_attachment("cover.gif", "image/gif", still.read_bytes())
            for packet in a.demux():
                if packet.size:
                    packet.stream = added
                    b.mux(packet)
    else:
        mp4 = tracks.together(tmp_path / "in.mp4", shown, cover(tmp_path))
        carried(mp4, source, restore)
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.dropped == [f"cover art stream 1 ({codec})"]
    assert not report.conforms
    assert f"cover art stream 1 ({codec}) is missing" in told(report)
    assert carried(source, tmp_path / f"none{ending}", restore, ("video",)).conforms


def test_in_mp4_a_cover_is_worth_more_than_unusual_tags(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    said = {"title": "A title", "CAMERA": "mine", "LENS": "50 mm"}
    source = tmp_path / "in.mkv"
    mp4 = tracks.together(tmp_path / "in.mp4", shown, cover(tmp_path))
    carried(mp4, tmp_path / "plain.mkv", restore)
    copied_with_cover(tmp_path / "plain.mkv", source, said)
    report = carried(source, tmp_path / "out.mp4", restore)
    assert report.dropped == ["tags beside cover art: CAMERA, LENS"]
    assert len(covers(tmp_path / "out.mp4")) == 1
    why = "is missing, MP4 has no place for it beside cover art"
    assert told(report) == (
        f"differs: 2 lost: file tag camera (mine) {why}; file tag lens (50 mm) {why}"
    )
    report = carried(source, tmp_path / "tags.mp4", restore, ("video",))
    assert report.conforms, told(report)
    with av.open(str(tmp_path / "tags.mp4")) as container:
        assert container.metadata["CAMERA"] == "mine"


def copied_with_cover(source: Path, output: Path, said: dict[str, str]) -> None:
    """Copy a Matroska file with one cover, and say something of it."""
    ((codec, name, content),) = covers(source)
    with av.open(str(source)) as a, av.open(str(output), "w") as b:
        b.metadata.update(said)
        added = b.add_stream_from_template(a.streams.video[0])
        b.add_attachment(name, {"mjpeg": "image/jpeg"}[codec], content)
        for packet in a.demux(video=0):
            if packet.size:
                packet.stream = added
                b.mux(packet)


def test_mov_keeps_tags_that_its_usual_list_lacks(
    tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    said = {"title": "A title", "album_artist": "me", "lyrics": "la\nla", "show": "Presentation"}
    source = make_clip(tmp_path / "in.mp4", frames=3, metadata=said)
    report = carried(source, tmp_path / "out.mov", restore)
    assert report.conforms, told(report)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert said.items() <= container.metadata.items()


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".mov", ".ts"])
def test_a_second_video_keeps_the_order_of_its_frames(
    ending: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """Of pictures that others are shown before, Matroska does not say when they are decoded."""
    options = {"bf": "3", "b-adapt": "0"}
    second = make_clip(tmp_path / "second.mp4", size=(32, 32), frames=26, options=options)
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(second))
    with av.open(str(source)) as container:
        assert next(container.demux(video=1)).dts is None
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.conforms, told(report)
    with av.open(str(tmp_path / f"out{ending}")) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=1)]
    assert times == pytest.approx([times[0] + number / 25 for number in range(26)], abs=0.001)


def test_statistics_of_the_old_video_are_not_said_of_the_new_one(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    stale = {
        "BPS": "123456",
        "BPS-eng": "123456",
        "NUMBER_OF_FRAMES-eng": "9",
        "NUMBER_OF_BYTES": "77",
        "DURATION-eng": "01:02:03.000000000",
        "_STATISTICS_WRITING_APP": "a muxer",
        "_STATISTICS_TAGS-eng": "BPS DURATION NUMBER_OF_FRAMES NUMBER_OF_BYTES",
    }
    source = copied(
        shown.file, tmp_path / "in.mkv", Corruption(said={0: {**stale, "LENS": "50 mm"}})
    )
    assert stale.items() <= streams(source, "video")[0].items()
    for ending in (".mkv", ".mp4"):
        report = carried(source, tmp_path / f"out{ending}", restore)
        video = streams(tmp_path / f"out{ending}", "video")[0]
        assert not set(stale) & set(video)
        if ending == ".mkv":
            assert report.conforms, told(report)
            assert video["LENS"] == "50 mm"
            assert video["DURATION"] == "00:00:01.040000000"


LANGUAGES = {
    *(("deu", "deu"), ("ger", "ger"), ("swe", "swe"), ("fra", "fra"), ("fre", "fre")),
    *(("nld", "nld"), ("zho", "zho"), ("cze", "ces"), ("yue", "yue"), ("nav", "nav")),
    *(("eng", "eng"), ("und", "und")),
}


def test_mov_keeps_every_language(shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    voice = tracks.sound(tmp_path / "voice.mkv", "aac", seconds=0.2)
    spoken = sorted(LANGUAGES)
    source = tracks.together(
        tmp_path / "in.mkv", shown, *(Piece(voice, {"language": code}) for code, _ in spoken)
    )
    report = carried(source, tmp_path / "out.mov", restore)
    assert report.conforms, told(report)
    found = [each.get("language", "und") for each in streams(tmp_path / "out.mov", "audio")]
    assert [terminological(code) for code in found] == [terminological(code) for _, code in spoken]
    assert streams(tmp_path / "out.mov", "video")[0]["language"] == "fin"


def test_mov_gives_no_stream_the_language_of_another(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """A stream with nothing in the part asked for is left out, and the next ones move up."""
    voices = [
        Piece(tracks.sound(tmp_path / f"{code}.mkv", "aac", seconds=length), {"language": code})
        for code, length in (("swe", 0.2), ("nav", 1.0))
    ]
    source = tracks.together(tmp_path / "in.mkv", shown, *voices)
    settings = stream.Settings(strength=0, device="cpu", span=stream.Span(0.5))
    report = stream.Job(source, tmp_path / "out.mov", settings).run(restore=restore)
    assert report.conforms, told(report)
    assert [each["language"] for each in streams(tmp_path / "out.mov", "audio")] == ["nav"]


PAIRS = re.findall(
    r"(\w+) (\w+)",
    "alb sqi, arm hye, baq eus, bur mya, chi zho, cze ces, dut nld, fre fra, geo kat, ger deu, "
    "gre ell, ice isl, mac mkd, mao mri, may msa, per fas, rum ron, slo slk, tib bod, wel cym",
)


def test_both_codes_of_a_language_are_one(tmp_path: Path) -> None:
    assert len(PAIRS) == 20
    assert all(terminological(a) == b == terminological(b) for a, b in PAIRS)
    assert terminological("swe") == "swe"
    source = make_clip(tmp_path / "in.mkv", frames=3, audio=("ger",))
    same, other = (
        copied(source, tmp_path / f"{code}.mkv", Corruption(said={1: {"language": code}}))
        for code in ("deu", "gre")
    )
    row = next(each for each in verify(source, same).rows if each.what == "audio 1 language")
    assert (row.verdict, row.why) == ("allowed", "another code of the same language")
    assert not verify(source, other).conforms


@pytest.mark.parametrize(
    ("codec", "made", "ending", "warned"),
    [
        ("pcm_s16le", {"layout": "5.1"}, ".mp4", ""),
        ("pcm_s16le", {"layout": "5.1(side)"}, ".ts", "aac"),
        ("flac", {"layout": "5.1(side)"}, ".mov", "alac"),
        ("flac", {"rate": 192000, "depth": 24}, ".ts", "aac at 96000 Hz"),
        ("flac", {"rate": 192000, "depth": 24}, ".mp4", ""),
        ("wavpack", {"seconds": 1.2}, ".mp4", "flac"),
        ("wavpack", {"seconds": 1.2}, ".mkv", ""),
        ("alac", {}, ".ts", "aac"),
        ("aac", {"rate": 8000, "layout": "mono"}, ".mkv", ""),
    ],
)
def test_sound_gives_no_false_alarm(
    codec: str,
    made: dict[str, Any],
    ending: str,
    warned: str,
    shown: Piece,
    tmp_path: Path,
    restore: mssnet.Deblurrer,
) -> None:
    between = ".mp4" if codec == "aac" else ".mkv"
    voice = tracks.sound(tmp_path / f"voice{between}", codec, **made)
    source = tracks.together(tmp_path / f"in{between}", shown, Piece(voice))
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.conforms, told(report)
    assert [line.rpartition(" to ")[2] for line in report.warnings] == ([warned] if warned else [])
    again = verify(source, tmp_path / f"out{ending}")
    assert again.conforms, again.summary


def test_other_speakers_are_still_seen(tmp_path: Path, shown: Piece) -> None:
    quad, other = (
        tracks.together(
            tmp_path / f"in {layout}.mkv",
            shown,
            Piece(tracks.sound(tmp_path / f"{layout}.mkv", "flac", layout=layout)),
        )
        for layout in ("quad", "4.0")
    )
    assert not verify(quad, other).conforms


def test_a_stream_of_which_nothing_is_known_does_no_harm(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """MPEG-TS can announce a sound of which no packet comes, as TrueHD's core often is."""
    voice = tracks.sound(tmp_path / "voice.mkv", "ac3")
    source = tmp_path / "in.ts"
    with av.open(str(shown.file)) as a, av.open(str(voice)) as b, av.open(str(source), "w") as c:
        added = [c.add_stream_from_template(each.streams[0]) for each in (a, b, b)]
        for container, stream in zip((a, b), added[::2], strict=True):
            for packet in container.demux():
                if packet.size:
                    packet.stream = stream
                    c.mux(packet)
    with av.open(str(source)) as container:
        silent = container.streams.audio[0].codec_context
        assert [each.index for each in container.streams.audio] == [1, 2]
        assert silent.sample_rate == 0
    for ending in (".mkv", ".webm", ".ts"):
        report = carried(source, tmp_path / f"out{ending}", restore)
        assert report.conforms, told(report)
        assert report.dropped == []
        assert len(streams(tmp_path / f"out{ending}", "audio")) == 1


@pytest.mark.parametrize("ending", [".mkv", ".mov", ".mp4"])
def test_packets_shorter_than_the_clocks_tick_do_not_drift(
    ending: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    """Those of TrueHD are: several of them are in one millisecond of Matroska."""
    source = tmp_path / "in.mkv"
    with av.open(str(shown.file)) as a, av.open(str(source), "w") as b:
        video = b.add_stream_from_template(a.streams.video[0])
        voice = b.add_stream("pcm_s16le", rate=48000, layout="mono")
        voice.codec_context.open()
        for packet in a.demux():
            if packet.size:
                packet.stream = video
                b.mux(packet)
        for number in range(1200):
            short: av.Packet[Any] = av.Packet(bytes(80))
            short.pts = short.dts = number * 40
            short.duration, short.time_base, short.stream = 40, Fraction(1, 48000), voice
            b.mux(short)
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.conforms, told(report)
    with av.open(str(tmp_path / f"out{ending}")) as container:
        last = [p for p in container.demux(audio=0) if p.pts is not None][-1]
        assert last.pts is not None
        assert abs(float(last.pts * last.time_base) - 1199 / 1200) < 0.025


@pytest.mark.parametrize("role", ["visual_impaired", "hearing_impaired", "comment"])
def test_roles_survive_mp4(
    role: str, shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    voice = tracks.sound(tmp_path / "voice.mkv", "aac")
    source = tracks.together(
        tmp_path / "in.mkv", shown, Piece(voice, roles=getattr(Disposition, role))
    )
    for number, ending in enumerate((".mp4", ".mkv")):
        report = carried(source, tmp_path / f"{number}{ending}", restore)
        assert report.conforms, told(report)
        assert (
            getattr(Disposition, role)
            in streams(tmp_path / f"{number}{ending}", "audio")[0]["roles"]
        )
        source = tmp_path / f"{number}{ending}"


def test_subtitles_of_dvds_say_themselves_how_long_they_are_shown(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    pictures = tracks.bitmaps(tmp_path / "pictures.mkv", "dvdsub")
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(pictures, {"language": "eng"}))
    report = carried(source, tmp_path / "out.mp4", restore)
    assert report.conforms, told(report)


def test_a_timecode_that_becomes_a_tag_is_not_said_to_be_lost(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    plain = make_clip(tmp_path / "plain.mov", frames=5)
    source = copied(plain, tmp_path / "in.mov", Corruption(said={0: {"timecode": "01:02:03:04"}}))
    report = carried(source, tmp_path / "out.mkv", restore)
    assert report.conforms, told(report)
    assert report.dropped == []
    assert report.warnings[0].endswith(" to a tag of the video")


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_a_timecode_that_was_a_tag_becomes_a_stream(
    ending: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    said = {"timecode": "01:02:03:04"}
    source = make_clip(tmp_path / "in.mkv", frames=5, metadata=said)
    report = carried(source, tmp_path / f"out{ending}", restore)
    assert report.conforms, told(report)
    assert streams(tmp_path / f"out{ending}", "data")[0]["timecode"] == "01:02:03:04"


def test_long_titles_are_cut_in_messages(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    voice = tracks.sound(tmp_path / "voice.mkv", "vorbis")
    title = "Å😀" * 300
    source = tracks.together(tmp_path / "in.mkv", shown, Piece(voice, {"title": title}))
    report = carried(source, tmp_path / "out.mov", restore)
    assert report.conforms, told(report)
    assert len(report.warnings[0]) < 150
    assert streams(tmp_path / "out.mov", "audio")[0]["name"] == title


def test_damaged_sound_that_must_be_decoded_is_counted(
    shown: Piece, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    voice = tracks.sound(tmp_path / "voice.mkv", "flac")
    whole = tracks.together(tmp_path / "whole.mkv", shown, Piece(voice))
    source = tmp_path / "in.mkv"
    with av.open(str(whole)) as a, av.open(str(source), "w") as b:
        added = [b.add_stream_from_template(old) for old in a.streams]
        heard = 0
        for packet in a.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio":
                heard += 1
                if heard == 4:
                    packet = replaced(packet, b"\0" * packet.size)
            packet.stream = added[packet.stream_index]
            b.mux(packet)
    report = carried(source, tmp_path / "out.webm", restore)
    assert report.warnings[-1] == "1 damaged packets of sound were left out"


def replaced(packet: "av.Packet[Any]", content: bytes) -> "av.Packet[Any]":
    other: av.Packet[Any] = av.Packet(content)
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
    other.stream = packet.stream
    return other


def captioned(path: Path, frames: int = 12, first: int = 0) -> Path:
    """A clip with closed captions from some frame on (ATSC A/53, in SEI messages)."""
    plain = make_clip(path.with_suffix(".h264"), frames=frames, container="h264")
    pair = b"\xfc\x94\x2c"
    user = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 1, 0xFF]) + pair + b"\xff"
    message = b"\0\0\0\1\x06" + bytes([4, len(user)]) + user + b"\x80"
    with av.open(str(plain)) as a, av.open(str(path), "w") as b:
        added = b.add_stream_from_template(a.streams.video[0])
        for number, packet in enumerate(p for p in a.demux() if p.size):
            content = bytes(packet)
            picture = re.search(rb"\0\0\x01[\x01\x21\x41\x61\x05\x25\x45\x65]", content)
            assert picture is not None
            at = picture.start()
            said = message if number >= first else b""
            other = replaced(packet, content[:at] + said + content[at:])
            other.pts = other.dts = number * 40
            other.time_base, other.stream = Fraction(1, 1000), added
            b.mux(other)
    return path


@pytest.mark.parametrize("first", [0, 5])
def test_closed_captions_in_the_video_are_named_where_they_are_lost(
    first: int, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = captioned(tmp_path / "in.mkv", first=first)
    report = carried(source, tmp_path / "out.mkv", restore)
    assert not report.conforms
    assert "closed captions in the video is missing" in told(report)
    report = carried(source, tmp_path / "other.mkv", restore, ("subtitle",))
    assert report.conforms, told(report)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_sound_that_nothing_decodes_is_named(
    ending: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    path = make_clip(tmp_path / "in.mp4", frames=4, audio=("eng",))
    before, _, after = path.read_bytes().rpartition(b"stsd")
    path.write_bytes(before + b"skip" + after)  # of the sound, which comes last
    report = carried(path, tmp_path / f"out{ending}", restore)
    assert not report.conforms
    assert "audio stream 1 (eng" in told(report)
    assert "is missing" in told(report)
    (sound,) = (each for each in probe(path)["streams"] if each["type"] == "audio")
    assert sound["codec"] is None
