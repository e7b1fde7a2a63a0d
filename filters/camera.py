"""How the camera moved: from each frame to the next, one similarity for the whole picture.

Corners (Shi, Tomasi: "Good features to track", CVPR 1994) are followed with the pyramidal method of
Lucas and Kanade, there and back again, and a similarity is fitted to them by iteratively reweighted
least squares that begins with all of them and doubts ever more (Blake, Zisserman: "Visual
reconstruction", 1987). RANSAC, which draws a few of them at random, answers differently from frame
to frame where near and far move differently: in footage of a drone that alone shook more than twice
as much as the drone did.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.scene import Cuts

_LARGEST = 960
"""The picture is halved until its longer side is no larger."""
_LEAST = 32
"""Pixels that a side must have then for corners to be followed."""
_CORNERS = 1000
_QUALITY = 0.001
"""Of the weakest corner, as a share of the strongest one's: dark walls count as well."""
_APART = 48
"""Corners lie apart by the shorter side divided by this, or by six pixels."""
_GAP = 0.3
"""Pixels that a corner may be off when it was followed there and back."""
_WINDOW, _LEVELS = (21, 21), 4
_ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.003)
_WIDE, _NARROW = 20.0, 0.2
"""Pixels of error at which a corner counts for a quarter, in the first step and in the last, if the
median error is not larger."""
_STEPS, _STEP = 30, 0.6
_AGREED, _FEWEST, _SHARE = 1.0, 12, 0.25
"""Within so many pixels so many corners must agree, and this share of them, to be believed."""
_PRIOR = 0.02
"""Weight, as a squared share of the width, of not turning: corners close together cannot tell."""


class Similarity(NamedTuple):
    """Leads a place z to exp(turn) z + shift.

    Places are complex numbers, x to the right and iy down from the center of the picture, in widths
    of the picture.
    """

    turn: complex
    """Logarithm of the scale, and the angle in radians times i."""
    shift: complex


STILL = Similarity(0j, 0j)


class Camera:
    """Finds out how the camera moved, frame by frame."""

    def __init__(
        self,
        aspect: float = 1.0,
        luma: NDArray[np.uint8] | None = None,
        cuts: NDArray[np.float64] | None = None,
    ) -> None:
        """Pixels are `aspect` as wide as high.

        `luma` and the state of `cuts` are those of another camera, with which this one goes on.
        """
        self.luma = luma
        """The last frame's, at reduced size and with square pixels."""
        self.cuts = Cuts(cuts)
        self._aspect = aspect

    def push(
        self, luma: NDArray[np.uint8], *, cut: bool = False, known: Similarity | None = None
    ) -> Similarity | None:
        """From the frame before to this one, of luma (H, W); None at the first frame and at cuts,
        known (`cut`) or found. Where something else measured it, that is `known`.

        The camera is taken to stand still where nothing can be followed.
        """
        now, before = _reduced(luma, self._aspect), self.luma
        self.luma = now
        found = self.cuts.push(now)
        if cut or found or before is None or before.shape != now.shape:
            return None
        if known is not None:
            return known
        if min(now.shape) < _LEAST:
            return STILL
        height, width = now.shape
        places, moves = _follow(before, now)
        center = complex(width - 1, height - 1) / 2
        return _fitted((places - center) / width, moves / width, 1 / width)


def _reduced(luma: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    height, width = luma.shape[0], luma.shape[1] * aspect
    factor = 1
    while max(height, width) > factor * _LARGEST:
        factor *= 2
    size = max(round(width / factor), 1), max(round(height / factor), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def _follow(
    before: NDArray[np.uint8], now: NDArray[np.uint8]
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Where corners were, x + iy in pixels, and how far each has moved."""
    apart = max(min(before.shape) / _APART, 6)
    corners: Any = cv2.goodFeaturesToTrack(before, _CORNERS, _QUALITY, apart)
    if corners is None:
        return np.zeros(0, np.complex128), np.zeros(0, np.complex128)
    there, found = _tracked(before, now, corners)
    back, again = _tracked(now, before, there)
    good = (found & again).ravel() == 1
    good &= np.abs(back - corners).max(axis=2).ravel() < _GAP
    start, end, returned = (
        each[good, 0].astype(np.float64).view(np.complex128).ravel()
        for each in (corners, there, back)
    )
    # The mean of the ways there and back is off by less than either.
    return start, end - (start + returned) / 2


def _tracked(before: NDArray[np.uint8], now: NDArray[np.uint8], places: Any) -> tuple[Any, Any]:
    there, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        before, now, places, None, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_ENOUGH
    )
    return there, found


def _fitted(
    places: NDArray[np.complex128], moves: NDArray[np.complex128], pixel: float
) -> Similarity:
    """The similarity that most corners agree on, all in widths of the picture."""
    if len(places) < _FEWEST:
        return STILL
    weight = np.ones(len(places))
    width = _WIDE * pixel
    for _ in range(_STEPS):
        total = weight.sum()
        middle, move = (weight * places).sum() / total, (weight * moves).sum() / total
        apart = places - middle
        spread = (weight * np.abs(apart) ** 2).sum() + total * _PRIOR**2
        slope = (weight * (moves - move) * apart.conj()).sum() / spread
        shift = move - slope * middle
        error = np.abs(moves - shift - slope * places)
        width = max(width * _STEP, _NARROW * pixel, float(np.median(error)))
        # Of Geman and McClure.
        weight = 1 / (1 + (error / width) ** 2) ** 2
    if (error < _AGREED * pixel).sum() < max(_FEWEST, _SHARE * len(places)):
        return STILL
    return Similarity(complex(np.log(1 + slope)), complex(shift))
