"""Feeds one output with stamped pictures, and with a beep at each flash, as a live feed would.

python -m tests.rig.feeding --port 8554 --target serve:{port}/live
"""

import argparse
import asyncio
import subprocess
import time
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from stream.ipc.child import Control, enter
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.messages import Heartbeat, Line, Stop
from stream.ipc.sound_ring import SoundFormat, SoundRing
from stream.live.output.pacing import Feed
from stream.live.output.serve import Serve
from stream.live.output.writer import Target
from stream.secrets import Secrets
from tests.rig import stamp
from tests.rig.aside import Aside, obey

BEEP_S = 0.1
"""How long it beeps, and the lamp is lit, at each whole second."""
ENCODERS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame", "pcm_mulaw": "pcm_mulaw"}
RATES = {"pcm_mulaw": 8000}
_RATE = 48_000
_CHUNK = 160
"""Samples in a packet of codecs that have no frames."""


class Feeding(Aside):
    """A process that serves, and one that feeds it.

    with Feeding("serve:{port}/live") as feeding:
        play(f"rtsp://127.0.0.1:{feeding.port}/live")
    """

    def __init__(self, target: str, **options: object) -> None:
        """`options`: `size`, such as 640x360; `sound`, a codec; `noise`, 1 for pictures that
        need many bits; `late`, seconds until the first picture."""
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        super().__init__("tests.rig.feeding", "--target", target, *words)

    def __exit__(self, *arguments: object) -> None:
        # Unlike other servers of the rig this one has a child and memory to give back.
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.stdin = None
        super().__exit__(*arguments)

    @property
    def counts(self) -> dict[str, int]:
        """`frames`, `dropped`, `connects`, `readers`, `refused` and `lines` so far; the `pid`."""
        return self.ask()

    def stop(self) -> int:
        """Stop it as a supervisor does; returns the exit code."""
        return self.ask(stop=1)["code"]


class Camera:
    """What is fed, in the process that feeds."""

    def __init__(self, options: argparse.Namespace) -> None:
        width, height = map(int, options.size.split("x"))
        random = np.random.default_rng(7)
        self._size = width, height
        self._base = np.tile(np.linspace(40, 200, width, dtype=np.uint8), (height, 1))
        # So far that no encoder finds again what it knows.
        self._step = 97 if options.noise else 3
        if options.noise:
            self._base = random.integers(16, 235, (height, width)).astype(np.uint8)
        context = get_context("spawn")
        most = width * height
        self.boxes = Mailbox(context, most, 1), Mailbox(context, most, 1)
        self.ring = SoundRing()
        self._samples = 0
        self._voice = _voice(options.sound) if options.sound else None
        if self._voice is not None:
            extradata = self._voice.extradata or b""
            frame = self._voice.frame_size
            self.ring.announce(SoundFormat(options.sound, self._voice.rate, 1, extradata, frame))
        self._rate = 25.0
        self._begun = time.monotonic_ns() + int(options.late * 1e9)
        self._count = 0

    @property
    def due_s(self) -> float:
        """Until the next picture."""
        return (self._begun + self._count * 40_000_000 - time.monotonic_ns()) / 1e9

    def step(self) -> None:
        """Put one picture, and the sound up to it."""
        width, height = self._size
        data = np.full((height * 3 // 2, width), 128, np.uint8)
        data[:height] = np.roll(self._base, self._count * self._step, 1)
        stamp.draw(data, self._count)
        stamp.light(data, self._count / 25 % 1 < BEEP_S)
        timestamp = self._begun + self._count * 40_000_000
        self.boxes[0].put(Picture(data, timestamp, time.monotonic_ns(), self._rate))
        self._count += 1
        while self._voice is not None and self._samples * 25 < self._count * self._voice.rate:
            self._speak(self._voice)

    def _speak(self, voice: av.AudioCodecContext) -> None:
        size = voice.frame_size or _CHUNK
        timestamps = np.arange(self._samples, self._samples + size) / voice.rate
        wave = 0.5 * np.sin(2 * np.pi * 1000 * timestamps) * (timestamps % 1 < BEEP_S)
        if not voice.format.name.startswith("flt"):
            wave = wave * 32_767
        samples = wave.astype("f4" if voice.format.name.startswith("flt") else "i2")
        frame = av.AudioFrame.from_ndarray(
            samples[np.newaxis], format=voice.format.name, layout="mono"
        )
        frame.sample_rate, frame.pts = voice.rate, self._samples
        frame.time_base = Fraction(1, voice.rate)
        self._samples += size
        for packet in voice.encode(frame):
            assert packet.pts is not None
            after = int(packet.pts * packet.time_base * 1_000_000_000)
            self.ring.put(bytes(packet), self._begun + after)

    def close(self) -> None:
        for each in (*self.boxes, self.ring):
            each.close(remove=True)


def serve(control: Control, target: Target, feed: Feed) -> None:
    """The work of the process that is fed."""
    target.run(control, feed, None)


def _voice(codec: str) -> av.AudioCodecContext:
    voice = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(voice, av.AudioCodecContext)
    voice.sample_rate, voice.layout = RATES.get(codec, _RATE), "mono"
    assert voice.codec.audio_formats is not None
    voice.format = next(each for each in voice.codec.audio_formats if each.name in ("fltp", "s16"))
    voice.flags |= Flags.global_header
    voice.open()
    return voice


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--sound", choices=ENCODERS)
    parser.add_argument("--noise", type=int, default=0)
    parser.add_argument("--late", type=float, default=0.0)
    options = parser.parse_args()
    camera = Camera(options)
    address = options.target.format(port=options.port)
    line, other = get_context("spawn").Pipe()
    feed = Feed(*camera.boxes, camera.ring, 0)
    process = get_context("spawn").Process(
        target=enter,
        args=(serve, other, Secrets([address]), (Serve.parse(address), feed)),
        daemon=True,
    )
    process.start()
    other.close()
    counts = Counter(frames=0, code=-1, lines=0, pid=process.pid or 0)
    feeding = asyncio.create_task(_feed(camera, line, counts))

    async def do(wanted: dict[str, float]) -> None:
        # The first answer says that it is up.
        while process.is_alive() and not counts["up"]:
            counts["up"] = int(_answers(options.port))
            await asyncio.sleep(0.02)
        if "stop" in wanted and not feeding.cancelled():
            feeding.cancel()
            await asyncio.wait([feeding])
            with suppress(OSError):
                line.send(Stop())
            process.join(10)
            counts["code"] = -1 if process.exitcode is None else process.exitcode
            process.kill()
            process.join()
            camera.close()

    await obey(do, lambda: dict(counts))
    await do({"stop": 1})


async def _feed(camera: Camera, line: Connection, counts: "Counter[str]") -> None:
    while True:
        await asyncio.sleep(max(0.001, camera.due_s))
        camera.step()
        with suppress(EOFError, OSError):
            while line.poll():
                message = line.recv()
                counts["lines"] += isinstance(message, Line)
                if isinstance(message, Heartbeat):
                    for name in ("frames", "dropped", "connects", "readers", "refused"):
                        counts[name] = getattr(message, name)


def _answers(port: int) -> bool:
    """Whether somebody listens there."""
    table = Path("/proc/net/tcp").read_text()
    return f":{port:04X} 00000000:0000 0A" in table


if __name__ == "__main__":
    asyncio.run(main())
