"""One connection to a camera: its packets to pictures and sound, until nothing comes any more."""

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median
from typing import Any

import av
import av.container
import av.error

from stream.colors import tags_of
from stream.input.container.opening import main_video
from stream.ipc.convert import Unpacker
from stream.ipc.heartbeat import ReaderHeartbeat
from stream.ipc.mailbox import Mailbox, Picture, Shape
from stream.ipc.messages import State
from stream.ipc.sound_ring import SoundFormat, SoundRing
from stream.ipc.timed_calls import ConnectionThread, LateError, StoppedError
from stream.live.input.camera import Camera
from stream.live.input.clock_mapping import ClockMapping
from stream.media.remux import aspect_of

_S = 1_000_000_000
_VIDEO, _SOUND = 0, 1
_KEY_S = 20.0
"""A camera whose packets come is given so long for its first picture: it waits for a key frame."""
_HELD_UP_NS = _S
"""What is played from a file and was held up by more goes on from where it is, ..."""
_PAUSE_NS = 10 * _S
"""... as it does where timestamps leave a longer gap."""
_GAP_NS = _S
"""After so long without a picture nothing may be carried on from the one before."""
_SAY_S = 10.0
"""Between lines about packets that do not decode, and about pictures of another size."""
_RATES = 1.0, 240.0
"""Frames per second that are believed."""
_STEPS = 25
"""Frames from which the rate is taken where the camera says none, or ..."""
_OFF = 1.25
"""... another one: by more than this factor."""
_USUAL_RATE = 25.0
_WIDEST = 4
"""Pixels that are wider than high, or higher than wide, by more than this factor are none."""
_PIECE = 16 << 10
"""Bytes of sound that a `SoundRing` takes at once."""
_UNTIMED = {"mpjpeg", "mjpeg", "h264", "hevc"}
"""Formats without timestamps, for which FFmpeg makes some up."""


class LostError(Exception):
    """Why a connection ended, as it is told."""


@dataclass(frozen=True)
class Sink:
    """Where pictures and sound go."""

    box: Mailbox
    sounds: SoundRing
    timestamps: ClockMapping
    max_pixels: int


