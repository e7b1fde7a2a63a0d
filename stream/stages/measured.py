"""How far each point of a frame moved while the shutter was open, as a gyroscope measured it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from filters.motion import Flow
from stream.frame import Frame
from stream.options.lens import Lens
from stream.telemetry.record import Series
from stream.telemetry.turning import CameraRotation, Optics

_SMALL = 0.5
"""Pixels, of the size that is followed, by which flow and gyroscope may differ without anything
moving but the camera."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The motion that a gyroscope measured in a video."""

    turning: CameraRotation
    shift_s: float
    """Seconds by which frames are earlier than in their file."""
    open_s: Series | None = None
    """For how long the shutter was open, frame by frame."""
    alone: bool = False
    """Whether optical flow adds nothing: what moves by itself, or is near."""

    def blur(self, frame: Frame, share: float, step_s: float, flow: Flow | None) -> Flow | None:
        """The way of each point of a frame while the shutter was open for a share of the frame
        interval, at the size of what is followed; None where the gyroscope does not cover it.

        `flow` is the motion from frame to frame, over `step_s` seconds, in pixels of that size.
        """
        time = frame.seconds + self.shift_s
        open_s = share * step_s
        if self.open_s is not None:
            open_s = float(np.interp(time, self.open_s.times, self.open_s.values))
        if not self.turning.covers(time - step_s, time + step_s):
            return None
        factor = max(1, -(-max(frame.width, frame.height) // 192))
        size = (frame.width // factor, frame.height // factor)
        if flow is not None:
            size = (flow.shape[1], flow.shape[0])
        optics = _optics(self.turning.lens, *size)
        blur = self.turning.blur(optics, time, open_s)
        if flow is None or self.alone:
            return blur
        ahead = self.turning.between(optics, time, time + step_s)
        back = self.turning.between(optics, time, time - step_s)
        rest = flow - (ahead - back) / 2
        # What the camera's turning does not explain moves by itself; a little is flow's error.
        length = np.sqrt((rest * rest).sum(-1, keepdims=True))
        rest *= np.maximum(0, 1 - _SMALL / np.maximum(length, 1e-6))
        return np.asarray(blur + rest * np.float32(open_s / step_s), np.float32)


_last: Final[dict[tuple[Lens, int, int], Optics]] = {}


def _optics(lens: Lens, width: int, height: int) -> Optics:
    key = (lens, width, height)
    if key not in _last:
        _last.clear()
        _last[key] = Optics(lens, width, height)
    return _last[key]
