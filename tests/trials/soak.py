"""A live feed for an hour: a camera that comes and goes, players that stay, and what it cost.

    python -m tests.trials.soak --minutes 60 --kills 10 --json soak.json --report docs/soak.md

A camera that draws a clock into its pictures publishes to an RTSP server; `deblur live` reads from
there, serves, publishes to a second server, and records. Players read the clock. The camera and its
server are killed together, evenly over the time, and once come back with another size.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.rig import stamp
from tests.rig.camera import Camera, Filming
from tests.rig.meter import SETTLE_S, Measured, measure
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving
from tests.trials.soaked import report

OTHER_SIZE = (480, 272)
DOWN_S = 5.0
SETTLED_S = 60.0
"""After which nothing may grow any more."""
_SAMPLE_S = 5.0
_WRAP_MS = 1 << 32


@dataclass
class Sample:
    """What the processes of the feed take, at one moment."""

    at_s: float
    rss: dict[str, int]
    """Resident bytes of each process, by its name."""
    threads: dict[str, int]
    files: int
    """Open in all of them."""

    @property
    def total(self) -> int:
        return sum(self.rss.values())


@dataclass
class Kill:
    """One time that the camera was gone."""

    at_s: float
    size: tuple[int, int]
    back_ms: int
    """The clock of the stamps when it was there again."""
    picture_s: dict[str, float] = field(default_factory=dict)
    """From then until its first picture, at each player, and at one that connects to the camera
    itself as soon as it is there again."""


class Soak:
    """One trial, begun and ended."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.samples: list[Sample] = []
        self.kills: list[Kill] = []
        self._bare: list[Future[Measured]] = []
        self.begun_s = 0.0

    def run(self) -> dict[str, Any]:
        """Run it to its end; returns the figures."""
        options = self.options
        seconds = options.minutes * 60
        width, height = map(int, options.size.split("x"))
        size = width, height
        filming = Filming(size, options.fps, options.file)
        cameras = [size, OTHER_SIZE]
        port = free_port()
        context = get_context("spawn")
        with (
            RtspServer(Serving(size=size, fps=options.fps)) as source,
            RtspServer(Serving(size=size, fps=options.fps)) as relay,
            Camera(source.url("in"), filming) as camera,
            ProcessPoolExecutor(4, context) as players,
        ):
            time.sleep(1)
            serve = f"rtsp://127.0.0.1:{port}/clean"
            words = [source.url("out"), f"serve:{port}/clean", relay.url("in")]
            words += [str(self.folder / "yard.mkv"), "--segment", "120", "--keep", "0.1"]
            words += ["--http", "off", *options.words]
            with feed(words, self.folder / "feed.log") as process:
                self.begun_s = time.monotonic()
                urls = {"served": serve, "relayed": relay.url("out")}
                watched: dict[str, Future[Measured]] = {
                    name: players.submit(measure, url, seconds, cameras=cameras)
                    for name, url in urls.items()
                }
                bare = players.submit(measure, source.url("out"), 40.0, cameras=cameras)
                self._go_on(process, source, camera, seconds, players)
                found = {name: player.result() for name, player in watched.items()}
                ended = stop(process)
            transport = bare.result()
        return self._figures(found, transport, ended)

    def _go_on(
        self,
        process: "subprocess.Popen[bytes]",
        source: RtspServer,
        camera: Camera,
        seconds: float,
        players: ProcessPoolExecutor,
    ) -> None:
        """Sample, kill and bring back, until the time is over."""
        count = self.options.kills
        due = [SETTLED_S + (seconds - SETTLED_S - 60) * (n + 0.5) / count for n in range(count)]
        own_size = camera.filming.size
        sampled = 0.0
        while (now := time.monotonic() - self.begun_s) < seconds:
            if now - sampled >= _SAMPLE_S:
                sampled = now
                self.samples.append(sample(process.pid, now))
            if due and now >= due[0]:
                due.pop(0)
                other = len(self.kills) == count // 2
                camera.kill()
                source.kill()
                time.sleep(DOWN_S)
                size = OTHER_SIZE if other else own_size
                source.start()
                camera.start(size=size)
                self.kills.append(Kill(now, size, stamp.now_ms()))
                self._bare.append(players.submit(measure, source.url("out"), 0.1, cameras=[size]))
            time.sleep(0.2)

    def _figures(
        self, found: dict[str, Measured], transport: Measured, ended: tuple[int, float]
    ) -> dict[str, Any]:
        for kill, alone in zip(self.kills, self._bare, strict=True):
            for name, measured in {**found, "bare": alone.result()}.items():
                kill.picture_s[name] = first_after(measured, kill.back_ms)
        settled = [each for each in self.samples if each.at_s >= SETTLED_S]
        first, last = average(settled[:6]), average(settled[-6:])
        players = {
            name: {
                "frames": each.frames,
                **percentiles(each),
                "missing": each.missing,
                "repeats": each.repeats,
                "backwards": each.backwards,
                "longest_wait_s": each.longest_s,
                "ended_early": each.ended,
                "by_minute": list(by_minute(each)),
            }
            for name, each in found.items()
        }
        return {
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "versions": {each: version(each) for each in ("torch", "av")},
            "commit": subprocess.check_output(
                ["git", "rev-parse", "--short", "HEAD"], text=True
            ).strip(),
            "date": time.strftime("%Y-%m-%d"),
            "minutes": self.options.minutes,
            "size": self.options.size,
            "fps": self.options.fps,
            "transport": percentiles(transport),
            "players": players,
            "kills": [asdict(each) for each in self.kills],
            "memory": {"after_a_minute": first[0], "at_the_end": last[0]},
            "threads": {"after_a_minute": first[1], "at_the_end": last[1]},
            "files": {"after_a_minute": settled[0].files, "at_the_end": settled[-1].files},
            "processes": {
                name: [settled[0].rss.get(name), settled[-1].rss.get(name)]
                for name in settled[-1].rss
            },
            "exit_code": ended[0],
            "ended_within_s": ended[1],
            "log": (self.folder / "feed.log").read_text().splitlines(),
            "samples": [asdict(each) for each in self.samples],
        }


