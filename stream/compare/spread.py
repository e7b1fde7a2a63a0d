"""Which moments of a video are looked at, and which frames are measured."""

from dataclasses import dataclass

_RUNS = 24
"""Runs of frames that are measured in a long video, at least."""
_RUN = 6
"""Frames in each of them."""


@dataclass(frozen=True)
class Spread:
    """Moments in seconds on the input's clock."""

    runs: list[tuple[float, float]]
    """First moment and end of each run of frames that is measured."""
    shown: list[float]
    """Moments to show; the frames next to them are in the runs."""
    frames: float
    """About how many frames are measured."""

    @classmethod
    def over(cls, begin: float, end: float, frame_s: float, moments: int) -> "Spread":
        """Spread runs, and a number of moments, evenly from `begin` to `end`.

        All frames are measured where they are not more than the runs would have.
        """
        length = end - begin
        if length <= _RUNS * _RUN * frame_s:
            shown = [begin + length * (index + 0.5) / moments for index in range(moments)]
            return cls([(begin, end)], shown, length / frame_s)
        each = -(-_RUNS // moments)
        count = each * moments
        centers = [begin + length * (index + 0.5) / count for index in range(count)]
        half = _RUN / 2 * frame_s
        runs = [(center - half, center + half) for center in centers]
        return cls(runs, centers[each // 2 :: each], count * _RUN)

    @property
    def whole(self) -> bool:
        """Whether every frame is measured."""
        return len(self.runs) == 1

    def run_at(self, moment: float) -> int | None:
        """The number of the run that a moment is in."""
        if self.whole:
            return 0
        runs = (n for n, (begin, end) in enumerate(self.runs) if begin <= moment < end)
        return next(runs, None)
