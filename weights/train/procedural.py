"""Pictures drawn from nothing, for training and tests where there are no photographs."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) RGB in 0..1."""


def picture(size: int, rng: np.random.Generator) -> Image:
    """A dead-leaves picture, (size, size, 3): overlapping shapes with gradients and texture.

    Dead leaves share the scale-free statistics of photographs (Lee, Mumford, Huang: "Occlusion
    models for natural images", IJCV 2001), which is why they train image filters well.
    """
    image = np.empty((size, size, 3), np.float32)
    image[:] = rng.uniform(0.1, 0.9, 3)
    textures = [_texture(size, rng) for _ in range(3)]
    for radius in _radii(size, rng):
        mask = np.zeros((size, size), np.uint8)
        center = rng.uniform(0, size, 2)
        corners = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        spread = radius * rng.uniform(0.6, 1.2, corners)
        points = center + spread[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if rng.random() < 0.4:
            at = (int(center[0]), int(center[1]))
            cv2.circle(mask, at, max(int(radius), 1), 255, -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
        x, y, w, h = cv2.boundingRect(mask)
        box = np.s_[y : y + h, x : x + w]
        soft = mask[box][..., None].astype(np.float32) / np.float32(255)
        color = rng.uniform(0, 1, 3).astype(np.float32)
        slope = rng.normal(0, 0.2, (2, 3)).astype(np.float32) / size
        ramp = np.arange(h)[:, None, None] * slope[0] + np.arange(w)[None, :, None] * slope[1]
        grain = textures[rng.integers(3)][box] * rng.uniform(0, 0.35)
        image[box] += soft * (color + ramp + grain[..., None] - image[box])
    for _ in range(int(rng.integers(0, 6))):
        words = "".join(chr(int(c)) for c in rng.integers(33, 127, int(rng.integers(3, 12))))
        at = (int(rng.integers(0, size)), int(rng.integers(0, size)))
        ink = rng.uniform(0, 1, 3).astype(np.float32)
        scale = float(rng.uniform(0.3, 2.0))
        thick = int(rng.integers(1, 4))
        mask = np.zeros((size, size), np.uint8)
        cv2.putText(mask, words, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), thick, cv2.LINE_AA)
        image += (mask[..., None] / np.float32(255)) * (ink - image)
    return np.asarray(np.clip(image, 0, 1), np.float32)


def _radii(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Radii with density 1/r^3, the scale-free law, largest first so that small ones stay seen."""
    smallest, largest = size / 60, size / 3
    u = rng.random(160)
    radii = (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
    return np.sort(radii)[::-1]


def _texture(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise with a power spectrum that falls as 1/f^2a, mean 0, deviation 1, (size, size)."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), np.float32))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    frequency = np.maximum(np.hypot(fy * rng.uniform(0.5, 2), fx), 1 / size)
    field = np.fft.irfft2(spectrum * frequency ** -rng.uniform(0.3, 1.4), (size, size))
    field -= field.mean()
    return np.asarray(field / field.std(), np.float32)


def chart(size: int, rng: np.random.Generator) -> Image:
    """A test chart, (size, size, 3): tiles of checkers, stripes, rays, rings and lines of text.

    Photographs hold next to nothing periodic; a network that never saw any takes it for a fault.
    """
    # Now and then one pattern fills the picture, which looks to a network like nothing else.
    tile = size if rng.random() < 0.3 else int(rng.integers(size // 6, size // 2))
    image = np.empty((size, size, 3), np.float32)
    for top in range(0, size, tile):
        for left in range(0, size, tile):
            height, width = min(tile, size - top), min(tile, size - left)
            colors = rng.uniform(0, 1, (2, 3)).astype(np.float32)
            if rng.random() < 0.5:
                colors[:] = colors[:, :1]
            cover = _pattern(tile, rng)[:height, :width, None]
            image[top : top + height, left : left + width] = colors[0] + cover * (
                colors[1] - colors[0]
            )
    return np.clip(image, 0, 1)


def _pattern(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(side, side), 0 where the first color shows and 1 where the second does."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    # Whole pixels half of the time: what meets the network's own grid is what it gets wrong.
    period = float(rng.integers(1, 17) if rng.random() < 0.5 else rng.uniform(2, 24))
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = rng.integers(5)
    if kind == 0:
        cells = np.floor(along / period) + np.floor(across / period)
        return np.asarray(cells % 2, np.float32)
    if kind == 1:
        return np.asarray(np.floor(along / period) % 2, np.float32)
    radius, turn = np.hypot(x - side / 2, y - side / 2), np.arctan2(y - side / 2, x - side / 2)
    if kind == 2:
        return np.asarray(np.sin(turn * int(rng.integers(6, 40))) > 0, np.float32)
    if kind == 3:
        return np.asarray(np.floor(radius / period) % 2, np.float32)
    page = np.zeros((side, side), np.uint8)
    scale = float(rng.uniform(0.3, 0.8))
    for line in range(int(14 * scale), side, max(int(34 * scale), 8)):
        words = "".join(chr(int(c)) for c in rng.integers(33, 127, 80))
        cv2.putText(page, words, (2, line), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), 1, cv2.LINE_AA)
    return page.astype(np.float32) / np.float32(255)
