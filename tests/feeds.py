"""A live feed made by the test, and the process of an output that takes it."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Self

import av
import numpy as np

from stream.ipc.child import Control, enter
from stream.ipc.mailbox import Mailbox, Picture, Size
from stream.ipc.messages import Fatal, Heartbeat, Line, Stop
from stream.ipc.sound_ring import SoundFormat, SoundRing
from stream.live.output.pacing import Feed
from stream.live.output.writer import Target
from stream.secrets import Secrets

SPAWN = multiprocessing.get_context("spawn")
RATE = 25
PATIENCE_S = 120.0
"""How long a test waits for what has to come, on a machine that does much else."""
MULAW = SoundFormat("pcm_mulaw", 8000, 1)


def gray(
    level: int, timestamp: int | None = None, size: Size = (160, 90), *, cut: bool = False
) -> Picture:
    """A picture of one luma, shown now or at a moment."""
    timestamp = time.monotonic_ns() if timestamp is None else timestamp
    data = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
    data[: size[1]] = level
    return Picture(data, timestamp, timestamp, RATE, cut=cut)


def aac(seconds: float) -> tuple[SoundFormat, list[bytes]]:
    """A tone in packets of 1024 samples at 48 kHz, with what has to be known to decode them."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "fltp"
    encoder.time_base = Fraction(1, 48_000)
    encoder.flags |= av.codec.context.Flags.global_header
    wave = 0.3 * np.sin(np.arange(1024) * 2 * np.pi * 440 / 48_000)
    packets = []
    for number in range(round(seconds * 48_000 / 1024)):
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, number * 1024
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return SoundFormat("aac", 48_000, 1, encoder.extradata or b"", 1024), packets


def times(path: Path, kind: str = "video") -> list[float]:
    """Of the frames that can be decoded, the last one excepted where it is cut off."""
    found: list[float] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
        try:
            for packet in container.demux(stream):
                frames = stream.decode(packet)
                found += [float(frame.time or 0) for frame in frames]
        except av.error.InvalidDataError:
            assert found
    return found


class Lane:
    """What lies between a source and its outputs, played by the test."""

    def __init__(self, outputs: int = 1) -> None:
        self.restored = Mailbox(SPAWN, 1280 * 720, outputs)
        self.camera = Mailbox(SPAWN, 1280 * 720, 1)
        self.sounds = SoundRing()
        self.feed = Feed(self.restored, self.camera, self.sounds, 0)
        self._outputs: list[OutputProcess] = []
        self._number = 0
        self._sound: list[bytes] = []
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for output in self._outputs:
            output.kill()
        for each in (self.restored, self.camera, self.sounds):
            each.close(remove=True)

    def start(self, target: Target, size: Size | None = None) -> "OutputProcess":
        """Start the process of an output, another one or in the place of one that has ended."""
        alive = sum(output.process.is_alive() for output in self._outputs)
        self._outputs.append(OutputProcess(target, replace(self.feed, reader=alive), size))
        return self._outputs[-1]

    def hear(self, format: SoundFormat, packets: list[bytes]) -> None:
        """Let the pictures put from now on be accompanied by these packets, over and over."""
        self.sounds.announce(format)
        self._sound, self._sent = packets, 0
        self._origin = time.monotonic_ns()
        self._duration = 1_000_000_000 * (format.frame_size or 160) // format.sample_rate

    def show(
        self,
        done: Callable[[], bool] = lambda: False,
        *,
        seconds: float = PATIENCE_S,
        size: Size = (160, 90),
        rate: float = RATE,
    ) -> bool:
        """Put pictures and sound as they would come, until `done`, which is returned, or a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.restored.put(gray(40 + self._number * 8 % 160, size=size))
            self._number += 1
            self._put_sound()
            if done():
                return True
            time.sleep(1 / rate)
        return done()

    def _put_sound(self) -> None:
        while self._sound:
            timestamp = self._origin + self._sent * self._duration
            if timestamp > time.monotonic_ns():
                break
            data = self._sound[self._sent % len(self._sound)]
            self.sounds.put(data, timestamp, self._duration)
            self._sent += 1


class OutputProcess:
    """The process of an output, and what it tells."""

    def __init__(self, target: Target, feed: Feed, size: Size | None = None) -> None:
        self._line, theirs = SPAWN.Pipe()
        secrets = Secrets()
        self.process: SpawnProcess = SPAWN.Process(
            target=enter, args=(_work, theirs, secrets, (target, feed, size)), daemon=True
        )
        self.process.start()
        theirs.close()
        self._heartbeat = Heartbeat()
        self.said: list[str] = []
        self.fatal: str | None = None

    @property
    def heartbeat(self) -> Heartbeat:
        """The newest one."""
        line: Connection = self._line
        try:
            while line.poll():
                message = line.recv()
                if isinstance(message, Heartbeat):
                    self._heartbeat = message
                elif isinstance(message, Line):
                    self.said.append(message.text)
                elif isinstance(message, Fatal):
                    self.fatal = message.text
        except (EOFError, OSError):
            pass
        return self._heartbeat

    def has_said(self, words: str) -> bool:
        """Whether a line with these words came."""
        return self.heartbeat is not None and any(words in line for line in self.said)

    def stop(self) -> None:
        """Let it finish."""
        self._line.send(Stop())
        end = time.monotonic() + PATIENCE_S
        while self.process.is_alive() and time.monotonic() < end:
            assert self.heartbeat
            time.sleep(0.02)
        assert self.process.exitcode == 0

    def kill(self) -> None:
        """End it at once, where it has not ended."""
        self.process.kill()
        self.process.join()
        self._line.close()


def _work(control: Control, target: Target, feed: Feed, size: Size | None) -> None:
    target.run(control, feed, size)
