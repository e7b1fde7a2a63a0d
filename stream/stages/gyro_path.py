"""The camera's path as a gyroscope measured it, and pictures turned onto a calmer one."""

from typing import Final

import numpy as np

from filters import Correction, Similarity
from stream.stages.measured import Measured
from stream.telemetry.record import Numbers
from stream.telemetry.turning import Optics, turned

_WIDE: Final = 192
"""The picture's width that lengths are reckoned by."""
_COLUMNS, _ROWS = 49, 65
"""Points of a grid: what shakes while a frame is read out is followed from row to row."""


class GyroPath:
    """How the camera turned, as `filters.Path` takes it, and the corrections that come of that."""

    def __init__(self, measured: Measured, shape: float) -> None:
        """`shape` is the height of the picture divided by its width, as it is shown."""
        self._turning, self._shift_s = measured.turning, measured.shift_s
        height = max(2, round(_WIDE * shape))
        self._optics = Optics(measured.turning.lens, _WIDE, height)
        self._half: Numbers = np.array([_WIDE, height]) / 2
        self.stretch = (1.0, 1.0)
        """How many times as far as the middle of the picture its edges move, across and down."""
        if measured.turning.lens.kind == "pinhole":
            across, down = 1 + (self._half / self._optics.focal) ** 2
            self.stretch = float(across), float(down)
        x, y = np.meshgrid(np.linspace(-1, 1, _COLUMNS), np.linspace(-1, 1, _ROWS))
        self._grid = np.stack([x, y], axis=-1) * self._half

    def motion(self, before: float, now: float) -> Similarity | None:
        """From one moment of the video to another, in seconds; None where there are no readings."""
        before, now = before + self._shift_s, now + self._shift_s
        if not self._turning.covers(before, now):
            return None
        x, y, z = self._turning.angles(np.array(before)) - self._turning.angles(np.array(now))
        return Similarity(complex(0, z), complex(y, -x) * self._optics.focal / _WIDE)

    def correction(self, seconds: float, calmer: Correction) -> Correction:
        """What an affine correction, (2, 3), of a frame asks for, as a turn of the camera through
        its lens, with each row as if it had been taken at the frame's moment: (h, w, 2)."""
        cosine, sine = calmer[0, 0], calmer[1, 0] * self._half[1] / self._half[0]
        still = np.hypot(cosine, sine) * self._grid
        rays = turned(self._optics.rays_at(still), np.array([0, 0, np.arctan2(sine, cosine)]))
        ahead = self._optics.rays_at(calmer[:, 2] * self._half)
        aside = np.hypot(ahead[0], ahead[1])
        tilt = np.array([-ahead[1], ahead[0], 0]) * (
            np.arctan2(aside, ahead[2]) / max(aside, 1e-12)
        )
        places = self._turning.rolled(self._optics, turned(rays, tilt), seconds + self._shift_s)
        # As much of it as leaves nothing outside of the picture in sight.
        way = (places - still) / self._half
        room = 1 - np.abs(still) / self._half
        beyond = (np.abs(places) > self._half) & (np.sign(places) == np.sign(way))
        share = float((room[beyond] / np.abs(way[beyond])).min()) if beyond.any() else 1.0
        return np.asarray(still / self._half + share * way)
