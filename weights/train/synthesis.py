"""Blurred and sharp pairs made from photographs, the way a moving camera makes them.

A scene has layers: a photograph behind, and objects with soft masks, cut from other photographs,
in front. Camera and objects move along paths of their own while the shutter is open; the
sub-frames are averaged as light (or, for a share of the scenes, as encoded values, as data sets
averaged from high-speed video do), and the sharp picture is the sub-frame in the middle.
Uniform kernels, which move everything alike, do not carry over to real footage.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) RGB in 0..1."""


@dataclass(frozen=True)
class BlurSettings:
    """How blurred, and in which ways, the scenes are; lengths in pixels of a 720p frame."""

    longest: float = 60.0
    """The longest path of a point across the picture during one exposure."""
    bias: float = 1.3
    """How much short blur outweighs long blur: a length is `longest * u**bias`, u uniform."""
    sharp: float = 0.06
    """Share of scenes in which nothing moves."""
    slight: float = 0.12
    """Share of scenes blurred by less than 3 pixels."""
    encoded: float = 0.50
    """Share of scenes averaged in encoded values instead of light."""
    defocus: float = 0.10
    """Share of scenes that are also out of focus."""
    objects: float = 1.2
    """Mean number of objects in front."""


class Response:
    """A camera's response curve: encoded values in 0..1 to light in 0..1, and back."""

    def __init__(self, light: NDArray[np.float64]) -> None:
        """`light[i]` is the light that the encoded value `i / (len(light) - 1)` stands for."""
        if light.ndim != 1 or np.any(np.diff(light) < 0):
            raise ValueError(f"a response curve must be one rising row, got {light.shape = }")
        self._encoded = np.linspace(0, 1, 4096)
        self._light = np.interp(self._encoded, np.linspace(0, 1, len(light)), light)
        self._light = (self._light - self._light[0]) / (self._light[-1] - self._light[0])
        # Strictly rising, so that it can be turned around.
        self._light = self._light * (1 - 1e-6) + self._encoded * 1e-6
        self._back = np.interp(self._encoded**2, self._light, self._encoded).astype(np.float32)

    def to_light(self, encoded: Image) -> Image:
        index = np.clip(encoded * 4095 + 0.5, 0, 4095).astype(np.int16)
        light: Image = self._light.astype(np.float32)[index]
        return light

    def to_encoded(self, light: Image) -> Image:
        # The table is spaced by the square root, which keeps its steps even in the shadows.
        index = np.sqrt(np.clip(light, 0, 1)) * 4095 + 0.5
        return self._back[index.astype(np.int16)]


def srgb() -> Response:
    """The response curve of IEC 61966-2-1."""
    encoded = np.linspace(0, 1, 4096)
    return Response(
        np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    )


def scene(
    photo: Callable[[], Image],
    size: int,
    settings: BlurSettings,
    responses: list[Response],
    rng: np.random.Generator,
) -> tuple[Image, Image]:
    """Make one blurred and sharp pair, both (size, size, 3) encoded RGB in 0..1.

    `photo` hands out photographs with both sides at least `size` long.
    """
    length = _length(settings, rng)
    camera_share, object_share = _who_moves(rng)
    count = int(np.clip(length / 1.7, 8, 48)) | 1 if length > 0 else 1
    camera = _path(length * camera_share, count, size, rng)
    margin = int(length / 2) + 8

    response = responses[rng.integers(len(responses))]
    encoded = rng.random() < settings.encoded
    gain = np.float32(rng.uniform(0.6, 1.1))
    highlights = np.float32(rng.uniform(0.25, 1.75)) if rng.random() < 0.5 else np.float32(0)

    def prepare(picture: Image) -> Image:
        if encoded:
            return picture
        light = response.to_light(picture)
        if highlights:
            clipped = light.min(axis=2, keepdims=True) > 0.93
            light = light + highlights * clipped.astype(np.float32)
        return light * gain

    side = size + 2 * margin
    behind = prepare(_crop(photo(), side, rng))
    layers = []
    for _ in range(min(4, rng.poisson(settings.objects))):
        paint = prepare(_crop(photo(), side, rng))
        mask = _blob(side, size, rng)[..., None]
        path = _path(length * object_share * rng.random(), count, size, rng)
        layers.append((np.concatenate([paint * mask, mask], axis=2), path))

    total = np.zeros((size, size, 3), np.float32)
    for index in range(count):
        frame = _warp(behind, camera[index], size, margin)
        for layer, path in layers:
            moved = _warp(layer, camera[index] @ path[index], size, margin)
            frame = frame * (1 - moved[..., 3:]) + moved[..., :3]
        total += frame
        if index == count // 2:
            sharp = frame
    blurred = total / np.float32(count)
    if rng.random() < settings.defocus:
        blurred = _defocus(blurred, rng.uniform(0.5, 3.5))
    if encoded:
        return np.clip(blurred, 0, 1), np.clip(sharp, 0, 1)
    return response.to_encoded(blurred), response.to_encoded(sharp)


