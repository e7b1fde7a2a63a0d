"""Work that was interrupted ends like work that was not."""

import hashlib
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

import mssnet
import stream
from stream.files import job
from stream.frame import Frame
from stream.input.source import Source
from stream.output.checkpoint import JobCheckpoint, folder_of, frames_done
from stream.output.segment_sink import SegmentSink
from tests.clips import make_clip
from tests.filters.test_stabilize import shaken
from tests.pictures import write

FRAMES = 130
"""Two segments of two seconds each, and a part of a third."""


def hashes(path: Path) -> list[tuple[int | None, str]]:
    """Time and content of every frame."""
    with av.open(str(path)) as container:
        return [
            (frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]


class Dies(SegmentSink):
    """Ends the job in the middle, as a crash would, after so many frames."""

    left = 10**9

    def push(self, frame: Frame) -> None:
        type(self).left -= 1
        if type(self).left < 0:
            raise stream.CancelledError("crashed")
        super().push(frame)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pts = np.cumsum(np.random.default_rng(2).integers(20, 60, FRAMES)).tolist()
    return make_clip(
        tmp_path / "in.mp4",
        frames=FRAMES,
        pts=pts,
        time_base=Fraction(1, 1000),
        audio=("eng",),
    )


@pytest.fixture(scope="module")
def shaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("shaky") / "in.mp4",
        "yuv420p",
        shaken(FRAMES, (96, 64), 1.5),
        codec="libx264",
    )


@pytest.mark.parametrize(
    ("fuse", "stabilize"),
    [(0, False), (1, False), (3, False), (0, True), (2, True)],
    ids=["frame by frame", "fused", "fused with more", "stabilized", "both"],
)
@pytest.mark.parametrize(
    ("suffix", "keep_s"),
    [(".mp4", 0.0), pytest.param(".mkv", 0.05, marks=pytest.mark.slow), (".mkv", 9.0)],
)
def test_any_interruption_ends_in_the_same_file(
    fuse: int,
    stabilize: bool,
    suffix: str,
    keep_s: float,
    clip: Path,
    shaky: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "SegmentSink", Dies)
    monkeypatch.setattr(Dies, "left", 10**9)
    monkeypatch.setattr(
        "stream.output.segment_sink._REDONE_S", 0.0
    )  # keep every frame, however fast
    monkeypatch.setattr("stream.output.checkpoint._KEEP_S", keep_s)
    settings = partial(stream.Settings, model="none", fuse=fuse, stabilize=stabilize, device="cpu")
    if stabilize:
        clip = shaky
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    stream.Job(clip, whole, settings()).run()
    done: list[int] = []
    lines: list[str] = []
    for frames in (0, 7, 1, 60, 31, 20):
        Dies.left = frames
        with pytest.raises(stream.CancelledError) as caught:
            stream.Job(clip, output, settings(resume=True)).run(say=lines.append)
        folder = folder_of(output)
        assert ("--resume" in str(caught.value)) == folder.exists()
        done.append(frames_done(folder) if folder.exists() else 0)
        assert not output.exists()
        if folder.exists():
            most = 3 if stabilize else 0
            assert len(list(folder.glob("memory-*"))) <= most, "old ones are removed"
    assert done == sorted(done)
    assert 50 < done[-1] < FRAMES
    Dies.left = 10**9
    report = stream.Job(clip, output, settings(resume=True)).run(say=lines.append)
    assert report.conforms
    assert report.frames == FRAMES
    assert report.earlier == done[-1]
    assert lines[-1] == f"resuming: {done[-1]} frames are done already"
    assert hashes(output) == hashes(whole)
    assert not folder_of(output).exists()


