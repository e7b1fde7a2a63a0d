"""How many frames a second a camera sends, and when those of a file are due."""

import time
from collections import deque
from statistics import median

_S = 1_000_000_000
RATES = 1.0, 240.0
"""Frames per second that are believed."""
_STEPS = 25
"""Frames from which the rate is taken where the camera says none, or ..."""
_OFF = 1.25
"""... another one: by more than this factor."""
_USUAL_RATE = 25.0
_HELD_UP_NS = _S
"""What is played from a file and was held up by more goes on from where it is, ..."""
_PAUSE_NS = 10 * _S
"""... as it does where timestamps leave a longer gap."""


class FrameRate:
    """How many frames a second come."""

    def __init__(self, claimed: float | None, *, believed: bool) -> None:
        """`claimed`: as the stream says; `believed`: it comes at the rate that it claims."""
        self.claimed = claimed
        self._believed = believed and claimed is not None
        self._steps: deque[int] = deque(maxlen=_STEPS)
        self._corrected = False

    @property
    def fps(self) -> float:
        if len(self._steps) < _STEPS or self._believed:
            return self.claimed or _USUAL_RATE
        seen = min(RATES[1], max(RATES[0], _S / median(self._steps)))
        if self.claimed and 1 / _OFF < seen / self.claimed < _OFF:
            return self.claimed
        return seen

    @property
    def step_ns(self) -> int:
        """From one frame to the next."""
        return round(_S / self.fps)

    def push(self, step_ns: int) -> str | None:
        """A frame came so long after the one before; returns, once, what is to be said where they
        come at another rate than was announced."""
        self._steps.append(step_ns)
        fps = self.fps
        if not self.claimed or fps == self.claimed or self._corrected:
            return None
        self._corrected = True
        return f"{fps:.3g} frames per second come, not the {self.claimed:.4g} announced"


class Playback:
    """When what is played from a file is to be shown: times in ns, on the monotonic clock."""

    def __init__(self) -> None:
        self._anchor: int | None = None
        """When timestamp 0 was shown, or would have been."""
        self._pts = 0

    def due(self, pts: int) -> int:
        """When what has this timestamp is shown."""
        now = time.monotonic_ns()
        if self._anchor is None or not -_HELD_UP_NS < self._anchor + pts - now < _PAUSE_NS:
            self._anchor = now - pts
        return self._anchor + pts

    def next(self, pts: int | None, step: int) -> tuple[int, int]:
        """The next picture's timestamp, a step after the one before where it has none, and when it
        is shown."""
        self._pts = self._pts + step if pts is None else pts
        return self._pts, self.due(self._pts)

    def end(self, step: int) -> int | None:
        """When the last picture was shown as long as the others; None where there was none."""
        return None if self._anchor is None else self._anchor + self._pts + step
