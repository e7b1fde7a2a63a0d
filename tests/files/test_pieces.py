"""A video restored in pieces is the file that one run gives."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import mssnet
import stream
from stream.cluster.part import Part, parts_of
from stream.cluster.plan import index_of, pieces_of
from stream.cluster.whole import Whole
from stream.input.packet_index import PacketIndex
from stream.input.source import Source
from stream.verify import verify
from tests.clips import make_clip
from tests.files.test_resume import hashes

FRAMES = 110
SETTINGS = stream.Settings(model="none", fuse=1, device="cpu")
COPIED = stream.Settings(model="none", strength=0, device="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def b_frames(path: Path) -> Path:
    options = {"bf": "3", "g": "37", "x264-params": "b-pyramid=normal"}
    return make_clip(path / "in.mp4", frames=FRAMES, audio=("eng",), options=options)


def open_gop(path: Path) -> Path:
    options = {"x264-params": "open-gop=1:keyint=30:min-keyint=30:bframes=3:scenecut=0"}
    return make_clip(path / "in.mkv", frames=FRAMES, subtitles=True, options=options)


def open_gop_mp4(path: Path) -> Path:
    options = {"x265-params": "open-gop=1:keyint=30:min-keyint=30:bframes=4:log-level=none"}
    return make_clip(path / "in.mp4", frames=FRAMES, codec="libx265", options=options)


def variable_rate(path: Path) -> Path:
    pts = np.cumsum(np.random.default_rng(2).integers(20, 60, FRAMES)).tolist()
    base = Fraction(1, 1000)
    return make_clip(
        path / "in.mp4", frames=FRAMES, pts=pts, time_base=base, options={"bf": "2", "g": "50"}
    )


def edit_list(path: Path) -> Path:
    """Players begin with the third of its frames."""
    clip = make_clip(path / "all.mp4", frames=FRAMES, options={"bf": "2", "g": "50"})
    with av.open(str(clip)) as source, av.open(str(path / "in.mp4"), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                for name in ("pts", "dts"):
                    setattr(packet, name, getattr(packet, name) - 2 * 512)
                packet.stream = video
                output.mux(packet)
    return path / "in.mp4"


def interlaced(path: Path) -> Path:
    options = {"x264-params": "tff=1", "bf": "0", "g": "40"}
    return make_clip(path / "in.mkv", frames=FRAMES, options=options)


def transport(path: Path) -> Path:
    options = {"bf": "2", "g": "40"}
    return make_clip(path / "in.ts", frames=FRAMES, audio=("eng",), options=options)


def without_times(path: Path) -> Path:
    """AVI says of no frame when it is shown: they are counted as they are decoded."""
    return make_clip(path / "in.avi", frames=FRAMES, codec="mpeg4", options={"g": "40"})


KINDS = [
    b_frames,
    open_gop,
    open_gop_mp4,
    variable_rate,
    edit_list,
    interlaced,
    transport,
    without_times,
]


def in_pieces(clip: Path, output: Path, settings: stream.Settings, of: int = 3) -> stream.Report:
    for number in range(of, 0, -1):
        Part(clip, output, settings, number, of).run()
    report = Whole(clip, output).join()
    assert not parts_of(output).exists()
    return report


@pytest.mark.parametrize("make", KINDS)
def test_pieces_make_the_file_that_one_run_makes(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    clip = make(tmp_path)
    single, output = tmp_path / "single.mkv", tmp_path / "out.mkv"
    # Fusion, whose frames need those around them, is the same for all, and slow.
    settings = SETTINGS if make in (b_frames, open_gop) else COPIED
    if make is interlaced:
        settings = replace(settings, deinterlace="off")
    whole = stream.Job(clip, single, settings).run()
    report = in_pieces(clip, output, settings)
    assert report.frames == whole.frames
    # What of an interlaced file is told differently is so in one run as well.
    assert report.conforms == whole.conforms
    assert verify(clip, output).conforms == whole.conforms
    assert whole.conforms or make is interlaced
    assert len(hashes(single)) >= FRAMES - 2
    assert hashes(output) == hashes(single)
    assert report.warnings == whole.warnings


@pytest.mark.parametrize("make", [b_frames, interlaced, transport, without_times])
def test_a_part_of_a_video_in_pieces(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Deinterlaced as well, for which frames before a piece are needed."""
    clip = make(tmp_path)
    single, output = tmp_path / "single.mp4", tmp_path / "out.mp4"
    settings = stream.Settings(
        model="none",
        strength=0,
        device="cpu",
        span=stream.Span(0.2, 4.1),
        drop=("audio",),
        deinterlace="on",
    )
    whole = stream.Job(clip, single, settings).run()
    report = in_pieces(clip, output, settings)
    assert report.frames == whole.frames
    assert report.conforms == whole.conforms
    assert hashes(output) == hashes(single)


