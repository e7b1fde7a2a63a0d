"""Which moments of a video are looked at, and which frames are measured."""

from dataclasses import dataclass

_RUNS = 24
"""Runs of frames that are measured in a long video, at least."""
_RUN = 6
"""Frames in each of them, at least."""


@dataclass(frozen=True)
class Spread:
    """Moments in seconds on the input's clock."""

    runs: list[tuple[float, float]]
    """First moment and end of each run of frames that is measured."""
    shown: list[float]
    """Moments from which on frames are shown, each within a run."""
    frames: float
    """About how many frames are measured."""

    @classmethod
    def over(
        cls, begin: float, end: float, frame_s: float, moments: int, frames: int = 1
    ) -> "Spread":
        """Spread runs, and a number of moments, evenly from `begin` to `end`.

        Each moment is the beginning of at least so many `frames`. All frames are measured where
        they are not more than the runs would have.
        """
        length = end - begin
        long = max(_RUN, frames)
        each = -(-_RUNS // moments)
        total = moments * ((each - 1) * _RUN + long)
        if length <= total * frame_s:
            # Where all frames are shown, the first one is the first.
            first = 0.0 if moments * frames * frame_s >= length else 0.5
            begins = [begin + length * (index + first) / moments for index in range(moments)]
            return cls([(begin, end)], begins, length / frame_s)
        runs: list[tuple[float, float]] = []
        shown: list[float] = []
        for index in range(each * moments):
            center = begin + length * (index + 0.5) / (each * moments)
            seen = index % each == each // 2
            half = (long if seen else _RUN) / 2 * frame_s
            # Long runs of neighbors must not overlap, nor reach beyond the ends.
            first = max(center - half, runs[-1][1] if runs else begin)
            runs.append((first, min(max(center + half, first), end)))
            if seen:
                shown.append(first)
        return cls(runs, shown, total)

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
