"""Which streams of a camera are taken, and what is known of them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import av.container
from av.bitstream import BitStreamFilterContext

from stream.input.container.opening import main_video
from stream.ipc.convert import Unpacker
from stream.ipc.mailbox import Plane
from stream.ipc.sound_ring import SoundFormat, SoundRing
from stream.live.input.rate import RATES, FrameRate
from stream.media.remux import aspect_of

_WIDEST = 4
"""Pixels that are wider than high, or higher than wide, by more than this factor are none."""
_UNTIMED = {"mpjpeg", "mjpeg", "h264", "hevc"}
"""Formats without timestamps, for which FFmpeg makes some up."""
_PIECE = 16 << 10
"""Bytes of sound that a `SoundRing` takes at once."""


class LostError(Exception):
    """Why a connection ended, as it is told."""


class Sound:
    """A stream of sound that is passed on as it is."""

    def __init__(self, stream: av.AudioStream, format: SoundFormat) -> None:
        self.stream, self.format = stream, format
        self._adts: BitStreamFilterContext | None = None
        if format.codec == "aac" and not format.extradata:
            # Each packet has a header of its own, as in MPEG-TS, which only there is understood.
            self._adts = BitStreamFilterContext("aac_adtstoasc", stream)

    @property
    def known(self) -> bool:
        """Whether `format` has all that it will have."""
        return self._adts is None or bool(self.format.extradata)

    def plain(self, packet: "av.Packet[Any]") -> bytes:
        """What is passed on of a packet; the first one can complete `format`. Raises an
        `av.error.FFmpegError` where it is damaged."""
        if self._adts is None:
            return bytes(packet)
        made = self._adts.filter(av.Packet(bytes(packet)))
        for each in made:
            if each.has_sidedata("new_extradata"):
                config = bytes(each.get_sidedata("new_extradata"))
                self.format = replace(self.format, extradata=config)
        return b"".join(bytes(each) for each in made)

    def put(self, data: bytes, timestamp: int, duration: int, ring: SoundRing) -> bool:
        """Pass a packet on, in pieces where it is large; returns whether that was possible."""
        if len(data) <= _PIECE:
            ring.put(data, timestamp, duration)
            return True
        if not self.format.codec.startswith("pcm_"):
            return False
        for start, part in _pieces(data, self.format.channels):
            later = duration * start // len(data)
            ring.put(part, timestamp + later, duration * len(part) // len(data))
        return True


class Video:
    """The stream of video that is restored."""

    def __init__(
        self, container: av.container.InputContainer, max_pixels: int, *, played: bool
    ) -> None:
        """`played`: at the rate that it claims. Raises `LostError` where there is none."""
        self.stream = _chosen(container, max_pixels)
        self._timed = not set(container.format.name.split(",")) & _UNTIMED
        self.rate = FrameRate(_claimed(self.stream) if self._timed else None, believed=played)
        self._unpacker = Unpacker()
        self._first_aspect: Fraction | None = None
        """As the codec says of the first picture."""

    def timestamp(self, frame: av.VideoFrame) -> int | None:
        """In ns, where the camera gives one."""
        return nanoseconds(frame.pts, frame.time_base) if self._timed else None

    def unpack(self, frame: av.VideoFrame) -> Plane:
        """The planes of a decoded picture, as a `Picture` has them."""
        return self._unpacker.unpack(frame)

    def aspect(self) -> Fraction:
        """How wide the pixels of the picture are that was decoded last: what the container says
        goes before the codec's word, until that changes."""
        coded = Fraction(self.stream.codec_context.sample_aspect_ratio or 1)
        if self._first_aspect is None:
            self._first_aspect = coded
        said = aspect_of(self.stream) if coded == self._first_aspect else coded
        return said if said and 1 / _WIDEST <= said <= _WIDEST else Fraction(1)

    def form(self, frame: av.VideoFrame) -> str:
        """What is said of it beside its size: what is ignored."""
        rotation = frame.rotation
        said = f" (turned by {rotation} degrees, which is ignored)" if rotation else ""
        alpha = self.stream.metadata.get("alpha_mode") == "1"
        if alpha or any(part.is_alpha for part in frame.format.components):
            said += " (with transparency, which is left out)"
        return said


def sound_of(container: av.container.InputContainer, silent: Collection[int]) -> Sound | None:
    """The sound that is passed on; `silent`: which streams, by their number, are not the
    camera's."""
    own = [s for n, s in enumerate(container.streams.audio) if n not in silent]
    best = container.streams.best("audio")
    sound = best if best in own else next(iter(own), None)
    if not isinstance(sound, av.AudioStream) or sound.codec_context is None:
        return None
    context = sound.codec_context
    if not context.sample_rate or not context.channels:
        return None
    extra = bytes(context.extradata or b"")
    return Sound(
        sound,
        SoundFormat(
            codec_of(sound), context.sample_rate, context.channels, extra, context.frame_size or 0
        ),
    )


def check_size(width: int, height: int, most: int) -> None:
    """Raise `LostError` for a picture of more pixels."""
    if width * height > most:
        raise LostError(f"its picture of {width}x{height} has more than {most} pixels")


def codec_of(stream: av.VideoStream | av.AudioStream) -> str:
    """FFmpeg's name of it."""
    name = stream.codec_context.codec.canonical_name
    return "rawvideo" if name == "wrapped_avframe" else name


def _pieces(data: bytes, channels: int) -> Iterator[tuple[int, bytes]]:
    """Pieces of at most `_PIECE` bytes, and where they begin."""
    # Whole samples of all channels, of whatever width.
    piece = _PIECE // (24 * channels) * 24 * channels
    for start in range(0, len(data), piece):
        yield start, data[start : start + piece]


def nanoseconds(timestamp: int | None, base: Fraction | None) -> int | None:
    """A timestamp, counted in `base` seconds, where there is one."""
    if timestamp is None or base is None:
        return None
    return timestamp * 1_000_000_000 * base.numerator // base.denominator


def _chosen(container: av.container.InputContainer, max_pixels: int) -> av.VideoStream:
    """The video that is restored, ready to be decoded."""
    video = main_video(container)
    if video is None:
        raise LostError("it sends no video")
    if video.codec_context is None:
        raise LostError("there is no decoder for its video")
    check_size(video.width, video.height, max_pixels)
    # Frames can be larger than the description says.
    video.codec_context.options = {"max_pixels": str(max_pixels)}
    # Threads that work on frames side by side would hold each back by as many frames.
    video.thread_type = "SLICE"
    return video


def _claimed(video: av.VideoStream) -> float | None:
    """Frames per second as the stream says, where that can be."""
    # Of H.264 by RTSP the guess is the rate of fields.
    for rate in (video.average_rate, video.codec_context.framerate, video.guessed_rate):
        if rate and RATES[0] <= rate <= RATES[1]:
            return float(rate)
    return None
