"""One clock for all streams of a file, without the jumps that a damaged or joined file has."""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from stream.frame import Packet

_log = logging.getLogger(__name__)

_BACKWARD_S = Fraction(1, 2)
"""Decoding times never go back; by so much, the clock was set anew."""
_BACKWARD_WHERE_CLOCKS_JUMP_S = Fraction(1, 10)
"""The same in formats whose clocks may jump (as FFmpeg's command has it)."""
_FORWARD_S = Fraction(10)
"""There, a longer gap is a jump too (FFmpeg's `-dts_delta_threshold`)."""
_NEAR_S = Fraction(5)
"""Streams lie side by side in a file: all of them are at about the same moment at one place."""
_SURELY_S = Fraction(1)
"""By so much nearer to the other streams another clock must bring a stream, to be the right one."""
_AHEAD = 500
"""Packets looked at to find which streams jump together."""


@dataclass
class _Track:
    """Where a stream is that flows without pause, after it was shifted."""

    shift: Fraction
    last: Fraction
    """When the last packet is decoded."""
    end: Fraction
    """When that packet is over."""
    step: Fraction = Fraction(0)
    """How long packets take that do not say it."""


class Timeline:
    """Shifts packets so that each stream goes on where it was after its clock jumped.

    All streams that jump together are shifted by the same time, to the tick, so that the sound
    stays with the picture. The same packets always get the same shifts.
    """

    def __init__(self, *, discontinuous: bool, flowing: Collection[int]) -> None:
        """`discontinuous`: whether clocks may jump in this format, as in MPEG-TS; a long gap in
        MP4 is just that. `flowing`: indices of streams that flow without pause."""
        self.jumps = 0
        self._discontinuous = discontinuous
        self._flowing = frozenset(flowing)
        self._slack = _BACKWARD_WHERE_CLOCKS_JUMP_S if discontinuous else _BACKWARD_S
        self._shifts = [Fraction(0)]
        self._now = Fraction(0)
        """What the last packet was shifted by."""
        self._tracks: dict[int, _Track] = {}

    def placed(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The same packets, in the order in which they lie in the file, where they belong."""
        ahead: deque[Packet] = deque()

        def look() -> Collection[Packet]:
            ahead.extend(islice(packets, _AHEAD - len(ahead)))
            return ahead

        while (packet := ahead.popleft() if ahead else next(packets, None)) is not None:
            self._place(packet, look)
            yield packet

    def _place(self, packet: Packet, look: Callable[[], Collection[Packet]]) -> None:
        if not packet.size or not packet.time_base:
            return
        if self._counts(packet):
            self._now = self._follow(packet, look)
        track = self._tracks.get(packet.stream_index)
        # Sparse streams, as subtitles, go with those that flow.
        shift = self._now if track is None else track.shift
        if ticks := round(shift / Fraction(packet.time_base)):
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks

    def _counts(self, packet: Packet) -> bool:
        # Only decoding times follow one another; some packets just say when they are shown.
        return packet.stream_index in self._flowing and packet.dts is not None

    def _follow(self, packet: Packet, look: Callable[[], Collection[Packet]]) -> Fraction:
        """What a packet is to be shifted by; its stream is there from now on."""
        at, track = _at(packet), self._tracks.get(packet.stream_index)
        shift = self._known(track, at)
        if shift is None:
            shift = self._jump(packet, look)
        timestamp = at + shift
        if track is None:
            track = self._tracks[packet.stream_index] = _Track(shift, timestamp, timestamp)
        if 0 < timestamp - track.last <= _SURELY_S:
            track.step = timestamp - track.last
        track.last = max(track.last, timestamp) if shift == track.shift else timestamp
        track.end = timestamp + (_length(packet) or track.step)
        track.shift = shift
        return shift

    def _known(self, track: _Track | None, at: Fraction) -> Fraction | None:
        """The shift, of those there are, that a packet at `at` belongs to, if any."""
        if track is None:
            timestamp = at + self._now
            near = any(abs(timestamp - each.last) <= _FORWARD_S for each in self._tracks.values())
            return self._now if near or not self._tracks or not self._discontinuous else None
        if not self._off(track, at + track.shift):
            return self._nearer(track, at)
        for shift in reversed(self._shifts):
            timestamp = at + shift
            if shift != track.shift and self._extra(track, shift, timestamp, _SURELY_S):
                return shift
            if -self._slack <= timestamp - track.end < _SURELY_S:
                return shift  # the stream is back where it was
        return None

    def _off(self, track: _Track, timestamp: Fraction) -> bool:
        """Whether a stream's own clock has jumped."""
        if timestamp < track.last - self._slack:
            return True
        if not self._discontinuous or timestamp - track.end <= _FORWARD_S:
            return False
        # It may have paused, while the others went on.
        return not self._extra(track, track.shift, timestamp, Fraction(0))

    def _extra(
        self, track: _Track, shift: Fraction, timestamp: Fraction, overlap: Fraction
    ) -> bool:
        """Whether another stream with this shift is near, and the stream itself not beyond."""
        if timestamp < track.last - overlap:
            return False
        others = (each for each in self._tracks.values() if each is not track)
        return any(each.shift == shift and abs(timestamp - each.last) < _NEAR_S for each in others)

    def _nearer(self, track: _Track, at: Fraction) -> Fraction:
        """A stream's own shift, or the newest where that brings it to the others.

        A clock that jumped by little can seem to go on, if the stream was silent.
        """
        own, newest = track.shift, self._shifts[-1]
        if not self._discontinuous or newest == own:
            return own  # soon, as this is asked of every packet
        there = [each.last for each in self._tracks.values() if each.shift == newest]
        if not there or at + newest < track.last - _SURELY_S:
            return own
        others = max(there)
        nearer = abs(at + newest - others) + _SURELY_S < abs(at + own - others)
        return newest if nearer else own

    def _jump(self, packet: Packet, look: Callable[[], Collection[Packet]]) -> Fraction:
        """A shift for a clock that was not seen before, so that no stream meets its own past."""
        at, track = _at(packet), self._tracks.get(packet.stream_index)
        ends = {index: each.end for index, each in self._tracks.items()}
        shift = (track.end if track is not None else max(ends.values())) - at
        here, seen, stayed = at, {packet.stream_index}, False
        for other in look():
            index = other.stream_index
            if index not in ends or not self._counts(other):
                continue
            then, track = _at(other), self._tracks[index]
            timestamp = then + track.shift
            if abs(then - here) < min(_NEAR_S, abs(timestamp - ends[index])):
                here = then
                if index not in seen:
                    seen.add(index)
                    shift = max(shift, ends[index] - then)
            elif abs(timestamp - ends[index]) < _NEAR_S:
                stayed = stayed or index not in seen
                ends[index] = max(ends[index], timestamp + (_length(other) or track.step))
            if len(seen) == len(ends):
                break
        own, much = (self._now, _FORWARD_S) if track is None else (track.shift, _SURELY_S)
        if stayed and len(seen) == 1 and abs(shift - own) < much:
            return own  # just this one stumbles, or starts late
        self.jumps += 1
        _log.debug("the clock of stream %d jumps at %.3f s", packet.stream_index, float(at))
        self._shifts.append(shift)
        return shift


def _at(packet: Packet) -> Fraction:
    """When a packet is decoded, on its own clock."""
    assert packet.dts is not None
    assert packet.time_base is not None
    return packet.dts * Fraction(packet.time_base)


def _length(packet: Packet) -> Fraction:
    return (packet.duration or 0) * Fraction(packet.time_base or 0)