@pytest.mark.parametrize("fuse", [0, 1], ids=["frame by frame", "fused"])
def test_what_a_network_is_told_does_not_depend_on_interruptions(
    fuse: int,
    shaky: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    restore: mssnet.Deblurrer,
) -> None:
    """Nor does what is told of the first and last frames of a part of a file."""
    monkeypatch.setattr(job, "SegmentSink", Dies)
    monkeypatch.setattr(Dies, "left", 10**9)
    monkeypatch.setattr(
        "stream.output.segment_sink._REDONE_S", 0.0
    )  # keep every frame, however fast
    monkeypatch.setattr("stream.output.checkpoint._KEEP_S", 0.0)
    half, lossless = stream.Exposure("180deg"), stream.EncoderSettings(codec="ffv1")
    settings = partial(
        stream.Settings, "lite", fuse=fuse, shutter=half, device="cpu", encoder=lossless
    )
    whole, output = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    stream.Job(shaky, whole, settings()).run(restore=restore)
    for frames in (7, 60):
        Dies.left = frames
        with pytest.raises(stream.CancelledError):
            stream.Job(shaky, output, settings(resume=True)).run(restore=restore)
    done = frames_done(folder_of(output))
    assert 10 < done < FRAMES
    Dies.left = 10**9
    report = stream.Job(shaky, output, settings(resume=True)).run(restore=restore)
    assert report.earlier == done
    assert hashes(output) == hashes(whole)

    part = tmp_path / "part.mkv"
    span = stream.Span(1.0, 1.0)
    stream.Job(shaky, part, settings(span=span)).run(restore=restore)
    assert [hash for _, hash in hashes(part)] == [hash for _, hash in hashes(whole)[25:50]]


def test_another_shutter_is_another_job(
    shaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restore: mssnet.Deblurrer
) -> None:
    output = tmp_path / "out.mkv"
    settings = partial(stream.Settings, "lite", fuse=0, device="cpu")
    monkeypatch.setattr(job, "SegmentSink", Dies)
    monkeypatch.setattr(Dies, "left", 70)
    with pytest.raises(stream.CancelledError):
        stream.Job(shaky, output, settings()).run(restore=restore)
    half = settings(resume=True, shutter=stream.Exposure("180deg"))
    with pytest.raises(stream.SinkError, match="another shutter"):
        stream.Job(shaky, output, half).run(restore=restore)


def interrupted(clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch, frames: int) -> Path:
    """The work that a job leaves which ends after so many frames."""
    monkeypatch.setattr(job, "SegmentSink", Dies)
    monkeypatch.setattr(Dies, "left", frames)
    with pytest.raises(stream.CancelledError):
        stream.Job(clip, output, stream.Settings(strength=0, device="cpu")).run()
    monkeypatch.setattr(Dies, "left", 10**9)
    return folder_of(output)


def cut_short(folder: Path) -> None:
    file = folder / "index.jsonl"
    file.write_bytes(file.read_bytes()[:-9])


def zeros(folder: Path) -> None:
    """What a power cut can leave of a file that was not on the disk yet."""
    file = sorted(folder.glob("frames-*"))[1]
    file.write_bytes(bytes(file.stat().st_size))


def lost_segment(folder: Path) -> None:
    sorted(folder.glob("*.mkv"))[-1].unlink()


def rotten(folder: Path) -> None:
    file = sorted(folder.glob("*.mkv"))[-1]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def leftovers(folder: Path) -> None:
    (folder / "segment.tmp").write_bytes(b"half")
    (folder / "frames-00000071.safetensors.tmp").write_bytes(b"half")


