"""Two cameras in one command for minutes, of which one dies and comes back again and again.

    python -m tests.trials.cameras --minutes 10 --json cameras.json

Players read the clock in the pictures of both feeds. Halfway a third camera is added by SIGHUP. The
first camera's feed must not notice any of it; the second one's goes on, with "no signal" meanwhile.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from tests.rig.command import Live, live
from tests.rig.meter import Measured, measure
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving

_DOWN_S = 8.0
_EVERY_S = 60.0


def described(cameras: dict[str, tuple[str, int]]) -> str:
    """The file of these cameras: where each comes from, and the port at which it is served."""
    tables = [
        f'[cameras.{name}]\nsource = "{source}"\noutputs = ["serve:{port}/{name}"]\n'
        for name, (source, port) in cameras.items()
    ]
    return "\n".join(["[defaults]\nmax_latency = 200\n", *tables])


def pids(feed: Live) -> dict[int, str]:
    """The processes of the feeds."""
    found = {}
    for each in feed.tree[1:]:
        try:
            found[each.pid] = each.name()
        except psutil.Error:
            continue
    return found


def figure(metrics: str, name: str, feed: str, role: str) -> float:
    """A figure of one process of a feed."""
    for line in metrics.splitlines():
        wanted = f'feed="{feed}"', f'role="{role}"'
        if line.startswith(f"deblur_{name}{{") and all(each in line for each in wanted):
            return float(line.split()[-1])
    return 0.0


def player(found: Measured) -> dict[str, Any]:
    """How a player fared."""
    return {
        "frames": found.frames,
        "longest_wait_s": round(found.longest_s, 2),
        "backwards": found.backwards,
        "ended_early": found.ended,
        "p50_ms": round(found.p50_ms) if found.latencies_ms else None,
        "p95_ms": round(found.p95_ms) if found.latencies_ms else None,
    }


def run(minutes: float, folder: Path) -> dict[str, Any]:
    """The trial; its figures."""
    serving = Serving(size=(320, 180), fps=15)
    file = folder / "cameras.toml"
    seconds = minutes * 60
    with (
        RtspServer(serving) as first,
        RtspServer(serving) as second,
        RtspServer(serving) as third,
        ProcessPoolExecutor(3, get_context("spawn")) as players,
    ):
        cameras = {
            "steady": (first.url("cam"), free_port()),
            "dying": (second.url("cam"), free_port()),
        }
        file.write_text(described(cameras))
        with live(folder, "--config", str(file), "--preview", str(free_port())) as feed:
            begun = time.monotonic()
            watched = {
                name: players.submit(
                    measure, f"rtsp://127.0.0.1:{port}/{name}", seconds, cameras=[serving.size]
                )
                for name, (_, port) in cameras.items()
            }
            while feed.ask("/healthz")[0] != 200:
                time.sleep(0.5)
            before, kills, added = pids(feed), 0, False
            due = time.monotonic() + _EVERY_S / 2
            while time.monotonic() - begun < seconds:
                if time.monotonic() >= due:
                    due += _EVERY_S
                    second.kill()
                    time.sleep(_DOWN_S)
                    second.start()
                    kills += 1
                if not added and time.monotonic() - begun > seconds / 2:
                    added = True
                    cameras["added"] = third.url("cam"), free_port()
                    file.write_text(described(cameras))
                    feed.process.send_signal(signal.SIGHUP)
                time.sleep(0.2)
            health, metrics = feed.ask("/healthz"), feed.metrics
            after = pids(feed)
            found = {name: player(each.result()) for name, each in watched.items()}
            code, ended_s = feed.stop()
        log = feed.said.splitlines()
    return {
        "minutes": minutes,
        "kills": kills,
        "players": found,
        "connects": {name: figure(metrics, "connects_total", name, "reader") for name in cameras},
        "restored": {name: figure(metrics, "frames_total", name, "model") for name in cameras},
        "restarts": {name: figure(metrics, "restarts_total", name, "reader") for name in cameras},
        "processes_kept": set(before) <= set(after),
        "health_at_the_end": health,
        "lines_about_the_steady_one": [line for line in log if re.search(r"\bsteady\b", line)],
        "exit_code": code,
        "ended_within_s": round(ended_s, 2),
        "cores": os.cpu_count(),
        "log": log,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(asked.minutes, Path(folder))
    text = json.dumps(found, indent=2)
    if asked.json:
        asked.json.write_text(text)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
