"""One clock for all streams of a file, without the jumps that a damaged or joined file has."""

import logging
from collections.abc import Collection
from fractions import Fraction

from stream.frame import Packet

_log = logging.getLogger(__name__)

_BACKWARD_S = Fraction(1, 2)
"""Decoding times never go back; by so much, the clock was set anew."""
_FORWARD_S = Fraction(10)
"""A longer gap is a jump of the clock too (FFmpeg's `-dts_delta_threshold`), where clocks jump."""
_SAME_S = Fraction(1)
"""Another stream has made the same jump if that brings this one so near to where it was."""


class Timeline:
    """Shifts packets so that each stream goes on where it was after its clock jumped.

    All streams that jump together are shifted by the same time, to the tick, so that the sound
    stays with the picture. Packets are given in the order in which they lie in the file; the same
    file always gives the same shifts.
    """

    def __init__(self, *, jumps_forward: bool, measured: Collection[int]) -> None:
        """`jumps_forward`: whether a long gap is a jump of the clock, as in MPEG-TS, where it is
        a long gap in MP4. `measured`: indices of streams that flow without pause."""
        self.jumps = 0
        self._jumps_forward = jumps_forward
        self._measured = frozenset(measured)
        self._shifts: list[Fraction] = [Fraction(0)]
        self._shift: dict[int, Fraction] = {}
        self._next: dict[int, Fraction] = {}

    def place(self, packet: Packet) -> Packet:
        """Put a packet where it belongs; returns the same packet."""
        moment = packet.dts if packet.dts is not None else packet.pts
        if moment is None or not packet.time_base:
            return packet
        base, stream = Fraction(packet.time_base), packet.stream_index
        at = moment * base
        if stream in self._measured:
            shift = self._measure(stream, at)
            end = at + shift + (packet.duration or 0) * base
            self._next[stream] = max(self._next.get(stream, end), end) if shift == 0 else end
            self._shift[stream] = shift
        else:
            # Sparse streams, as subtitles, follow the one that flows.
            shift = self._shifts[-1]
        if shift:
            ticks = round(shift / base)
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks
        return packet

    def _measure(self, stream: int, at: Fraction) -> Fraction:
        shift = self._shift.get(stream, self._shifts[-1])
        due = self._next.get(stream)
        if due is None or not self._jumped(at + shift - due):
            return shift
        for known in reversed(self._shifts):
            if abs(at + known - due) < _SAME_S:
                return known
        self.jumps += 1
        _log.debug("the clock of stream %d jumps at %.3f s", stream, float(at))
        self._shifts.append(due - at)
        return self._shifts[-1]

    def _jumped(self, gap: Fraction) -> bool:
        return gap < -_BACKWARD_S or (self._jumps_forward and gap > _FORWARD_S)
