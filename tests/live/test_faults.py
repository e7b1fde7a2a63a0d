"""The whole feed while its camera's line goes bad: players stay, and see the picture again."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.rig import stamp
from tests.rig.camera import Camera, Filming
from tests.rig.chaos import Chaos
from tests.rig.clients import ffmpeg, gstreamer
from tests.rig.command import live, until
from tests.rig.meter import measure
from tests.rig.never_reads import NeverReads
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving

SIZE = (320, 240)
FAULTS = 40.0
"""Seconds for all of them."""
BACK_S = 8.0
"""Until the picture is back after a fault; three seconds where the machine does nothing else."""


def test_players_stay_through_every_fault_of_the_line(tmp_path: Path, needs_rtsp: None) -> None:
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}/clean"
    back_ms: dict[str, int] = {}
    with (
        RtspServer(Serving(size=SIZE)) as server,
        Camera(server.url("in"), Filming(SIZE)),
        Chaos(server.port) as chaos,
        ProcessPoolExecutor(3, get_context("spawn")) as players,
        live(tmp_path, chaos.url(server.url("out")), f"serve:{port}/clean", "--stall", "2") as feed,
    ):
        until(lambda: feed.figure("frames_total", "model") > 5, "nothing is restored")
        with NeverReads(url):
            found = players.submit(measure, url, FAULTS, cameras=[SIZE])
            others = [players.submit(play, url, FAULTS) for play in (ffmpeg, gstreamer)]
            until(lambda: feed.figure("readers", "writer") >= 4, "not all of them play")
            begun = time.monotonic()
            for share in ("drop", "corrupt"):
                chaos.set(**{share: 0.05})
                time.sleep(4)
                chaos.set(**{share: 0.0})
                back_ms[share] = stamp.now_ms()
            chaos.stall()
            until(lambda: "does not answer" in feed.said or "no picture" in feed.said, "stall")
            chaos.resume()
            back_ms["stall"] = stamp.now_ms()
            until(lambda: feed.ask("/healthz")[0] == 200, "it is not back", 20)
            chaos.cut()
            back_ms["cut"] = stamp.now_ms()
            time.sleep(3)
            chaos.refuse()
            chaos.cut()
            time.sleep(4)
            chaos.accept()
            back_ms["refuse"] = stamp.now_ms()
            time.sleep(max(3.0, BACK_S - 3))
            assert time.monotonic() - begun < FAULTS, "the players did not see all of it"
            seen, played = found.result(), [each.result() for each in others]
        assert feed.figure("connects_total", "reader") >= 4
        assert feed.figure("connects_total", "writer") == 1
        assert feed.figure("restarts_total", "reader") == 0
    assert seen.ended == "", "its connection was ended"
    assert seen.backwards == 0
    assert seen.longest_s < 1.5, "pictures or slates come all the time"
    for fault, timestamp in back_ms.items():
        waits = [
            (round(1000 * at) - timestamp) / 1000
            for at, each in seen.stamps
            if (each.clock_ms - timestamp) % (1 << 32) < 1 << 31
        ]
        assert waits, f"no picture after {fault}"
        assert waits[0] < BACK_S, f"after {fault}"
    for each in played:
        assert each.longest_s < 1.5, each.said
        assert each.frames > FAULTS * 5, each.said
