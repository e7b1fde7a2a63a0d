"""Clips of some length, and what to compare of two files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

RATE = 48000
"""Samples of sound per second; also the clock of the pictures, so that both can meet exactly."""


def open_file(path: Path) -> av.container.InputContainer:
    """Open a local file as what it is, whatever its name looks like."""
    return av.open(
        f"file:{path.absolute()}",
        options={"protocol_whitelist": "file,crypto,data"},
        metadata_errors="replace",
    )


def decodes(path: Path) -> bool:
    """Whether FFmpeg gets a frame of a video, which cover art is not, out of a file."""
    try:
        with open_file(path) as container:
            # Without any, demux would give the packets of all streams.
            streams = moving(container)
            for packet in container.demux(streams) if streams else ():
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                if any(isinstance(frame, av.VideoFrame) and frame.width for frame in frames):
                    return True
    except (av.error.FFmpegError, OSError):
        return False
    return False


def moving(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that have a decoder and are not cover art."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]


@dataclass(frozen=True)
class Fingerprint:
    """All that is seen and heard of a file."""

    frames: int
    pictures: str
    """Hash of every frame's moment and samples."""
    sounds: tuple[str, ...]
    """Hash of every packet's moment and content, for each stream of sound."""


def fingerprint(path: Path) -> Fingerprint:
    """Decode all pictures and read all sound of a file."""
    pictures = hashlib.sha256()
    frames = 0
    with open_file(path) as container:
        video = moving(container)[0]
        video.thread_type = "AUTO"
        base = Fraction(video.time_base or 1)
        heard = {stream.index: hashlib.sha256() for stream in container.streams.audio}
        for packet in container.demux(video, *container.streams.audio):
            if packet.stream.index in heard:
                if packet.size:
                    timestamp = (packet.pts or 0) * Fraction(packet.time_base or 1)
                    heard[packet.stream.index].update(f"{timestamp} ".encode() + bytes(packet))
                continue
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                frames += 1
                pictures.update(f"{(frame.pts or 0) * base} {frame.format.name} ".encode())
                for plane in frame.planes:
                    pictures.update(visible(plane, frame).tobytes())
    return Fingerprint(
        frames, pictures.hexdigest(), tuple(heard[index].hexdigest() for index in sorted(heard))
    )


def visible(plane: av.video.plane.VideoPlane, frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The bytes of a plane without the padding at the end of each line: (height, bytes)."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    wide = 1 + (frame.format.components[0].bits > 8)
    return rows[:, : plane.width * wide]


def timestamps(seconds: float, seed: int) -> list[int]:
    """When frames are shown, in samples of sound: 1/60 to 1/15 s apart, without any order."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(RATE // 60, RATE // 15, int(seconds * 60) + 1)
    times = np.cumsum(steps) - steps[0]
    return [int(time) for time in times[times < seconds * RATE]]


def write(
    path: Path,
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    sound: NDArray[np.float32],
    *,
    size: tuple[int, int],
) -> None:
    """Write a clip of RGB `pictures`, each at its moment, with one channel of `sound`."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, RATE)
        voice = output.add_stream("aac", rate=RATE, layout="mono")
        assert isinstance(voice, av.AudioStream)
        blocks = _blocks(sound)
        said = -1
        for timestamp, picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", threads=1)
            frame.pts, frame.time_base = timestamp, Fraction(1, RATE)
            output.mux(video.encode(frame))
            # Beside its picture, so that nothing waits long in the muxer.
            while said < timestamp and (block := next(blocks, None)) is not None:
                output.mux(voice.encode(block))
                said = block.pts or 0
        output.mux(video.encode(None))
        for block in blocks:
            output.mux(voice.encode(block))
        output.mux(voice.encode(None))


def _blocks(sound: NDArray[np.float32]) -> Iterator[av.AudioFrame]:
    for start in range(0, len(sound), 1024):
        samples = np.ascontiguousarray(sound[None, start : start + 1024])  # (1, samples)
        block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
        yield block
