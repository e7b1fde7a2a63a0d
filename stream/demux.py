"""Packets out of a file, one after the other, on one clock for all streams."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from math import gcd
from typing import Any

import av
import av.container
import av.error

from stream.frame import Packet
from stream.timeline import Timeline

_log = logging.getLogger(__name__)

_TS_DISCONT = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: a format whose clock may jump."""


class Demuxer:
    """Reads a file's packets, as often as it is asked to, and each time the same ones."""

    def __init__(self, *, discontinuous: bool) -> None:
        """`discontinuous`: whether the clock may jump in a file of this format."""
        self.jumps = 0
        """How often the file's clock jumped."""
        self.ends_s = 0.0
        """When the last packet so far is over."""
        self.error: av.error.FFmpegError | None = None
        """What ended reading, where it was not the end of the file."""
        self._discontinuous = discontinuous

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
        for packet in timeline.placed(self._read(container, streams)):
            if packet.size:
                self.jumps = timeline.jumps
                self.ends_s = max(self.ends_s, when(packet, 0.0, end=True))
            yield packet

    def _read(self, container: av.container.InputContainer, streams: list[Any]) -> Iterator[Packet]:
        try:
            yield from container.demux(streams)
        except (av.error.FFmpegError, IndexError) as error:
            # PyAV raises IndexError at the end of a TS in which a stream appears on the way.
            self.error = error if isinstance(error, av.error.FFmpegError) else None
            # What the decoder still holds was read before the damage.
            yield av.Packet()


def discontinuous(container: av.container.InputContainer) -> bool:
    """Whether the clock may jump in a file of this format."""
    return bool(container.format.flags & _TS_DISCONT)


def wanted(container: av.container.InputContainer) -> list[Any]:
    """The streams that are read."""
    kinds = ("video", "audio", "subtitle", "data")
    return [stream for stream in container.streams if stream.type in kinds]


def promised_s(container: av.container.InputContainer) -> float:
    """When the last of the streams ends, by what the file's header says."""
    streams = wanted(container)
    ends = [
        float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        for stream in streams
        if stream.duration and stream.time_base
    ]
    # Matroska says it of the file alone, which may have other streams that last longer; it counts
    # from zero, not from where the streams start.
    if not ends and container.duration and len(streams) == len(container.streams):
        ends = [container.duration / av.time_base]
    return max(ends, default=0.0)


def when(packet: Packet, default: float, *, end: bool = False) -> float:
    """When a packet is shown or heard, or ends, on the file's clock."""
    moment = packet.pts if packet.pts is not None else packet.dts
    if moment is None or packet.time_base is None:
        return default
    return float((moment + (packet.duration or 0 if end else 0)) * packet.time_base)


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
