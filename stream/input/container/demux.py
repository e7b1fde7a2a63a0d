"""Packets out of a file, one after the other, on one clock for all streams."""

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import gcd
from typing import Any

import av
import av.container
import av.error

from stream.frame import Packet
from stream.input.container.timeline import Timeline

_log = logging.getLogger(__name__)

_TS_DISCONT = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: a format whose clock may jump."""
_MOST_FAILURES = 10
"""Failures in a row after which reading is given up; players have the same."""


class Demuxer:
    """Reads a file's packets, as often as it is asked to, and each time the same ones."""

    def __init__(self, *, discontinuous: bool, ahead: Sequence[Packet] = ()) -> None:
        """`discontinuous`: whether the clock may jump in a file of this format; `ahead` are the
        first packets, where they were read already."""
        self.jumps = 0
        """How often the file's clock jumped."""
        self.ends: dict[int, float] = {}
        """When the last packet so far of each stream is over, by its index."""
        self.last: Reader | None = None
        """What reads, or has read, the packets."""
        self._discontinuous = discontinuous
        self._ahead = ahead

    def packets(
        self, container: av.container.InputContainer, seek_s: float | None = None
    ) -> Iterator[Packet]:
        """All packets, from the beginning or from where a search for a moment lands."""
        streams = wanted(container)
        timeline = Timeline(
            discontinuous=self._discontinuous,
            flowing=[stream.index for stream in streams if stream.type in ("video", "audio")],
        )
        if seek_s is not None:
            container.seek(int(seek_s * av.time_base))
        self.last = Reader(container, streams, self._ahead)
        self.ends = {}
        for packet in timeline.placed(iter(self.last)):
            if packet.size:
                self.jumps = timeline.jumps
                index = packet.stream_index
                self.ends[index] = max(self.ends.get(index, 0.0), when(packet, 0.0, end=True))
            yield packet


class Reader:
    """A file's packets, past those that cannot be read; at the end one without content.

    A file that was cut still says of packets which it has no more that they are there. Reading on
    behind the first of them finds all that is left of other streams.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        streams: list[Any],
        ahead: Sequence[Packet] = (),
    ) -> None:
        self.unread = 0
        """How many packets could not be read."""
        self.missing_at_end = False
        """Whether the last ones could not be."""
        self.ended = False
        """Whether all have been read."""
        self._container = container
        self._streams = streams
        self._ahead = ahead

    def __iter__(self) -> Iterator[Packet]:
        yield from self._ahead
        missing: int | None = None
        """How many packets lie behind the file's end, once that is reached."""
        row = 0
        while row <= _MOST_FAILURES:
            row += 1
            try:
                for packet in self._container.demux(self._streams):
                    if packet.size:  # without content it is PyAV's word for the end
                        row, self.missing_at_end = 0, False
                        yield packet
            except av.error.FFmpegError as error:
                _log.debug("a packet could not be read: %s", error)
                self.unread += 1
                self.missing_at_end = True
                continue
            except IndexError:
                pass  # PyAV's at the end of a TS in which a stream appears on the way
            if missing is None:
                missing = beyond(self._container)
            if not missing:
                break
            # FFmpeg calls a packet that is behind the file's end the end, and would go on.
            missing, row = missing - 1, 0
            self.unread += 1
            self.missing_at_end = True
        self.ended = True
        yield av.Packet()


def beyond(container: av.container.InputContainer) -> int:
    """How many packets lie behind a file's end, by its index (of MP4 and AVI)."""
    if not {"mov", "avi"} & set(container.format.name.split(",")):
        return 0
    size = container.size
    if size <= 0:
        return 0  # a pipe has none
    return sum(entry.pos >= size for each in container.streams for entry in each.index_entries)


def discontinuous(container: av.container.InputContainer) -> bool:
    """Whether the clock may jump in a file of this format."""
    return bool(container.format.flags & _TS_DISCONT)


def wanted(container: av.container.InputContainer) -> list[Any]:
    """The streams that are read."""
    kinds = ("video", "audio", "subtitle", "data")
    return [stream for stream in container.streams if stream.type in kinds]


def when(packet: Packet, default: float, *, end: bool = False) -> float:
    """When a packet is shown or heard, or ends, on the file's clock."""
    timestamp = packet.pts if packet.pts is not None else packet.dts
    if timestamp is None or packet.time_base is None:
        return default
    return float((timestamp + (packet.duration or 0 if end else 0)) * packet.time_base)


def earlier(packet: Packet, shift_s: Fraction) -> Packet:
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
