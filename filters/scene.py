"""Cuts from one scene to another, found without looking ahead."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 32
"""Columns and rows of the thumbnails that are compared."""
_DIFFERENT = 10.0
"""Mean difference of luma, of 255, below which nothing is a cut."""
_ALIKE = 0.5
"""Correlation above which two pictures show the same scene."""
_SUDDEN = 1.5
"""How many times the usual difference a cut's must be. A cut that is none costs one frame's
steadiness, one that is missed may show a ghost."""
_USUAL = 0.8
"""Decay of the mean of what is usual."""


class Cuts:
    """Compares each picture with the one before it.

    A cut changes much at once, more than what moves in the scene changes from frame to frame, and
    leaves the picture unlike the one before. A flash fails the second of these, a pan the first.
    """

    def __init__(self, state: NDArray[np.float64] | None = None) -> None:
        """`state` is that of another one, with which this one goes on."""
        self._before: NDArray[np.float32] | None = None
        self._usual: float | None = None
        if state is not None:
            self._before = state[:-1].reshape(_SIDE, _SIDE).astype(np.float32)
            self._usual = None if np.isnan(state[-1]) else float(state[-1])

    @property
    def state(self) -> NDArray[np.float64] | None:
        """What it remembers; nothing before the first picture."""
        if self._before is None:
            return None
        usual = np.nan if self._usual is None else self._usual
        return np.append(self._before.astype(np.float64), usual)

    def push(self, luma: NDArray[np.uint8]) -> bool:
        """Whether this picture, luma of (h, w), is the first of another scene."""
        now, before = _thumbnail(luma), self._before
        self._before = now
        if before is None:
            return False
        difference = float(np.abs(now - before).mean())
        sudden = self._usual is None or difference > _SUDDEN * self._usual
        if difference > _DIFFERENT and sudden and _correlation(now, before) < _ALIKE:
            self._usual = None
            return True
        usual = difference if self._usual is None else self._usual
        self._usual = _USUAL * usual + (1 - _USUAL) * difference
        return False


def _thumbnail(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two pictures' contrast, -1..1; 0 where either has none."""
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / size if size > 1.0 else 0.0
