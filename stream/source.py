"""Video files in: what is in them, their frames, and the packets of their other streams."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.error

from stream.convert import Tags, Unpacker, tags_of
from stream.errors import NoInputError, SourceError, UsageError
from stream.frame import Copied, Item, Packet
from stream.remux import is_cover

_log = logging.getLogger(__name__)

DEFAULT_MAX_PIXELS = 8192 * 4352
"""Larger frames are refused: a small file can claim a picture that fills all memory."""

_PLAYLISTS = {"hls", "concat", "dash", "sdp", "concatf", "webvtt", "ffmetadata", "tty"}
"""Text formats; the first ones would make FFmpeg open other files and addresses."""


@dataclass(frozen=True)
class Span:
    """The part of the input to work on, in seconds."""

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if self.start < 0:
            raise UsageError(f"--start must be 0 or more seconds, got {self.start}")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"--duration must be more than 0 seconds, got {self.duration}")


def open_input(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a local file for reading; raises `NoInputError` or `SourceError`."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            if not opened.read(1):
                raise SourceError(f"{file} is empty")
    except FileNotFoundError:
        raise NoInputError(f"{file} does not exist") from None
    except IsADirectoryError:
        raise NoInputError(f"{file} is a folder, not a video file") from None
    except OSError as error:
        raise NoInputError(f"cannot read {file}: {error.strerror}") from error
    try:
        # As an absolute path behind file:, so that no name is taken for a protocol, and with the
        # protocols of local files alone, so that no content makes FFmpeg go elsewhere.
        container = av.open(
            f"file:{file.absolute()}",
            options={"protocol_whitelist": "file,crypto,data"},
            metadata_errors="replace",
        )
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{file} is not a video that can be read ({error.strerror}); "
            "is it complete, and a video at all?"
        ) from error
    if set(container.format.name.split(",")) & _PLAYLISTS:
        container.close()
        raise SourceError(f"{file} is a text or playlist file, not a video")
    return container


def main_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """The video stream to restore: the default one, else the first; never cover art."""
    moving = [stream for stream in container.streams.video if not is_cover(stream)]
    best = container.streams.best("video")
    return best if isinstance(best, av.VideoStream) and best in moving else next(iter(moving), None)


class Source:
    """A file's frames and, between them as they lie in it, the packets of its other streams.

    Iterating decodes; `frames`, `damaged` and `position_s` count along. After the end `short_s`
    says by how many seconds the file ended before the end that it promises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        span: Span | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.path = Path(path)
        self.span = span or Span()
        # Rotation, tags and format are certain only once a frame is decoded. Seeking back would
        # lose frames before the first key frame, so the first one is decoded on the side.
        with open_input(path) as container:
            self.first = self._peek(container, self._choose(container, max_pixels))
        self.container = open_input(path)
        self.video = self._choose(self.container, max_pixels)
        self.time_base = Fraction(self.video.time_base or Fraction(1, 90000))
        self.tags: Tags = tags_of(self.first)
        self.rotation = self.first.rotation
        self.interlaced = bool(self.first.interlaced_frame)
        rate = self.video.average_rate or self.video.guessed_rate
        self.rate = Fraction(rate) if rate else Fraction(25)
        self.frames = 0
        self.damaged = 0
        """Packets that did not decode, and frames that FFmpeg marked as corrupt."""
        self.position_s = 0.0
        self.short_s = 0.0
        self.error: av.error.FFmpegError | None = None
        """What ended reading, where it was not the end of the file."""
        self._unpacker = Unpacker(self.time_base)
        self._ends_s = 0.0

    @property
    def rescaled(self) -> int:
        """Frames brought to the first one's size, because the stream changed it."""
        return self._unpacker.rescaled

    @property
    def origin_s(self) -> float:
        """Where the file's own clock starts, in seconds."""
        return (self.container.start_time or 0) / av.time_base

    @property
    def duration_s(self) -> float | None:
        """How long the part to work on is, where the file says how long it is."""
        if not self.container.duration:
            return self.span.duration
        left = max(self.container.duration / av.time_base - self.span.start, 0.0)
        return left if self.span.duration is None else min(left, self.span.duration)

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there will be."""
        whole = self.span.start == 0 and self.span.duration is None
        if whole and self.video.frames:
            return int(self.video.frames)
        seconds = self.duration_s
        return None if seconds is None else max(1, round(seconds * self.rate))

    def close(self) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Item]:
        begin, end = self._limits()
        # A part from the middle starts at zero, all its streams by the same shift.
        shift_s = Fraction(begin) if self.span.start else Fraction(0)
        if self.span.start:
            self.container.seek(int(begin * av.time_base))
        wanted = [s for s in self.container.streams if s.type in ("video", "audio", "subtitle")]
        last: int | None = None
        finished = False
        for packet in self._demux(wanted):
            if packet.stream is not self.video:
                if packet.size and begin <= _seconds(packet, begin) < end:
                    yield Copied(packet.stream.index, _earlier(packet, shift_s))
                continue
            for decoded in self._decode(packet):
                pts = self._moment(decoded, last)
                seconds = float(pts * self.time_base)
                if seconds < begin:
                    continue
                if seconds >= end:
                    finished = True
                    break
                last = pts
                self.frames += 1
                self.position_s = seconds - (begin if shift_s else self.origin_s)
                yield self._unpacker.unpack(decoded, pts - round(shift_s / self.time_base))
            if finished:
                # What other streams have left of the part lies within the interleaving.
                break
        if not finished:
            self.short_s = max(0.0, self._promised_s(wanted) - self._ends_s)

    def _limits(self) -> tuple[float, float]:
        if not self.span.start and self.span.duration is None:
            return float("-inf"), float("inf")
        begin = self.origin_s + self.span.start
        end = float("inf") if self.span.duration is None else begin + self.span.duration
        return begin, end

    def _promised_s(self, streams: list[Any]) -> float:
        """When the last of the streams ends, by what the file's header says."""
        ends = [
            float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            for stream in streams
            if stream.duration and stream.time_base
        ]
        # Matroska says it of the file alone, which may have other streams that last longer.
        if not ends and self.container.duration and len(streams) == len(self.container.streams):
            ends = [self.origin_s + self.container.duration / av.time_base]
        return max(ends, default=0.0)

    def _demux(self, streams: list[Any]) -> Iterator[Packet]:
        packets = self.container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self.error = error
                # What the decoder still holds was read before the damage.
                yield av.Packet()
                return
            if packet is None:
                return
            if packet.size:
                self._ends_s = max(self._ends_s, _seconds(packet, 0.0, end=True))
            yield packet

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        try:
            context = self.video.codec_context
            frames = context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self.damaged += 1
            _log.debug("a packet did not decode: %s", error)
            return []
        self.damaged += sum(frame.is_corrupt for frame in frames)
        return frames

    def _moment(self, decoded: av.VideoFrame, last: int | None) -> int:
        """The frame's timestamp, made up only where it has none or does not follow the last."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        if decoded.pts is None:
            return 0 if last is None else last + step
        if last is not None and decoded.pts <= last:
            return last + 1
        return int(decoded.pts)

    def _choose(self, container: av.container.InputContainer, max_pixels: int) -> av.VideoStream:
        video = main_video(container)
        if video is None:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise SourceError(f"{self.path} has no video stream, only {kinds or 'nothing'}")
        if video.codec_context is None:
            raise SourceError(f"there is no decoder for the video in {self.path}")
        if video.width * video.height > max_pixels:
            raise SourceError(
                f"{self.path} claims frames of {video.width}x{video.height}, more than "
                f"{max_pixels} pixels; allow them with --max-pixels {video.width * video.height}"
            )
        # Frames can be larger than the header says.
        video.codec_context.options = {"max_pixels": str(max_pixels)}
        video.thread_type = "AUTO"
        return video

    def _peek(self, container: av.container.InputContainer, video: av.VideoStream) -> av.VideoFrame:
        encrypted = False
        try:
            for packet in container.demux(video):
                encrypted = encrypted or packet.has_sidedata("encryption_info")
                if encrypted:
                    break
                for frame in self._try(packet):
                    if not frame.width * frame.height:
                        continue
                    return frame
        except av.error.FFmpegError as error:
            _log.debug("reading ended early: %s", error)
        hint = "it is encrypted" if encrypted else "it is damaged, truncated or encrypted"
        raise SourceError(f"no frame of {self.path} can be decoded; {hint}")

    def _try(self, packet: Packet) -> list[av.VideoFrame]:
        try:
            return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
        except av.error.FFmpegError:
            return []


def _earlier(packet: Packet, shift_s: Fraction) -> Packet:
    """Shift a packet's timestamps by a number of seconds."""
    if shift_s and packet.time_base is not None:
        shift = round(shift_s / packet.time_base)
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
    return packet


def _seconds(packet: Packet, default: float, *, end: bool = False) -> float:
    """When a packet is shown or heard, or ends, on the file's clock."""
    moment = packet.pts if packet.pts is not None else packet.dts
    if moment is None or packet.time_base is None:
        return default
    return float((moment + (packet.duration or 0 if end else 0)) * packet.time_base)
