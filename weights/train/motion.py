"""How cameras and things move from frame to frame."""

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
"""(..., 3, 3): where a point of the middle frame's picture is at another time, in pixels."""


class Path:
    """A path on which the points of a patch travel about `speed` pixels in a frame interval.

    A run with inertia, bent by an acceleration and by the tremor of a hand (8 to 12 Hz, up to about
    one cycle in a frame interval, and faster jitter), with rotation and zoom about a center that
    may lie far outside the patch, as it does in the corner of a frame (Boracchi and Foi, "Modeling
    the performance of image restoration from motion blur", IEEE TIP 2012).
    """

    def __init__(
        self, speed: float, size: int, rng: np.random.Generator, *, uniform: bool = False
    ) -> None:
        """`size` is the patch's side. A `uniform` path moves all points alike, straight ahead."""
        heading = rng.uniform(0, 2 * np.pi)
        self._velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        self._acceleration = np.zeros(2) if uniform else speed * rng.normal(0, 0.35, 2)
        self._waves = [
            (speed * rng.normal(0, 0.22, 2) * rng.random() / cycles, cycles, rng.random(2))
            for cycles in (rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.6))
            if not uniform
        ]
        turns, zooms = rng.random() < 0.6 and not uniform, rng.random() < 0.5 and not uniform
        self._turning = speed * rng.uniform(-0.5, 0.5) / 300 if turns else 0.0
        self._zoom = speed * rng.uniform(-0.4, 0.4) / 400 if zooms else 0.0
        self._center = size / 2 + rng.uniform(-1, 1, 2) * np.array([300, 200])

    def at(self, time: NDArray[np.float64]) -> Map:
        """The maps at some times, of any shape, in frame intervals; at 0 it is the identity."""
        time = np.asarray(time, np.float64)
        angle, scale = self._turning * time, 1 + self._zoom * time
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        maps = np.zeros((*time.shape, 3, 3))
        maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1] = cos, -sin, sin, cos
        maps[..., 2, 2] = 1
        moved = self._place(time) - self._place(np.zeros(()))
        maps[..., :2, 2] = self._center - maps[..., :2, :2] @ self._center + moved
        return maps

    def _place(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        t = time[..., None]
        place = self._velocity * t + self._acceleration * t * t / 2
        for wave, cycles, phase in self._waves:
            place = place + wave * np.sin(2 * np.pi * (cycles * t + phase))
        return np.asarray(place, np.float64)


def inverse(maps: Map) -> Map:
    """The ways back; the last row of each map is 0, 0, 1."""
    return np.asarray(np.linalg.inv(maps), np.float64)
