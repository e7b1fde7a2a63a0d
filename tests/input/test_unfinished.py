"""Files that promise no end: what hints that they are not whole, and what does not."""

import re
from collections.abc import Mapping
from pathlib import Path

import av
import pytest

import mssnet
import stream
from stream.input.container.unfinished import (
    endless,
    half_element,
    half_pack,
    half_packets,
    half_page,
)
from tests.clips import make_clip
from tests.input.test_endings import copied, decoded, job
from tests.marked import film

ENDLESS = "does not say its length, and has no index"
CLUSTER = b"\x1f\x43\xb6\x75"
HALF = "ends within a packet"


def live(path: Path, folder: Path, options: Mapping[str, str]) -> bytes:
    """A Matroska file that was written to where nothing can be put in later."""
    with (folder / "live.mkv").open("wb") as file:

        class Pipe:
            def write(self, data: bytes) -> int:
                return file.write(data)

        with (
            av.open(str(path)) as source,
            av.open(Pipe(), "w", "matroska", options={**options}) as made,
        ):
            streams = [made.add_stream_from_template(each) for each in source.streams]
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[packet.stream_index]
                    made.mux(packet)
    return (folder / "live.mkv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("films")
    path = film(folder / "whole.mkv", frames=60)
    return {
        "closed": path.read_bytes(),
        "live": live(path, folder, {"live": "1"}),
        "clusters": live(path, folder, {"cluster_time_limit": "500"}),
        "ts": copied(path, folder / "whole.ts", {}).read_bytes(),
    }


@pytest.mark.parametrize("form", ["live", "clusters"])
def test_matroska_without_a_length_is_whole_or_ends_within_something(
    form: str, whole: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    source.write_bytes(whole[form])
    report = job(source, output, restore)
    assert report.conforms
    assert report.frames == 60
    assert [line for line in report.warnings if ENDLESS in line] == report.warnings != []
    source.write_bytes(whole[form][: 2 * len(whole[form]) // 3])
    there = decoded(source)
    said = r"ends early, after 1\.\d\d s, in the middle"
    with pytest.raises(stream.SourceError, match=said) as early:
        job(source, tmp_path / "cut.mkv", restore)
    assert early.value.exit_code == 65
    assert f"the {there} frames that it has are in" in str(early.value)
    # What its writer did finish, before it was stopped.
    source.write_bytes(whole[form][: whole[form].rindex(CLUSTER)])
    if form == "clusters":
        report = job(source, tmp_path / "shorter.mkv", restore)
        assert 40 < report.frames < 60
        assert ENDLESS in report.warnings[0]


def test_a_matroska_file_that_was_closed_says_its_length(
    whole: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tmp_path / "in.mkv"
    source.write_bytes(whole["closed"])
    assert job(source, tmp_path / "out.mkv", restore).warnings == []


def test_every_place_to_cut_matroska(whole: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    data = whole["clusters"]
    first, ends = data.index(CLUSTER), set()
    place = first
    while place >= 0:
        place = data.find(CLUSTER, place + 1)
        ends.add(place if place >= 0 else len(data))
    assert len(ends) > 3
    for cut in sorted({*range(first + 12, len(data), 97), *ends}):
        path.write_bytes(data[:cut])
        with path.open("rb") as file:
            assert endless(file)
            assert half_element(file) == (cut not in ends)


@pytest.mark.parametrize("size", [188, 192])
def test_every_place_to_cut_mpegts(size: int, whole: dict[str, bytes], tmp_path: Path) -> None:
    data = whole["ts"]
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    # Of sound, whose packets say their length; a picture's may be as long as they like.
    sound = [int.from_bytes(each[1:3], "big") & 0x1FFF == 0x101 for each in packets]
    begun = [mine and bool(each[1] & 0x40) for each, mine in zip(packets, sound, strict=True)]
    path = tmp_path / "in.ts"
    found = []
    for cut in range(100, len(packets) + 1):
        path.write_bytes(b"".join(bytes(size - 188) + each for each in packets[:cut]))
        with path.open("rb") as file:
            found.append(half_packets(file))
        more = next((at for at in range(cut, len(packets)) if sound[at]), None)
        assert found[-1] == (more is not None and not begun[more]), cut
    assert 0.2 < sum(found) / len(found) < 0.9


def test_mpegts_that_ends_between_its_packets_is_not_called_whole(
    whole: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tmp_path / "in.ts"
    lines = {}
    for cut in range(200, 220):
        source.write_bytes(whole["ts"][: cut * 188])
        with source.open("rb") as file:
            half = half_packets(file)
        if half not in lines:
            report = job(source, tmp_path / f"{cut}.mkv", restore)
            assert report.frames == decoded(source)
            lines[half] = report.warnings
    assert lines[False] == []
    assert HALF in lines[True][0]


@pytest.mark.parametrize("form", ["mpeg", "vob"])
def test_every_place_to_cut_a_program_stream(
    form: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    path = make_clip(tmp_path / "in.mpg", frames=30, codec="mpeg2video", container=form)
    data = path.read_bytes()
    # Where packets begin: nothing within pictures looks like it.
    starts = {found.start() for found in re.finditer(rb"\x00\x00\x01[\xb9-\xef]", data)}
    assert len(starts) > 5
    for cut in sorted({*range(400, len(data) + 1, 7), *starts, len(data)} - {0, 12, 14, 27, 29}):
        path.write_bytes(data[:cut])
        with path.open("rb") as file:
            half = half_pack(file)
        assert half == (cut not in starts and cut < len(data)), cut
    path.write_bytes(data[:-9])
    with pytest.raises(stream.SourceError, match="in the middle of a packet") as early:
        job(path, tmp_path / "out.mkv", restore)
    assert early.value.exit_code == 65


def test_every_place_to_cut_ogg(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    path = make_clip(tmp_path / "in.ogv", frames=60, codec="libvpx")
    data = path.read_bytes()
    pages = [found.start() for found in re.finditer(b"OggS", data)]
    assert len(pages) > 4
    for cut in sorted({*range(pages[2], len(data), 7), *pages[2:], len(data)}):
        path.write_bytes(data[:cut])
        with path.open("rb") as file:
            assert half_page(file) == (cut not in pages and cut < len(data)), cut
    path.write_bytes(data)
    assert job(path, tmp_path / "whole.mkv", restore).warnings == []
    path.write_bytes(data[: pages[-3]])
    (line,) = job(path, tmp_path / "between.mkv", restore).warnings
    assert line.startswith("the input lacks the mark at which streams of Ogg end")
    path.write_bytes(data[: pages[-3] + 50])
    with pytest.raises(stream.SourceError, match="in the middle of a packet") as early:
        job(path, tmp_path / "within.mkv", restore)
    assert early.value.exit_code == 65


@pytest.mark.parametrize("sound_s", [1, 5])
def test_picture_and_sound_that_end_apart_are_named(
    sound_s: int, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = film(tmp_path / "in.ts", frames=75, sound_s=sound_s)
    (line,) = job(source, tmp_path / "out.mkv", restore).warnings
    first, second = ("sound", "picture") if sound_s == 1 else ("picture", "sound")
    assert re.fullmatch(f"the {first} of the input ends 2.[01] s before its {second}", line)
    # Others tell themselves how long each of them is.
    source = film(tmp_path / "in.mp4", frames=75, sound_s=sound_s)
    assert job(source, tmp_path / "other.mkv", restore).warnings == []
