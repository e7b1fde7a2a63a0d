"""How fast a job goes, how long it will take and how large its output will be."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream.files.report import Progress

_LEAST_FRAMES = 8
"""How many frames are timed, at least, unless they take longer than this:"""
_ENOUGH_S = 4.0
_WAIT_S = (5.0, 30.0)
"""How long the encoder is waited for, to hand out enough to tell the size: a tenth of what the job
takes, within these."""

_MEAN_S = 10.0
"""Over which a speed is a mean, at least; over `_LEAST_FRAMES` where those take longer."""


class RateEstimate:
    """How fast a job goes and when it will be done, without what it does once at its start."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._seen: deque[tuple[float, int]] = deque()
        """When how many frames were done, in the last seconds."""

    def see(self, progress: Progress) -> None:
        """Take what a job says of itself; another job begins where the time goes back."""
        here = (progress.elapsed_s, progress.frames)
        if self._seen and here < self._seen[-1]:
            self._first = None
            self._seen.clear()
        if progress.phase != "restoring" or progress.frames <= progress.earlier:
            return
        self._first = self._first or here
        self._seen.append(here)
        while len(self._seen) > 2 and _enough(self._seen[1], here, _MEAN_S, both=True):
            self._seen.popleft()

    @property
    def fps(self) -> float | None:
        """Frames per second, of late; None while it is not known."""
        if len(self._seen) < 2 or not _enough(self._seen[0], self._seen[-1], _ENOUGH_S):
            return None
        return _rate(self._seen[0], self._seen[-1])

    def left_s(self, total: int | None) -> float | None:
        """Seconds until `total` frames are done; None while that is not known."""
        if self._first is None or not total or self.fps is None:
            return None
        return max(0, total - self._seen[-1][1]) / _rate(self._first, self._seen[-1])


def _enough(
    before: tuple[float, int], after: tuple[float, int], seconds: float, *, both: bool = False
) -> bool:
    took, frames = after[0] - before[0], after[1] - before[1]
    enough = frames >= _LEAST_FRAMES, frames > 0 and took >= seconds
    return took > 0 and (all(enough) if both else any(enough))


def _rate(before: tuple[float, int], after: tuple[float, int]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0])


@dataclass(frozen=True)
class Estimate:
    """What is left of a job, by the speed of its first frames."""

    frames: int
    """How many are restored, those of earlier runs not counted."""
    seconds: float
    """From its beginning to its end."""
    fps: float
    """Frames per second, decoded, restored and encoded."""
    bytes: int | None
    """Size of the output; None where the encoder has handed out too little to tell."""
    runs_on: str
    """Engine and precision, such as "openvino, bfloat16"."""


class Forecast:
    """Watches a job's progress and estimates once, where the job is long.

    Timing begins once the encoder has handed out some frames: what is done once, such as compiling
    the network, and frames that an encoder only collects at first would mislead.
    """

    def __init__(
        self,
        tell: Callable[[Estimate], None],
        *,
        longer_than_s: float = 30.0,
        least_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is called once, or never where the job takes no longer than `longer_than_s`.

        `least_s` is how long the frames that are timed take, at least.
        """
        self._tell = tell
        self._longer_than_s = longer_than_s
        self._least_s = least_s
        self._clock = clock
        self._first: tuple[float, int] | None = None
        """When the first frames were done, and how many."""
        self._coded: tuple[float, int] | None = None
        """The same for when the encoder had handed out enough."""
        self._done = False

    def see(self, progress: Progress) -> None:
        """Take what a job says of itself, about ten times a second."""
        total, now = progress.expected_frames, self._clock()
        if self._done or total is None or progress.phase != "restoring":
            return
        here = (now, progress.frames)
        if self._first is None:
            # Of frames that an earlier run kept, the encoder has some at once.
            if progress.frames > progress.earlier:
                self._first = here
            return
        if self._coded is None and progress.expected_bytes is not None:
            self._coded = here
        begun, before = self._coded or self._first
        took, frames = now - begun, progress.frames - before
        enough = frames >= _LEAST_FRAMES or (frames > 0 and took >= _ENOUGH_S)
        if took < self._least_s or not enough:
            return
        seconds = progress.elapsed_s + max(total - progress.frames, 0) * took / frames
        least, most = _WAIT_S
        if self._coded is None and now - self._first[0] < min(max(seconds / 10, least), most):
            return
        self._done = True
        if seconds > self._longer_than_s:
            self._tell(
                Estimate(
                    frames=max(total, progress.frames) - progress.earlier,
                    seconds=seconds,
                    fps=frames / took,
                    bytes=progress.expected_bytes,
                    runs_on=progress.runs_on,
                )
            )
