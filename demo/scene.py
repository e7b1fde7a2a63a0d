"""A shaky clip whose sharp original is known: a hand-held camera films the drawn street."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from demo import street
from demo.video import SAMPLE_RATE, Picture, Sound, Writer

Light = NDArray[np.float32]
"""(H, W, 3) or, with coverage as the last channel, (H, W, 4): linear RGB in 0..1."""

_VIEW = (1280.0, 720.0)
"""Width and height of what the camera sees, in pixels of the street."""
_LONGEST = 25.0 / 640
"""The longest blur of the clip, in widths of the frame."""
_SUBFRAMES = (17, 33)
"""The fewest and the most sub-frames of an exposure."""
_VAN_SPEED = 330.0
"""Pixels of the street per second."""
_SHOT, _READ = 6e-5, 4e-6
"""Sensor noise: variance per unit of light, and variance. A phone's on a bright day."""


def render(
    blurry: str | Path,
    sharp: str | Path,
    *,
    size: tuple[int, int] = (640, 360),
    seconds: float = 3,
    fps: int | Fraction = 30,
    seed: int = 7,
) -> NDArray[np.float64]:
    """Film the street, as a camera would with its shutter open and as it was at mid-exposure.

    Writes two MP4 files of the same frames, `size` (width, height, both even) pixels, `blurry`
    with a sound track. Returns how far the picture moved during each exposure, in pixels,
    (frames,). The same seed gives the same clip.
    """
    rate = Fraction(fps)
    count = max(round(seconds * rate), 1)
    rng = np.random.default_rng(seed)
    set_ = _build(size, rng)
    times = np.asarray((np.arange(count) + 0.5) / float(rate), np.float64)
    exposure = float(rng.uniform(0.6, 0.85)) / float(rate)
    camera = _Camera(size, times, exposure, rng)
    lengths = camera.lengths(times, exposure)

    with (
        Writer(blurry, size, rate, 16, _sound(count / float(rate))) as blurry_file,
        Writer(sharp, size, rate, 10) as sharp_file,
    ):
        for time, length in zip(times, lengths, strict=True):
            subframes = int(np.clip(1.3 * length, *_SUBFRAMES)) | 1
            total = np.zeros((size[1], size[0], 3), np.float32)
            # The middles of equal slices of the exposure.
            moments = time + exposure * ((np.arange(subframes) + 0.5) / subframes - 0.5)
            for index, timestamp in enumerate(moments):
                light = _expose(set_, camera, float(timestamp), times[-1] / 2)
                total += light
                if index == subframes // 2:
                    sharp_file.write(_encode(light))
            total /= np.float32(subframes)
            spread = np.sqrt(np.maximum(total, 0) * np.float32(_SHOT) + np.float32(_READ))
            total += rng.standard_normal(total.shape, np.float32) * spread
            blurry_file.write(_encode(total))
    return lengths


@dataclass(frozen=True)
class _Set:
    """What is filmed, as light, at about two pixels for each of the frame's."""

    street: Light
    van: Light
    """Premultiplied by its coverage."""
    scale: float
    """Pixels here per pixel of the street as it was drawn."""
    unit: float
    """Drawn pixels of the street per pixel of the frame."""
    size: tuple[int, int]


def _build(size: tuple[int, int], rng: np.random.Generator) -> _Set:
    unit = min(_VIEW[0] / size[0], _VIEW[1] / size[1])
    # Two pixels per pixel are enough to sample from; more would only alias.
    scale = min(2.0 / unit, 1.0)
    drawn, mask = street.van()
    cover = _shrink(mask.astype(np.float32)[..., None] / np.float32(255), scale, unit)
    light = _to_light(drawn) * (mask.astype(np.float32)[..., None] / np.float32(255))
    van = np.concatenate([_shrink(light, scale, unit), cover], axis=2)
    return _Set(
        _shrink(_to_light(street.street(rng)), scale, unit),
        # A clear border, so that the edges are not stretched.
        np.pad(van, ((2, 2), (2, 2), (0, 0))),
        scale,
        unit,
        size,
    )