def _length(settings: BlurSettings, rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < settings.sharp:
        return 0.0
    if kind < settings.sharp + settings.slight:
        return float(rng.uniform(0.3, 3.0))
    return 2.0 + (settings.longest - 2.0) * float(rng.random() ** settings.bias)


def _who_moves(rng: np.random.Generator) -> tuple[float, float]:
    """Shares of the length that the camera and the objects move by."""
    kind = rng.random()
    if kind < 0.20:
        return 0.05, 1.0  # a tripod, or nearly, and something moving in front
    if kind < 0.60:
        return 1.0, 0.0  # hand-held, a still scene
    return 1.0, 0.8


def _path(extent: float, count: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 3, 3) maps from where a point is at mid-exposure to where it is in a sub-frame.

    A path is a straight run with inertia, bent by an acceleration and by tremor (8 to 12 Hz in a
    hand, so up to a cycle during one exposure, plus faster jitter), with rotation and zoom about
    a center that may lie far outside the patch, as it does in the corner of a frame.
    """
    maps = np.tile(np.eye(3), (count, 1, 1))
    if count == 1 or extent == 0:
        return maps
    time = np.linspace(-0.5, 0.5, count)[:, None]
    heading = rng.uniform(0, 2 * np.pi)
    places = time * np.array([np.cos(heading), np.sin(heading)])
    places = places + time**2 * rng.normal(0, 0.8, 2)
    for cycles in (rng.uniform(0.3, 1.2), rng.uniform(1.0, 3.5)):
        wave = np.sin(2 * np.pi * (cycles * time + rng.random(2)))
        places = places + wave * rng.normal(0, 0.22, 2) * rng.random() / cycles
    if rng.random() < 0.2:
        steps = np.cumsum(rng.normal(0, 1, (count, 2)), axis=0)
        places = places + np.cumsum(steps, axis=0) * rng.uniform(0.3, 1.5) / count**1.5
    span = np.ptp(places, axis=0)
    turning = extent * rng.uniform(-0.5, 0.5) / 300 if rng.random() < 0.6 else 0.0
    zoom = extent * rng.uniform(-0.4, 0.4) / 400 if rng.random() < 0.5 else 0.0
    center = size / 2 + rng.uniform(-1, 1, 2) * np.array([420, 240])
    # Whatever turning and zooming add at the patch is taken off the translation.
    far = np.hypot(*(center - size / 2)) * np.hypot(turning, zoom)
    places = places * max(extent - far, 0.2 * extent) / max(float(np.hypot(*span)), 1e-6)
    places = places - places[count // 2]
    for index in range(count):
        angle, scale = turning * time[index, 0], 1 + zoom * time[index, 0]
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        maps[index, :2, :2] = turn
        maps[index, :2, 2] = center - turn @ center + places[index]
    return maps


def _warp(layer: Image, forward: NDArray[np.float64], size: int, margin: int) -> Image:
    # Into the middle of the layer, which has a margin on all sides for what moves in.
    back = np.linalg.inv(forward)[:2]
    back[:, 2] += margin
    if np.array_equal(back[:, :2], np.eye(2)) and float(back[0, 2]) == float(back[1, 2]) == margin:
        return layer[margin : margin + size, margin : margin + size]
    warped = cv2.warpAffine(
        layer,
        back,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, np.float32)


def _crop(photo: Image, side: int, rng: np.random.Generator) -> Image:
    """A square of the photograph, resized a little and mirrored or turned at random."""
    height, width = photo.shape[:2]
    taken = int(min(side * rng.uniform(0.9, 1.7), height, width))
    top = int(rng.integers(height - taken + 1))
    left = int(rng.integers(width - taken + 1))
    square = photo[top : top + taken, left : left + taken]
    if taken != side:
        way = cv2.INTER_AREA if taken > side else cv2.INTER_CUBIC
        square = np.clip(cv2.resize(square, (side, side), interpolation=way), 0, 1)
    return np.ascontiguousarray(np.rot90(square, int(rng.integers(4))))


def _blob(side: int, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A mask in 0..1: a few overlapping shapes with an edge between hard and soft."""
    mask = np.zeros((side, side), np.uint8)
    middle = rng.uniform((side - size) / 2, (side + size) / 2, 2)
    for _ in range(int(rng.integers(1, 5))):
        at = middle + rng.normal(0, size * 0.12, 2)
        axes = rng.uniform(0.03, 0.28, 2) * size
        angle = float(rng.uniform(0, 360))
        box = cv2.boxPoints(((float(at[0]), float(at[1])), (2 * axes[0], 2 * axes[1]), angle))
        if rng.random() < 0.5:
            cv2.fillPoly(mask, [box.astype(np.int32)], 255)
        else:
            center = (int(at[0]), int(at[1]))
            cv2.ellipse(mask, center, (int(axes[0]), int(axes[1])), angle, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.choice([0.6, 0.8, 1.2, 2.5])))
    return soft.astype(np.float32) / np.float32(255)


def _defocus(image: Image, radius: float) -> Image:
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    blurred = cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)
