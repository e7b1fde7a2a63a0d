"""Video files in: what is in them, their frames, and the packets of their other streams."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import gcd
from pathlib import Path
from statistics import median
from typing import Any

import av
import av.container
import av.error

from filters import Coding
from stream.convert import Tags, Unpacker, tags_of
from stream.deinterlace import Deinterlacer
from stream.errors import NoInputError, SourceError, UsageError
from stream.frame import Frame, Packet
from stream.orientation import display_matrix, orientation_of
from stream.remux import is_cover
from stream.timeline import Timeline

_log = logging.getLogger(__name__)

DEFAULT_MAX_PIXELS = 8192 * 4352
"""Larger frames are refused: a small file can claim a picture that fills all memory."""

_PLAYLISTS = {"hls", "concat", "dash", "sdp", "concatf", "webvtt", "ffmetadata", "tty"}
"""Text formats; the first ones would make FFmpeg open other files and addresses."""

_PEEKED = 9
"""Frames looked at beforehand, to tell how fast they follow and whether they are interlaced."""
_MANY = 300
"""Packets after which a video that is damaged throughout is given up."""
_TS_DISCONT = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: a format whose clock may jump."""


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


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    span: Span = Span()
    max_pixels: int = DEFAULT_MAX_PIXELS
    deinterlace: str = "auto"
    """"auto" where frames are marked as interlaced, "on" or "off"."""
    apply_rotation: bool = False
    """Whether pictures are turned as the file asks, instead of carrying the wish along."""

    def __post_init__(self) -> None:
        if self.deinterlace not in ("auto", "on", "off"):
            raise UsageError(f"--deinterlace must be auto, on or off, got {self.deinterlace}")


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
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NoInputError(f"cannot read {file}: {reason}") from error
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
    """A file's frames, and the packets of its other streams.

    Iterating decodes the main video; `frames`, `damaged` and `position_s` count along. After the
    end `short_s` says by how many seconds the file ended before the end that it promises.
    """

    def __init__(self, path: str | os.PathLike[str], reading: Reading | None = None) -> None:
        self.path = Path(path)
        self.reading = reading or Reading()
        self.span = self.reading.span
        # Rotation, tags and format are certain only once a frame is decoded. Seeking back would
        # lose frames before the first key frame, so the first ones are decoded on the side.
        with open_input(path) as container:
            peeked = self._peek(container, self._choose(container))
        self.first = peeked[0]
        self.container = open_input(path)
        self.video = self._choose(self.container)
        self.time_base = Fraction(self.video.time_base or Fraction(1, 90000))
        times = [frame.pts for frame in peeked if frame.pts is not None]
        steps = [b - a for a, b in pairwise(times) if b > a]
        self._timeless = len(peeked) > 1 and not steps
        self.rate = self._rate(steps)
        self.tags: Tags = tags_of(self.first)
        marked = sum(frame.interlaced_frame for frame in peeked)
        self.interlaced = 2 * marked > len(peeked)
        """Whether most of the frames at the beginning are marked as interlaced."""
        mode = self.reading.deinterlace
        self.deinterlaced = mode == "on" or (mode == "auto" and self.interlaced)
        self.matrix = display_matrix(self.first)
        """How the output asks to be turned when it is shown (ISO/IEC 14496-12)."""
        turn = orientation_of(self.matrix) if self.matrix and self.reading.apply_rotation else None
        if turn is not None:
            self.matrix = None
        self.turned = turn is not None
        self.transposed = turn is not None and turn.transposed
        self.frames = 0
        """Frames decoded, those that were skipped included."""
        self.packets = 0
        self.failed = 0
        """Packets that did not decode."""
        self.corrupt = 0
        """Frames that FFmpeg marked as damaged."""
        self.made_up = 0
        """Frames whose time was missing or did not follow the one before."""
        self.jumps = 0
        """How often the file's clock jumped."""
        self.position_s = 0.0
        self.short_s = 0.0
        self.error: av.error.FFmpegError | None = None
        """What ended reading, where it was not the end of the file."""
        self.skip = 0
        """How many frames at the beginning are not handed on, because they are done already."""
        self._unpacker = Unpacker(self.first, turn)
        self._seeks = bool(self.span.start)
        self._ends_s = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self._unpacker.size

    @property
    def coding(self) -> Coding:
        """How the frames are coded."""
        return self._unpacker.coding

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel by its height, where the file says it."""
        aspect = self.video.sample_aspect_ratio
        if not aspect:
            return None
        return 1 / Fraction(aspect) if self.transposed else Fraction(aspect)

    @property
    def rescaled(self) -> int:
        """Frames brought to the first one's size, because the stream changed it."""
        return self._unpacker.rescaled

    @property
    def damaged(self) -> int:
        """Packets that did not decode, and frames that FFmpeg marked as damaged."""
        return self.failed + self.corrupt

    def check_damage(self) -> None:
        """Raise a `SourceError` if more was damaged than can be called a concealed fault."""
        # FFmpeg's own limit, -max_error_rate.
        if 3 * self.failed > 2 * self.packets:
            raise SourceError(
                f"{self.path} is damaged: {self.failed} of {self.packets} packets "
                "of its video do not decode"
            )

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

    def __iter__(self) -> Iterator[Frame]:
        begin, end = self.limits()
        for decoded in self._deinterlaced(self._decoded()):
            assert decoded.pts is not None
            seconds = float(decoded.pts * self.time_base)
            if seconds < begin:
                continue
            if seconds >= end:
                # What follows in decoding order is shown later still.
                return
            self.frames += 1
            self.position_s = seconds - (begin if self.span.start else self.origin_s)
            if self.frames > self.skip:
                pts = decoded.pts - int(self.shift_s / self.time_base)
                yield self._unpacker.unpack(decoded, pts, self.time_base)

    def others(self) -> Iterator[Packet]:
        """The packets of all streams but the main video, on the same clock as the frames.

        Each call reads the file anew, from a container of its own.
        """
        begin, end = self.limits()
        with open_input(self.path) as container:
            for packet in self._demux(container):
                if packet.stream_index == self.video.index or not packet.size:
                    continue
                if begin <= _seconds(packet, begin) < end:
                    yield _earlier(packet, self.shift_s)

    @property
    def shift_s(self) -> Fraction:
        """By how much all streams are moved: a part from the middle starts at zero."""
        if not self.span.start:
            return Fraction(0)
        # In whole ticks of the video, which stays exact; finer clocks follow it exactly.
        return Fraction(self.limits()[0]) // self.time_base * self.time_base

    def limits(self) -> tuple[float, float]:
        """Begin and end of the part to work on, in seconds on the file's clock."""
        if not self.span.start and self.span.duration is None:
            return float("-inf"), float("inf")
        begin = self.origin_s + self.span.start
        end = float("inf") if self.span.duration is None else begin + self.span.duration
        return begin, end

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Decoded frames, each with a time later than the one before."""
        last: int | None = None
        self._seeks = self._seeks and self._seek_lands_early()
        for packet in self._demux(self.container):
            if packet.stream_index != self.video.index and packet.size:
                continue
            for frame in self._decode(packet):
                frame.pts = last = self._moment(frame, last)
                frame.time_base = self.time_base
                yield frame
        if not self.jumps:
            self.short_s = max(0.0, self._promised_s() - self._ends_s)

    def _deinterlaced(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        if not self.deinterlaced:
            yield from frames
            return
        filter = Deinterlacer("on" if self.reading.deinterlace == "on" else "auto")
        for frame in frames:
            yield from filter.push(frame)
        yield from filter.flush()

    def _demux(self, container: av.container.InputContainer) -> Iterator[Packet]:
        streams = _wanted(container)
        flowing = [stream.index for stream in streams if stream.type in ("video", "audio")]
        discontinuous = bool(container.format.flags & _TS_DISCONT)
        timeline = Timeline(jumps_forward=discontinuous, measured=flowing)
        if self._seeks:
            container.seek(int(self.limits()[0] * av.time_base))
        packets = container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, IndexError) as error:
                # PyAV raises IndexError at the end of a TS in which a stream appears on the way.
                self.error = error if isinstance(error, av.error.FFmpegError) else None
                # What the decoder still holds was read before the damage.
                yield av.Packet()
                return
            if packet is None:
                return
            if packet.size:
                timeline.place(packet)
                self.jumps = timeline.jumps
                self._ends_s = max(self._ends_s, _seconds(packet, 0.0, end=True))
            yield packet

    def _seek_lands_early(self) -> bool:
        """Whether seeking to the beginning of the part finds a frame before it.

        MPEG-TS has no index, and a search in it can land behind what was looked for.
        """
        begin = self.limits()[0]
        with open_input(self.path) as container:
            video = self._choose(container)
            container.seek(int(begin * av.time_base))
            try:
                for packet in container.demux(video):
                    for frame in _try(packet):
                        if frame.pts is not None:
                            return float(frame.pts * self.time_base) <= begin
            except (av.error.FFmpegError, IndexError):
                pass
        return False

    def _promised_s(self) -> float:
        """When the last of the streams ends, by what the file's header says."""
        streams = _wanted(self.container)
        ends = [
            float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            for stream in streams
            if stream.duration and stream.time_base
        ]
        # Matroska says it of the file alone, which may have other streams that last longer.
        if not ends and self.container.duration and len(streams) == len(self.container.streams):
            ends = [self.origin_s + self.container.duration / av.time_base]
        return max(ends, default=0.0)

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        self.packets += bool(packet.size)
        try:
            context = self.video.codec_context
            frames = context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self.failed += 1
            _log.debug("a packet did not decode: %s", error)
            if self.packets >= _MANY:
                self.check_damage()
            return []
        self.corrupt += sum(frame.is_corrupt for frame in frames)
        return [frame for frame in frames if frame.width and frame.height]

    def _moment(self, decoded: av.VideoFrame, last: int | None) -> int:
        """The frame's timestamp, made up only where it has none or does not follow the last."""
        if decoded.pts is not None and (last is None or decoded.pts > last):
            return int(decoded.pts)
        self.made_up += 1
        if last is None:
            return 0
        step = round(1 / (self.rate * self.time_base))
        return last + max(1, step if decoded.pts is None or self._timeless else 1)

    def _rate(self, steps: list[int]) -> Fraction:
        """Frames per second: what the file says, unless its first frames are far from that."""
        said = self.video.average_rate or self.video.guessed_rate
        seen = 1 / (median(steps) * self.time_base) if steps else None
        if seen is not None and not (said and seen / 3 < said < seen * 3):
            said = Fraction(seen).limit_denominator(1001)
        return min(max(Fraction(said or 25), Fraction(1, 10)), Fraction(1000))

    def _choose(self, container: av.container.InputContainer) -> av.VideoStream:
        video, most = main_video(container), self.reading.max_pixels
        if video is None:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise SourceError(f"{self.path} has no video stream, only {kinds or 'nothing'}")
        if video.codec_context is None:
            raise SourceError(f"there is no decoder for the video in {self.path}")
        if video.width * video.height > most:
            raise SourceError(
                f"{self.path} claims frames of {video.width}x{video.height}, more than "
                f"{most} pixels; allow them with --max-pixels {video.width * video.height}"
            )
        # Frames can be larger than the header says.
        video.codec_context.options = {"max_pixels": str(most)}
        video.thread_type = "AUTO"
        return video

    def _peek(
        self, container: av.container.InputContainer, video: av.VideoStream
    ) -> list[av.VideoFrame]:
        encrypted = False
        found: list[av.VideoFrame] = []
        try:
            for packet in container.demux(video):
                encrypted = encrypted or packet.has_sidedata("encryption_info")
                if encrypted or len(found) >= _PEEKED:
                    break
                found += [frame for frame in _try(packet) if frame.width and frame.height]
        except av.error.FFmpegError as error:
            _log.debug("reading ended early: %s", error)
        if found and not encrypted:
            return found
        hint = "it is encrypted" if encrypted else "it is damaged, truncated or encrypted"
        raise SourceError(f"no frame of {self.path} can be decoded; {hint}")


def _wanted(container: av.container.InputContainer) -> list[Any]:
    kinds = ("video", "audio", "subtitle", "data")
    return [stream for stream in container.streams if stream.type in kinds]


def _try(packet: Packet) -> list[av.VideoFrame]:
    try:
        return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except av.error.FFmpegError:
        return []


def _earlier(packet: Packet, shift_s: Fraction) -> Packet:
    """Shift a packet's timestamps by a number of seconds, exactly."""
    if shift_s and packet.time_base:
        base = Fraction(packet.time_base)
        if shift_s % base:
            # A clock that is fine enough for both.
            finer = Fraction(
                gcd(base.numerator * shift_s.denominator, shift_s.numerator * base.denominator),
                base.denominator * shift_s.denominator,
            )
            if finer.denominator < 1 << 31:
                packet.pts, packet.dts, packet.duration = (
                    None if ticks is None else int(ticks * base / finer)
                    for ticks in (packet.pts, packet.dts, packet.duration)
                )
                packet.time_base = base = finer
        shift = round(shift_s / base)
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