@pytest.mark.parametrize("harm", [cut_short, zeros, lost_segment, rotten, leftovers])
def test_what_a_power_cut_leaves_is_made_good(
    harm: Callable[[Path], None], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    settings = partial(stream.Settings, strength=0, device="cpu")
    stream.Job(clip, whole, settings()).run()
    monkeypatch.setattr(
        "stream.output.segment_sink._REDONE_S", 0.0
    )  # keep every frame, however fast
    monkeypatch.setattr("stream.output.checkpoint._KEEP_S", 0.0)
    folder = interrupted(clip, output, monkeypatch, 70)
    before = frames_done(folder)
    assert before > 50
    harm(folder)
    assert frames_done(folder) <= before
    report = stream.Job(clip, output, settings(resume=True)).run()
    assert report.conforms
    assert hashes(output) == hashes(whole)


def test_only_the_same_job_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.mp4"
    folder = interrupted(clip, output, monkeypatch, 70)
    settings = partial(stream.Settings, strength=0, device="cpu")
    with pytest.raises(stream.SinkError, match="go on with --resume"):
        stream.Job(clip, output, settings()).run()
    fast = stream.EncoderSettings(preset="ultrafast")
    with pytest.raises(stream.SinkError, match="another encoder"):
        stream.Job(clip, output, settings(resume=True, encoder=fast)).run()
    with pytest.raises(stream.SinkError, match="another duration, start"):
        stream.Job(clip, output, settings(resume=True, span=stream.Span(1, 1))).run()
    other = make_clip(tmp_path / "other.mp4", frames=FRAMES)
    with pytest.raises(stream.SinkError, match="another format, input"):
        stream.Job(other, output, settings(resume=True)).run()
    assert frames_done(folder) >= 50, "a refusal costs nothing"
    (folder / "job.json").write_text("{")
    with pytest.raises(stream.SinkError, match="damaged"):
        stream.Job(clip, output, settings(resume=True)).run()
    assert stream.Job(clip, output, settings(overwrite=True)).run().conforms
    assert not folder.exists()


def test_a_folder_of_the_users_is_left_alone(clip: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out.mp4")
    folder.mkdir()
    (folder / "holiday.mkv").write_bytes(b"mine")
    with pytest.raises(stream.SinkError, match="in the way"):
        stream.run(clip, tmp_path / "out.mp4", strength=0, device="cpu", overwrite=True)
    assert (folder / "holiday.mkv").read_bytes() == b"mine"


def test_one_process_at_a_time(clip: Path, tmp_path: Path) -> None:
    work = JobCheckpoint.begin(folder_of(tmp_path / "out.mp4"), {})
    with pytest.raises(stream.SinkError, match="another run"):
        stream.run(clip, tmp_path / "out.mp4", strength=0, device="cpu", overwrite=True)
    work.remove()
    assert stream.run(clip, tmp_path / "out.mp4", strength=0, device="cpu").conforms


def stopped_after_60(running: stream.Job, patch: pytest.MonkeyPatch) -> stream.Report:
    """Run a job and stop it once 60 frames are done."""

    class Stops(SegmentSink):
        def push(self, frame: Frame) -> None:
            super().push(frame)
            if self.frames == 60:
                running.stop()

    patch.setattr(job, "SegmentSink", Stops)
    return running.run()


def test_a_stopped_job_leaves_something_to_watch(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.mp4"
    settings = partial(stream.Settings, strength=0, device="cpu")
    running = stream.Job(clip, output, settings())
    with monkeypatch.context() as patch:
        report = stopped_after_60(running, patch)
    assert report.stopped
    assert not report.conforms
    assert report.output == tmp_path / "out.part.mp4"
    assert len(hashes(report.output)) == report.frames
    assert not output.exists()
    assert stream.Job(clip, output, settings(resume=True)).run().frames == FRAMES
    assert not report.output.exists()


def test_a_stopped_job_lets_go_of_frames_that_wait_for_later_ones(
    shaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    settings = partial(stream.Settings, strength=0, stabilize=True, device="cpu")
    stream.Job(shaky, whole, settings()).run()
    running = stream.Job(shaky, output, settings())
    with monkeypatch.context() as patch:
        report = stopped_after_60(running, patch)
    assert report.stopped
    assert 60 <= report.frames < FRAMES
    assert stream.Job(shaky, output, settings(resume=True)).run().conforms
    assert hashes(output) == hashes(whole)


def test_the_work_says_what_it_is(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted(clip, tmp_path / "out.mp4", monkeypatch, 100)
    said = json.loads((folder / "job.json").read_text())
    assert said["strength"] == 0
    lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    for line in lines:
        assert len(hashes(folder / line["file"])) == len(line["pts"])
    shutil.rmtree(folder)


def test_what_is_done_is_not_decoded_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file can be searched; else it is decoded from its beginning, to the same end."""
    source = make_clip(tmp_path / "keys.mp4", frames=200, options={"g": "20"})
    whole = list(Source(source))
    for done, known in ((100, 50), (51, 50), (150, 150)):
        going = Source(source)
        going.go_on(done, known, whole[known - 1].pts)
        rest = list(going)
        assert [frame.pts for frame in rest] == [frame.pts for frame in whole[done:]]
        assert np.array_equal(rest[0].planes[0], whole[done].planes[0])
        assert going.decoding.packets <= 200 - known + 20
        assert going.frames == 200
    wrong = Source(source)
    wrong.go_on(100, 50, whole[49].pts + 1)
    assert [frame.pts for frame in wrong] == [frame.pts for frame in whole[100:]]
    assert wrong.decoding.packets == 200
