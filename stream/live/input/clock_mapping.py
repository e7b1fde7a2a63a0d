"""When the pictures and the sound of a connection are shown, on this machine's own clock."""

from dataclasses import dataclass

_JUMP_NS = 1_000_000_000
"""What comes by more than this off its time belongs to another clock."""
_CREEP_NS = 20_000_000_000
"""How slowly a clock is taken to run late, which its packets mostly do by chance."""
_APART_NS = 2_000_000
"""How far apart what comes in a burst is put: Matroska counts in milliseconds, and RTP in ticks."""


@dataclass
class _Clock:
    """A camera's clock, seen from here."""

    offset: int
    """What its time is behind ours when a packet comes without delay."""
    read: int
    """When it was last looked at."""

    def follow(self, offset: int, arrived: int) -> None:
        late = offset - self.offset
        if late < 0:
            self.offset = offset
        else:
            elapsed = max(0, arrived - self.read)
            self.offset += late * min(elapsed, _CREEP_NS) // _CREEP_NS
        self.read = max(self.read, arrived)


@dataclass
class _Track:
    clock: _Clock | None = None
    pts: int = 0
    last: int | None = None


class ClockMapping:
    """Turns the timestamps of a connection's streams into moments of the monotonic clock, in ns.

    A moment is the time at which a packet would have come without any delay on the way: the least
    difference of arrival and timestamp is remembered, taken down at once and up slowly, so that
    drifting clocks are followed. All streams share it and so stay in sync. Where timestamps jump
    by more than a second the count begins anew at arrival; a stream that jumps as another one did
    joins it again. Moments rise across connections as well.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._tracks: dict[int, _Track] = {}

    def renew(self) -> None:
        """Forget the clocks of a connection that is over."""
        for track in self._tracks.values():
            track.clock = None

    def place(self, stream: int, pts: int | None, arrived: int, step: int) -> tuple[int, bool]:
        """When something of stream number `stream` is shown, and whether its clock has jumped.

        `pts` is its timestamp in ns, if it has one, `arrived` when it came, `step` how long after
        the one before it is due. Moments of a stream rise by two milliseconds or more, or by
        half of a shorter step, and are later than `arrived` by no more of these than pieces came at
        once.
        """
        track = self._tracks.setdefault(stream, _Track())
        jumped = False
        if pts is None and track.clock is not None:
            track.pts += step
        elif pts is not None:
            jumped = self._read(track, pts, arrived)
            track.pts = pts
        timestamp = arrived if track.clock is None else min(track.pts + track.clock.offset, arrived)
        if track.last is not None:
            # Where time stands still or goes back a little, half a step keeps players going.
            apart = max(1, min(step // 2, _APART_NS))
            timestamp = max(timestamp, min(track.last + step // 2, arrived), track.last + apart)
        track.last = timestamp
        return timestamp, jumped

    def _read(self, track: _Track, pts: int, arrived: int) -> bool:
        """Look at the clock of a stream; returns whether it has jumped."""
        offset = arrived - pts
        if track.clock is not None and abs(offset - track.clock.offset) <= _JUMP_NS:
            track.clock.follow(offset, arrived)
            return False
        jumped = track.clock is not None
        self.jumps += jumped
        others = [other.clock for other in self._tracks.values() if other.clock is not None]
        near = [clock for clock in others if abs(offset - clock.offset) <= _JUMP_NS]
        track.clock = near[0] if near else _Clock(offset, arrived)
        track.clock.follow(offset, arrived)
        return jumped
