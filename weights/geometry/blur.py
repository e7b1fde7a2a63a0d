"""Blur that is true to depth: what is near moves farther than what is far, and covers it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SAME = 0.05
"""The share of the depth by which two points of one surface may differ from pixel to pixel."""
_ROUNDS = 3
_STEPS = 17
"""Sub-frames of a frame."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture with the depth of each pixel, and where its camera was."""

    color: NDArray[np.float32]
    """(H, W, 3) RGB, linear in light, 0..1."""
    depth: Floats
    """(H, W), meters along the camera's axis; 0: not known."""
    matrix: Floats
    """(3, 3), the camera's: focal lengths and middle in pixels."""
    pose: Floats
    """(4, 4), from the camera, whose axes lead right, down and into the picture, to the scene."""


def shaken(rng: np.random.Generator, count: int, angle: float, way: float) -> list[Floats]:
    """A hand's shaking in `count` steps: (4, 4) each, from a moment's camera to that of the middle
    of the exposure, which stays where it is. `angle` radians and `way` meters are how much it turns
    and moves, on average, over the exposure."""
    time = np.linspace(-1, 1, count)
    waves = np.stack([time, time**2, np.sin(np.pi * time)])
    turns, moves = (
        (rng.normal(size=(3, 3)) * [1, 0.5, 0.5]) @ waves * size / 2 for size in (angle, way)
    )
    poses = []
    for turn, move in zip(turns.T, moves.T, strict=True):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(turn)[0]
        pose[:3, 3] = move
        poses.append(pose)
    middle = np.linalg.inv(poses[count // 2])
    return [middle @ pose for pose in poses]


def blurred(view: View, path: Sequence[Floats], others: Sequence[View] = ()) -> NDArray[np.float32]:
    """The mean of what a camera sees along a path, as `shaken` makes it: (H, W, 3)."""
    total = np.zeros(view.color.shape, np.float64)
    for step in path:
        total += seen_from(view, view.pose @ step, others)[0]
    return np.asarray(total / len(path), np.float32)


def filmed(views: Iterable[View], share: float) -> Iterator[NDArray[np.float32]]:
    """What a video camera sees that moves on from each view's place to that of the next one, its
    shutter open for a `share` (0..1) of the time around each: (H, W, 3) for each view.

    Before the first and after the last one it goes on as it did beside them. Three views are held.
    """
    before: View | None = None
    now: View | None = None
    for after in views:
        if now is not None:
            yield _exposed(now, before, after, share)
            before = now
        now = after
    if now is not None:
        yield _exposed(now, before, None, share)


def _exposed(
    view: View, before: View | None, after: View | None, share: float
) -> NDArray[np.float32]:
    path = []
    for time in np.linspace(-share / 2, share / 2, _STEPS):
        ahead = (time > 0 and after is not None) or before is None
        other = after if ahead else before
        path.append(_toward(view, other, time if ahead else -time) if other else np.eye(4))
    return blurred(view, path, [each for each in (before, after) if each])


def _toward(view: View, other: View, share: float) -> Floats:
    """From the camera at a share of the way from one view to another, to that of the one."""
    whole = np.linalg.inv(view.pose) @ other.pose
    part = np.eye(4)
    part[:3, :3] = cv2.Rodrigues(cv2.Rodrigues(whole[:3, :3])[0] * share)[0]
    part[:3, 3] = whole[:3, 3] * share
    return part


def found_again(view: View, other: View, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where what a view shows at `places`, (n, 2), x and y in pixels, is in another view; NaN where
    its depth is not known or not clear, and where something else covers it."""
    column, row = (np.clip(np.rint(places), 0, np.array(view.depth.shape)[::-1] - 1).astype(int)).T
    near = _clear(view.depth)
    depth = view.depth[row, column]
    points = _points(places[:, 0].astype(float), places[:, 1].astype(float), depth, view.matrix)
    x, y, z = _seen(_moved(points, np.linalg.inv(other.pose) @ view.pose), other.matrix)
    height, width = other.depth.shape
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1) & (z > 0)
    seen = other.depth[
        np.rint(np.where(inside, y, 0)).astype(int), np.rint(np.where(inside, x, 0)).astype(int)
    ]
    clear = near[row, column] & inside & (depth > 0) & (np.abs(seen - z) < _SAME * z)
    return np.where(clear[:, None], np.stack([x, y], axis=-1), np.nan).astype(np.float32)


def _clear(depth: Floats) -> NDArray[np.bool_]:
    """Where the depth is that of one surface, whichever pixel around is asked."""
    single, around = depth.astype(np.float32), np.ones((3, 3), np.uint8)
    nearest, farthest = cv2.erode(single, around), cv2.dilate(single, around)
    return np.asarray((nearest > 0) & (farthest - nearest < _SAME * nearest))


def seen_from(
    view: View, pose: Floats, others: Sequence[View] = ()
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A view from another place: (H, W, 3), and (H, W), where that is known.

    What was covered is filled from `others` where they see it, and else by what is farthest away
    around it.
    """
    color, known = _warped(view, view.matrix, pose)
    for other in others:
        if known.all():
            break
        more, there = _warped(other, view.matrix, pose)
        new = there & ~known
        color[new] = more[new]
        known |= new
    if not known.all():
        holes = (~known).astype(np.uint8)
        _, labels = cv2.distanceTransformWithLabels(
            holes, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest = np.zeros((int(labels.max()) + 1, 3), np.float32)
        nearest[labels[known]] = color[known]
        color[~known] = nearest[labels[~known]]
    return color, known


def _warped(
    view: View, matrix: Floats, pose: Floats
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    height, width = view.depth.shape
    to_other = np.linalg.inv(pose) @ view.pose
    v, u = np.indices((height, width), np.float64)
    points = _moved(_points(u, v, view.depth, view.matrix), to_other)
    depth = _nearest(points, view.depth > 0, matrix)
    known = np.isfinite(depth)
    back: Floats = np.asarray(np.linalg.inv(to_other), np.float64)

    def source(depth: Floats) -> tuple[Floats, Floats]:
        points = _points(u, v, np.where(known, depth, 1), matrix)
        return _seen(_moved(points, back), view.matrix)[:2]

    same = known
    for _ in range(_ROUNDS):
        # Each pixel's depth is at first that of a neighbor: the surface at its own ray is found.
        x, y = source(depth)
        there = _at(view.depth.astype(np.float32), x, y)
        z = _moved(_points(x, y, there, view.matrix), to_other)[..., 2]
        same = known & (np.abs(z - np.where(known, depth, 0)) < _SAME * np.abs(z))
        depth = np.where(same, z, depth)
    x, y = source(depth)
    # Between two surfaces the picture shows a mixture of both.
    known = same
    known &= (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return np.asarray(_at(view.color, x, y), np.float32), known


def _nearest(points: Floats, known: NDArray[np.bool_], matrix: Floats) -> Floats:
    """(H, W): the depth of the nearest point of each pixel; infinite where there is none."""
    height, width = known.shape
    x, y, z = _seen(points, matrix)
    depth = np.full((height, width), np.inf)
    front = known & (z > 1e-3)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column = np.floor(x[front]).astype(int) + right
        row = np.floor(y[front]).astype(int) + down
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        np.minimum.at(depth, (row[inside], column[inside]), z[front][inside])
    return depth


def _points(u: Floats, v: Floats, depth: Any, matrix: Floats) -> Floats:
    x = np.asarray((u - matrix[0, 2]) / matrix[0, 0] * depth, np.float64)
    y = (v - matrix[1, 2]) / matrix[1, 1] * depth
    return np.asarray(np.stack([x, y, np.broadcast_to(depth, x.shape)], axis=-1), np.float64)


def _moved(points: Floats, by: Floats) -> Floats:
    return np.asarray(points @ by[:3, :3].T + by[:3, 3])


def _seen(points: Floats, matrix: Floats) -> tuple[Floats, Floats, Floats]:
    z = points[..., 2]
    safe = np.where(np.abs(z) < 1e-6, 1e-6, z)
    x = points[..., 0] / safe * matrix[0, 0] + matrix[0, 2]
    return x, points[..., 1] / safe * matrix[1, 1] + matrix[1, 2], z


def _at(image: NDArray[np.float32], x: Floats, y: Floats) -> Any:
    places = x.astype(np.float32), y.astype(np.float32)
    how = cv2.INTER_CUBIC if image.ndim == 3 else cv2.INTER_LINEAR
    return cv2.remap(image, *places, how, borderMode=cv2.BORDER_REPLICATE)
