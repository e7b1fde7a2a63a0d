"""Which moments of a video are looked at, and which frames are measured."""

from dataclasses import dataclass

_RUNS = 24
"""Runs of frames that are measured in a long video, at least."""
_RUN = 6
"""Frames in each of them, at least."""
_ROUNDING = 1e-9
"""Of sums of times, as a share."""


@dataclass(frozen=True)
class Spread:
    """Moments in seconds on the input's clock."""

    runs: list[tuple[float, float]]
    """First moment and end of each run of frames that is measured."""
    shown: list[tuple[int, float]]
    """Moments from which on frames are shown, and the numbers of the runs that they are in."""
    frames: float
    """About how many frames are measured."""

    @classmethod
    def over(
        cls, begin: float, end: float, frame_s: float, moments: int, frames: int = 1
    ) -> "Spread":
        """Spread runs, and a number of moments, evenly from `begin` to `end`.

        Each moment is the beginning of a row of so many `frames`, in the middle of its share of the
        time. All frames are measured where they are not more than the runs would have.
        """
        length, share = end - begin, (end - begin) / moments
        long, each = max(_RUN, frames), -(-_RUNS // moments)
        total = moments * ((each - 1) * _RUN + long)
        if length <= total * frame_s * (1 + _ROUNDING):
            first = begin + max(share - frames * frame_s, 0) / 2
            shown = [(0, first + share * index) for index in range(moments)]
            return cls([(begin, end)], shown, length / frame_s)
        # In each share runs of equal distance; the one in the middle is shown, and may be longer.
        counts = [long if index == each // 2 else _RUN for index in range(each)]
        gap = (share - sum(counts) * frame_s) / each
        runs: list[tuple[float, float]] = []
        shown = []
        for moment in range(moments):
            at = begin + share * moment + gap / 2
            for index, count in enumerate(counts):
                if index == each // 2:
                    shown.append((len(runs), at))
                runs.append((at, at + count * frame_s))
                at += count * frame_s + gap
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