class Session:
    """Passes on what one connection brings."""

    def __init__(
        self,
        camera: Camera,
        container: av.container.InputContainer,
        link: ConnectionThread,
        reader_heartbeat: ReaderHeartbeat,
        sink: Sink,
        *,
        quiet: bool,
        silent: Collection[int] = (),
    ) -> None:
        """`quiet`: without telling that it begins; `silent`: which streams of sound, by their
        number, are not the camera's. Raises `LostError` where there is no video."""
        self._camera = camera
        self._container = container
        self._link = link
        self._heartbeat = reader_heartbeat
        self._sink = sink
        self._quiet = quiet
        self._video = self._choose()
        self._sound, self._format = self._listen(silent)
        names = set(container.format.name.split(","))
        self._timed = not names & _UNTIMED
        # Playlists and files in the web come as fast as the line allows.
        web = camera.kind in ("http", "https") and (bool(container.duration) or "hls" in names)
        self._paced = camera.paced or web
        self._unpacker = Unpacker()
        self._claimed = _claimed(self._video) if self._timed else None
        self._steps: deque[int] = deque(maxlen=_STEPS)
        self._corrected = False
        self._opened_s = self._alive_s = time.monotonic()
        self._anchor: int | None = None
        self._pts = 0
        self._timestamp = 0
        self._shape: Shape | None = None
        self._coded_aspect: Fraction | None = None
        """That of the first picture, as its codec says."""
        self._failed = 0
        self._said_s = 0.0
        self._resized = 0
        """Changes of size that were not told yet, ..."""
        self._resized_s = -_SAY_S
        """... and when others were."""

    def run(self) -> None:
        """Work until the stream ends; raises `LostError`, `StoppedError`, and what FFmpeg has."""
        if self._sink.sounds.format() != self._format:
            self._sink.sounds.announce(self._format)
        streams = [self._video, *([self._sound] if self._sound is not None else [])]
        packets = self._container.demux(streams)
        while True:
            packet, arrived = self._take(packets)
            if packet is None:
                if self._paced and self._anchor is not None:
                    # The last picture is shown as long as the others.
                    self._heartbeat.wait_until(self._anchor + self._pts + round(_S / self._rate))
                return
            if packet.stream_index == self._video.index:
                self._decode(packet, arrived)
            elif packet.size:
                self._hear(packet, arrived)

    def _take(self, packets: Iterator["av.Packet[Any]"]) -> tuple["av.Packet[Any] | None", int]:
        """The next packet and when it came; None at the end."""
        left = self._alive_s + self._camera.stall_s - time.monotonic()
        try:
            if left <= 0:
                raise LateError
            taken = self._link.call(lambda: (next(packets, None), time.monotonic_ns()), left)
        except LateError:
            raise LostError(f"no picture for {self._camera.stall_s:g} s") from None
        if self._heartbeat.tick():
            raise StoppedError
        return taken

    def _decode(self, packet: "av.Packet[Any]", arrived: int) -> None:
        begun = time.monotonic()
        try:
            frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
        except av.error.FFmpegError:
            frames = []
            # Before the first key frame nothing can be decoded; that is no damage.
            if self._shape is not None:
                self._complain()
        self._heartbeat.busy_s += time.monotonic() - begun
        for frame in frames:
            if frame.width and frame.height:
                self._show(frame, arrived)
        if self._shape is None and time.monotonic() - self._opened_s < _KEY_S:
            self._alive_s = time.monotonic()

    def _show(self, frame: av.VideoFrame, arrived: int) -> None:
        _check(frame.width, frame.height, self._sink.max_pixels)
        step = round(_S / self._rate)
        pts = _ns(frame.pts, frame.time_base) if self._timed else None
        if self._paced:
            pts = self._pts + step if pts is None else pts
            arrived = self._due(pts)
            self._heartbeat.wait_until(arrived)
            self._pts = pts
        timestamp, jumped = self._sink.timestamps.place(_VIDEO, pts, arrived, step)
        begun = time.monotonic()
        gap = timestamp - self._timestamp
        data = self._unpacker.unpack(frame)
        picture = Picture(
            data,
            timestamp,
            arrived,
            self._rate,
            tags_of(frame),
            cut=jumped or gap > _GAP_NS,
            damaged=frame.is_corrupt,
            aspect=self._aspect(),
        )
        if picture.shape != self._shape:
            picture = replace(picture, cut=True)
        self._sink.box.put(picture)
        self._heartbeat.control.latency(arrived)
        self._heartbeat.busy_s += time.monotonic() - begun
        self._heartbeat.count(frames=1, damaged=int(frame.is_corrupt))
        if self._timestamp and gap < _GAP_NS:
            self._steps.append(gap)
            self._put_right()
        self._timestamp = timestamp
        self._alive_s = self._heartbeat.seen_s = time.monotonic()
        self._heartbeat.facts["fps"] = f"{self._rate:.4g}"
        if picture.shape != self._shape:
            self._introduce(picture, frame)
        if self._resized and self._alive_s - self._resized_s >= _SAY_S:
            times = f" (changed {self._resized} times)" if self._resized > 1 else ""
            self._heartbeat.control.say(f"the camera's picture is now {picture.form}{times}")
            self._resized, self._resized_s = 0, self._alive_s

    def _put_right(self) -> None:
        """Tell, once, that pictures come at another rate than was announced."""
        rate = self._rate
        if not self._claimed or rate == self._claimed or self._corrected:
            return
        self._corrected = True
        text = f"{rate:.3g} frames per second come, not the {self._claimed:.4g} announced"
        self._heartbeat.control.say(text)

    def _introduce(self, picture: Picture, frame: av.VideoFrame) -> None:
        """Tell of the first picture, or of the first one of another shape."""
        size = f"{picture.width}x{picture.height}"
        codec = _codec(self._video)
        rate = f" {self._claimed:.4g} fps" if self._claimed else ""
        if self._shape is not None:
            self._resized += 1
        elif not self._quiet:
            rotation = frame.rotation
            turn = f" (turned by {rotation} degrees, which is ignored)" if rotation else ""
            alpha = self._video.metadata.get("alpha_mode") == "1"
            if alpha or any(part.is_alpha for part in frame.format.components):
                turn += " (with transparency, which is left out)"
            sound = f", sound {self._format.codec}" if self._format else ""
            shown = f"{codec} {picture.form}{rate}{turn}{sound}"
            self._heartbeat.control.say(f"connected: {shown}")
        if self._shape is None:
            self._heartbeat.count(connects=int(not self._quiet))
            self._heartbeat.state = State.LIVE
        self._shape = picture.shape
        transport = self._camera.transport
        self._heartbeat.facts |= {"size": size, "codec": codec, "transport": transport}
        self._heartbeat.tell(now=True)

    def _hear(self, packet: "av.Packet[Any]", arrived: int) -> None:
        """Pass on a packet of sound."""
        duration = _ns(packet.duration, packet.time_base) or 0
        pts = _ns(packet.pts, packet.time_base)
        if self._paced and pts is not None:
            arrived = self._due(pts)
        timestamp, _ = self._sink.timestamps.place(_SOUND, pts, arrived, duration)
        data = bytes(packet)
        assert self._format is not None
        if len(data) <= _PIECE:
            self._sink.sounds.put(data, timestamp, duration)
        elif self._format.codec.startswith("pcm_"):
            # Whole samples of all channels, of whatever width.
            piece = _PIECE // (24 * self._format.channels) * 24 * self._format.channels
            for start in range(0, len(data), piece):
                part = data[start : start + piece]
                later = duration * start // len(data)
                self._sink.sounds.put(part, timestamp + later, duration * len(part) // len(data))
        else:
            self._complain()

    def _due(self, pts: int) -> int:
        """When something of a file is to be shown."""
        now = time.monotonic_ns()
        if self._anchor is None or not -_HELD_UP_NS < self._anchor + pts - now < _PAUSE_NS:
            self._anchor = now - pts
        return self._anchor + pts

    def _aspect(self) -> Fraction:
        """Of the pixels of the picture that was decoded last."""
        # What the container says goes before the codec's word, until that changes.
        coded = Fraction(self._video.codec_context.sample_aspect_ratio or 1)
        if self._coded_aspect is None:
            self._coded_aspect = coded
        said = aspect_of(self._video) if coded == self._coded_aspect else coded
        return said if said and 1 / _WIDEST <= said <= _WIDEST else Fraction(1)

    @property
    def _rate(self) -> float:
        # What is played at the rate that it claims comes at that rate.
        if len(self._steps) < _STEPS or (self._claimed and self._paced):
            return self._claimed or _USUAL_RATE
        seen = min(_RATES[1], max(_RATES[0], _S / median(self._steps)))
        if self._claimed and 1 / _OFF < seen / self._claimed < _OFF:
            return self._claimed
        return seen

    def _complain(self) -> None:
        """Count what did not decode, and tell of it now and then."""
        self._heartbeat.count(damaged=1)
        self._failed += 1
        if time.monotonic() - self._said_s >= _SAY_S:
            self._said_s = time.monotonic()
            plural = "packet does" if self._failed == 1 else "packets do"
            self._heartbeat.control.say(f"{self._failed} {plural} not decode")
            self._failed = 0

    def _choose(self) -> av.VideoStream:
        video = main_video(self._container)
        if video is None:
            raise LostError("it sends no video")
        if video.codec_context is None:
            raise LostError("there is no decoder for its video")
        _check(video.width, video.height, self._sink.max_pixels)
        # Frames can be larger than the description says.
        video.codec_context.options = {"max_pixels": str(self._sink.max_pixels)}
        # Threads that work on frames side by side would hold each back by as many frames.
        video.thread_type = "SLICE"
        return video

    def _listen(self, silent: Collection[int]) -> tuple[av.AudioStream | None, SoundFormat | None]:
        own = [s for n, s in enumerate(self._container.streams.audio) if n not in silent]
        best = self._container.streams.best("audio")
        sound = best if best in own else next(iter(own), None)
        if not isinstance(sound, av.AudioStream) or sound.codec_context is None:
            return None, None
        context = sound.codec_context
        if not context.sample_rate or not context.channels:
            return None, None
        return sound, SoundFormat(
            _codec(sound),
            context.sample_rate,
            context.channels,
            bytes(context.extradata or b""),
            context.frame_size or 0,
        )


def _codec(stream: av.VideoStream | av.AudioStream) -> str:
    name = stream.codec_context.codec.canonical_name
    return "rawvideo" if name == "wrapped_avframe" else name


def _check(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise LostError(f"its picture of {width}x{height} has more than {most} pixels")


def _claimed(video: av.VideoStream) -> float | None:
    """Frames per second as the stream says, where that can be."""
    # Of H.264 by RTSP the guess is the rate of fields.
    for rate in (video.average_rate, video.codec_context.framerate, video.guessed_rate):
        if rate and _RATES[0] <= rate <= _RATES[1]:
            return float(rate)
    return None


def _ns(time: int | None, base: Fraction | None) -> int | None:
    if time is None or base is None:
        return None
    return time * _S * base.numerator // base.denominator
