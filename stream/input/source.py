"""Video files in: what is in them, their frames, and the packets of their other streams."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.container

from filters import Coding
from stream.frame import Frame, Packet
from stream.input.aside import Aside
from stream.input.container.demux import Demuxer, discontinuous, earlier, when
from stream.input.container.ending import Truncated, early_end
from stream.input.container.opening import Tail, first_frames
from stream.input.container.unfinished import hints
from stream.input.decoding import PacketDecoder, open_decoding, pts_of
from stream.input.deinterlace import Deinterlacer
from stream.input.frame_times import FrameTimes
from stream.input.media_info import MediaInfo
from stream.media.convert import Unpacker, has_alpha
from stream.media.side_data import MOVING, side_data
from stream.options.reading import Reading, Span

_PICTURES = {"apng", "exr", "jpeg2000", "png", "targa", "tiff", "webp"}
"""Codecs of which each frame says by itself whether it has alpha."""


@dataclass(frozen=True)
class _Resume:
    """What is done already of frames that are read again."""

    done: int = 0
    known: int = 0
    """How many of them need not be decoded, ..."""
    after: int | None = None
    """... where the last of those is found by its time."""


class Source:
    """A file's frames, and the packets of its other streams.

    Iterating decodes the main video; `frames`, `decoding` and `position_s` count along. After the
    end `early` says whether the file ended before the end that it promises.
    """

    def __init__(self, path: str | os.PathLike[str], reading: Reading | None = None) -> None:
        self.path = Path(path)
        self.reading = reading or Reading()
        peeked, self.container, where = self._open()
        self.video = self._choose(self.container)
        self.info = MediaInfo.of(peeked, self.reading)
        self.times = FrameTimes(self.container, self.video, peeked)
        self._demuxer = Demuxer(discontinuous=discontinuous(self.container))
        self.decoding = PacketDecoder(self.video, self.path, where)
        alpha = self.reading.alpha and self._transparent(peeked)
        self._unpacker = Unpacker(self.info.first, self.info.turn, alpha=alpha)
        self.frames = 0
        """Frames decoded, those that were skipped included."""
        self.beside: set[str] = set()
        """What was seen beside the picture in some frames, that changes from frame to frame."""
        self.position_s = 0.0
        self.early: Truncated | None = None
        """Where the file ended, if that was too early."""
        self._resume = _Resume()
        self._seeks = False

    @property
    def _aside(self) -> Aside:
        return Aside(self.path, self.reading.max_pixels)

    @property
    def span(self) -> Span:
        """The part to work on."""
        return self.reading.span

    @property
    def time_base(self) -> Fraction:
        """The clock of the frames, in seconds."""
        return self.times.time_base

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self.times.rate

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
        return 1 / Fraction(aspect) if self.info.transposed else Fraction(aspect)

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
        return discontinuous(self.container)

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
        harmed = self.decoding.damaged or self.times.made_up
        return not (harmed or self.jumps or self.rescaled)

    def go_on(self, done: int, known: int = 0, pts: int | None = None) -> None:
        """Hand on nothing of the first `done` frames, but for those that the next ones depend on.

        `pts` is when frame number `known` of them, counted from 1, is shown, as it was handed on,
        if all up to it was `clean`: those need not be decoded again, where a search in the file
        finds that very frame.
        """
        self._resume = _Resume(done)
        exact = not (self.discontinuous or self.times.by_dts or self.info.deinterlaced)
        if pts is not None and exact:
            self._resume = _Resume(done, known, pts + int(self.shift_s / self.time_base))

    def close(self) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Frame]:
        begin, end = self.limits()
        skip, after = self._resume.done, self._resume.after
        if after is not None and not self._search(after * self.time_base, exactly=True):
            after = None
        if after is not None:
            self.frames = self._resume.known
        around = self.reading.around
        before: deque[av.VideoFrame] = deque(maxlen=around)
        beyond = 0
        for decoded in self._deinterlaced(self._decoded(after)):
            pts = pts_of(decoded)
            timestamp = float(pts * self.time_base)
            if timestamp < end:
                self.times.hand_on(pts, end, self.shift_s)
            if after is not None and pts <= after:
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
            if skip < around:
                yield from (self._unpacked(each, beyond=True) for each in before)
            before.clear()
            self.frames += 1
            self._note_side_data(decoded)
            self.position_s = timestamp - (begin if self.span.start else self.origin_s)
            if self.frames == 1 and self.discontinuous:
                self.times.lift(pts)
            if self.frames > skip - around:
                yield self._unpacked(decoded, beyond=self.frames <= skip)

    def _note_side_data(self, decoded: av.VideoFrame) -> None:
        if self.frames & (self.frames - 1) == 0:
            # Ever more rarely: what was looked at is held until Python collects garbage.
            self.beside |= {MOVING[each] for each in side_data(decoded) if each in MOVING}

    def _unpacked(self, decoded: av.VideoFrame, *, beyond: bool) -> Frame:
        pts = pts_of(decoded) - int(self.shift_s / self.time_base)
        frame = self._unpacker.unpack(decoded, pts, self.time_base)
        return replace(frame, beyond=True) if beyond else frame

    def others(self) -> Iterator[Packet]:
        """The packets of all streams but the main video, on the same clock as the frames.

        Each call reads the file anew, from a container of its own.
        """
        begin, end = self.limits()
        # Of its own, as frames may be read meanwhile.
        demuxer = Demuxer(discontinuous=self.discontinuous)
        with self._aside.open() as container:
            for packet in demuxer.packets(container, begin if self._seeks else None):
                if packet.stream_index == self.video.index or not packet.size:
                    continue
                if begin <= when(packet, begin) < end:
                    yield earlier(packet, self.shift_s)

    @property
    def shift_s(self) -> Fraction:
        """By how much earlier all streams are than in the file: a part of it starts at zero."""
        if not self.span.start:
            return -self.times.lift_s
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
            self.times.note(packet)
            tail.push(packet)
            frames = self._decode(packet)
            for frame in frames:
                tail.came(frame)
            if not packet.size and not self.times.by_dts:
                frames += self._kept(tail)
            for frame in frames:
                if self.times.edited and (self.times.of(frame) or 0) < 0:
                    continue  # FFmpeg only marks them where a key frame is before the edit
                frame.pts = last = self.times.next(frame, last)
                frame.time_base = self.time_base
                yield frame
        if not self.jumps:
            self.early = self._early(last)

    def _packets(self, after: int | None) -> Iterator[Packet]:
        """What is read to be decoded, with the packets of other streams on the way."""
        # MPEG-TS has no index: a search in it lands behind what it looks for, and in a file whose
        # clock jumps anywhere.
        behind = self._undecoded() if self.span.start and self.discontinuous else 0
        self._seeks = bool(self.span.start) and not self.discontinuous
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
        return self._aside.still(index)

    def _early(self, last: int | None) -> Truncated | None:
        """Whether the file ended too early; `last` is when its last frame is shown."""
        ends = self._demuxer.ends
        if last is not None and self.decoding.failed:
            # By what came out: packets that do not decode are of no use.
            ends[self.video.index] = float(last * self.time_base + 1 / self.rate)
        reader = self._demuxer.last
        return early_end(
            self.container,
            self.path,
            ends,
            self.video.index,
            frame_s=float(1 / self.rate),
            missing=reader is not None and reader.missing_at_end,
            damaged=bool(self.decoding.failed),
        )

    @property
    def _early_s(self) -> float:
        """From when on frames are needed at the latest, where a part is worked on: twice as early
        as is usual, since frames need not be equally long."""
        return self.limits()[0] - 2 * self.reading.around / float(self.rate)

    def _deinterlaced(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        if not self.info.deinterlaced:
            yield from frames
            return
        filter = Deinterlacer("on" if self.reading.deinterlace == "on" else "auto")
        for frame in frames:
            yield from filter.push(frame)
        yield from filter.flush()

    def _choose(self, container: av.container.InputContainer) -> av.VideoStream:
        return self._aside.choose(container)

    def _search(self, timestamp: Fraction, *, exactly: bool = False) -> bool:
        """Whether a search for a moment finds a frame before it, or exactly at it as well."""
        return self._aside.finds(self.times, timestamp, exactly=exactly)

    def _open(self) -> tuple[list[av.VideoFrame], av.container.InputContainer, str]:
        """The first frames, and the file opened to be decoded from its beginning, and where."""
        # Seeking back would lose frames before the first key frame, so they are decoded on the
        # side.
        with self._aside.open() as container:
            peeked = first_frames(container, self._choose(container), self.path)
        return peeked, *open_decoding(self.path, self.reading, peeked)

    def _transparent(self, peeked: list[av.VideoFrame]) -> bool:
        """Whether a frame is transparent somewhere, before the part to work on ends.

        Only what can be is looked through, as far as the first one that is.
        """
        codec = self.video.codec_context.codec.canonical_name
        if not any(has_alpha(frame.format) for frame in peeked) and codec not in _PICTURES:
            return False
        return self._aside.is_transparent(self.limits()[1])

    def _undecoded(self) -> int:
        """How many packets of the video lie before the key frame that the part needs first."""
        return self._aside.before_key(self.video.index, self.time_base, self._early_s)

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        return self.decoding.decode(packet)
