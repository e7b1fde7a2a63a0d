"""The shape of pixels in Matroska files: as other programs write it, and nothing else is harmed."""

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

import stream
from stream.media.matroska import write_aspects
from stream.verify import verify
from tests.clips import make_clip
from tests.pictures import run

SEGMENT, SEEK_HEAD, SEEK, TRACKS = 0x18538067, 0x114D9B74, 0x4DBB, 0x1654AE6B
TRACK, VIDEO, VOID, CRC = 0xAE, 0xE0, 0xEC, 0xBF
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2


def elements(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """ID, begin and end of what is held by the elements that follow one another."""
    while at < (len(data) if end is None else end):
        length = 9 - data[at].bit_length()
        id = int.from_bytes(data[at : at + length], "big")
        at += length
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        yield id, at + length, at + length + size
        at += length + size


def displays(path: Path) -> list[dict[int, int]]:
    """What is said of each video's pictures; all positions and checksums of the file are right."""
    data = path.read_bytes()
    (begin,) = (at for id, at, _ in elements(data) if id == SEGMENT)
    heads, found = {}, []
    last = begin
    for id, at, end in elements(data, begin):
        heads[last - begin] = id
        last = end
        first = next(elements(data, at, end))
        if first[0] == CRC:
            assert zlib.crc32(data[first[2] : end]).to_bytes(4, "little") == data[slice(*first[1:])]
        if id == TRACKS:
            tracks = [(at, end) for id, at, end in elements(data, at, end) if id == TRACK]
            for track in tracks:
                for id, at, end in elements(data, *track):
                    if id == VIDEO:
                        said = [(id, data[at:end]) for id, at, end in elements(data, at, end)]
                        found.append({id: int.from_bytes(value, "big") for id, value in said})
        elif id == SEEK_HEAD:
            sought = [(at, end) for id, at, end in elements(data, at, end) if id == SEEK]
    assert last == len(data)
    for seek in sought:
        id, place = (int.from_bytes(data[at:end], "big") for _, at, end in elements(data, *seek))
        assert heads[place] == id
    assert len(sought) >= 2
    return found


@pytest.mark.parametrize("shape", ["16/11", "8/9", "40/33"])
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("ffv1", ".mkv"), ("h264", ".mkv"), ("vp9", ".mkv"), ("vp9", ".webm"), ("prores", ".mkv")],
)
def test_pixels_keep_their_shape(codec: str, suffix: str, shape: str, tmp_path: Path) -> None:
    aspect = Fraction(shape)
    source = make_clip(
        tmp_path / "in.mp4", frames=60, aspect=aspect, audio=("eng", "deu"), chapters=True
    )
    encoder = stream.EncoderSettings(codec)
    report = run(source, tmp_path / f"out{suffix}", encoder=encoder)
    assert report.conforms
    assert verify(source, report.output).conforms
    # As mkvmerge --aspect-ratio-factor writes it.
    sizes = {"16/11": (93, 48), "8/9": (64, 54), "40/33": (78, 48)}
    (said,) = displays(report.output)
    assert (said[DISPLAY_WIDTH], said[DISPLAY_HEIGHT]) == sizes[shape]
    assert DISPLAY_UNIT not in said
    with av.open(str(report.output)) as container:
        video = container.streams.video[0]
        assert video.sample_aspect_ratio is not None
        assert abs(video.sample_aspect_ratio - aspect) <= Fraction(1, 64)
        container.seek(2_200_000)
        assert 2.0 <= (next(container.decode(video)).time or 0) < 2.2
        assert len(container.chapters()) == 2


def test_a_second_video_keeps_its_own_shape(tmp_path: Path) -> None:
    shapes = (Fraction(4, 3), Fraction(1), Fraction(3, 4))
    parts = [
        make_clip(tmp_path / f"{number}.mkv", codec="libvpx-vp9", aspect=shape)
        for number, shape in enumerate(shapes)
    ]
    for part, shape in zip(parts, shapes, strict=True):
        write_aspects(part, [shape])
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as output:
        for part in parts:
            with av.open(str(part)) as container:
                output.add_stream_from_template(container.streams[0])
        for part, added in zip(parts, list(output.streams), strict=True):
            with av.open(str(part)) as container:
                for packet in container.demux():
                    if packet.size:
                        packet.stream = added
                        output.mux(packet)
    write_aspects(source, shapes)
    for suffix in (".mkv", ".mp4"):
        report = run(source, tmp_path / f"out{suffix}")
        assert report.conforms
        with av.open(str(report.output)) as container:
            found = [each.sample_aspect_ratio or 1 for each in container.streams.video]
        for shape, kept in zip(shapes, found, strict=True):
            assert abs(shape - kept) <= Fraction(1, 64)


def test_square_pixels_and_what_begins_otherwise_stay_as_they_are(tmp_path: Path) -> None:
    square = make_clip(tmp_path / "square.mkv")
    before = square.read_bytes()
    write_aspects(square, [None])
    write_aspects(square, [Fraction(1)])
    assert square.read_bytes() == before
    other = make_clip(tmp_path / "other.mp4")
    before = other.read_bytes()
    write_aspects(other, [Fraction(4, 3)])
    assert other.read_bytes() == before


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_what_is_longer_finds_room_for_many_streams_or_is_left_out(
    suffix: str, tmp_path: Path
) -> None:
    fits = []
    for many in (1, 10, 40, 120):
        path = tmp_path / f"{many}{suffix}"
        with av.open(str(path), "w") as output:
            for _ in range(many):
                video = output.add_stream("libvpx", rate=25)
                assert isinstance(video, av.VideoStream)
                video.width, video.height, video.pix_fmt = 640, 480, "yuv420p"
            output.start_encoding()
        before = path.read_bytes()
        write_aspects(path, [Fraction(4, 3)] * many)
        after = path.read_bytes()
        assert len(after) == len(before)
        fits.append(after != before)
        if fits[-1]:
            assert all((DISPLAY_WIDTH in each) for each in displays(path))
    assert fits == ([True] * 4 if suffix == ".mkv" else [True, True, False, False])