def test_few_frames_are_decoded_in_vain(tmp_path: Path) -> None:
    """Pieces begin where segments do, and of those places soon behind a key frame."""
    clip = make_clip(tmp_path / "in.mp4", frames=1000, options={"g": "60", "sc_threshold": "0"})
    with closing(Source(clip)) as source:
        index = PacketIndex.of(source)
        pieces = pieces_of(source, index, 4, 5)
        with pytest.raises(stream.UsageError, match="20 pieces at most, of 50 frames; got 21"):
            pieces_of(source, index, 21, 5)
    assert [piece.first % 50 for piece in pieces] == [0, 0, 0, 0]
    assert [piece.end for piece in pieces[:-1]] == [piece.first for piece in pieces[1:]]
    assert pieces[-1].end is None
    assert sum(index.lead(piece.first - 5) for piece in pieces) <= 60
    assert all(150 <= b.first - a.first <= 350 for a, b in pairwise(pieces))


def test_the_index_is_read_once(tmp_path: Path) -> None:
    clip = b_frames(tmp_path)
    with closing(Source(clip)) as source:
        made = index_of(source, tmp_path / "parts")
        before = (tmp_path / "parts" / "index.npz").stat().st_mtime_ns
        again = index_of(source, tmp_path / "parts")
    assert (tmp_path / "parts" / "index.npz").stat().st_mtime_ns == before
    assert np.array_equal(made.crc, again.crc)
    assert len(made.times) == FRAMES
    (tmp_path / "parts" / "index.npz").write_bytes(b"half")
    with closing(Source(clip)) as source:
        assert np.array_equal(index_of(source, tmp_path / "parts").pts, made.pts)


