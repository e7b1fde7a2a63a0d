"""Files with very many streams: the time they take, and how a job with them is ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

import stream
from tests.clips import make_clip
from tests.pictures import Unchanged

ENDED = """
import os, sys, stream, typer
from stream.cli.terminal import handle_signals, reported

source, output, phase, *numbers = sys.argv[1:]
settings = stream.Settings(model="none", device="cpu")
try:
  with reported():
    job = stream.Job(source, output, settings)
    handle_signals(job)

    def seen(progress):
        if progress.phase == phase:
            for number in numbers:
                os.kill(os.getpid(), int(number))

    job.run(seen)
except typer.Exit as exit:
    sys.exit(exit.exit_code)
"""


def many(path: Path, count: int) -> Path:
    """A short clip with as many streams of sound, all alike."""
    one = make_clip(path.with_suffix(".mp4"), frames=10, audio=("eng",))
    with av.open(str(one)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        sounds = [output.add_stream_from_template(source.streams.audio[0]) for _ in range(count)]
        for packet in source.demux():
            if not packet.size:
                continue
            content = bytes(packet)
            for added in [video] if packet.stream.type == "video" else sounds:
                again = av.Packet(content)
                again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
                again.time_base, again.is_keyframe = packet.time_base, packet.is_keyframe
                again.stream = added
                output.mux(again)
    return path


def test_twice_the_streams_take_no_more_than_twice_the_time(tmp_path: Path) -> None:
    seconds = []
    for count in (60, 240):
        source = many(tmp_path / f"{count}.mkv", count)
        settings = stream.Settings(strength=0.0, fuse=0, device="cpu")
        begun = time.process_time()
        report = stream.Job(source, tmp_path / f"{count}.out.mkv", settings).run(
            restore=Unchanged()
        )
        seconds.append(time.process_time() - begun)
        assert report.conforms
        assert report.conformance is not None
        assert report.conformance.streams == count + 1
    # With something that takes each stream by each, it would be sixteen times.
    assert seconds[1] < 8 * seconds[0]


@pytest.mark.parametrize(
    ("phase", "numbers"),
    [
        ("writing", (signal.SIGINT,)),
        ("verifying", (signal.SIGTERM,)),
        ("verifying", (signal.SIGINT, signal.SIGINT)),
    ],
    ids=str,
)
def test_a_signal_is_heeded_while_streams_are_written_and_verified(
    phase: str, numbers: tuple[int, ...], tmp_path: Path
) -> None:
    source, output = many(tmp_path / "in.mkv", 60), tmp_path / "out.mkv"
    before = {path.name for path in tmp_path.iterdir()}
    words = [sys.executable, "-c", ENDED, source, output, phase, *map(int, numbers)]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.count("\n") == 2, done.stderr
    assert done.stderr.endswith("go on with --resume\n")
    assert {path.name for path in tmp_path.iterdir()} == {*before, "out.mkv.part"}
    settings = stream.Settings(model="none", device="cpu", resume=True)
    assert stream.Job(source, output, settings).run().conforms
    assert {path.name for path in tmp_path.iterdir()} == {*before, "out.mkv"}
