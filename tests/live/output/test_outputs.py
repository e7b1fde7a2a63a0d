"""Recordings, playlists and servers that live video goes to, and what can go wrong with them."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stream.errors import SinkError, UsageError
from stream.ipc.child import Control
from stream.live.output.hls import Hls
from stream.live.output.null import Null
from stream.live.output.publish import Publisher
from stream.live.output.record import Recorder
from stream.live.output.serve import Serve
from stream.live.output.targets import OutputSettings, parse
from tests.feeds import MULAW, SPAWN, Lane, aac, gray, times

TONE = [bytes(range(128, 208)) * 2]


@pytest.fixture
def lane() -> Iterator[Lane]:
    with Lane() as lane:
        yield lane


def test_what_outputs_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = OutputSettings("udp", insecure_tls=True, segment_s=60, keep_s=3600)
    publish = parse("RTSP://u:p@host/a", settings)
    assert publish == Publisher("rtsp://u:p@host/a", "udp", insecure_tls=True)
    assert publish.name == "rtsp://***@host/a"
    assert "u:p" not in repr(publish)
    assert parse("rtmps://host/app/key-key-key").name == "rtmps://host/app/***"
    assert isinstance(parse("serve:8554/clean"), Serve)
    assert parse("hls:web") == Hls(Path("web"))
    assert parse("null:") == Null()
    assert parse("yard.mkv", settings) == Recorder(Path("yard.mkv"), 60, 3600)
    assert parse("record:days", settings) == Recorder(Path("days/live.mkv"), 60, 3600)
    assert (tmp_path / "days").is_dir()
    assert parse("yard/yard.mkv", settings) == Recorder(Path("yard/yard.mkv"), 60, 3600)
    assert (tmp_path / "yard").is_dir()


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("yard.avi", UsageError, "yard.avi is no output; an output is rtsp://HOST/PATH"),
        ("srt://u:secret@host", UsageError, "is no output"),
        ("hls:", UsageError, "is no output"),
        ("rtsp:///x", UsageError, "has to be like rtsp://HOST/PATH"),
        ("rtsp://u:secret@host:none/x", UsageError, "has to be like rtsp://HOST/PATH"),
        ("none/days/yard.mkv", SinkError, "days does not exist; create it first"),
        ("file/yard.mkv", SinkError, "File exists; name a folder to record into"),
        ("record:none/days", SinkError, "No such file or directory"),
        ("hls:none/web", SinkError, "none does not exist; create it first"),
        ("hls:file", SinkError, "is no folder"),
        ("hls:100%", SinkError, "cannot have a % in it"),
    ],
)
def test_wrong_outputs(
    text: str, error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(error) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{"segment_s": 0}, {"keep_s": -1}, {"keep_bytes": -1}, {"transport": "sctp"}]
)
def test_wrong_settings_of_outputs(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        OutputSettings(**values)  # type: ignore[arg-type]


def test_a_webcam_that_is_not_there() -> None:
    remedy = "pip install 'deblur-stream\\[camera\\]'|modprobe v4l2loopback"
    with pytest.raises((UsageError, SinkError), match=remedy):
        parse("camera:/dev/video99")


def test_recordings_survive_being_killed(tmp_path: Path) -> None:
    endings = ".mkv", ".mp4", ".ts"
    with Lane(outputs=3) as lane:
        lane.hear(*aac(1))
        outputs = [lane.start(parse(str(tmp_path / f"yard{ending}"))) for ending in endings]
        assert lane.show(lambda: all(output.heartbeat.frames > 0 for output in outputs))
        begun = time.monotonic()
        lane.show(seconds=2.5)
        for output in outputs:
            output.kill()
        length = time.monotonic() - begun
    for ending in endings:
        (file,) = tmp_path.glob(f"yard-*{ending}")
        shown, heard = times(file), times(file, "audio")
        assert shown[0] == 0
        assert shown[-1] > length - 1.3, ending
        assert heard[-1] > length - 1.3, ending
        assert len(shown) > 0.5 * 25 * shown[-1]


def test_files_follow_each_other_without_a_gap(tmp_path: Path, lane: Lane) -> None:
    lane.hear(*aac(1))
    record = Recorder(tmp_path / "yard.mp4", segment_s=1)
    output = lane.start(record)
    assert lane.show(lambda: len(list(tmp_path.iterdir())) == 4)
    output.stop()
    files = sorted(tmp_path.iterdir())
    samples = sum(len(times(file, "audio")) for file in files) * 1024
    lengths = [times(file)[-1] for file in files]
    assert all(times(file)[0] == 0 for file in files)
    assert all(0.85 < length < 1.6 for length in lengths[:3])
    assert samples / 48_000 == pytest.approx(sum(lengths), abs=0.5)
    ordinary = files[0].read_bytes()
    assert b"moov" in ordinary, "an ordinary file in the end"
    assert b"moof" not in ordinary[:64]


def test_sound_is_kept_where_the_file_takes_it(tmp_path: Path) -> None:
    with Lane(outputs=2) as lane:
        lane.hear(MULAW, TONE)
        mkv, mp4 = (lane.start(Recorder(tmp_path / f"yard{e}", 1)) for e in (".mkv", ".mp4"))
        assert lane.show(lambda: len(list(tmp_path.iterdir())) >= 4)
        mkv.stop()
        mp4.stop()
    assert not mkv.said
    assert mp4.said == ["pcm_mulaw sound is coded anew as AAC"]
    with av.open(str(min(tmp_path.glob("*.mkv")))) as container:
        levels = [frame.to_ndarray().max() for frame in container.decode(audio=0)]
        assert max(levels) == 32124, "0x80 by the table of G.711, the largest value"
    with av.open(str(min(tmp_path.glob("*.mp4")))) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert sum(frame.samples for frame in container.decode(audio=0)) > 4000


def test_a_recording_goes_on_after_a_gap_and_begins_anew_for_another_size(
    tmp_path: Path, lane: Lane
) -> None:
    output = lane.start(Recorder(tmp_path / "yard.mkv"))
    assert lane.show(lambda: output.heartbeat.frames > 5)
    time.sleep(2.5)
    frames = output.heartbeat.frames
    assert lane.show(lambda: output.heartbeat.frames > frames + 5)
    assert len(list(tmp_path.iterdir())) == 1
    assert not output.said
    assert lane.show(lambda: output.heartbeat.facts.get("size") == "320x180", size=(320, 180))
    output.stop()
    first, second = sorted(tmp_path.iterdir())
    assert max(np.diff(times(first))) > 2.4, "nothing is recorded while nothing comes"
    assert times(second)[0] == 0
    assert output.said == ["begins anew, as the picture is now 320x180"]


@pytest.mark.parametrize("name", ["yard.mkv", "yard.mp4", "yard.mov", "yard.ts", "web"])
def test_players_are_told_that_pixels_are_not_square(tmp_path: Path, name: str) -> None:
    target = Hls(tmp_path / name) if name == "web" else Recorder(tmp_path / name)
    control = Control(SPAWN.Pipe()[0])
    output = target.open(replace(gray(90), aspect=Fraction(16, 11)), None, control)
    for level in range(90, 96):
        output.push(replace(gray(level), aspect=Fraction(16, 11)))
    output.close()
    (path,) = tmp_path.glob("*.ts" if name == "yard.ts" else "web/*.ts" if name == "web" else "*")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 11)
        assert next(container.decode(stream)).width == 160
        assert stream.codec_context.sample_aspect_ratio == Fraction(16, 11), "in H.264 as well"


def test_old_files_of_the_same_name_are_deleted(tmp_path: Path, lane: Lane) -> None:
    ours = "yard-20260101-000000.mkv", "yard-20260101-000000_2.mkv"
    others = (
        *("yard.mkv", "yard-20260101-000000.mp4", "backyard-20260101-000000.mkv"),
        *("yard-north-20260101-000000.mkv", "yard-20260101.mkv"),
    )
    for name in (*ours, *others, "yard-20260102-000000.mkv"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    os.utime(tmp_path / "yard-20260102-000000.mkv")
    output = lane.start(Recorder(tmp_path / "yard.mkv", keep_s=3600))
    assert lane.show(lambda: output.heartbeat.frames > 0)
    output.stop()
    left = {file.name for file in tmp_path.iterdir()}
    assert not left & set(ours)
    assert left >= {*others, "yard-20260102-000000.mkv"}
    assert len(left) == len(others) + 2


def test_the_oldest_files_are_deleted_where_all_are_too_large(tmp_path: Path, lane: Lane) -> None:
    others = "yard.mkv", "yard-20260101-000000.mp4", "backyard-20260101-000000.mkv"
    ours = [f"yard-2026010{day}-000000.mkv" for day in range(1, 6)]
    for age, name in enumerate((*others, *ours)):
        (tmp_path / name).write_bytes(bytes(40_000))
        os.utime(tmp_path / name, (time.time() - 7200 + 60 * age,) * 2)
    lane.hear(*aac(1))
    output = lane.start(Recorder(tmp_path / "yard.mkv", keep_bytes=100_000))
    assert lane.show(lambda: output.heartbeat.frames > 0)
    begun = {file.name for file in tmp_path.iterdir()} - {*others}
    assert begun > set(ours[3:])
    assert len(begun) == 3

    def turned() -> bool:
        begun.update(file.name for file in tmp_path.iterdir())
        return len(begun) >= 3 + len(others) + 8

    assert lane.show(turned, seconds=90), "a file that takes most of it alone is not waited for"
    output.stop()
    left = list(tmp_path.glob("yard-*.mkv"))
    # What was written in the last second is looked at in the next one.
    assert sum(file.stat().st_size for file in left) < 150_000
    assert {file.name for file in tmp_path.iterdir()} >= set(others)


def test_a_full_disk(tmp_path: Path, lane: Lane) -> None:
    """Files can be so long and no longer, as on a disk that is full, in both ways."""
    output = lane.start(Recorder(tmp_path / "yard.mkv"))
    pid, most = output.process.pid or 0, resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (3_000, most))
    assert lane.show(lambda: output.has_said("File too large"))
    assert lane.show(lambda: output.heartbeat.connects > 1), "it is tried again"
    # What measures coverage writes a file at the end.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    output.stop()
    files = sorted(tmp_path.iterdir())
    assert len(times(files[0])) > 5, "what was recorded stays playable"


def test_little_space_is_left_alone(tmp_path: Path, lane: Lane) -> None:
    output = lane.start(Recorder(tmp_path / "yard.mkv", spare=1 << 60))
    assert lane.show(lambda: output.has_said("MB are kept free; trying again"))
    assert not list(tmp_path.iterdir())
    assert output.process.is_alive()


def test_a_folder_that_goes_and_comes_back(tmp_path: Path, lane: Lane) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    output = lane.start(Recorder(folder / "yard.mkv", segment_s=1))
    assert lane.show(lambda: output.heartbeat.frames > 0)
    folder.rename(tmp_path / "gone")
    assert lane.show(lambda: output.has_said("No such file or directory; trying again"))
    folder.mkdir()
    assert lane.show(lambda: any(folder.iterdir()))
    (first, *_) = sorted((tmp_path / "gone").iterdir())
    output.stop()
    assert len(times(first)) > 10


def listed(folder: Path) -> list[str]:
    """The lines of the playlist that are no comments."""
    path = folder / "index.m3u8"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("#")]


def test_hls_is_played_while_it_is_written_and_goes_on(tmp_path: Path, lane: Lane) -> None:
    folder = tmp_path / 'web "1": ü'
    victim = tmp_path / "victim.ts"
    victim.touch()
    folder.mkdir()
    (folder / "mine.txt").touch()
    (folder / "index.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "#EXTINF:2,\n../victim.ts\n" * 20
    )
    lane.hear(*aac(1))
    output = lane.start(Hls(folder))
    assert lane.show(lambda: len(listed(folder)) == 1)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(folder / "index.m3u8")]
    played = tmp_path / "played.mkv"
    with subprocess.Popen([*command, "-t", "3", "-c", "copy", str(played)]) as player:
        assert lane.show(lambda: player.poll() is not None)
    assert player.returncode == 0
    assert len(times(played)) > 40
    assert len(times(played, "audio")) > 80
    output.kill()
    before = listed(folder)
    output = lane.start(Hls(folder))
    assert lane.show(lambda: len(listed(folder)) > len(before))
    output.stop()
    text = (folder / "index.m3u8").read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "#EXT-X-ENDLIST" not in text
    assert listed(folder) == [f"live-{number}.ts" for number in range(len(listed(folder)))]
    assert victim.exists()
    assert {file.suffix for file in folder.iterdir()} == {".m3u8", ".ts", ".txt"}


def test_hls_deletes_what_is_no_longer_listed(tmp_path: Path, lane: Lane) -> None:
    """Three more than are listed stay for players that are late, or twice as many."""
    with av.open(str(tmp_path / "one.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        container.mux(stream.encode(av.VideoFrame(640, 480, "yuv420p")))
        container.mux(stream.encode(None))
    folder = tmp_path / "web"
    folder.mkdir()
    names = [f"live-{number}.ts" for number in range(20)]
    for name in names:
        shutil.copy(tmp_path / "one.ts", folder / name)
    head = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:14\n"
    body = "".join(f"#EXTINF:2.0,\n{name}\n" for name in names[14:])
    (folder / "index.m3u8").write_text(head + body)
    output = lane.start(Hls(folder))
    assert lane.show(lambda: "live-20.ts" in listed(folder))
    output.stop()
    left = {file.name for file in folder.glob("live-*.ts")}
    assert not left & set(names[:14])
    assert set(listed(folder)) <= left
