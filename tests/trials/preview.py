"""What the preview costs: frames per second without it, while nobody looks, and with a viewer.

    python -m tests.trials.preview --file book.mkv --rounds 3 --json preview.json

The file is played as a camera, faster than it can be restored. Each round has the feed without a
preview, and then with one: nobody looks, somebody does by MJPEG, and by WebRTC. The viewers take
what comes and do not decode it, as they would on another machine.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import aioice.ice
import aiortc.rtcrtpreceiver
import psutil
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.rig.command import TOKEN, Live, live
from tests.rig.ports import free_port

_SETTLE_S = 4.0
_HEADERS = {"Authorization": f"Bearer {TOKEN}"}

Watch = Callable[[str], Coroutine[Any, Any, None]]


async def by_mjpeg(address: str) -> None:
    """Take the stream until cancelled."""
    async with (
        aiohttp.ClientSession(headers=_HEADERS) as session,
        session.get(f"{address}/mjpeg") as answer,
    ):
        assert answer.status == 200
        async for _ in answer.content.iter_chunked(1 << 16):
            pass


async def by_webrtc(address: str) -> None:
    """Take the video until cancelled; raises where none comes."""
    async with (
        aiohttp.ClientSession(headers=_HEADERS) as session,
        session.ws_connect(f"{address}/ws") as socket,
    ):
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await socket.send_json({"type": "watch", "id": 1, "feed": "live"})
        try:
            while True:
                told = await socket.receive_json()
                if told.get("id") == 1:
                    await peer.setRemoteDescription(RTCSessionDescription(told["sdp"], "offer"))
                    await peer.setLocalDescription(await peer.createAnswer())
                    sdp = peer.localDescription.sdp
                    await socket.send_json(
                        {"type": "answer", "id": 2, "peer": told["peer"], "sdp": sdp}
                    )
        finally:
            stats = (await peer.getStats()).values()
            got = sum(each.packetsReceived for each in stats if each.type == "inbound-rtp")
            await peer.close()
            assert got > 100, "no video came"


@asynccontextmanager
async def watching(watch: Watch | None, address: str) -> AsyncIterator[None]:
    """Somebody who looks, or nobody."""
    if watch is None:
        yield
        return
    task = asyncio.create_task(watch(address))
    try:
        yield
    finally:
        task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
        if isinstance(done[0], Exception):
            raise done[0]


async def rate(feed: Live, seconds: float) -> tuple[float, float]:
    """Frames restored per second, and cores that the preview's process takes."""
    at, begun, cpu = feed.figure("frames_total", "model"), time.monotonic(), cores(feed)
    await asyncio.sleep(seconds)
    spent = time.monotonic() - begun
    fps = (feed.figure("frames_total", "model") - at) / spent
    return fps, (cores(feed) - cpu) / spent


def cores(feed: Live) -> float:
    try:
        times = feed.worker("preview").cpu_times()
    except (LookupError, psutil.Error):
        return 0.0
    return float(times.user + times.system)


async def run(file: Path, rounds: int, seconds: float, folder: Path) -> dict[str, Any]:
    """The trial; its figures."""
    found: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    words = [str(file), "null:", "--realtime", "--loop"]
    for _ in range(rounds):
        with live(folder, *words) as feed:
            await until_restored(feed)
            found.setdefault("without", []).append((await rate(feed, seconds))[0])
        port = free_port()
        with live(folder, *words, "--preview", str(port)) as feed:
            await until_restored(feed)
            viewers: dict[str, Watch | None] = {
                "nobody": None,
                "mjpeg": by_mjpeg,
                "webrtc": by_webrtc,
            }
            for name, watch in viewers.items():
                async with watching(watch, f"http://127.0.0.1:{port}"):
                    await asyncio.sleep(_SETTLE_S)
                    fps, share = await rate(feed, seconds)
                found.setdefault(name, []).append(fps)
                shares.setdefault(name, []).append(share)
    usual = median(found["without"])
    return {
        "fps": {name: [round(each, 2) for each in every] for name, every in found.items()},
        "median": {name: round(median(every), 2) for name, every in found.items()},
        "of_without": {name: round(median(every) / usual, 3) for name, every in found.items()},
        "cores_of_the_preview": {name: round(median(each), 3) for name, each in shares.items()},
    }


async def until_restored(feed: Live) -> None:
    end = time.monotonic() + 60
    while feed.figure("frames_total", "model") < 20:
        assert time.monotonic() < end, feed.said
        await asyncio.sleep(0.5)
    await asyncio.sleep(_SETTLE_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()

    def here(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["127.0.0.1"]

    def idle(loop: Any, packets: Any, *_: Any) -> None:
        while packets.get() is not None:
            pass

    aioice.ice.get_host_addresses = here
    vars(aiortc.rtcrtpreceiver)["decoder_worker"] = idle
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(asked.file, asked.rounds, asked.seconds, Path(folder)))
    text = json.dumps(found, indent=2)
    if asked.json:
        asked.json.write_text(text)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
