"""The programs that people use read one feed, while its camera leaves and comes back.

    python -m tests.trials.clients --minutes 10 --json clients.json --table clients.md

All of them run side by side, by TCP and by UDP, and others come for seconds and go. None may end,
none may wait long for a picture, and times must rise, in recordings without encoding as well.
Debian's packages are in tests/rig/programs.txt.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, groupby, pairwise, product
from pathlib import Path
from zlib import crc32

import av

from tests.rig.clients import PLAYERS, watched
from tests.rig.command import Live, live, until
from tests.rig.ports import free_port
from tests.rig.programs import (
    HLS_RECORDER,
    HLS_VIEWER,
    RECORDERS,
    VIEWERS,
    Recorder,
    Viewer,
    missing,
    vlc,
)
from tests.rig.server import RtspServer, Serving, why_not

SERVING = Serving(size=(320, 240), fps=10, audio="aac")
PATIENCE_S = 60.0
"""Until a program begins, where many others do at the same time."""
WAIT_S = 5.0
"""The longest that a program may be without a picture."""
DOWN_S = 5.0
BACK_S = 15.0
"""How long it may take until a new picture is seen after the camera is back."""
_VISIT_S, _PAUSE_S = 3.0, 8.0


@dataclass
class Found:
    """How a program fared."""

    name: str
    way: str
    pictures: int
    longest_s: float
    """Without a picture; without a different one where the program has a rate of its own."""
    not_rising: int = 0
    """Times that are not after the one before."""
    ended: bool = False
    said: Sequence[str] = ()
    """Its last lines."""
    own_pace: bool = False
    own_clock: bool = False
    waits: bool = False
    faults: list[str] = field(default_factory=list)

    def judge(self, filmed: float, served: float) -> None:
        """Note what is wrong, where in its time so many pictures came and were served."""
        least = 0.5 * filmed if self.own_pace else 0.85 * served
        # What is served goes on with the last picture while the camera is away; HLS does not.
        through = not (self.own_pace or self.waits or self.way == "HLS")
        longest = WAIT_S if through else DOWN_S + BACK_S
        if self.ended:
            self.faults.append("ended by itself")
        if self.pictures < least:
            self.faults.append(f"{self.pictures} pictures, of {least:.0f} at least")
        if self.longest_s > longest:
            self.faults.append(f"{self.longest_s:.1f} s without a picture")
        if self.not_rising and not self.own_clock:
            self.faults.append(f"{self.not_rising} times do not rise")


def view(viewer: Viewer, url: str, way: str, folder: Path, seconds: float) -> Found:
    """Let a program look for so long after its first picture."""
    folder.mkdir()
    line = viewer.line
    command = viewer.command(url, way, folder)
    played = watched(command, seconds, lambda said: bool(line.search(said)), patience_s=PATIENCE_S)
    matches = [found for said in played.lines if (found := line.search(said))]
    seen = list(zip(played.arrivals, matches, strict=True))
    # FFmpeg guesses the time of the first packet, whatever server it reads from.
    rising = [clock(match["time"]) for match in matches[1:]]
    if viewer.own_pace:
        seen = [next(same) for _, same in groupby(seen, key=lambda each: each[1]["picture"])]
    return Found(
        viewer.name,
        way,
        len(seen),
        max((after - before for (before, _), (after, _) in pairwise(seen)), default=0.0),
        sum(after <= before for before, after in pairwise(rising)),
        played.ended,
        played.said.splitlines()[-5:],
        viewer.own_pace,
        viewer.own_clock,
        viewer.waits,
    )


def clock(said: bytes) -> float:
    """Seconds, or another unit that rises, of `1:02:03.5` or a number."""
    return float(sum(60**power * float(part) for power, part in enumerate(said.split(b":")[::-1])))


def record(recorder: Recorder, url: str, way: str, folder: Path, seconds: float) -> Found:
    """Let a program record, and look at its file."""
    folder.mkdir()
    ended = write(recorder.command(url, way, folder), folder, seconds)
    said = (folder / "stderr").read_text(errors="replace").splitlines()[-5:]
    file = next(iter(folder.glob(recorder.file)), None)
    if file is None or not file.stat().st_size:
        return Found(recorder.name, way, 0, 0.0, 0, ended, said)
    seen = look(file, copied=recorder.copies)
    return Found(recorder.name, way, *seen, ended, said, not recorder.copies)


def write(command: list[str], folder: Path, seconds: float) -> bool:
    """Run a program for so long; whether it ended before."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
        else:
            return True
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return False


def look(file: Path, *, copied: bool) -> tuple[int, float, int]:
    """Pictures of a recording, the longest time without one, and times that do not rise.

    Of what was not copied only different pictures count.
    """
    times: dict[int, list[int]] = {}
    pictures: list[tuple[float, int]] = []
    with av.open(str(file)) as source:
        try:
            for packet in source.demux():
                if packet.dts is None:
                    continue
                times.setdefault(packet.stream_index, []).append(packet.dts)
                for frame in packet.decode() if packet.stream.type == "video" else ():
                    assert isinstance(frame, av.VideoFrame)
                    luma = crc32(memoryview(frame.planes[0]))
                    pictures.append((frame.time or 0.0, luma))
        except av.error.InvalidDataError:
            pass  # the end of what was cut off
    if not copied:
        pictures = [next(same) for _, same in groupby(pictures, key=lambda each: each[1])]
    steps = [after[0] - before[0] for before, after in pairwise(pictures)]
    # FFmpeg guesses the time of the first packet, whatever server it reads from.
    falling = sum(b <= a for each in times.values() for a, b in pairwise(each[1:]))
    return len(pictures), max(steps, default=0.0), falling


