"""One connection to a camera: its packets to pictures and sound, until nothing comes any more."""

import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import av
import av.container
import av.error

from stream.colors import tags_of
from stream.ipc.backoff import RateLimiter
from stream.ipc.heartbeat import ReaderHeartbeat
from stream.ipc.mailbox import Mailbox, Picture, Shape
from stream.ipc.messages import State
from stream.ipc.sound_ring import SoundRing
from stream.ipc.timed_calls import ConnectionThread, LateError, StoppedError
from stream.live.input.camera import Camera
from stream.live.input.clock_mapping import ClockMapping
from stream.live.input.rate import Playback
from stream.live.input.streams import (
    LostError,
    Sound,
    Video,
    check_size,
    codec_of,
    nanoseconds,
    sound_of,
)

_VIDEO, _SOUND = 0, 1
_KEY_S = 20.0
"""A camera whose packets come is given so long for its first picture: it waits for a key frame."""
_HOLD_S = 1.0
"""Sound whose packets alone tell what it is may come so much later than the first picture."""
_GAP_NS = 1_000_000_000
"""After so long without a picture nothing may be carried on from the one before."""

_Taken = tuple["av.Packet[Any] | None", int]
"""A packet and when it came; None at the end."""


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
        # Playlists and files in the web come as fast as the line allows.
        whole = bool(container.duration) or "hls" in container.format.name.split(",")
        played = camera.paced or (camera.kind in ("http", "https") and whole)
        self._playback = Playback() if played else None
        self._video = Video(container, sink.max_pixels, played=played)
        self._sound = sound_of(container, silent)
        self._opened_s = self._alive_s = time.monotonic()
        self._timestamp = 0
        self._shape: Shape | None = None
        self._failed = RateLimiter()
        """Packets that do not decode."""
        self._resized = RateLimiter()
        """Changes of size."""

    def run(self) -> None:
        """Work until the stream ends; raises `LostError`, `StoppedError`, and what FFmpeg has."""
        sound = self._sound
        streams = [self._video.stream, *([sound.stream] if sound is not None else [])]
        packets = self._container.demux(streams)
        held = self._hold(packets)
        self._announce()
        while True:
            packet, arrived = held.popleft() if held else self._take(packets)
            if packet is None:
                playback = self._playback
                if (
                    playback is not None
                    and (end := playback.end(self._video.rate.step_ns)) is not None
                ):
                    self._heartbeat.wait_until(end)
                return
            if packet.stream_index == self._video.stream.index:
                self._decode(packet, arrived)
            elif packet.size and sound is not None:
                self._hear(sound, packet, arrived)

    def _hold(self, packets: Iterator["av.Packet[Any]"]) -> deque[_Taken]:
        """What has to be read before it is known what the sound is."""
        sound, held = self._sound, deque[_Taken]()
        while sound is not None and not sound.known and time.monotonic() < self._opened_s + _HOLD_S:
            packet, _ = taken = self._take(packets)
            held.append(taken)
            if packet is None:
                break
            if packet.stream_index == sound.stream.index:
                with suppress(av.error.FFmpegError):
                    sound.plain(packet)
        return held

    def _announce(self) -> None:
        """Say what the sound is."""
        told = self._sound.format if self._sound is not None and self._sound.known else None
        if self._sink.sounds.format() != told:
            self._sink.sounds.announce(told)

    def _take(self, packets: Iterator["av.Packet[Any]"]) -> _Taken:
        """The next packet."""
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
        check_size(frame.width, frame.height, self._sink.max_pixels)
        rate = self._video.rate
        step = rate.step_ns
        pts = self._video.timestamp(frame)
        if self._playback is not None:
            pts, arrived = self._playback.next(pts, step)
            self._heartbeat.wait_until(arrived)
        timestamp, jumped = self._sink.timestamps.place(_VIDEO, pts, arrived, step)
        begun = time.monotonic()
        gap = timestamp - self._timestamp
        data = self._video.unpack(frame)
        picture = Picture(
            data,
            timestamp,
            arrived,
            rate.fps,
            tags_of(frame),
            cut=jumped or gap > _GAP_NS,
            damaged=frame.is_corrupt,
            aspect=self._video.aspect(),
        )
        if picture.shape != self._shape:
            picture = replace(picture, cut=True)
        self._sink.box.put(picture)
        self._heartbeat.control.latency(arrived)
        self._heartbeat.busy_s += time.monotonic() - begun
        self._heartbeat.count(frames=1, damaged=int(frame.is_corrupt))
        if self._timestamp and gap < _GAP_NS and (correction := rate.push(gap)):
            self._heartbeat.control.say(correction)
        self._timestamp = timestamp
        self._alive_s = self._heartbeat.seen_s = time.monotonic()
        self._heartbeat.facts["fps"] = f"{rate.fps:.4g}"
        if picture.shape != self._shape:
            self._introduce(picture, frame)
        if count := self._resized.due():
            times = f" (changed {count} times)" if count > 1 else ""
            self._heartbeat.control.say(f"the camera's picture is now {picture.form}{times}")

    def _introduce(self, picture: Picture, frame: av.VideoFrame) -> None:
        """Tell of the first picture, or of the first one of another shape."""
        size = f"{picture.width}x{picture.height}"
        codec = codec_of(self._video.stream)
        claimed = self._video.rate.claimed
        rate = f" {claimed:.4g} fps" if claimed else ""
        if self._shape is not None:
            self._resized.note()
        elif not self._quiet:
            sound = f", sound {self._sound.format.codec}" if self._sound is not None else ""
            shown = f"{codec} {picture.form}{rate}{self._video.form(frame)}{sound}"
            self._heartbeat.control.say(f"connected: {shown}")
        if self._shape is None:
            self._heartbeat.count(connects=int(not self._quiet))
            self._heartbeat.state = State.LIVE
        self._shape = picture.shape
        transport = self._camera.transport
        self._heartbeat.facts |= {"size": size, "codec": codec, "transport": transport}
        self._heartbeat.tell(now=True)

    def _hear(self, sound: Sound, packet: "av.Packet[Any]", arrived: int) -> None:
        """Pass on a packet of sound."""
        duration = nanoseconds(packet.duration, packet.time_base) or 0
        pts = nanoseconds(packet.pts, packet.time_base)
        if self._playback is not None and pts is not None:
            arrived = self._playback.due(pts)
        timestamp, _ = self._sink.timestamps.place(_SOUND, pts, arrived, duration)
        late = not sound.known
        try:
            data = sound.plain(packet)
        except av.error.FFmpegError:
            self._complain()
            return
        if late:
            self._announce()
        if not sound.put(data, timestamp, duration, self._sink.sounds):
            self._complain()

    def _complain(self) -> None:
        """Count what did not decode, and tell of it now and then."""
        self._heartbeat.count(damaged=1)
        self._failed.note()
        if count := self._failed.due():
            plural = "packet does" if count == 1 else "packets do"
            self._heartbeat.control.say(f"{count} {plural} not decode")
