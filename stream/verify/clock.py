"""Whether the clock of a file jumps, told by the packets alone."""

from fractions import Fraction

from stream.frame import Packet

_BACK_S = Fraction(1, 10)
_LEAP_S = Fraction(10)
"""FFmpeg's limits (`-dts_delta_threshold`)."""


class ClockJumpsError(Exception):
    """A stream's clock goes back, or leaps."""


class Clock:
    """Watches the decoding times of each stream, which only ever rise by a little."""

    def __init__(self) -> None:
        self._last: dict[int, Fraction] = {}

    def check(self, packet: Packet, *, may_leap: bool) -> None:
        """Raise if the clock of the packet's stream jumped; in most formats a leap is a pause."""
        if packet.dts is None or not packet.time_base:
            return
        timestamp = packet.dts * Fraction(packet.time_base)
        last = self._last.get(packet.stream_index, timestamp)
        if timestamp < last - _BACK_S or (may_leap and timestamp > last + _LEAP_S):
            raise ClockJumpsError
        self._last[packet.stream_index] = timestamp
