"""How late a live feed is: the clock in the pictures, over every way in and out.

    python -m tests.trials.latency [--file book.mkv] [--seconds 20]

A camera that draws a clock into its pictures, or into those of a file, publishes to an RTSP server;
`deblur live` reads from there, serves, and publishes to a second server. Players read the clock,
and three that are not ours play the same. What the way itself takes is measured in the same
moments: by a player of the camera, and by one of the second server while the feed does nothing but
pass pictures on.
"""

import argparse
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.rig.camera import Camera, Filming
from tests.rig.clients import PLAYERS
from tests.rig.command import Live, live, until
from tests.rig.meter import Measured, measure
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving
from tests.trials.soak import percentiles

ROW = "| {:<28} | {:>9} | {:>9} | {:>7} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="a video whose pictures the camera films")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("words", nargs="*", help="further words of `deblur live`")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size, port = (width, height), free_port()
    say = sys.stdout.write
    serving = Serving(size=size, fps=options.fps)
    with (
        tempfile.TemporaryDirectory() as folder,
        RtspServer(serving) as source,
        RtspServer(serving) as relay,
        Camera(source.url("in"), Filming(size, options.fps, options.file)),
        ProcessPoolExecutor(2, get_context("spawn")) as players,
        live(
            Path(folder),
            *(source.url("out"), f"serve:{port}/clean", relay.url("in"), *options.words),
        ) as feed,
    ):
        await_pictures(feed)
        ways = {"served": f"rtsp://127.0.0.1:{port}/clean", "relayed": relay.url("out")}
        say(ROW.format("way", "p50 ms", "p95 ms", "frames"))
        say(ROW.format("---", "---:", "---:", "---:"))
        for name, url in ways.items():
            for transport in ("tcp", "udp"):
                bare = players.submit(
                    measure, source.url("out"), options.seconds, transport=transport
                )
                found = measure(url, options.seconds, transport=transport)
                row(f"camera itself, {transport}", bare.result())
                row(f"{name}, {transport}", found)
        for name in ("model", "serve", "rtsp"):
            values = re.findall(
                rf'^deblur_latency_seconds{{.*process="{name}.*quantile="(.*)"}} (\S+)$',
                feed.metrics,
                re.M,
            )
            inside = {share: 1000 * float(value) for share, value in values}
            say(ROW.format(f"inside, after {name}", *(f"{v:.0f}" for v in inside.values()), ""))
        each_ms = 1000 * feed.figure("busy", "model") / feed.figure("fps", "model")
        say(f"\nthe network takes {each_ms:.0f} ms for a picture\n\n")
        play(ways)
    serving = Serving(size=size, fps=options.fps, file=options.file)
    with RtspServer(serving) as source:
        pattern = f"testsrc:?size={options.size}&fps={options.fps}"
        for name, address in {
            "the camera of the server": source.url("cam"),
            pattern: pattern,
        }.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                RtspServer(Serving(size=size, fps=options.fps)) as relay,
                live(Path(folder), address, f"serve:{port}/clean", relay.url("in")) as feed,
            ):
                await_pictures(feed)
                say(f"\n{name}:\n\n")
                play({"served": f"rtsp://127.0.0.1:{port}/clean", "relayed": relay.url("out")})


def await_pictures(feed: Live) -> None:
    """Wait until the network is warm."""
    until(lambda: feed.figure("frames_total", "model") > 50, "nothing is restored")


def play(ways: dict[str, str]) -> None:
    """Play with what is not ours."""
    for name, url in ways.items():
        for transport in ("tcp", "udp"):
            for player, plays in PLAYERS.items():
                played = plays(url, 5.0, transport)
                sys.stdout.write(
                    f"{name} over {transport} by {player}: {played.frames} frames, "
                    f"longest wait {played.longest_s:.2f} s\n"
                )
                sys.stdout.flush()


def row(name: str, found: Measured) -> None:
    figures = percentiles(found)
    sys.stdout.write(
        ROW.format(name, f"{figures['p50_ms']:.0f}", f"{figures['p95_ms']:.0f}", found.frames)
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
