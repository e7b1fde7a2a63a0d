"""Scenes with depth, made up: a slanted wall, and textured cards before it."""

import cv2
import numpy as np

from weights.geometry.blur import View


def generated(
    rng: np.random.Generator, width: int = 320, height: int = 240, cards: int = 4
) -> View:
    """A view of a scene: a wall 4 to 8 meters away, and cards from 1 to 3 meters."""
    focal = width * rng.uniform(0.7, 1.2)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    v, u = np.indices((height, width), np.float64)
    rays = np.stack([(u - matrix[0, 2]) / focal, (v - matrix[1, 2]) / focal, np.ones_like(u)], -1)
    color = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf)
    for card in range(cards + 1):
        away = rng.uniform(4, 8) if card == 0 else rng.uniform(1, 3)
        normal = np.array([*rng.uniform(-0.4, 0.4, 2), 1.0])
        # Where the plane through a point on the axis, or beside it, meets each ray.
        z = away / (rays @ normal)
        if card:
            middle = rng.uniform(-0.35, 0.35, 2) * [width / focal, height / focal]
            size = rng.uniform(0.06, 0.2, 2)
            inside = (np.abs(rays[..., :2] - middle) < size).all(-1)
        else:
            inside = np.ones((height, width), bool)
        nearer = inside & (z > 0) & (z < depth)
        depth[nearer] = z[nearer]
        color[nearer] = _texture(rng, width, height)[nearer]
    return View(color, depth, matrix, np.eye(4))


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    made = np.zeros((height, width, 3), np.float32)
    for sigma in (1.0, 3.0, 9.0):
        noise = rng.normal(size=(height, width, 3)).astype(np.float32)
        made += np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma)) * np.float32(sigma)
    return np.asarray(np.clip(0.5 + 0.25 * made / made.std(), 0, 1), np.float32)
