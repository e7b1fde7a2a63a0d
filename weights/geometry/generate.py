"""Scenes with depth, made up: a slanted wall, and textured cards before it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from weights.geometry.blur import Floats, View

_FAR, _NEAR = (4.0, 8.0), (1.0, 3.0)
"""Meters from the camera to walls and to cards."""


@dataclass(frozen=True, eq=False)
class _Card:
    """A piece of a plane; a wall goes on forever."""

    normal: Floats
    """(3,): the plane's points have `normal @ point == away`."""
    away: float
    middle: Floats
    """(2,) and `size` (2,): where it is seen from the first camera, x / z and y / z."""
    size: Floats
    texture: NDArray[np.float32]
    """(H, W, 3) as the first camera sees it, linear in light."""


class Scene:
    """A wall 4 to 8 meters away, and cards from 1 to 3 meters before it."""

    def __init__(
        self, rng: np.random.Generator, width: int = 320, height: int = 240, cards: int = 4
    ) -> None:
        """`width` and `height` are those of its pictures."""
        focal = width * rng.uniform(0.7, 1.2)
        self.matrix = np.array(
            [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
        )
        self._size = width, height
        self._cards = []
        for card in range(cards + 1):
            away = float(rng.uniform(*(_NEAR if card else _FAR)))
            normal = np.array([*rng.uniform(-0.4, 0.4, 2), 1.0])
            middle = rng.uniform(-0.35, 0.35, 2) * [width / focal, height / focal]
            size = rng.uniform(0.06, 0.2, 2) if card else np.array([np.inf, np.inf])
            texture = _texture(rng, width, height)
            self._cards.append(_Card(normal, away, middle, size, texture))

    def seen(self, pose: Floats) -> View:
        """What a camera sees of it; `pose` is (4, 4), from it to the first camera."""
        width, height = self._size
        v, u = np.indices((height, width), np.float64)
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(self.matrix).T
        turned, place = rays @ pose[:3, :3].T, pose[:3, 3]
        color = np.zeros((height, width, 3), np.float32)
        depth = np.full((height, width), np.inf)
        for card in self._cards:
            # Where each ray meets the card's plane, and where the first camera sees that.
            z = (card.away - card.normal @ place) / (turned @ card.normal)
            point = turned * z[..., None] + place
            seen = point[..., :2] / np.where(point[..., 2:] > 0, point[..., 2:], np.nan)
            inside = (np.abs(seen - card.middle) < card.size).all(-1) & np.isfinite(seen).all(-1)
            nearer = inside & (z > 0) & (z < depth)
            x, y = (seen[..., i] * self.matrix[i, i] + self.matrix[i, 2] for i in (0, 1))
            texture = cv2.remap(
                card.texture,
                x.astype(np.float32),
                y.astype(np.float32),
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            depth[nearer] = z[nearer]
            color[nearer] = texture[nearer]
        return View(color.clip(0, 1), depth, self.matrix, pose)


def generated(
    rng: np.random.Generator, width: int = 320, height: int = 240, cards: int = 4
) -> View:
    """What the first camera sees of a `Scene`."""
    return Scene(rng, width, height, cards).seen(np.eye(4))


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    made = np.zeros((height, width, 3), np.float32)
    for sigma in (1.0, 3.0, 9.0):
        noise = rng.normal(size=(height, width, 3)).astype(np.float32)
        made += np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma)) * np.float32(sigma)
    return np.asarray(np.clip(0.5 + 0.25 * made / made.std(), 0, 1), np.float32)
