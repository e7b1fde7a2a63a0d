"""Films whose every frame and packet of sound can be told from all others, and when each is shown.

What is left of a film after its clock jumped, or after a part was cut out, can so be compared with
the film itself: sound and picture must still be as far from each other as they were.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from stream.input.source import Source

_SIDE, _ACROSS, _BITS = 8, 8, 16
FPS = 25


def numbered(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Luma that shows a number, in blocks that any encoder keeps."""
    luma = np.full((height, width), 90, np.uint8)
    for bit in range(_BITS):
        y, x = divmod(bit, _ACROSS)
        code = 200 if number >> bit & 1 else 30
        luma[y * _SIDE : (y + 1) * _SIDE, x * _SIDE : (x + 1) * _SIDE] = code
    return luma


def number_of(luma: NDArray[Any]) -> int:
    """The number that is shown."""
    top = 255 if luma.dtype == np.uint8 else 1023
    blocks = luma[: 2 * _SIDE, : _ACROSS * _SIDE].reshape(2, _SIDE, _ACROSS, _SIDE)
    bright = blocks.mean(axis=(1, 3)).ravel() > 0.45 * top
    return int(sum(1 << bit for bit, on in enumerate(bright) if on))


def film(
    path: Path,
    *,
    frames: int = 50,
    first: int = 0,
    move: Fraction | int = 0,
    sound: Fraction | int | None = 0,
    sound_s: Fraction | int | None = None,
    sound_codec: str = "aac",
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    timestamps: Sequence[Fraction] | None = None,
    base: Fraction = Fraction(1, 90000),
    rate: int = FPS,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write frames `first`, `first` + 1 ..., and noise beside them.

    Everything is later by `move` seconds, and sound by `sound` more (None: there is none); it
    lasts as long as the picture, or `sound_s`. `moments` are the times of the frames.
    """
    with av.open(str(path), "w", format=container, options=mux or {}) as output:
        video = output.add_stream(
            codec, rate=rate, options={"g": "10", "bf": "0", **(options or {})}
        )
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = base
        heard: av.AudioStream | None = None
        if sound is not None:
            added = output.add_stream(sound_codec, rate=48000, layout="mono")
            assert isinstance(added, av.AudioStream)
            heard = added
        packets: list[Any] = []
        times = timestamps or [Fraction(index, rate) for index in range(frames)]
        for index, timestamp in enumerate(times):
            luma = numbered(first + index, *size)
            frame = av.VideoFrame.from_ndarray(luma, format="gray")
            frame = frame.reformat(format=pix_fmt, threads=1)
            frame.pts, frame.time_base = round((timestamp + move) / base), base
            packets += video.encode(frame)
        packets += video.encode(None)
        if heard is not None:
            length = times[-1] - times[0] + Fraction(1, rate) if sound_s is None else sound_s
            packets += _noise(heard, first, times[0] + move + (sound or 0), Fraction(length))
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            output.mux(packet)
    return path


def _noise(stream: av.AudioStream, seed: int, begin: Fraction, seconds: Fraction) -> list[Any]:
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    form = stream.codec_context.format.name
    draw = np.random.default_rng(seed)
    packets: list[Any] = []
    for start in range(0, round(48000 * seconds), size):
        samples: NDArray[Any] = draw.uniform(-0.5, 0.5, (1, size)).astype(np.float32)
        if not form.startswith("flt"):
            kind = np.dtype("int16" if form.startswith("s16") else "int32")
            samples = (samples * np.iinfo(kind).max).astype(kind)
        frame = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = round(begin * 48000) + start
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


@dataclass
class Heard:
    """When what is in a file is shown and heard, in seconds."""

    frames: dict[int, Fraction] = field(default_factory=dict)
    """By number, in the order in which they come."""
    order: list[int] = field(default_factory=list)
    timestamps: list[Fraction | None] = field(default_factory=list)
    sound: dict[bytes, Fraction] = field(default_factory=dict)
    """By what a packet ends with."""
    packets: list[Fraction] = field(default_factory=list)


def hear(path: Path) -> Heard:
    """Play a file with PyAV alone."""
    found = Heard()
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        base = Fraction(video.time_base or 1)
        for packet in container.demux():
            if packet.stream.type == "audio" and packet.size and packet.pts is not None:
                timestamp = packet.pts * Fraction(packet.time_base)
                found.sound[bytes(packet)[-32:]] = timestamp
                found.packets.append(timestamp)
            elif packet.stream_index == video.index:
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    assert isinstance(frame, av.VideoFrame)
                    number = number_of(luma_of(frame))
                    moment_of = None if frame.pts is None else frame.pts * base
                    found.order.append(number)
                    found.timestamps.append(moment_of)
                    if moment_of is not None:
                        found.frames[number] = moment_of
    return found


def luma_of(frame: av.VideoFrame) -> NDArray[Any]:
    plane = frame.planes[0]
    wide = frame.format.components[0].bits > 8
    rows = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
    return rows.reshape(plane.height, -1)[:, : plane.width]


def read(source: Source) -> Heard:
    """What the program reads of a file, before it is written anywhere."""
    found = Heard()
    for frame in source:
        number, timestamp = number_of(frame.planes[0]), frame.pts * frame.time_base
        found.order.append(number)
        found.timestamps.append(timestamp)
        found.frames[number] = timestamp
    sounds = {stream.index for stream in source.container.streams.audio}
    for packet in source.others():
        if packet.stream_index in sounds and packet.pts is not None:
            timestamp = packet.pts * Fraction(packet.time_base or 1)
            found.sound[bytes(packet)[-32:]] = timestamp
            found.packets.append(timestamp)
    return found


def retimed(data: bytes, change: Callable[[bool, int, int], int | None]) -> bytes:
    """An MPEG-TS with other times, in 1/90000 s: `change` is given whether it is a picture's, its
    number in its stream, and when it is decoded, and says by how much all is to be later.

    None takes the time away.
    """
    made = bytearray(data)
    counts = {True: -1, False: -1}
    for begin in range(0, len(made), 188):
        if not made[begin + 1] & 0x40:
            continue  # the middle of something
        at = begin + 4 + (made[begin + 4] + 1 if made[begin + 3] & 0x20 else 0)
        if made[at : at + 3] != b"\0\0\1" or not made[at + 7] & 0x80:
            continue
        seen = made[at + 3] & 0xF0 == 0xE0
        counts[seen] += 1
        places = [at + 9, at + 14] if made[at + 7] & 0x40 else [at + 9]
        later = change(seen, counts[seen], _stamp(made, places[-1]))
        if later is None:
            made[at + 7] &= 0x3F
            made[at + 9 : at + 9 + made[at + 8]] = b"\xff" * made[at + 8]
            continue
        for place in places:
            time = (_stamp(made, place) + later) % (1 << 33)
            high, middle, low = time >> 30, time >> 15 & 0x7FFF, time & 0x7FFF
            made[place] = made[place] & 0xF0 | high << 1 | 1
            made[place + 1 : place + 5] = struct.pack(">HH", middle << 1 | 1, low << 1 | 1)
    return bytes(made)


def _stamp(data: bytearray, at: int) -> int:
    """A time, as five bytes in MPEG-TS hold it (ISO 13818-1)."""
    middle, low = struct.unpack_from(">HH", data, at + 1)
    return int((data[at] >> 1 & 7) << 30 | middle >> 1 << 15 | low >> 1)