class feed:  # noqa: N801
    """`deblur live` with these words, its lines kept in a file."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._words = words
        self._log = log

    def __enter__(self) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("deblur")), "live", *self._words]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log)
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def stop(process: "subprocess.Popen[bytes]") -> tuple[int, float]:
    """Ask it to end; returns its exit code, and after how many seconds it ended."""
    begun = time.monotonic()
    process.terminate()
    return process.wait(30), time.monotonic() - begun


def sample(pid: int, at_s: float) -> Sample:
    """What the process and those that it started take."""
    found = Sample(at_s, {}, {}, 0)
    parent = psutil.Process(pid)
    for number, each in enumerate([parent, *parent.children(recursive=True)]):
        try:
            name = f"{number} {process_name(each)}"
            found.rss[name] = each.memory_info().rss
            found.threads[name] = each.num_threads()
            found.files += each.num_fds()
        except psutil.Error:
            continue
    return found


def process_name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return "resource tracker" if "resource_tracker" in words else words[:40]


def average(samples: Sequence[Sample]) -> tuple[float, float]:
    """Bytes and threads of all processes together."""
    return (
        float(np.mean([each.total for each in samples])),
        float(np.mean([sum(each.threads.values()) for each in samples])),
    )


def first_after(measured: Measured, back_ms: int) -> float:
    """Seconds from a moment of the stamps' clock to the first picture that was taken after it."""
    for at, seen in measured.stamps:
        if (seen.clock_ms - back_ms) % _WRAP_MS < _WRAP_MS // 2:
            return (round(1000 * at) - back_ms) % _WRAP_MS / 1000
    return float("inf")


def latencies(measured: Measured) -> list[tuple[float, float]]:
    """When each picture came for the first time, and how many ms after it was taken.

    Pictures that are repeated while the camera is gone are as old as it is gone.
    """
    found, before = [], None
    for at, seen in measured.stamps:
        if seen.clock_ms != before and at - measured.arrivals[0] > SETTLE_S:
            found.append((at, float((round(1000 * at) - seen.clock_ms) % _WRAP_MS)))
        before = seen.clock_ms
    return found


def percentiles(measured: Measured) -> dict[str, float]:
    """The latencies that half of the pictures, and one in twenty, exceed."""
    p50, p95 = np.percentile([late for _, late in latencies(measured)], [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}


def by_minute(measured: Measured) -> Iterator[dict[str, float]]:
    """Latencies of each minute."""
    minutes: dict[int, list[float]] = {}
    for at, late in latencies(measured):
        minutes.setdefault(int((at - measured.arrivals[0]) / 60), []).append(late)
    for minute, values in sorted(minutes.items()):
        p50, p95 = np.percentile(values, [50, 95])
        yield {"minute": minute, "p50_ms": p50, "p95_ms": p95, "frames": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--file", type=Path, help="a video whose pictures the camera films")
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    parser.add_argument("--report", type=Path, help="the page to write")
    parser.add_argument("--again", action="store_true", help="write the page of --json once more")
    parser.add_argument("words", nargs="*", help="further words of `deblur live`")
    options = parser.parse_args()
    if options.again:
        figures = json.loads(options.json.read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = Soak(options, Path(folder)).run()
        options.json.write_text(json.dumps(figures, indent=1))
    if options.report:
        options.report.write_text(report(figures))
    shown = {key: value for key, value in figures.items() if key not in ("samples", "log")}
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")


if __name__ == "__main__":
    main()
