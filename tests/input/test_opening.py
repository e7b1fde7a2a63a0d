"""Files that are opened: the one that is named and no other, and nothing too large to look at."""

import ctypes
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import pytest
from av.stream import Disposition

import stream
from stream.input.container.opening import choose_video, first_frames, open_input
from stream.input.probe import probe
from stream.limits import DEFAULT_MAX_PIXELS
from tests import tracks
from tests.clips import make_clip

OTHERS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile other.ts\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "other.idx": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n"
    "id: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
    "a.mpd": '<?xml version="1.0"?>\n<MPD type="static"><Period><AdaptationSet>'
    '<Representation id="1"><BaseURL>other.ts</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    "a.mlv": "MLVI" + "\0" * 200,
}


@contextmanager
def opened(folder: Path) -> Iterator[set[str]]:
    """The names of the folder's files that this process opens meanwhile."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells which files are opened")
    libc = ctypes.CDLL(None, use_errno=True)
    told = libc.inotify_init1(os.O_NONBLOCK)
    assert told >= 0
    assert libc.inotify_add_watch(told, os.fsencode(folder), 0x20) >= 0  # IN_OPEN
    names: set[str] = set()
    try:
        yield names
        data = b""
        with suppress(BlockingIOError):
            data = os.read(told, 1 << 16)
        while data:
            length = struct.unpack_from("iIII", data)[3]
            names.add(os.fsdecode(data[16 : 16 + length].rstrip(b"\0")))
            data = data[16 + length :]
        names.discard("")  # the folder itself
    finally:
        os.close(told)


@pytest.mark.parametrize("ending", [None, "mp4", "jpg"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_names_other_files_opens_none(name: str, ending: str | None, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.ts", container="mpegts")
    for beside in ("other.sub", "a.M00", "a.M01"):
        (tmp_path / beside).write_bytes(other.read_bytes())
    file = tmp_path / (name if ending is None else f"a.{ending}")
    file.write_text(OTHERS[name])
    with opened(tmp_path) as names:
        assert re.search(r"not a video|not read", refusal(file))
    assert names == {file.name}


@pytest.mark.parametrize("name", ["pat%d.jpg", "pat%03d.jpg", "pat[12].jpg", "pat*.jpg"])
def test_a_name_that_is_a_pattern_is_a_name(name: str, tmp_path: Path) -> None:
    for index, each in enumerate(("pat1.jpg", "pat2.jpg", "pat001.jpg", name)):
        size = (64 + 16 * index, 48)
        make_clip(
            tmp_path / each,
            frames=1,
            size=size,
            codec="mjpeg",
            pix_fmt="yuvj420p",
            container="mjpeg",
        )
    with opened(tmp_path) as names, open_input(tmp_path / name) as container:
        video = choose_video(container, tmp_path / name, 10**6)
        frames = first_frames(container, video, tmp_path / name)
    assert [frame.width for frame in frames] == [112]
    assert names == {name}


def png(width: int, height: int) -> bytes:
    """A black picture of a few kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    )


