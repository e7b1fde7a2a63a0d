"""Video files in: what is in them, their frames, and the packets of their other streams."""

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import av.container
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from filters import Coding
from stream.colors import ColorTags, tags_of
from stream.errors import SourceError
from stream.frame import Frame, Packet
from stream.input.decoding import open_decoding
from stream.input.deinterlace import Deinterlacer, top_first
from stream.input.demux import Demuxer, discontinuous, earlier, when
from stream.input.ending import Truncated, early_end
from stream.input.opening import (
    Tail,
    choose_video,
    decoder_of,
    disordered,
    first_frames,
    frames_of,
    open_input,
)
from stream.input.unfinished import hints
from stream.media.convert import Unpacker, has_alpha, opacity
from stream.media.orientation import display_matrix, orientation_of
from stream.media.side_data import MOVING, side_data
from stream.options.reading import Reading

_log = logging.getLogger(__name__)

_FASTEST = 240
"""Frames per second; more than that, without frames that follow so fast, is the clock's rate."""
_MANY = 300
"""Packets after which a video that is damaged throughout is given up."""
_PICTURES = {"apng", "exr", "jpeg2000", "png", "targa", "tiff", "webp"}
"""Codecs of which each frame says by itself whether it has alpha."""


class Source:
    """A file's frames, and the packets of its other streams.

    Iterating decodes the main video; `frames`, `damaged` and `position_s` count along. After the
    end `early` says whether the file ended before the end that it promises.
    """

    def __init__(  # noqa: PLR0915
        self, path: str | os.PathLike[str], reading: Reading | None = None
    ) -> None:
        self.path = Path(path)
        self.reading = reading or Reading()
        self.span = self.reading.span
        # Rotation, tags and format are certain only once a frame is decoded.
        peeked, self.container, self.decoder = self._open()
        self.first = peeked[0]
        self.video = self._choose(self.container)
        self.time_base = Fraction(self.video.time_base or Fraction(1, 90000))
        self._by_dts = disordered(peeked, avi=self.container.format.name == "avi")
        self._late = 0
        if self._by_dts and self.first.pts is not None:
            self._late = (self.first.dts or 0) - self.first.pts
        times = [(n, t) for n, frame in enumerate(peeked) if (t := self._time(frame)) is not None]
        steps = [Fraction(b - a, n - m) for (m, a), (n, b) in pairwise(times) if b > a]
        self._edited = "mov" in self.container.format.name.split(",")
        """Whether what has a time before zero is before the edit that players begin with."""
        self._lift_s = self._before_zero_s(times[0][1]) if times else Fraction(0)
        self._jumpy = discontinuous(self.container)
        self._demuxer = Demuxer(discontinuous=self._jumpy)
        self._timeless = len(peeked) > 1 and 2 * len(steps) < len(times)
        self._peeked = [time for _, time in times if time >= 0 or not self._edited]
        self.rate = self._rate(steps)
        self.tags: ColorTags = tags_of(self.first)
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
        self.top_first: bool | None = None
        """Of frames that stay interlaced, whether the upper field is the earlier one."""
        if self.interlaced and not self.deinterlaced and not self.turned:
            self.top_first = top_first(next(each for each in peeked if each.interlaced_frame))
        self.frames = 0
        """Frames decoded, those that were skipped included."""
        self.packets = 0
        self.failed = 0
        """Packets that did not decode."""
        self.corrupt = 0
        """Frames that FFmpeg marked as damaged."""
        self.made_up = 0
        """Frames whose time was missing or did not follow the one before."""
        self.last: tuple[int, int] | None = None
        """When the last frame handed on is shown and for how long, in ticks, where the file says
        both."""
        self._stood: int | None = None
        """The own time of the frame before."""
        self._lengths: dict[int, int] = {}
        """How long what is being decoded is shown, by when."""
        self.beside: set[str] = set()
        """What was seen beside the picture in some frames, that changes from frame to frame."""
        self.position_s = 0.0
        self.early: Truncated | None = None
        """Where the file ended, if that was too early."""
        self._skip = self._known = 0
        self._after: int | None = None
        self._decoding = decoder_of(self.video)
        self._unpacker = Unpacker(
            self.first, turn, alpha=self.reading.alpha and self._transparent(peeked)
        )
        self._seeks = False

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
    def hints(self) -> list[str]:
        """What hints that the file was not finished, where it promises no end; a line each."""
        reader = self._demuxer.last
        if self.jumps or reader is None or not reader.ended:
            return []
        return hints(self.container, self.path, self._demuxer.ends, self.video.index)

    @property
    def discontinuous(self) -> bool:
        """Whether the clock may jump in a file of this format."""
        return self._jumpy

    def shown(self, pts: NDArray[np.int64]) -> NDArray[np.int64]:
        """When frames are shown, in order, by the times of all packets that are to be shown; none
        where these do not tell it."""
        times = np.sort(pts)
        if not self._peeked or self._by_dts or self._timeless:
            return times[:0]
        # What comes before a first frame has nothing to be decoded with.
        times = times[times >= self._peeked[0]]
        told = times[: len(self._peeked)].tolist() == sorted(self._peeked)
        return times if told else times[:0]

    @property
    def rescaled(self) -> int:
        """Frames brought to the first one's size, because the stream changed it."""
        return self._unpacker.rescaled

    @property
    def recoded(self) -> int:
        """Frames brought to the first one's format, matrix or range."""
        return self._unpacker.recoded

    @property
    def transparent(self) -> bool:
        """Whether a frame was seen to be, somewhere."""
        return self._unpacker.transparent

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
    def jumps(self) -> int:
        """How often the file's clock jumped."""
        return self._demuxer.jumps

    @property
    def unread(self) -> int:
        """How many packets of the file, of whatever stream, could not be read."""
        return self._demuxer.last.unread if self._demuxer.last is not None else 0

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
            hidden = sum(entry.is_discard for entry in self.video.index_entries)
            return max(1, int(self.video.frames) - hidden)
        seconds = self.duration_s
        return None if seconds is None else max(1, round(seconds * self.rate))

    @property
    def clean(self) -> bool:
        """Whether all that was read so far was whole, and timed as its file says."""
        return not (self.damaged or self.made_up or self.jumps or self.rescaled)

    def go_on(self, done: int, known: int = 0, pts: int | None = None) -> None:
        """Hand on nothing of the first `done` frames, but for those that the next ones depend on.

        `pts` is when frame number `known` of them, counted from 1, is shown, as it was handed on,
        if all up to it was `clean`: those need not be decoded again, where a search in the file
        finds that very frame.
        """
        self._skip = done
        if pts is not None and not (self._jumpy or self._by_dts or self.deinterlaced):
            self._known, self._after = known, pts + int(self.shift_s / self.time_base)

    def close(self) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Frame]:
        begin, end = self.limits()
        after = self._after
        if after is not None and not self._search(after * self.time_base, exactly=True):
            after = None
        if after is not None:
            self.frames = self._known
        around = self.reading.around
        before: deque[av.VideoFrame] = deque(maxlen=around)
        beyond = 0
        for decoded in self._deinterlaced(self._decoded(after)):
            assert decoded.pts is not None
            timestamp = float(decoded.pts * self.time_base)
            if timestamp < end:
                self._note_length(decoded.pts, end)
            if after is not None and decoded.pts <= after:
                continue
            if timestamp < begin:
                before.append(decoded)
                continue
            if timestamp >= end:
                # What follows in decoding order is shown later still.
                if (beyond := beyond + 1) > around:
                    return
                yield self._unpacked(decoded, beyond=True)
                continue
            if self._skip < around:
                yield from (self._unpacked(each, beyond=True) for each in before)
            before.clear()
            self.frames += 1
            self._look_beside(decoded)
            self.position_s = timestamp - (begin if self.span.start else self.origin_s)
            if self.frames == 1 and self._jumpy:
                self._lift_s = self._before_zero_s(decoded.pts)
            if self.frames > self._skip - around:
                yield self._unpacked(decoded, beyond=self.frames <= self._skip)

    def _look_beside(self, decoded: av.VideoFrame) -> None:
        if self.frames & (self.frames - 1) == 0:
            # Ever more rarely: what was looked at is held until Python collects garbage.
            self.beside |= {MOVING[each] for each in side_data(decoded) if each in MOVING}

    def _unpacked(self, decoded: av.VideoFrame, *, beyond: bool) -> Frame:
        assert decoded.pts is not None
        pts = decoded.pts - int(self.shift_s / self.time_base)
        frame = self._unpacker.unpack(decoded, pts, self.time_base)
        return replace(frame, beyond=True) if beyond else frame

    def others(self) -> Iterator[Packet]:
        """The packets of all streams but the main video, on the same clock as the frames.

        Each call reads the file anew, from a container of its own.
        """
        begin, end = self.limits()
        # Of its own, as frames may be read meanwhile.
        demuxer = Demuxer(discontinuous=self._jumpy)
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            for packet in demuxer.packets(container, begin if self._seeks else None):
                if packet.stream_index == self.video.index or not packet.size:
                    continue
                if begin <= when(packet, begin) < end:
                    yield earlier(packet, self.shift_s)

    @property
    def shift_s(self) -> Fraction:
        """By how much earlier all streams are than in the file: a part of it starts at zero."""
        if not self.span.start:
            return -self._lift_s
        # In whole ticks of the video, which stays exact; finer clocks follow it exactly.
        return Fraction(self.origin_s + self.span.start) // self.time_base * self.time_base

    def limits(self) -> tuple[float, float]:
        """Begin and end of the part to work on, in seconds on the file's clock."""
        if not self.span.start and self.span.duration is None:
            return float("-inf"), float("inf")
        # FFmpeg rounds where a file begins to microseconds, which may be behind its first frame.
        begin = self.origin_s + self.span.start - 1e-6
        return begin, float("inf") if self.span.duration is None else begin + self.span.duration

    def _decoded(self, after: int | None) -> Iterator[av.VideoFrame]:
        """Decoded frames, each with a time later than the one before.

        Those before the one at `after` may be left out.
        """
        last: int | None = None
        tail = Tail()
        for packet in self._packets(after):
            if packet.stream_index != self.video.index and packet.size:
                self._pass_by(packet)
                continue
            if packet.pts is not None and packet.duration and not packet.is_discard:
                self._lengths[packet.pts] = packet.duration
            tail.push(packet)
            frames = self._decode(packet)
            for frame in frames:
                tail.came(frame)
            if not packet.size and not self._by_dts:
                frames += self._kept(tail)
            for frame in frames:
                if self._edited and (self._time(frame) or 0) < 0:
                    continue  # FFmpeg only marks them where a key frame is before the edit
                frame.pts = last = self._timestamp(frame, last)
                frame.time_base = self.time_base
                yield frame
        if not self.jumps:
            self.early = self._early(last)

    def _packets(self, after: int | None) -> Iterator[Packet]:
        """What is read to be decoded, with the packets of other streams on the way."""
        # MPEG-TS has no index: a search in it lands behind what it looks for, and in a file whose
        # clock jumps anywhere.
        behind = self._undecoded() if self.span.start and self._jumpy else 0
        self._seeks = bool(self.span.start) and not self._jumpy
        self._seeks = self._seeks and self._search(Fraction(self._early_s))
        seek_s = self._early_s if self._seeks else None
        if after is not None:
            seek_s = float(after * self.time_base)
        for packet in self._demuxer.packets(self.container, seek_s):
            if behind and packet.size and packet.stream_index == self.video.index:
                behind -= 1
                continue
            yield packet

    def _pass_by(self, packet: Packet) -> None:
        """A packet of another stream, on the way; `others` reads them apart."""

    def _kept(self, tail: Tail) -> list[av.VideoFrame]:
        """The last frames that the decoder kept."""
        return tail.kept(self.path, self.video.index, self.reading.max_pixels)

    def still(self, index: int) -> bytes:
        """The picture of a stream that is cover art."""
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            packets = container.demux(container.streams[index])
            return next((bytes(packet) for packet in packets if packet.size), b"")

    def _early(self, last: int | None) -> Truncated | None:
        """Whether the file ended too early; `last` is when its last frame is shown."""
        ends = self._demuxer.ends
        if last is not None and self.failed:
            # By what came out: packets that do not decode are of no use.
            ends[self.video.index] = float(last * self.time_base + 1 / self.rate)
        reader = self._demuxer.last
        assert reader is not None
        return early_end(
            self.container,
            self.path,
            ends,
            self.video.index,
            frame_s=float(1 / self.rate),
            missing=reader.missing_at_end,
            damaged=bool(self.failed),
        )

    @property
    def _early_s(self) -> float:
        """From when on frames are needed at the latest, where a part is worked on: twice as early
        as is usual, since frames need not be equally long."""
        return self.limits()[0] - 2 * self.reading.around / float(self.rate)

    def _note_length(self, pts: int, end: float) -> None:
        length = self._lengths.pop(pts, None)
        # Frames that were dropped, or moved, leave theirs behind.
        for stale in [each for each in self._lengths if each < pts]:
            del self._lengths[stale]
        self.last = None
        if length is not None:
            left = max(end - float(pts * self.time_base), float(1 / self.rate)) / self.time_base
            self.last = pts - int(self.shift_s / self.time_base), round(min(length, left))

    def _deinterlaced(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        if not self.deinterlaced:
            yield from frames
            return
        filter = Deinterlacer("on" if self.reading.deinterlace == "on" else "auto")
        for frame in frames:
            yield from filter.push(frame)
        yield from filter.flush()

    def _choose(self, container: av.container.InputContainer) -> av.VideoStream:
        return choose_video(container, self.path, self.reading.max_pixels)

    def _search(self, timestamp: Fraction, *, exactly: bool = False) -> bool:
        """Whether a search for a moment finds a frame before it, or exactly at it as well."""
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            video = self._choose(container)
            try:
                decoder = decoder_of(video)
                container.seek(int(timestamp * av.time_base))
                for packet in container.demux(video):
                    for frame in frames_of(packet, decoder):
                        time = self._time(frame)
                        if time is None or time * self.time_base > timestamp:
                            return False
                        if not exactly or time * self.time_base == timestamp:
                            return True
            except (av.error.FFmpegError, IndexError):
                pass
        return False

    def _open(self) -> tuple[list[av.VideoFrame], av.container.InputContainer, str]:
        """The first frames, and the file opened to be decoded from its beginning, and where."""
        # Seeking back would lose frames before the first key frame, so they are decoded on the
        # side.
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            peeked = first_frames(container, self._choose(container), self.path)
        return peeked, *open_decoding(self.path, self.reading, peeked)

    def _transparent(self, peeked: list[av.VideoFrame]) -> bool:
        """Whether a frame is transparent somewhere, before the part to work on ends.

        Only what can be is looked through, as far as the first one that is.
        """
        codec = self.video.codec_context.codec.canonical_name
        if not any(has_alpha(frame.format) for frame in peeked) and codec not in _PICTURES:
            return False
        reformatter, end = VideoReformatter(), self.limits()[1]
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            video = self._choose(container)
            decoder = decoder_of(video)
            with suppress(av.error.FFmpegError, IndexError):
                for packet in container.demux(video):
                    if when(packet, 0) >= end:
                        break
                    frames = frames_of(packet, decoder)
                    if any(opacity(frame, reformatter) < 1 for frame in frames):
                        return True
        return False

    def _undecoded(self) -> int:
        """How many packets of the video lie before the key frame that the part needs first."""
        begin = self._early_s
        count = needed = 0
        demuxer = Demuxer(discontinuous=True)
        with open_input(self.path, max_pixels=self.reading.max_pixels) as container:
            for packet in demuxer.packets(container):
                if packet.stream_index != self.video.index or not packet.size:
                    continue
                if when(packet, begin) > begin and (packet.dts or 0) * self.time_base > begin:
                    break
                if packet.is_keyframe and when(packet, begin) <= begin:
                    needed = count
                count += 1
        return needed

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        self.packets += bool(packet.size)
        try:
            frames = self._decoding.decode(packet if packet.size else None)
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

    def _timestamp(self, decoded: av.VideoFrame, last: int | None) -> int:
        """The frame's timestamp, made up only where it has none or does not follow the last."""
        dts = None if decoded.dts is None else decoded.dts - self._late
        for time in (self._time(decoded), dts):
            if time is not None and (last is None or time > last):
                self._stood = self._time(decoded)
                return int(time)
        # In AVI the last frames have only the time of their packet, and come when all is read.
        self.made_up += not (self._by_dts and decoded.pts is not None)
        if last is None:
            return 0
        own = self._time(decoded)
        # One that stands still goes on by the frame rate, one that goes back waits for the others.
        stands = own is None or own == self._stood or self._timeless
        self._stood = own
        step = round(1 / (self.rate * self.time_base))
        return last + max(1, step if stands else 1)

    def _time(self, decoded: av.VideoFrame) -> int | None:
        """The frame's own timestamp."""
        if not self._by_dts:
            return decoded.pts
        return None if decoded.dts is None else decoded.dts - self._late

    def _before_zero_s(self, first: int) -> Fraction:
        """How long before zero the file starts, if its first frame does.

        FFmpeg lets a clock of MPEG-TS that runs over on the way start there. MP4 would cut off
        what lies before zero.
        """
        if first >= 0 or self._edited:
            return Fraction(0)
        start = Fraction(self.container.start_time or 0, av.time_base) // self.time_base
        return -min(first, start) * self.time_base

    def _rate(self, steps: list[Fraction]) -> Fraction:
        """Frames per second: what the file says, unless its first frames are far from that."""
        said = self.video.average_rate or self.video.guessed_rate
        if self._timeless:
            # What the packets' times were averaged to says as little as they do.
            said = self.video.codec_context.framerate or said
        seen = 1 / (median(steps) * self.time_base) if steps and not self._timeless else None
        if seen is None and (said or 0) > _FASTEST:
            said = None
        if seen is not None and not (said and seen / 3 < said < seen * 3):
            said = Fraction(seen).limit_denominator(1001)
        return min(max(Fraction(said or 25), Fraction(1, 10)), Fraction(1000))
