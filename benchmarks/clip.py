"""Clips to measure with: moving detail, sensor-like noise and sound, of any length."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssnet.motion import AROUND, Neighbor, planes

if TYPE_CHECKING:
    import av

RATE = 30
"""Frames per second."""
_PIECE = 120
"""Frames that are drawn; longer clips repeat them."""
_SOUND = 48000


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) RGB: drifting colored squares with noise, about as hard as footage."""
    rng = np.random.default_rng(1)
    world = rng.integers(0, 255, (height // 8 + 40, width // 8 + 40, 3), np.uint8)
    world = world.repeat(8, axis=0).repeat(8, axis=1)
    view = world[index : index + height, 2 * index : 2 * index + width]
    noise = np.random.default_rng(index).standard_normal((height, width, 1), np.float32)
    return np.asarray(np.clip(view * np.float32(0.7) + 20 + 4 * noise, 0, 255), np.uint8)


def image(index: int, width: int, height: int) -> Tensor:
    """The same as (1, 3, height, width), float32 in 0..1."""
    drawn = torch.from_numpy(picture(index, width, height))
    return drawn.permute(2, 0, 1)[None].float().div(255)


def told(index: int, width: int, height: int) -> Tensor:
    """What a network is told beside it, by a shutter that is open for half of the time."""
    drawn = torch.from_numpy(picture(index, width, height))
    # What is seen goes the other way than the view.
    there = np.full((height // 4 or 1, width // 4 or 1, 2), (-0.5, -0.25), np.float32)
    neighbors = [
        Neighbor(torch.from_numpy(picture(index + step, width, height)), step * there)
        for step in AROUND
    ]
    return planes(drawn, neighbors, 0.5)


def clip(path: Path, width: int, height: int, frames: int) -> Path:
    """Write so many frames of H.264, 30 in a second, with a stereo tone in AAC."""
    # Here, so that networks alone can be measured where there is no PyAV.
    import av

    with av.open(str(path), "w") as output:
        # Without B-frames, so that pieces can be put one after the other.
        options = {"crf": "20", "preset": "veryfast", "bf": "0"}
        video = output.add_stream("libx264", rate=RATE, options=options)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = output.add_stream("aac", rate=_SOUND)
        assert isinstance(sound, av.AudioStream)
        packets: list[av.Packet[Any]] = []
        for index in range(min(frames, _PIECE)):
            drawn = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            drawn = drawn.reformat(format="yuv420p", threads=1)
            drawn.pts, drawn.time_base = index, Fraction(1, RATE)
            packets += video.encode(drawn)
        packets += video.encode(None)
        length = Fraction(1, RATE) / Fraction(packets[0].time_base)
        said = [(bytes(packet), packet.is_keyframe) for packet in packets]
        base = packets[0].time_base
        for index in range(frames):
            data, key = said[index % len(said)]
            packet = av.Packet(data)
            packet.stream, packet.time_base = video, base
            packet.pts = packet.dts = int(index * length)
            packet.is_keyframe = key
            output.mux(packet)
        _tone(output, sound, frames / RATE)
    return path


def _tone(output: "av.container.OutputContainer", stream: "av.AudioStream", seconds: float) -> None:
    import av

    for start in range(0, int(_SOUND * seconds), 1024):
        wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / _SOUND)
        stereo = np.stack([wave, wave]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(stereo, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = _SOUND, start, Fraction(1, _SOUND)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
