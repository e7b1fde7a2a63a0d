"""A camera whose pictures say when they were taken: publishes to an RTSP server.

python -m tests.rig.camera rtsp://127.0.0.1:8554/in --size 640x360 --fps 25 --seconds 60
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Self

import av
import av.container
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.rig import stamp
from tests.rig.server import START_S

Picture = NDArray[np.uint8]
"""(1.5 H, W): the planes of yuv420p, one below the other."""

RATE = 48_000
"""Samples of sound in a second."""
BEEP_S = 0.1
"""How long it beeps, and the lamp is lit, at each whole second."""
_CHUNK = 1024
_KEPT = 300_000_000
"""Bytes of a file's pictures that are kept, so that only the first round decodes."""


@dataclass(frozen=True)
class Filming:
    """What a camera films, and how."""

    size: tuple[int, int] = (640, 360)
    fps: int = 25
    file: Path | None = None
    """Its pictures again and again; None: a landscape that passes by."""
    audio: bool = False
    """With a beep at each whole second, when the lamp beside the stamp is lit."""
    seconds: float | None = None
    """None: until it is killed."""


class Camera:
    """A camera in a process of its own.

    with Camera(server.url("in")) as camera:
        camera.kill()
        camera.start(size=(320, 240))
    """

    def __init__(self, url: str, filming: Filming | None = None) -> None:
        self.url = url
        self.filming = filming or Filming()
        self._process: SpawnProcess | None = None
        self._sent: Synchronized[int] = get_context("spawn").Value("q", 0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def sent(self) -> int:
        """Frames published since the last start."""
        return self._sent.value

    def start(self, **changed: object) -> None:
        """Film, with these fields of `Filming` changed, and wait for the first frame."""
        assert self._process is None, "it films"
        self.filming = replace(self.filming, **changed)  # type: ignore[arg-type]
        self._sent.value = 0
        self._process = get_context("spawn").Process(
            target=film, args=(self.url, self.filming, self._sent), daemon=True
        )
        self._process.start()
        end = time.monotonic() + START_S
        while not self.sent:
            if not self._process.is_alive() or time.monotonic() > end:
                self.kill()
                raise RuntimeError("the camera could not publish")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.join()
            process.close()


def film(url: str, filming: Filming, sent: "Synchronized[int] | None" = None) -> None:
    """Publish until the time is over; raises an `av.error.FFmpegError` when the server is gone."""
    options = {"rtsp_transport": "tcp", "timeout": "5000000"}
    with av.open(url, "w", format="rtsp", options=options) as output:
        video = _video(output, filming)
        audio = output.add_stream("aac", rate=RATE, layout="mono") if filming.audio else None
        pictures = _filmed(filming)
        begun = time.monotonic()
        count = sounded = 0
        while filming.seconds is None or count < filming.seconds * filming.fps:
            picture = next(pictures).copy()
            time.sleep(max(0.0, begun + count / filming.fps - time.monotonic()))
            # A camera that could not keep up leaves out frames; it does not fall behind.
            count = max(count, int((time.monotonic() - begun) * filming.fps))
            second = count / filming.fps % 1
            luma = picture[: filming.size[1]]
            stamp.draw(luma, count)
            stamp.light(luma, second < BEEP_S)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = count, Fraction(1, filming.fps)
            output.mux(video.encode(frame))
            count += 1
            if sent is not None:
                sent.value += 1
            while audio is not None and (sounded + _CHUNK) * filming.fps <= count * RATE:
                output.mux(audio.encode(_sound(sounded)))
                sounded += _CHUNK


def _video(output: av.container.OutputContainer, filming: Filming) -> av.VideoStream:
    video = output.add_stream(
        "libx264",
        rate=filming.fps,
        options={
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": "20",
            "g": str(filming.fps),
            "x264-params": "repeat-headers=1:scenecut=0:log-level=none",
            "threads": "2",
        },
    )
    video.width, video.height = filming.size
    video.pix_fmt = "yuv420p"
    video.codec_context.time_base = Fraction(1, filming.fps)
    return video


def _filmed(filming: Filming) -> Iterator[Picture]:
    return _landscape(filming.size) if filming.file is None else _looped(filming)


def _landscape(size: tuple[int, int]) -> Iterator[Picture]:
    """A hilly texture with fine detail, seen through a window that moves."""
    width, height = size
    wide, high = width * 3 // 4 * 2, height * 3 // 4 * 2
    random = np.random.default_rng(7)
    planes = []
    for part in (1, 2, 2):
        w, h = wide // part, high // part
        texture = np.full((h, w), 128, np.float32)
        for cells, level in ((4, 40.0), (16, 20.0), (64, 10.0), (256, 8.0)):
            level /= part**2  # pale: strong colors would be clipped, and the stamp with them
            noise = random.uniform(-level, level, (cells * 9 // 16, cells)).astype(np.float32)
            texture += cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC)
        planes.append(np.clip(texture, 16, 235).astype(np.uint8))
    timestamp = 0
    while True:
        x = int((wide - width) / 4 * (1 + np.sin(timestamp / 40))) * 2
        y = int((high - height) / 4 * (1 + np.cos(timestamp / 57))) * 2
        window = [planes[0][y : y + height, x : x + width]]
        y, x = y // 2, x // 2
        window += [plane[y : y + height // 2, x : x + width // 2] for plane in planes[1:]]
        yield np.concatenate([part.reshape(-1) for part in window]).reshape(-1, width)
        timestamp += 1


def _looped(filming: Filming) -> Iterator[Picture]:
    width, height = filming.size
    kept: list[Picture] = []
    with av.open(f"file:{filming.file}") as source:
        for frame in source.decode(video=0):
            fitting = frame.reformat(width=width, height=height, format="yuv420p", threads=1)
            kept.append(fitting.to_ndarray().astype(np.uint8))
            yield kept[-1]
            if len(kept) * kept[-1].size > _KEPT:
                break
    while True:
        yield from kept


def _sound(first: int) -> av.AudioFrame:
    timestamps = np.arange(first, first + _CHUNK) / RATE
    wave = 0.5 * np.sin(2 * np.pi * 1000 * timestamps) * (timestamps % 1 < BEEP_S)
    frame = av.AudioFrame.from_ndarray(
        wave.astype(np.float32)[np.newaxis], format="fltp", layout="mono"
    )
    frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
    return frame


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--audio", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    sound, seconds = options.audio, options.seconds
    film(options.url, Filming((width, height), options.fps, options.file, sound, seconds))


if __name__ == "__main__":
    main()
