"""How much faster more nodes are, with a sleep in the place of the network.

So a few cores stand for many GPUs: all else is real, nodes, pieces, decoding, encoding and joining.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from stream.cluster import driver
from stream.cluster import engine as engines
from stream.cluster.driver import Driver
from stream.cluster.part import Part, parts_of
from stream.cluster.plan import index_of
from stream.cluster.whole import Whole
from stream.cluster.worker import Order, Result
from stream.files import restorer
from stream.files.report import Progress
from stream.frame import Frame
from stream.input.source import Source
from stream.options.encoding import EncoderSettings
from stream.options.settings import Settings
from stream.pipeline import Stage
from stream.stages import build
from tests.clips import make_clip
from tests.trials.ray_nodes import cluster, loaded
from tests.trials.runner import console

_SETTINGS = Settings("none", strength=0, device="cpu")
_LEAD = 12
"""Frames that a network restores in vain for each piece."""
_EACH = 25
"""Frames that one stands for."""
_IN_FLIGHT = 3
"""Frames that a GPU is handed ahead."""


def speed(nodes: str = "1,2,4,8", seconds: int = 3600, gpu_fps: float = 25.0) -> None:
    """How much faster more nodes are, with a sleep for each frame in the place of the network.

    One frame a second is coded, and stands for 25, so that the cores of one machine are idle.
    """
    first, options = 0.0, {"bf": "2", "g": "10"}
    with cluster(1) as there, pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_VAIN", _LEAD / _EACH)
        folder = there.folder / "in"
        folder.mkdir()
        base = Fraction(1)
        clip = make_clip(folder / "in.mp4", frames=seconds, time_base=base, options=options)
        short = make_clip(folder / "short.mp4", frames=320, time_base=base, options=options)
        for count in map(int, nodes.split(",")):
            while len(there.workers) + 1 < count:
                there.add()
            begun = time.monotonic()
            Driver(short, folder / f"short{count}.mp4", _SETTINGS, _Sleeps(loaded(), 50.0)).run()
            console.print(f"{count} nodes: begun in {time.monotonic() - begun:.0f} s")
            took = _timed(clip, count, _EACH * 1000 / gpu_fps, seconds)
            first = first or took * count
            console.print(
                f"{count} nodes: {took:.1f} s; {first / took:.2f} times as fast as one, "
                f"{first / took / count:.3f} of {count}"
            )


def costs(seconds: int = 120, mbit: int = 20) -> None:
    """What splitting, joining and verifying take of a large file: one of 1920x1080."""
    with tempfile.TemporaryDirectory(prefix="dc", dir="/tmp") as place:
        folder, rate = Path(place), str(mbit * 1_000_000)
        quick = {"preset": "ultrafast", "b": rate, "minrate": rate, "bufsize": rate, "g": "50"}
        quick["x264-params"] = "nal-hrd=cbr:filler=1"
        short = make_clip(folder / "s.mp4", frames=250, size=(1920, 1080), options=quick)
        clip, output = _repeated(short, folder / "in.mp4", seconds * 25), folder / "out.mp4"
        encoder = EncoderSettings("h264", 10, "ultrafast")
        settings = replace(_SETTINGS, encoder=encoder)
        begun = time.monotonic()
        with closing(Source(clip)) as source:
            index_of(source, parts_of(output))
        split = time.monotonic() - begun
        for number in (1, 2):
            Part(clip, output, settings, number, 2).run()
        phases, begun = dict[str, float](), time.monotonic()

        def seen(phase: str) -> None:
            phases.setdefault(phase, time.monotonic())

        report = Whole(clip, output).join(seen)
        assert report.conforms
        console.print(
            f"{report.frames} frames, {clip.stat().st_size / 1e6:.0f} MB in and "
            f"{output.stat().st_size / 1e6:.0f} MB out: split in {split:.2f} s, joined in "
            f"{phases['verifying'] - phases['writing']:.2f} s, verified in "
            f"{time.monotonic() - phases['verifying']:.2f} s"
        )


def _repeated(short: Path, path: Path, frames: int) -> Path:
    """A clip again and again."""
    with av.open(str(short)) as source:
        packets = [each for each in source.demux(video=0) if each.size]
        every = len(packets) * int(packets[0].duration or 0)
        with av.open(str(path), "w") as output:
            video = output.add_stream_from_template(source.streams.video[0])
            for number in range(frames):
                again, place = divmod(number, len(packets))
                packet = av.Packet(bytes(packets[place]))
                packet.time_base = packets[place].time_base
                packet.pts = (packets[place].pts or 0) + again * every
                packet.dts = (packets[place].dts or 0) + again * every
                packet.is_keyframe = packets[place].is_keyframe
                packet.duration = packets[place].duration
                packet.stream = video
                output.mux(packet)
    return path


def _timed(clip: Path, count: int, frame_ms: float, frames: int) -> float:
    engine, output = _Sleeps(loaded(), frame_ms), clip.with_name(f"{count}.mp4")
    begun, phases = time.monotonic(), dict[str, float]()

    def seen(now: Progress) -> None:
        phases.setdefault(now.phase, time.monotonic())

    report = Driver(clip, output, _SETTINGS, engine).run(seen)
    ended = time.monotonic()
    assert report.conforms
    assert report.frames == frames
    asleep = frame_ms / 1000
    more = [each["seconds"] - asleep * (each["frames"] + _LEAD / _EACH) for each in report.pieces]
    restored = phases["writing"] - phases["restoring"]
    idle = restored - sum(each["seconds"] for each in report.pieces) / count
    console.print(
        f"{count} nodes: {len(report.pieces)} pieces on {len({p['node'] for p in report.pieces})} "
        f"nodes; split in {phases['restoring'] - begun:.1f} s, restored in {restored:.1f} s, of "
        f"which a node was idle for {idle:.1f} s; of a piece {statistics.median(more):.2f} s "
        f"(at most {max(more):.2f} s) were no sleep; joined in "
        f"{phases['verifying'] - phases['writing']:.1f} s, verified in "
        f"{ended - phases['verifying']:.1f} s; {output.stat().st_size / 1e6:.0f} MB"
    )
    output.unlink()
    return ended - begun


class _Sleeps(engines.Engine):
    """A cluster whose nodes sleep where a network would work."""

    def __init__(self, ray: Any, frame_ms: float) -> None:
        super().__init__(ray, 1)
        self._frame_ms = frame_ms
        self._sleeps = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_asleep)

    def submit(self, order: Order, attempt: str, name: str) -> Any:
        options = self._sleeps.options(name=name)
        return options.remote(order, attempt, self._told, self._frame_ms)


class _Sleep:
    """A stage that takes as long as a network on a GPU, which works through the frames that it was
    handed while whoever hands them over waits for a core."""

    def __init__(self, frame_ms: float) -> None:
        self._frame_s = frame_ms / 1000
        self._ready = time.monotonic() + _LEAD / _EACH * self._frame_s

    def push(self, frame: Frame) -> Iterator[Frame]:
        now = time.monotonic()
        self._ready = max(self._ready, now - _IN_FLIGHT * self._frame_s) + self._frame_s
        time.sleep(max(self._ready - now, 0))
        yield frame

    def flush(self) -> Iterator[Frame]:
        yield from ()


def _asleep(order: Order, attempt: str, told: Any, frame_ms: float) -> Result:
    usual = build.stages_of

    def stages_of(*given: Any) -> dict[str, Stage[Frame]]:
        return {**usual(*given), "network": _Sleep(frame_ms)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restorer, "stages_of", stages_of)
        return engines._task(order, attempt, told)