def bombs(path: Path, streams: int, *, beside: bool = False, cover: bool = False) -> Path:
    """Videos of one huge picture each; `beside` a small one, as its `cover`."""
    data = png(16000, 16000)
    with av.open(str(path), "w") as output:
        videos = []
        small = None
        if beside:
            small = output.add_stream("libx264", rate=25)
            assert isinstance(small, av.VideoStream)
            small.width, small.height, small.pix_fmt = 64, 48, "yuv420p"
        for _ in range(streams):
            video = output.add_stream("png", rate=25)
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = 16000, 16000, "gray"
            if cover:
                video.disposition = av.stream.Disposition.attached_pic
            videos.append(video)
        if small is not None:
            for index in range(4):
                frame = av.VideoFrame(64, 48, "yuv420p")
                frame.pts = index
                output.mux(small.encode(frame))
            output.mux(small.encode(None))
        for video in videos:
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = video, 0, 0
            packet.time_base = Fraction(1, 25)
            packet.is_keyframe = True
            output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "streams", "beside", "cover"),
    [
        *(
            ("one.mov", 1, False, False),
            ("five.mov", 5, False, False),
            ("five.nut", 5, False, False),
        ),
        *(
            ("beside.avi", 3, True, False),
            ("beside.nut", 1, True, False),
            ("art.mp4", 1, True, True),
        ),
    ],
)
def test_a_small_file_with_huge_pictures(
    name: str, streams: int, beside: bool, cover: bool, tmp_path: Path
) -> None:
    file = bombs(tmp_path / name, streams, beside=beside, cover=cover)
    assert file.stat().st_size < 10**7
    _refused_in_little_memory(file)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        *(("a.mkv", "ffv1", "gray"), ("a.ts", "libx264", "gray"), ("a.jpg", "mjpeg", "yuvj420p")),
        *(("a.tiff", "tiff", "gray"), ("a.mpg", "mpeg2video", "yuv420p")),
        *(("a.flv", "libx264", "gray"), ("b.flv", "flv1", "yuv420p")),
    ],
)
def test_a_huge_picture_of_another_kind(
    name: str, codec: str, pix_fmt: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    kinds = {"jpg": "mjpeg", "tiff": "image2pipe"}
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(file), "w", format=kinds.get(name[2:])) as output:
        video = output.add_stream(codec, rate=25, options=options)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 7000, 6000, pix_fmt
        frame = av.VideoFrame(7000, 6000, pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    _refused_in_little_memory(file)


def refusal(file: Path) -> str:
    """What is said of a file that is refused."""
    with pytest.raises(stream.SourceError) as refused, open_input(file) as container:
        first_frames(container, choose_video(container, file, DEFAULT_MAX_PIXELS), file)
    return str(refused.value)


def _refused_in_little_memory(file: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells the most memory that was used since a moment")
    Path("/proc/self/clear_refs").write_text("5")
    before = _most_memory()
    assert "--max-pixels" in refusal(file)
    assert _most_memory() - before < 30_000, "kB"


def _most_memory() -> int:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1])


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of RIFF."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def animated(path: Path) -> Path:
    """An animated WebP of two frames, without what is in them."""
    frame = chunk(b"ANMF", bytes(16) + chunk(b"VP8L", b"\x2f" + bytes(20)))
    inside = chunk(b"VP8X", bytes([2, 0, 0, 0, 63, 0, 0, 47, 0, 0])) + chunk(b"ANIM", bytes(6))
    path.write_bytes(chunk(b"RIFF", b"WEBP" + inside + frame + frame))
    return path


def with_cover(path: Path) -> Path:
    """Sound with cover art, as music players have it."""
    cover = make_clip(path.with_suffix(".mkv"), codec="mjpeg", pix_fmt="yuvj420p", frames=1)
    sound = tracks.sound(path.with_suffix(".mp4"), "aac")
    piece = tracks.Piece(cover, roles=Disposition.attached_pic)
    tracks.together(path.with_name("whole.mp4"), tracks.Piece(sound), piece).rename(path)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: animated(folder / "in.webp"), "is an animated WebP; convert it"),
        (lambda folder: with_cover(folder / "in.m4a"), "no video stream, only cover art and sound"),
        (lambda folder: tracks.sound(folder / "in.m4a", "aac"), "no video stream, only sound"),
        (lambda folder: tracks.words(folder / "in.srt"), "no video stream, only subtitles"),
    ],
)
@pytest.mark.parametrize("command", ["run", "info"])
def test_what_is_no_video_is_called_what_it_is(
    command: str, make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    source = make(tmp_path)
    work: dict[str, Callable[[], object]] = {
        "run": partial(stream.run, source, tmp_path / "out.mkv"),
        "info": partial(probe, source),
    }
    with pytest.raises(stream.SourceError) as error:
        work[command]()
    assert error.value.exit_code == 65
    assert said in str(error.value)
    assert "damaged" not in str(error.value)
    assert not (tmp_path / "out.mkv").exists()
