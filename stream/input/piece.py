"""A piece of a video, from one frame to another: the very frames that all of it would give."""

import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import av.container
import av.error
import numpy as np

from stream.errors import SourceError
from stream.frame import Frame, Packet
from stream.input.container.demux import Demuxer
from stream.input.container.opening import decoder_of, frames_of
from stream.input.decoding import pts_of
from stream.input.packet_index import PacketIndex
from stream.input.source import Source
from stream.options.reading import Reading

_log = logging.getLogger(__name__)

_FILTERED = 2
"""Frames before a piece that the filter which deinterlaces needs, and one to spare."""


@dataclass(frozen=True)
class Seen:
    """What was found while a piece was decoded."""

    packets: int = 0
    failed: int = 0
    corrupt: int = 0
    made_up: int = 0
    jumps: int = 0
    rescaled: int = 0
    recoded: int = 0
    transparent: bool = False
    beside: list[str] = field(default_factory=list)
    last: tuple[int, int] | None = None
    early: str | None = None
    hints: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, source: Source) -> "Seen":
        """What a source has found so far."""
        return cls(
            packets=source.decoding.packets,
            failed=source.decoding.failed,
            corrupt=source.decoding.corrupt,
            made_up=source.times.made_up,
            jumps=source.jumps,
            rescaled=source.rescaled,
            recoded=source.recoded,
            transparent=source.transparent,
            beside=sorted(source.beside),
            last=source.times.last,
            early=None if source.early is None else str(source.early),
            hints=source.hints,
        )

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside a piece; keyword arguments that make it again."""
        return asdict(self)


class PieceSource(Source):
    """The frames of a piece, and those around it that its frames depend on, as `Frame.beyond`."""

    def __init__(
        self, path: Path, reading: Reading, index: PacketIndex, first: int, end: int | None
    ) -> None:
        """Frames are numbered by `index`, from the first one of the part to work on; `end` is the
        one behind the last, None: there is none behind it."""
        super().__init__(path, reading)
        self._index, self._first, self._end = index, first, end
        seconds = index.times * float(self.time_base)
        begin, finish = (np.searchsorted(seconds, limit) for limit in self.limits())
        self._offset = int(begin)
        """The number of the first frame to work on, in the whole file."""
        self._inside = int(finish) - int(begin)
        if self.discontinuous and len(index.times) > self._offset:
            self.times.lift(int(index.times[self._offset]))

    def go_on(self, done: int, known: int = 0, pts: int | None = None) -> None:
        """Hand on nothing of the piece's first `done` frames, but for their neighbors' sake."""
        self._first += done
        if not len(self._index.times):
            super().go_on(self._first)

    def __iter__(self) -> Iterator[Frame]:
        yield from self._by_time() if len(self._index.times) else self._by_count()

    def _by_time(self) -> Iterator[Frame]:
        around, end = self.reading.around, self._end
        if end is None:
            end = self._inside if self.span.duration is not None else 1 << 62
        limit = self.limits()[1]
        for decoded in self._deinterlaced(self._decoded(None)):
            pts = pts_of(decoded)
            number = int(np.searchsorted(self._index.times, pts)) - self._offset
            if number < end:
                self.times.hand_on(pts, limit, self.shift_s)
            if number >= end + around:
                return
            beyond = not self._first <= number < end
            if not beyond:
                self.frames += 1
                self._note_side_data(decoded)
                self.position_s = float(pts * self.time_base) - self.origin_s
            if number >= self._first - around:
                yield self._unpacked(decoded, beyond=beyond)

    def _by_count(self) -> Iterator[Frame]:
        left = (1 << 62) if self._end is None else self._end - self._first
        further = self.reading.around
        for frame in super().__iter__():
            if frame.beyond and left:
                yield frame
            elif left:
                left -= 1
                yield frame
            else:
                if not further:
                    return
                further -= 1
                yield replace(frame, beyond=True)

    def _packets(self, after: int | None) -> Iterator[Packet]:
        """Those from which the piece's frames are decoded, checked against the index."""
        index = self._index
        if not len(index.times):
            yield from super()._packets(after)
            return
        needed = self._offset + self._first - self.reading.around
        needed -= _FILTERED if self.info.deinterlaced else 0
        entries = index.entries(max(needed, 0))
        entry = next((each for each in entries[:-1] if self._reaches(each, needed)), 0)
        numbered = _numbered(self._demuxer, self.container, self.video.index, index, entry)
        for number, packet in numbered:
            if number is not None:
                self._check(number, packet)
            yield packet

    def _check(self, number: int, packet: Packet) -> None:
        index = self._index
        known = number < len(index.crc) and packet.size == index.size[number]
        if not known or zlib.crc32(packet) != index.crc[number]:
            raise SourceError(
                f"{self.path} is not the file that the pieces were planned for: its packet "
                f"{number} is another; use the same file on every machine"
            )

    def _reaches(self, entry: int, frame: int) -> bool:
        """Whether decoding from a packet on gives a frame whole."""
        index, time = self._index, int(self._index.times[frame])
        with self._aside.open() as container:
            decoder = decoder_of(self._choose(container))
            demuxer = Demuxer(discontinuous=self.discontinuous)
            try:
                for number, packet in _numbered(demuxer, container, self.video.index, index, entry):
                    if number is None and packet.size:
                        continue
                    for decoded in frames_of(packet, decoder):
                        if decoded.pts is not None and decoded.pts >= time:
                            return decoded.pts == time and not decoded.is_corrupt
            except SourceError as error:
                _log.debug("a search for packet %d: %s", entry, error)
        return False


class GatheredSource(Source):
    """A source whose frames were decoded in pieces elsewhere: for all that is beside them."""

    def gather(self, pieces: Iterable[Seen]) -> None:
        """Take over what was found in all pieces, in order."""
        self._hints: list[str] = []
        self.ended_early: str | None = None
        for seen in pieces:
            self.decoding.packets += seen.packets
            self.decoding.failed += seen.failed
            self.decoding.corrupt += seen.corrupt
            self.times.made_up += seen.made_up
            self._demuxer.jumps = max(self._demuxer.jumps, seen.jumps)
            self._unpacker.rescaled += seen.rescaled
            self._unpacker.recoded += seen.recoded
            self._unpacker.transparent |= seen.transparent
            self.beside |= set(seen.beside)
            self.times.last = tuple(seen.last) if seen.last is not None else None  # type: ignore[assignment]
            self.ended_early = seen.early
            self._hints = seen.hints

    @property
    def hints(self) -> list[str]:
        return self._hints


def _numbered(
    demuxer: Demuxer,
    container: av.container.InputContainer,
    video: int,
    index: PacketIndex,
    entry: int,
) -> Iterator[tuple[int | None, Packet]]:
    """Packets from a packet of the video on, each of the video's with its number.

    Raises `SourceError` where a search in the file does not find it.
    """
    numbers: Iterator[int] | None = count()
    begun = False
    if entry and index.sought:
        try:
            container.seek(int(index.pts[entry]), stream=container.streams[video])
        except av.error.FFmpegError as error:
            raise SourceError(f"a search failed: {error.strerror}") from error
        numbers = None
    places = {int(pts): number for number, pts in enumerate(index.pts)} if numbers is None else {}
    for packet in demuxer.packets(container):
        own = packet.stream_index == video and packet.size
        if own and numbers is None:
            found = places.get(packet.pts if packet.pts is not None else -1)
            if found is None or found > entry:
                raise SourceError(f"a search for packet {entry} found {found}")
            numbers = count(found)
        number = next(numbers) if own and numbers is not None else None
        begun = begun or number == entry
        if begun or not packet.size:
            yield number, packet
