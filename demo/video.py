"""Clips to RGB pictures and back."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
)
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Sound = NDArray[np.float32]
"""(2, samples), left and right in -1..1."""

SAMPLE_RATE = 48000
"""Samples of sound in a second."""

# Rounding as it should be, and chroma at full resolution before it is halved or after it is
# doubled: with the defaults, a picture written and read back is off by a code or more.
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_EXACT |= Interpolation.FULL_CHR_H_INP


class Writer:
    """An MP4 in H.264 and, if `sound` is given, AAC; BT.709 in limited range, and tagged so.

    The pictures have even sides; the sound is cut into pieces that go with them.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction,
        quantizer: int,
        sound: Sound | None = None,
    ) -> None:
        """`size` is (width, height) in pixels; `quantizer` is x264's, 0..51, lower is better."""
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._fps = fps
        self._count = 0
        # What x264 decides by looking ahead (B-frames, scene cuts, the bits for each frame) is not
        # always the same for the same pictures, with one thread either. This is.
        options = {"qp": str(quantizer), "bf": "0", "sc_threshold": "0", "preset": "veryfast"}
        self._video = self._container.add_stream("libx264", rate=fps, options=options)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = 1 / fps
        context = self._video.codec_context
        context.thread_count = 1
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        self._sound = sound
        self._heard = 0
        if sound is not None:
            self._audio = self._container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
            self._audio.bit_rate = 128_000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                if self._sound is not None:
                    self._container.mux(self._audio.encode(None))
        finally:
            self._container.close()

    def write(self, picture: Picture) -> None:
        frame = to_yuv(picture)
        frame.pts, frame.time_base = self._count, 1 / self._fps
        self._count += 1
        self._container.mux(self._video.encode(frame))
        if self._sound is not None:
            until = min(round(self._count * SAMPLE_RATE / self._fps), self._sound.shape[1])
            if until > self._heard:
                piece = np.ascontiguousarray(self._sound[:, self._heard : until])
                samples = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
                samples.sample_rate = SAMPLE_RATE
                samples.pts, samples.time_base = self._heard, Fraction(1, SAMPLE_RATE)
                self._heard = until
                self._container.mux(self._audio.encode(samples))


def to_yuv(picture: Picture) -> av.VideoFrame:
    """Turn RGB into YUV 4:2:0 by BT.709 in limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
    return frame.reformat(
        format="yuv420p",
        interpolation=_EXACT,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_color_trc=ColorTrc.BT709,
        dst_color_primaries=ColorPrimaries.BT709,
        threads=1,
    )


def to_rgb(frame: av.VideoFrame) -> Picture:
    """Turn a decoded frame into RGB by what it is tagged as, upright."""
    picture = frame.reformat(
        format="rgb24", interpolation=_EXACT, dst_color_range=ColorRange.JPEG, threads=1
    ).to_ndarray()
    turned = np.rot90(picture, round(frame.rotation / 90))
    return np.ascontiguousarray(turned, np.uint8)


def frames(path: str | Path, every: int = 1) -> Iterator[Picture]:
    """Decode the first video track and yield frames 0, `every`, 2 `every` and so on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            if index % every == 0:
                yield to_rgb(frame)


def rate(path: str | Path) -> Fraction | None:
    """The mean number of frames in a second, None where the file does not tell."""
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate
