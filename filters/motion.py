"""How the picture moved from frame to frame, and how far that can be trusted.

Optical flow by OpenCV's DIS (Kroeger et al., "Fast optical flow using dense inverse search", ECCV
2016) on the decoded luma at reduced size, on the CPU. What a frame is compared with is not the
frame before it but that frame blended with those before, as a recursive filter blends its output:
errors then are seen and corrected, where flow from frame to frame would let them add up.
"""

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.scene import Cuts

_Array = TypeVar("_Array", NDArray[np.uint8], NDArray[np.float32])
Luma = NDArray[np.uint8]
"""(h, w)."""

_LARGEST = 960
"""The picture is halved until its longer side is no larger."""
_LEAST = 24
"""Pixels that a side must have for flow to be found at all."""
_BLEND = 0.8
"""The share of the past in what a frame is compared with."""
_TOLERANCE = 20.0
"""Difference of luma, of 255, at which a pixel counts little as the same."""
_GAP = 1.0
"""Pixels that the ways there and back may differ by ..."""
_GAP_SHARE = 0.03
"""... and the share of the squared motion that the squared gap may be beyond that."""
_EDGE_SHARE, _EDGE = 0.01, 0.002
"""The squared slope of the motion at its edges, as a share of the squared motion, and beyond."""
_LOST = 1 / 30
"""Trust below which the motion is not known at all: something moves in front of something else."""
_AROUND = np.ones((9, 9), np.uint8)
"""What is around such a pixel is not trusted either, as flow draws the background along."""


@dataclass(frozen=True, eq=False)
class Motion:
    """From one frame to the one before it."""

    back: NDArray[np.float32]
    """(h, w, 2): where each pixel was before, x and y, relative to where it is, in pixels of this
    reduced size."""
    trust: NDArray[np.float32]
    """(h, w) in 0..1: how far the way back there and the way from there agree; little at the edges
    of what moves."""

    @property
    def nbytes(self) -> int:
        return self.back.nbytes + self.trust.nbytes


class Tracker:
    """Follows the picture, frame by frame."""

    def __init__(
        self, reference: Luma | None = None, cuts: NDArray[np.float64] | None = None
    ) -> None:
        """`reference` and the state of `cuts` are those of an earlier tracker, with which this one
        goes on."""
        self.reference = reference
        """What the next frame is compared with, at reduced size; None after a cut."""
        self.cuts = Cuts(cuts)
        self._fine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._fine.setFinestScale(0)
        # Fewer iterations and patches than the preset has: a third of its time, and the rest is
        # steadier for it. Of fewer iterations of descent slow objects leave a ghost.
        self._fine.setVariationalRefinementIterations(1)
        self._fine.setGradientDescentIterations(5)
        self._fine.setPatchStride(5)
        # The way back again only has to tell where the fine one is wrong.
        self._coarse = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._coarse.setFinestScale(1)
        self._coarse.setGradientDescentIterations(4)
        self._coarse.setPatchStride(5)

    def push(self, luma: Luma, *, cut: bool = False) -> Motion | None:
        """The next frame's luma, (H, W), at full size; None where there is no way back.

        That is at the first frame and at cuts, known (`cut`) or found, and where the size changed.
        """
        now = reduced(luma)
        before = self.reference
        found = self.cuts.push(now)
        if cut or found or before is None or before.shape != now.shape or min(now.shape) < _LEAST:
            self.reference = now
            return None
        back = np.asarray(self._fine.calc(now, before, None), np.float32)  # type: ignore[call-overload]
        forth = np.asarray(self._coarse.calc(before, now, None), np.float32)  # type: ignore[call-overload]
        trust = _agreement(back, forth)
        self.reference = _blended(now, before, back, trust)
        return Motion(back, trust)


def reduced(luma: Luma) -> Luma:
    """Luma, (H, W), at half the size or, of large pictures, at less."""
    factor = 2
    while max(luma.shape) > factor * _LARGEST:
        factor *= 2
    height, width = (max(side // factor, 1) for side in luma.shape)
    return np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _agreement(back: NDArray[np.float32], forth: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far motion can be trusted, (h, w) in 0..1.

    That is 1 where going back and forth again ends where it began, falls with the distance where
    it does not, and falls at the edges of what moves, which hide and uncover what is behind
    (Ruder, Dosovitskiy, Brox: "Artistic style transfer for videos", GCPR 2016), and around them.
    """
    returned = look_up(forth, back)
    gap = squared(returned + back)
    length = squared(back)
    # At half size a gap is half as long.
    gap /= 2 * ((_GAP / 2) ** 2 + _GAP_SHARE * (squared(returned) + length))
    slope = squared(cv2.Sobel(back, cv2.CV_32F, 1, 0, scale=1 / 8))
    slope += squared(cv2.Sobel(back, cv2.CV_32F, 0, 1, scale=1 / 8))
    gap += slope / (2 * (_EDGE_SHARE * length + _EDGE))
    trust = np.exp(-gap)
    return np.asarray(trust * cv2.erode(np.minimum(trust / _LOST, 1), _AROUND), np.float32)


def squared(flow: Any) -> NDArray[np.float32]:
    """The squared lengths of (h, w, 2) vectors."""
    squares = flow * flow
    return np.asarray(squares[..., 0] + squares[..., 1], np.float32)


def _blended(
    now: Luma, before: Luma, back: NDArray[np.float32], trust: NDArray[np.float32]
) -> Luma:
    past = look_up(before, back, cv2.INTER_CUBIC)
    difference = past.astype(np.float32) - now
    near = cv2.GaussianBlur(np.abs(difference), (0, 0), 1.0)
    share = _BLEND * trust * np.exp(-np.square(near / _TOLERANCE) / 2)
    return np.asarray(np.clip(now + share * difference + 0.5, 0, 255), np.uint8)


def look_up(image: _Array, flow: NDArray[np.float32], how: int = cv2.INTER_LINEAR) -> _Array:
    """`image`, (h, w) or (h, w, C), at where `flow`, (h, w, 2) in pixels, leads."""
    height, width = flow.shape[:2]
    along = np.zeros((width, 2), np.float32)
    along[:, 0] = np.arange(width)
    place = flow + along
    place[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    remap: Any = cv2.remap  # takes both in one array, which its types do not know
    found = remap(image, place, None, how, borderMode=cv2.BORDER_REPLICATE)
    return cast(_Array, found)