class Visitors:
    """Readers that come for seconds and go."""

    def __init__(self, url: str) -> None:
        self.came = 0
        self.blind: list[str] = []
        """Those that saw nothing, and what they said."""
        self._url = url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def _visit(self) -> None:
        for (name, player), way in cycle(product(PLAYERS.items(), ("tcp", "udp"))):
            if self._done.wait(_PAUSE_S):
                return
            self.came += 1
            at, played = time.strftime("%H:%M:%S"), player(self._url, _VISIT_S, way)
            if not played.frames:
                ended = "ended by itself" if played.ended else "saw nothing"
                last = " / ".join(played.said.splitlines()[-3:])
                self.blind.append(f"a visitor, {name} by {way} at {at}, {ended}: {last}")

    def __enter__(self) -> "Visitors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def published(folder: Path) -> Iterator[str]:
    """Its address by HTTP."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def all_begun(
    pool: ThreadPoolExecutor, url: str, hls: str, folder: Path, seconds: float
) -> list[Future[Found]]:
    """Every program, at work."""
    begun: list[Future[Found]] = []

    def place() -> Path:
        return folder / str(len(begun))

    for viewer, way in product(VIEWERS, ("tcp", "udp")):
        begun.append(pool.submit(view, viewer, url, way, place(), seconds))
    for recorder, way in product(RECORDERS, ("tcp", "udp")):
        if not recorder.copies and way == "udp":
            continue  # a small machine bears one OBS
        begun.append(pool.submit(record, recorder, url, way, place(), seconds))
    begun.append(pool.submit(view, HLS_VIEWER, hls, "HLS", place(), seconds))
    begun.append(pool.submit(record, HLS_RECORDER, hls, "HLS", place(), seconds))
    return begun


def passed(feed: Live) -> tuple[float, float]:
    """How many pictures the feed has taken in and given out."""
    return feed.figure("frames_total", "reader"), feed.figure("frames_total", "writer")


def leave(camera: RtspServer, times: int, seconds: float) -> None:
    """Have the camera leave and come back so many times, evenly over the seconds."""
    begun = time.monotonic()
    for number in range(1, times + 1):
        time.sleep(max(0.0, begun + seconds * number / (times + 1) - time.monotonic()))
        camera.kill()
        time.sleep(DOWN_S)
        camera.start()
    time.sleep(max(0.0, begun + seconds - time.monotonic()))


def run(minutes: float, leaves: int, folder: Path) -> dict[str, object]:
    """The trial; its figures."""
    seconds, port, hls = minutes * 60, free_port(), folder / "hls"
    hls.mkdir()
    url = f"rtsp://127.0.0.1:{port}/clean"
    words = [f"serve:{port}/clean", f"hls:{hls}", "--model", "none", "--fuse", "0"]
    with (
        RtspServer(SERVING) as camera,
        live(folder, camera.url("cam"), *words) as feed,
        published(hls) as web,
        ThreadPoolExecutor(32) as pool,
    ):
        until((hls / "index.m3u8").exists, f"no feed: {feed.said}")
        vlc_folder = folder / "vlc"
        vlc_folder.mkdir()
        write(vlc(url, "tcp", vlc_folder), vlc_folder, 8.0)
        with Visitors(url) as visitors:
            before, since = passed(feed), time.monotonic()
            begun = all_begun(pool, url, f"{web}/index.m3u8", folder, seconds)
            leave(camera, leaves, seconds)
            share = seconds / (time.monotonic() - since)
            filmed, served = (share * (b - a) for a, b in zip(before, passed(feed), strict=True))
            found = [each.result() for each in begun]
        for each in found:
            each.judge(filmed, served)
        return {
            "filmed": round(filmed),
            "served": round(served),
            "minutes": minutes,
            "leaves": leaves,
            "programs": [asdict(each) for each in found],
            "visitors": {"came": visitors.came, "blind": visitors.blind},
            "vlc_opens_rtsp": (vlc_folder / "stdout").stat().st_size > 0,
            "faults": faults(found, visitors, feed, leaves),
            "cores": os.cpu_count(),
            "log": feed.said.splitlines(),
        }


def faults(found: Sequence[Found], visitors: Visitors, feed: Live, leaves: int) -> list[str]:
    """All that may not be."""
    said = [f"{each.name} by {each.way}: {fault}" for each in found for fault in each.faults]
    said += visitors.blind
    connects = feed.figure("connects_total", "reader")
    if connects != leaves + 1:
        said.append(f"the feed connected {connects:.0f} times")
    code, _ = feed.stop()
    return [*said, f"the feed ended with {code}"] if code else said


def table(figures: dict[str, object]) -> str:
    """The figures as Markdown."""
    rows = ["| program | by | pictures | longest without one | times that do not rise | |"]
    rows.append("|---|---|---:|---:|---:|---|")
    programs = figures["programs"]
    assert isinstance(programs, list)
    for each in programs:
        fine = "; ".join(each["faults"]) or "stayed"
        rows.append(
            f"| {each['name']} | {each['way']} | {each['pictures']} | {each['longest_s']:.1f} s "
            f"| {each['not_rising']} | {fine} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--leaves", type=int, default=3, help="how often the camera leaves")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, help="the table of the docs")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps what was recorded")
    asked = parser.parse_args()
    if lacking := why_not() or missing():
        sys.exit(lacking)
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        folder.mkdir(exist_ok=True)
        figures = run(asked.minutes, asked.leaves, folder)
    text = json.dumps(figures, indent=2)
    if asked.json:
        asked.json.write_text(text)
    if asked.table:
        asked.table.write_text(table(figures))
    sys.stdout.write(f"{text}\n{table(figures)}")
    sys.exit(bool(figures["faults"]))


if __name__ == "__main__":
    main()
