"""How live pictures are encoded: at once, and with a key frame every second."""

from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import numpy as np
from av.video.frame import PictureType

from stream.ipc.mailbox import Picture

TIME_BASE = Fraction(1, 90_000)
KEY_NS = 1_000_000_000
"""Between key frames: how long a new reader waits for its first picture, at most."""
_ASKED_NS = 500_000_000
"""The same for key frames that are asked for, however often that is done."""
_ONE_SLICE = 1920 * 1088
"""Pixels of the largest pictures that are encoded by one thread. Several would make several slices,
which some relays do not pass on whole; larger pictures would take too long without."""
_BITS_PER_PIXEL = 0.2
"""At most, over a second: about 1.2 Mbit/s at 640x360 and 10 Mbit/s at 1920x1080, 25 frames."""


@dataclass(frozen=True)
class Quality:
    """How an output's video is encoded."""

    crf: int = 20
    preset: str = "veryfast"
    profile: str = "high"


def frame_of(picture: Picture) -> av.VideoFrame:
    """A picture as FFmpeg has it, without its tags."""
    frame = av.VideoFrame(picture.width, picture.height, "yuv420p")
    for plane, data in zip(frame.planes, picture.planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        rows[:, : plane.width] = data
    return frame


class VideoEncoder:
    """Encodes pictures of one size into a stream of a container, in the order they are shown."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        first: Picture,
        quality: Quality | None = None,
    ) -> None:
        """All pictures are such as `first`."""
        quality = quality or Quality()
        size, tags = first.size, first.tags
        whole_rate = max(1, round(first.rate))
        most = max(500_000, int(size[0] * size[1] * whole_rate * _BITS_PER_PIXEL))
        # Key frames are asked for by the clock, as live frames do not come evenly. A buffer of half
        # a second keeps them from holding up what follows.
        x264 = f"keyint={10 * whole_rate}:scenecut=0:repeat-headers=1:log-level=none"
        self.stream = container.add_stream(
            "libx264",
            rate=whole_rate,
            options={
                "preset": quality.preset,
                "profile": quality.profile,
                "tune": "zerolatency",
                "crf": str(quality.crf),
                "maxrate": str(most),
                "bufsize": str(most // 2),
                "forced-idr": "1",
                "threads": "1" if size[0] * size[1] <= _ONE_SLICE else "auto",
                "x264-params": x264,
            },
        )
        self.stream.width, self.stream.height = size
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        context.time_base = TIME_BASE
        context.sample_aspect_ratio = first.aspect
        tags.put(context)
        self._tags = tags
        self._origin: int | None = None
        self._last = -1
        self._key: int | None = None
        self._asked = False

    def ticks(self, timestamp: int) -> int:
        """A moment in ns as a time of this stream, in `TIME_BASE`; the first picture is at 0."""
        if self._origin is None:
            self._origin = timestamp
        return (timestamp - self._origin) * 9 // 100_000

    def key(self) -> None:
        """Ask for a key frame soon; any thread may."""
        self._asked = True

    def encode(self, picture: Picture) -> list["av.Packet[av.VideoStream]"]:
        """The packets of a picture; raises an `av.error.FFmpegError`."""
        frame = frame_of(picture)
        self._tags.put(frame)
        self._last = max(self.ticks(picture.timestamp), self._last + 1)
        frame.pts, frame.time_base = self._last, TIME_BASE
        least = _ASKED_NS if self._asked else KEY_NS
        if self._key is None or picture.cut or picture.timestamp - self._key >= least:
            self._key, self._asked = picture.timestamp, False
            frame.pict_type = PictureType.I
        return self.stream.encode(frame)

    def flush(self) -> list["av.Packet[av.VideoStream]"]:
        """What is left at the end."""
        return self.stream.encode(None)
