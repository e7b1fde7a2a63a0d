"""How steady a restored sequence is."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weights.evaluate.pairs import Frame

Flow = NDArray[np.float32]
"""(H, W, 2): how far each pixel of one frame has moved in the other, x and y, in pixels."""

_RELATED = 0.3
"""Where less than this share of a frame is found again, the next one is of another scene."""


@dataclass(frozen=True)
class Steadiness:
    """Means over the pairs of neighboring frames of a sequence.

    E_warp rewards blur and frozen pictures: read it beside PSNR and beside that of the sharp
    frames, which is what a perfect restorer would have.
    """

    pairs: int
    """Without cuts and unrelated pictures."""
    e_warp_before: float
    """Of the blurred frames, times 1000; images in 0..1."""
    e_warp_after: float
    e_warp_sharp: float
    tof_before: float
    """Of the blurred frames, in pixels."""
    tof_after: float


class Video:
    """Measures the frames of one sequence, one after the other."""

    def __init__(self) -> None:
        self._before: tuple[Frame, Frame, Frame] | None = None
        self._values: list[tuple[float, ...]] = []

    def add(self, blurred: Frame, restored: Frame, sharp: Frame) -> None:
        """The next frame."""
        now = blurred, restored, sharp
        if self._before and self._before[0].shape == blurred.shape:
            then = self._before
            found = seen_again(gray(then[0]), gray(blurred))
            if found is None:
                self._before = now
                return
            forward, seen = found
            errors = [1e3 * warp_error(a, b, forward, seen) for a, b in zip(then, now, strict=True)]
            flows = [_farneback(gray(a), gray(b)) for a, b in zip(then, now, strict=True)]
            distances = [
                float(np.hypot(*np.moveaxis(f - flows[2], 2, 0)).mean()) for f in flows[:2]
            ]
            self._values.append((*errors, *distances))
        self._before = now

    def result(self) -> Steadiness | None:
        """None for fewer than two frames."""
        if not self._values:
            return None
        means = np.mean(self._values, axis=0)
        return Steadiness(len(self._values), *(float(mean) for mean in means))


def gray(frame: Frame) -> NDArray[np.uint8]:
    """The brightness of a frame, (H, W)."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def seen_again(
    one: NDArray[np.uint8], other: NDArray[np.uint8]
) -> tuple[Flow, NDArray[np.bool_]] | None:
    """The motion from one gray frame to the next, and where the next one shows the same.

    None where that is too little: the next one is of another scene.
    """
    forward = motion(one, other)
    seen = ~occluded(forward, motion(other, one))
    return (forward, seen) if seen.mean() >= _RELATED else None


def motion(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    """Optical flow from one gray frame to another: OpenCV's DIS, medium preset."""
    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(estimate.calc(one, other, np.zeros((*one.shape, 2), np.float32)), np.float32)


def _farneback(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    # The settings that tOF is defined with.
    start = np.zeros((*one.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(one, other, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(flow, np.float32)


def occluded(forward: Flow, back: Flow) -> NDArray[np.bool_]:
    """Where the first frame shows what the second does not, or where motion has an edge.

    Ruder, Dosovitskiy, Brox: "Artistic style transfer for videos", GCPR 2016, equations 5 and 6,
    with the roles of the two frames exchanged.
    """
    returned = _look_up(back, forward)
    gap, length = _squared(returned + forward), _squared(forward)
    dy, dx = np.gradient(forward, axis=(0, 1))
    edge = _squared(dx) + _squared(dy) > 0.01 * length + 0.002
    return np.asarray((gap > 0.01 * (_squared(returned) + length) + 0.5) | edge)


def _squared(flow: Any) -> NDArray[np.float32]:
    """The squared lengths of vectors, (H, W)."""
    x, y = cv2.split(flow)
    return np.asarray(x * x + y * y, np.float32)


def warp_error(one: Frame, other: Frame, forward: Flow, seen: NDArray[np.bool_]) -> float:
    """Mean squared difference, images in 0..1, of a frame and the next one warped back onto it.

    E_warp of Lai et al., "Learning blind video temporal consistency", ECCV 2018, section 4.
    """
    if not seen.any():
        return 0.0
    back = _look_up(other.astype(np.float32), forward)
    return float(np.square((back - one)[seen] / 255).mean())


def _look_up(image: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """`image` at where `flow` leads."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    found = cv2.remap(
        image,
        x + flow[..., 0],
        y + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.float32)
