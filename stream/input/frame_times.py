"""When frames are shown, by what they and their packets say of it."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from stream.frame import Packet
from stream.input.container.opening import disordered

_FASTEST = 240
"""Frames per second; more than that, without frames that follow so fast, is the clock's rate."""


class FrameTimes:
    """The times of one video's frames, in ticks of its clock."""

    def __init__(
        self,
        container: av.container.InputContainer,
        video: av.VideoStream,
        peeked: Sequence[av.VideoFrame],
    ) -> None:
        """`peeked` are the first frames, decoded."""
        self.time_base = Fraction(video.time_base or Fraction(1, 90000))
        self.by_dts = disordered([*peeked], avi=container.format.name == "avi")
        """Whether frames have only the times at which they are decoded."""
        self._late = 0
        if self.by_dts and peeked[0].pts is not None:
            self._late = (peeked[0].dts or 0) - peeked[0].pts
        times = [(n, t) for n, frame in enumerate(peeked) if (t := self.of(frame)) is not None]
        steps = [Fraction(b - a, n - m) for (m, a), (n, b) in pairwise(times) if b > a]
        self.edited = "mov" in container.format.name.split(",")
        """Whether what has a time before zero is before the edit that players begin with."""
        self._start_s = Fraction(container.start_time or 0, av.time_base)
        self.lift_s = Fraction(0)
        """How long before zero the file starts."""
        if times:
            self.lift(times[0][1])
        self._timeless = len(peeked) > 1 and 2 * len(steps) < len(times)
        self._peeked = [time for _, time in times if time >= 0 or not self.edited]
        self.rate = self._rate(video, steps)
        """Frames per second."""
        self.made_up = 0
        """Frames whose time was missing or did not follow the one before."""
        self._stood: int | None = None
        """The own time of the frame before."""
        self.last: tuple[int, int] | None = None
        """When the last frame handed on is shown and for how long, where the file says both."""
        self._lengths: dict[int, int] = {}
        """How long what is being decoded is shown, by when."""

    def of(self, decoded: av.VideoFrame) -> int | None:
        """A frame's own time."""
        if not self.by_dts:
            return decoded.pts
        return None if decoded.dts is None else decoded.dts - self._late

    def next(self, decoded: av.VideoFrame, last: int | None) -> int:
        """A frame's time, made up only where it has none or does not follow the `last` one."""
        dts = None if decoded.dts is None else decoded.dts - self._late
        for time in (self.of(decoded), dts):
            if time is not None and (last is None or time > last):
                self._stood = self.of(decoded)
                return int(time)
        # In AVI the last frames have only the time of their packet, and come when all is read.
        self.made_up += not (self.by_dts and decoded.pts is not None)
        if last is None:
            return 0
        own = self.of(decoded)
        # One that stands still goes on by the frame rate, one that goes back waits for the others.
        stands = own is None or own == self._stood or self._timeless
        self._stood = own
        step = round(1 / (self.rate * self.time_base))
        return last + max(1, step if stands else 1)

    def in_order(self, pts: NDArray[np.int64]) -> NDArray[np.int64]:
        """When frames are shown, in order, by the times of all packets that are to be shown; none
        where these do not tell it."""
        times = np.sort(pts)
        if not self._peeked or self.by_dts or self._timeless:
            return times[:0]
        # What comes before a first frame has nothing to be decoded with.
        times = times[times >= self._peeked[0]]
        told = times[: len(self._peeked)].tolist() == sorted(self._peeked)
        return times if told else times[:0]

    def lift(self, first: int) -> None:
        """Take for the beginning of the file what is before zero of its `first` frame.

        FFmpeg lets a clock of MPEG-TS that runs over on the way start there. MP4 would cut off
        what lies before zero.
        """
        self.lift_s = Fraction(0)
        if first < 0 and not self.edited:
            self.lift_s = -min(first, self._start_s // self.time_base) * self.time_base

    def note(self, packet: Packet) -> None:
        """Note for how long a packet's frame is shown."""
        if packet.pts is not None and packet.duration and not packet.is_discard:
            self._lengths[packet.pts] = packet.duration

    def hand_on(self, pts: int, end_s: float, shift_s: Fraction) -> None:
        """Note that a frame is the `last` one; `end_s` is where the part to work on ends, `shift_s`
        by how much earlier than in the file it is shown."""
        length = self._lengths.pop(pts, None)
        # Frames that were dropped, or moved, leave theirs behind.
        for stale in [each for each in self._lengths if each < pts]:
            del self._lengths[stale]
        self.last = None
        if length is not None:
            left = max(end_s - float(pts * self.time_base), float(1 / self.rate)) / self.time_base
            self.last = pts - int(shift_s / self.time_base), round(min(length, left))

    def _rate(self, video: av.VideoStream, steps: list[Fraction]) -> Fraction:
        """What the file says, unless its first frames are far from that."""
        said = video.average_rate or video.guessed_rate
        if self._timeless:
            # What the packets' times were averaged to says as little as they do.
            said = video.codec_context.framerate or said
        seen = 1 / (median(steps) * self.time_base) if steps and not self._timeless else None
        if seen is None and (said or 0) > _FASTEST:
            said = None
        if seen is not None and not (said and seen / 3 < said < seen * 3):
            said = Fraction(seen).limit_denominator(1001)
        return min(max(Fraction(said or 25), Fraction(1, 10)), Fraction(1000))
