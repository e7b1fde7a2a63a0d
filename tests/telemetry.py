"""Telemetry as cameras write it: GPMF in MP4, and logs beside a video."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.clips import picture

SCALE = 3755


def value(name: str, kind: str, size: int, content: bytes) -> bytes:
    """A value of GPMF; of no kind it holds others."""
    count = len(content) // size
    head = struct.pack(">4sBBH", name.encode(), ord(kind) if kind else 0, size, count)
    return head + content + bytes(-len(content) % 4)


def nest(name: str, *inner: bytes) -> bytes:
    return value(name, "", 4, b"".join(inner))


def text(name: str, said: str) -> bytes:
    return value(name, "c", 1, said.encode())


def floats(name: str, numbers: NDArray[np.float64], axes: int = 1) -> bytes:
    return value(name, "f", 4 * axes, numbers.astype(">f4").tobytes())


def gyro_stream(raw: NDArray[np.float64], total: int, scale: int, axes: str) -> bytes:
    """Readings, (n, 3), about axes that lead up, left and back, radians per second."""
    codes = np.clip(np.round(raw * SCALE), -32768, 32767).astype(">i2").tobytes()
    scaled = [value("SCAL", "s", 2, struct.pack(">h", scale))] if scale else []
    return nest(
        "STRM",
        value("TSMP", "L", 4, struct.pack(">L", total)),
        text("STNM", f"Gyroscope {axes}"),
        *scaled,
        value("GYRO", "s", 6, codes),
    )


def packets(
    rates: NDArray[np.float64],
    rate: float,
    *,
    shutter: float = 1 / 120,
    fps: int = 30,
    scale: int = SCALE,
    axes: str = "(z,x,y)",
) -> list[bytes]:
    """One packet a second of readings about a camera's axes (right, down, into the picture)."""
    raw = -rates[:, [1, 0, 2]]
    seconds = int(np.ceil(len(rates) / rate))
    made = []
    for second in range(seconds):
        part = raw[round(second * rate) : round((second + 1) * rate)]
        total = round(second * rate) + len(part)
        frames = nest(
            "STRM",
            value("TSMP", "L", 4, struct.pack(">L", fps * (second + 1))),
            floats("SHUT", np.full(fps, shutter)),
        )
        made.append(
            nest("DEVC", text("DVNM", "Camera"), gyro_stream(part, total, scale, axes), frames)
        )
    return made


def filmed(
    path: Path,
    said: list[bytes],
    pictures: list[NDArray[np.uint8]] | None = None,
    fps: int = 30,
    frames: int = 60,
) -> Path:
    """An MP4 file of pictures, (H, W, 3) RGB each, with packets of GPMF, one for each second."""
    pictures = pictures or [picture(index, 64, 48) for index in range(frames)]
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        track = output.add_data_stream("bin_data")
        track.metadata["handler_name"] = "GoPro MET"
        track.time_base = Fraction(1, 1000)
        output.start_encoding()
        for second, content in enumerate(said):
            packet = av.Packet(content)
            packet.stream, packet.time_base = track, Fraction(1, 1000)
            packet.pts = packet.dts = 1000 * second
            packet.duration = 1000
            output.mux(packet)
        for shown in pictures:
            output.mux(video.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        output.mux(video.encode(None))
    return path


def log(
    path: Path, rates: NDArray[np.float64], rate: float, orientation: str = "XYZ", **header: str
) -> Path:
    """A log of readings about a camera's axes, with other or further lines in its header."""
    raw = -rates[:, [1, 0, 2]]
    letters = orientation.lower()
    turned = np.zeros_like(raw)
    for axis, letter in enumerate(letters):
        turned[:, "xyz".index(letter)] = raw[:, axis] * (1 if orientation[axis].isupper() else -1)
    named = {"version": "1.3", "id": "a_logger", "orientation": orientation, "tscale": "0.000001"}
    named |= {"gscale": "0.001", **header}
    lines = ["GYROFLOW IMU LOG", *(f"{key},{said}" for key, said in named.items() if said)]
    lines.append("t,gx,gy,gz,ax,ay,az")
    for number, (x, y, z) in enumerate(np.round(turned * 1000).astype(int)):
        lines.append(f"{round(number * 1e6 / rate)},{x},{y},{z},0,0,1000")
    path.write_text("\n".join(lines) + "\n")
    return path
