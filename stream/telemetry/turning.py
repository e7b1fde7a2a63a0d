"""How a picture moves where the camera turns: from angular rates, through a lens, to pixels.

Rows of a frame are taken one after the other where the camera has a rolling shutter. The field is
told at a small size, as optical flow is.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream.options.lens import Lens
from stream.telemetry.record import Numbers, Series

Field = NDArray[np.float32]
"""(h, w, 2): x and y in pixels of this size."""


class Optics:
    """A lens before a picture of one size, in pixels that are square."""

    def __init__(self, lens: Lens, width: int, height: int) -> None:
        self.size = width, height
        half = np.radians(lens.fov) / 2
        self._pinhole = lens.kind == "pinhole"
        self.focal = width / 2 / float(np.tan(half) if self._pinhole else half)
        """In pixels."""
        x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
        self.places = np.stack([x, y], axis=-1)
        """(h, w, 2): where each pixel is, from the middle of the picture on."""
        self.rays = self.rays_at(self.places)
        """(h, w, 3): where each pixel looks, x to the right, y down, z into the picture."""

    def rays_at(self, places: Numbers) -> Numbers:
        """Where places, (..., 2), from the middle of the picture on, look: (..., 3)."""
        x, y = places[..., 0], places[..., 1]
        if self._pinhole:
            rays = np.stack([x, y, np.full_like(x, self.focal)], axis=-1)
            return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))
        radius = np.hypot(x, y)
        angle = radius / self.focal
        aside = np.sinc(angle / np.pi) / self.focal
        return np.stack([x * aside, y * aside, np.cos(angle)], axis=-1)

    def seen(self, rays: Numbers) -> Numbers:
        """Where directions, (..., 3), are seen, (..., 2), from the middle of the picture on."""
        if self._pinhole:
            return np.asarray(rays[..., :2] * (self.focal / np.maximum(rays[..., 2:], 1e-3)))
        aside = np.hypot(rays[..., 0], rays[..., 1])
        angle = np.arctan2(aside, rays[..., 2])
        return np.asarray(rays[..., :2] * (self.focal * angle / np.maximum(aside, 1e-9))[..., None])

    @functools.cached_property
    def slopes(self) -> Numbers:
        """(h, w, 2, 3): by how many pixels each place moves per radian that what is seen turns
        about each axis."""
        step = 1e-4
        moved = [
            (self.seen(turned(self.rays, step * axis)) - self.seen(self.rays)) / step
            for axis in np.eye(3)
        ]
        return np.stack(moved, axis=-1)


def turned(rays: Numbers, by: Numbers) -> Numbers:
    """Directions, (..., 3), turned by rotation vectors, (3,) or (..., 3), radians (Rodrigues)."""
    by = np.broadcast_to(by, rays.shape)
    angle = np.linalg.norm(by, axis=-1, keepdims=True)
    sine, rest = np.sinc(angle / np.pi), np.sinc(angle / (2 * np.pi)) ** 2 / 2
    once = np.cross(by, rays)
    return np.asarray(rays + sine * once + rest * np.cross(by, once))


@dataclass(frozen=True, eq=False)
class CameraRotation:
    """How a camera turned while it took a video."""

    gyro: Series
    """About the camera's axes, as `Telemetry` has it."""
    lens: Lens
    readout: float = 0.0
    """Seconds from the first row of a frame to the last."""
    offset: float = 0.0
    """Seconds to add to a frame's time for that of its middle row on the gyroscope's clock."""
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What the gyroscope tells where nothing turns, radians per second."""

    @functools.cached_property
    def _sum(self) -> Numbers:
        times, rates = self.gyro.times, self.gyro.values - np.array(self.bias)
        steps = (rates[1:] + rates[:-1]) / 2 * np.diff(times)[:, None]
        return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])

    def angles(self, times: Numbers) -> Numbers:
        """Rotation vectors since the first reading, (..., 3), at times, (...), of frames.

        Their differences are what the camera turned by in a short while.
        """
        when = np.asarray(times) + self.offset
        axes = [np.interp(when, self.gyro.times, self._sum[:, axis]) for axis in range(3)]
        return np.stack(axes, axis=-1)

    def covers(self, begin: float, end: float) -> bool:
        """Whether there are readings of all the time between two moments of the video."""
        first, last = self.gyro.times[0], self.gyro.times[-1]
        return bool(first <= begin + self.offset and end + self.offset <= last)

    def blur(self, optics: Optics, time: float, seconds: float) -> Field:
        """The way of each point of a frame while the shutter was open, for so many seconds in the
        middle of which the frame's time lies."""
        middle = time + self._late(optics, optics.places[..., 1])
        begin, now, end = (self.angles(middle + at * seconds) for at in (-0.5, 0.0, 0.5))
        # What stands still turns against the camera.
        first = optics.seen(turned(optics.rays, now - begin))
        last = optics.seen(turned(optics.rays, now - end))
        return np.asarray(last - first, np.float32)

    def between(self, optics: Optics, time: float, other: float) -> Field:
        """Where each point of a frame is in another, as optical flow tells it."""
        own = self.angles(time + self._late(optics, optics.places[..., 1]))
        return np.asarray(self._found(optics, optics.rays, own, other) - optics.places, np.float32)

    def rolled(self, optics: Optics, rays: Numbers, time: float) -> Numbers:
        """Where what lies in directions, (..., 3), at the moment of a frame's middle row is in that
        frame, each of whose rows has its own moment: (..., 2) from the middle of the picture on."""
        return self._found(optics, rays, self.angles(np.array(time)), time)

    def _found(self, optics: Optics, rays: Numbers, own: Numbers, time: float) -> Numbers:
        """Where directions that are told by the camera as it was turned then are in a frame."""
        places = optics.seen(rays)
        for _ in range(2):
            # In which row it lies decides when it was taken there.
            there = self.angles(time + self._late(optics, places[..., 1]))
            places = optics.seen(turned(rays, own - there))
        return places

    def _late(self, optics: Optics, rows: Numbers) -> Numbers:
        """By how much later than the middle one rows are taken, counted from that one."""
        return rows * (self.readout / optics.size[1])

    def shifted(self, offset: float) -> "CameraRotation":
        """The same with another offset."""
        return replace(self, offset=offset)