def _shrink(light: Light, scale: float, unit: float) -> Light:
    if scale < 1:
        small = cv2.resize(light, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        # OpenCV drops a single channel.
        light = np.asarray(small, np.float32).reshape(*small.shape[:2], light.shape[-1])
    # As much softness as a lens and a sensor have, which also keeps the frames from aliasing.
    sigma = 0.42 * unit * scale
    soft = cv2.GaussianBlur(light, (0, 0), sigma)
    return np.asarray(soft, np.float32).reshape(*soft.shape[:2], light.shape[-1])


class _Camera:
    """A hand: slow drift, sway that comes and goes, and tremor at 8 to 12 Hz."""

    def __init__(
        self,
        size: tuple[int, int],
        times: NDArray[np.float64],
        exposure: float,
        rng: np.random.Generator,
    ) -> None:
        self._size = size
        # Four quantities (x and y in widths of the frame, angle in radians, zoom), each a sum
        # of waves: (4, waves) of frequency in Hz, amplitude and phase.
        slow = rng.uniform(0.15, 0.45, (4, 2))
        sway = rng.uniform(1.2, 3.2, (4, 3))
        tremor = rng.uniform(8, 12, (4, 3))
        self._drift = _Waves(slow, rng.uniform(0.7, 1.3, slow.shape) * 0.022, rng)
        self._sway = _Waves(sway, rng.uniform(0.5, 1.0, sway.shape) * 0.03 / sway, rng)
        self._tremor = _Waves(tremor, rng.uniform(0.5, 1.0, tremor.shape) * 0.034 / tremor, rng)
        self._calm = rng.uniform(0, 2 * np.pi, 2)
        self._strength = 1.0
        self._strength = _LONGEST * size[0] / float(self.lengths(times, exposure).max())

    def pose(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """x, y in pixels of the frame, angle in radians and zoom, (4, *time.shape)."""
        # A hand is calm for a moment and then jerks.
        calm = np.sin(2 * np.pi * 0.62 * time + self._calm[0])
        calm = calm + 0.6 * np.sin(2 * np.pi * 1.45 * time + self._calm[1])
        shake = self._strength * (0.06 + 0.94 / (1 + np.exp(-2.4 * calm)))
        move = self._drift.at(time) + shake * (self._sway.at(time) + self._tremor.at(time))
        width = self._size[0]
        share = np.array([width, width * 0.75, 0.28, 0.3]).reshape(4, *[1] * time.ndim)
        return np.asarray(move * share)

    def matrix(self, time: float, unit: float) -> NDArray[np.float64]:
        """From pixels of the frame to drawn pixels of the street, (3, 3)."""
        x, y, angle, zoom = self.pose(np.array(time))
        width, height = self._size
        turn = (
            np.exp(zoom)
            * unit
            * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        )
        matrix = np.eye(3)
        matrix[:2, :2] = turn
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix[:2, 2] = np.array(street.CENTER) + unit * np.array([x, y]) - turn @ middle
        return matrix

    def lengths(self, times: NDArray[np.float64], exposure: float) -> NDArray[np.float64]:
        """How long the picture's path is in each exposure, in pixels, mean over five points."""
        moments = times[:, None] + exposure * np.linspace(-0.5, 0.5, 33)
        x, y, angle, zoom = self.pose(moments)
        total = np.zeros(len(times))
        for across, down in (
            (0.0, 0.0),
            (-0.3, -0.3),
            (0.3, -0.3),
            (-0.3, 0.3),
            (0.3, 0.3),
        ):
            at_x, at_y = across * self._size[0], down * self._size[1]
            scale = np.exp(zoom)
            seen_x = x + scale * (np.cos(angle) * at_x - np.sin(angle) * at_y)
            seen_y = y + scale * (np.sin(angle) * at_x + np.cos(angle) * at_y)
            total += np.hypot(np.diff(seen_x, axis=1), np.diff(seen_y, axis=1)).sum(axis=1)
        return total / 5


class _Waves:
    """Sums of sines: one sum for each row of `frequency`, (rows, waves) in Hz."""

    def __init__(
        self,
        frequency: NDArray[np.float64],
        amplitude: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self._frequency = frequency
        self._amplitude = amplitude
        self._phase = rng.uniform(0, 2 * np.pi, frequency.shape)

    def at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sums at some times in seconds, (rows, *time.shape)."""
        angle = 2 * np.pi * np.multiply.outer(self._frequency, time)
        phase = self._phase.reshape(*self._phase.shape, *[1] * time.ndim)
        size = self._amplitude.reshape(phase.shape)
        return np.asarray((size * np.sin(angle + phase)).sum(axis=1))


def _expose(set_: _Set, camera: _Camera, time: float, middle: float) -> Light:
    """What the camera sees at one moment, as light; the van passes the middle at `middle`."""
    to_street = np.diag([set_.scale, set_.scale, 1.0]) @ camera.matrix(time, set_.unit)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REFLECT_101
    warped = cv2.warpAffine(set_.street, to_street[:2], set_.size, flags=flags, borderMode=border)
    light = np.asarray(warped, np.float32)
    height, width = set_.van.shape[:2]
    left = street.CENTER[0] + _VAN_SPEED * (time - middle) - width / set_.scale / 2
    to_van = np.eye(3)
    to_van[:2, 2] = 2 - set_.scale * left, 2 - set_.scale * street.VAN_TOP
    to_van = to_van @ to_street
    # Only the part of the frame that the van can be in.
    corners = np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    seen = np.linalg.inv(to_van) @ corners
    start = np.clip(np.floor(seen[:2].min(axis=1)), 0, set_.size).astype(int)
    stop = np.clip(np.ceil(seen[:2].max(axis=1)) + 1, 0, set_.size).astype(int)
    if np.all(start < stop):
        shift = np.eye(3)
        shift[:2, 2] = start
        to_van = to_van @ shift
        part = (int(stop[0] - start[0]), int(stop[1] - start[1]))
        layer = cv2.warpAffine(set_.van, to_van[:2], part, flags=flags)
        box = light[start[1] : stop[1], start[0] : stop[0]]
        box *= 1 - layer[..., 3:]
        box += layer[..., :3]
    return light


def _to_light(picture: Picture) -> Light:
    """Undo the sRGB curve (IEC 61966-2-1)."""
    encoded = np.arange(256) / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)[picture]


def _encode(light: Light) -> Picture:
    """Apply the sRGB curve, (H, W, 3) light in 0..1 to uint8."""
    light = np.clip(light, 0, 1)
    encoded = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055
    )
    return (encoded * 255 + 0.5).astype(np.uint8)


def _sound(seconds: float) -> Sound:
    """A soft chord with a click at each full second."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.minimum(1, 4 * np.minimum(time, time[-1] - time))
    sides = []
    for side in (-1, 1):
        voices = [
            np.sin(2 * np.pi * (pitch + side * 0.3) * time) / (index + 2)
            for index, pitch in enumerate((220.0, 277.18, 329.63, 440.0))
        ]
        since = time % 1
        click = np.sin(2 * np.pi * 1500 * since) * np.exp(-since * 90)
        sides.append(0.12 * fade * np.sum(voices, axis=0) + 0.3 * click)
    return np.asarray(sides, np.float32)