def test_the_shutter_is_told_by_the_whole_video(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    clip, output = b_frames(tmp_path), tmp_path / "out.mkv"
    settings = stream.Settings("lite", fuse=0, device="cpu")
    for number in (1, 2):
        Part(clip, output, settings, number, 2).run(restore=restore)
    jobs = [
        json.loads((parts_of(output) / f"{number}-of-2" / "job.json").read_text())
        for number in (1, 2)
    ]
    assert jobs[0]["shutter"] == jobs[1]["shutter"] is not None
    single = tmp_path / "single.mkv"
    stream.Job(clip, single, settings).run(restore=restore)
    assert Whole(clip, output).join().conforms
    assert hashes(output) == hashes(single)


def test_what_is_missing_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    clip, output = b_frames(tmp_path), tmp_path / "out.mp4"
    with pytest.raises(stream.SinkError, match="there are none"):
        Whole(clip, output).join()
    for number in (1, 3):
        Part(clip, output, COPIED, number, 3).run()
    with pytest.raises(stream.SinkError, match=r"of the pieces 2/3 is missing"):
        Whole(clip, output).join()
    Part(clip, output, COPIED, 2, 3).run()
    # Once more is nothing to do.
    assert Part(clip, output, COPIED, 2, 3).run().earlier > 0
    segment = next((parts_of(output) / "2-of-3").glob("*.mkv"))
    data = segment.read_bytes()
    segment.write_bytes(data[:-1])
    with pytest.raises(stream.SinkError, match=r"of the pieces 2/3 is missing"):
        Whole(clip, output).join()
    Part(clip, output, COPIED, 2, 3).run()
    assert Whole(clip, output).join().frames == FRAMES


def test_pieces_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    clip, output = b_frames(tmp_path), tmp_path / "out.mp4"
    Part(clip, output, COPIED, 1, 2).run()
    Part(clip, output, replace(COPIED, fuse=2, smooth=0.5), 2, 2).run()
    with pytest.raises(stream.SinkError, match="made with another fuse"):
        Whole(clip, output).join()
    other = make_clip(tmp_path / "other.mp4", frames=FRAMES)
    with pytest.raises(stream.SinkError, match=r"begun with another .*input"):
        Part(other, output, COPIED, 1, 2).run()
    settings = stream.Settings(model="none", strength=0, device="cpu", overwrite=True)
    Part(clip, output, settings, 2, 2).run()
    with pytest.raises(stream.SourceError, match="not the file that the pieces were made of"):
        Whole(other, output).join()
    output.write_bytes(b"mine")
    with pytest.raises(stream.SinkError, match="exists already"):
        Whole(clip, output).join()
    with pytest.raises(stream.SinkError, match="exists already"):
        Part(clip, output, COPIED, 1, 2).run()
    assert output.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("settings", "number", "said"),
    [
        (stream.Settings(stabilize=True), 1, "--stabilize goes with no pieces"),
        (COPIED, 4, "from 1/5 to 5/5, got 4/3"),
    ],
)
def test_what_cannot_be_had_in_pieces(
    settings: stream.Settings, number: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(stream.UsageError, match=said):
        Part(tmp_path / "in.mp4", tmp_path / "out.mp4", settings, number, 3)


def test_another_file_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    """Its ends are the same, and a packet in its middle is not."""
    clip = make_clip(tmp_path / "in.mkv", size=(320, 240), frames=FRAMES, codec="rawvideo")
    output, data = tmp_path / "out.mp4", bytearray(clip.read_bytes())
    assert len(data) > 3 << 20
    Part(clip, output, COPIED, 1, 3).run()
    data[len(data) // 2] ^= 0xFF
    clip.write_bytes(data)
    with pytest.raises(stream.SourceError, match="is another; use the same file"):
        Part(clip, output, COPIED, 2, 3).run()


def test_a_file_that_ends_early_gives_what_it_has(tmp_path: Path) -> None:
    clip, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    make_clip(clip, frames=FRAMES, options={"g": "25"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 4 // 5])
    with pytest.raises(stream.SourceError, match="ends early") as single:
        stream.Job(clip, tmp_path / "single.mkv", COPIED).run()
    for number in (1, 2):
        Part(clip, output, COPIED, number, 2).run()
    with pytest.raises(stream.SourceError, match=r"ends early.*are in .*out\.part\.mkv"):
        Whole(clip, output).join()
    assert "single.part.mkv" in str(single.value)
    assert hashes(tmp_path / "out.part.mkv") == hashes(tmp_path / "single.part.mkv")
    assert not output.exists()


def test_the_commands(tmp_path: Path) -> None:
    clip = b_frames(tmp_path)
    deblur = str(Path(sys.executable).with_name("deblur"))
    options = ["--model", "none", "--fuse", "0", "--device", "cpu"]
    for part in ("1/2", "2/2"):
        done = subprocess.run(
            [deblur, "run", clip.name, "out.mp4", "--part", part, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "when all are done: deblur join in.mp4 out.mp4" in done.stderr
    assert sorted(each.name for each in (tmp_path / "out.mp4.parts").iterdir()) == [
        "1-of-2",
        "2-of-2",
        "index.npz",
    ]
    done = subprocess.run(
        [deblur, "join", clip.name, "out.mp4", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{FRAMES} frames joined" in done.stderr
    assert json.loads(done.stdout)["conformance"]["conforms"]
    assert not (tmp_path / "out.mp4.parts").exists()
    done = subprocess.run(
        [deblur, "run", clip.name, "out2.mp4", "--part", "half", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "--part takes such as 2/5, got half" in done.stderr) == (2, True)
