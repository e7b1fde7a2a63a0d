"""How cameras and things move from frame to frame."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
"""(..., 3, 3): where a point of the middle frame's picture is at another time, in pixels."""


_JITTER = 0.2
"""How often there is jitter."""


class Way(Protocol):
    """How the points of a picture travel."""

    def at(self, time: NDArray[np.float64]) -> Map:
        """The maps at some times, of any shape, in frame intervals; at 0 it is the identity."""


class _Course:
    """A run with inertia, bent by an acceleration and by the tremor of a hand, 8 to 12 Hz: 0.13 to
    0.5 cycles in a frame interval; in some of them by faster jitter, which flow does not show."""

    def __init__(
        self, velocity: NDArray[np.float64], rng: np.random.Generator, *, straight: bool = False
    ) -> None:
        speed, count = float(np.linalg.norm(velocity)), len(velocity)
        self._velocity = velocity
        self._acceleration = np.zeros(count) if straight else speed * rng.normal(0, 0.8, count)
        self._waves = [
            (speed * rng.normal(0, 0.22, count) * rng.random() / cycles, cycles, rng.random(count))
            for cycles, odds in ((rng.uniform(0.13, 0.5), 1.0), (rng.uniform(0.6, 1.6), _JITTER))
            if not straight and rng.random() < odds
        ]

    def at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., n), 0 at 0."""
        moved = self._place(time) - self._place(np.zeros(()))
        return np.asarray(moved, np.float64)

    def _place(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        t = time[..., None]
        place = self._velocity * t + self._acceleration * t * t / 2
        for wave, cycles, phase in self._waves:
            place = place + wave * np.sin(2 * np.pi * (cycles * t + phase))
        return np.asarray(place, np.float64)


class Path:
    """A path on which the points of a patch travel about `speed` pixels in a frame interval.

    With rotation and zoom about a center that may lie far outside the patch, as it does in the
    corner of a frame (Boracchi and Foi, "Modeling the performance of image restoration from motion
    blur", IEEE TIP 2012).
    """

    def __init__(
        self, speed: float, size: int, rng: np.random.Generator, *, uniform: bool = False
    ) -> None:
        """`size` is the patch's side. A `uniform` path moves all points alike, straight ahead."""
        heading = rng.uniform(0, 2 * np.pi)
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        self._course = _Course(velocity, rng, straight=uniform)
        turns, zooms = rng.random() < 0.6 and not uniform, rng.random() < 0.5 and not uniform
        self._turning = speed * rng.uniform(-0.5, 0.5) / 300 if turns else 0.0
        self._zoom = speed * rng.uniform(-0.4, 0.4) / 400 if zooms else 0.0
        self._center = size / 2 + rng.uniform(-1, 1, 2) * np.array([300, 200])

    def at(self, time: NDArray[np.float64]) -> Map:
        time = np.asarray(time, np.float64)
        angle, scale = self._turning * time, 1 + self._zoom * time
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        maps = np.zeros((*time.shape, 3, 3))
        maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1] = cos, -sin, sin, cos
        maps[..., 2, 2] = 1
        moved = self._course.at(time)
        maps[..., :2, 2] = self._center - maps[..., :2, :2] @ self._center + moved
        return maps


class Handheld:
    """A camera that moves and turns in all six degrees of freedom before things at some depth.

    The patch lies anywhere in a 720p frame. What is nearest travels about `speed` pixels in a frame
    interval; how much of it the camera turns and how much it moves is drawn.
    """

    def __init__(self, speed: float, size: int, rng: np.random.Generator) -> None:
        """`size` is the patch's side."""
        focal = rng.uniform(0.7, 1.2) * 1280
        middle = size / 2 + rng.uniform(-1, 1, 2) * np.array([500, 260])
        self._lens = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
        turned = rng.random()
        # Across the axis a turn or a move shows most; around it and along it, less.
        turning, moving = (speed / focal * part * _heading(rng) for part in (turned, 1 - turned))
        self._turn, self._move = _Course(turning, rng), _Course(moving, rng)

    def before(self, depth: float, rng: np.random.Generator) -> "Plane":
        """How the points of a plane travel, at `depth` in the middle of the frame, and slanted."""
        return Plane(self, np.array([*rng.uniform(-0.4, 0.4, 2), 1.0]) / depth)

    def at(self, time: NDArray[np.float64], plane: NDArray[np.float64]) -> Map:
        """The homographies of the plane, (3,), whose points have `plane @ point == 1`."""
        time = np.asarray(time, np.float64)
        turn = _rotations(self._turn.at(time))
        moved = turn + self._move.at(time)[..., None] * plane
        return np.asarray(self._lens @ moved @ np.linalg.inv(self._lens), np.float64)


class Plane:
    """How the points of a plane travel before a camera that is held by hand."""

    def __init__(self, camera: Handheld, plane: NDArray[np.float64]) -> None:
        self._camera, self._plane = camera, plane

    def at(self, time: NDArray[np.float64]) -> Map:
        return self._camera.at(time, self._plane)


def _heading(rng: np.random.Generator) -> NDArray[np.float64]:
    """A direction across the camera's axis, and something along it: (3,)."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.8, 0.8)])


def _rotations(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) radians about each axis to (..., 3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    none = np.zeros_like(x)
    cross = np.stack([none, -z, y, z, none, -x, -y, x, none], -1).reshape(*x.shape, 3, 3)
    once = np.sinc(angle / np.pi)
    twice = np.sinc(angle / (2 * np.pi)) ** 2 / 2
    return np.asarray(np.eye(3) + once * cross + twice * (cross @ cross), np.float64)


def inverse(maps: Map) -> Map:
    """The ways back."""
    return np.asarray(np.linalg.inv(maps), np.float64)
