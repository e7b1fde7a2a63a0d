"""Blur by depth: equal to the analytic one, and read from the layouts that data sets have."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from weights.geometry import (
    GeometryError,
    View,
    blurred,
    generated,
    hammer,
    rgbd,
    seen_from,
    shaken,
)

WIDTH, HEIGHT, FOCAL = 160, 120, 150.0
MATRIX = np.array([[FOCAL, 0, 79.5], [0, FOCAL, 59.5], [0, 0, 1]])
NORMAL = np.array([0.4, -0.2, 1.0])
"""Of a plane of all points whose product with it is 2: 2 meters away, and slanted."""


def plane(pose: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What a camera sees of the plane, exactly: (H, W, 3), and its depth, (H, W)."""
    v, u = np.indices((HEIGHT, WIDTH), np.float64)
    rays = np.stack([(u - 79.5) / FOCAL, (v - 59.5) / FOCAL, np.ones_like(u)], -1)
    turned = rays @ pose[:3, :3].T
    depth = (2 - NORMAL @ pose[:3, 3]) / (turned @ NORMAL)
    x, y, _ = np.moveaxis(turned * depth[..., None] + pose[:3, 3], -1, 0)
    shown = [0.5 + 0.2 * np.sin(18 * x + n) + 0.2 * np.sin(15 * y - 7 * x + n) for n in range(3)]
    return np.stack(shown, axis=-1).astype(np.float32), depth


def test_blur_of_a_slanted_plane_is_the_analytic_one() -> None:
    color, depth = plane(np.eye(4))
    view = View(color, depth, MATRIX, np.eye(4))
    path = shaken(np.random.default_rng(1), 9, angle=0.03, way=0.05)
    made = blurred(view, path)
    true = np.mean([plane(step)[0] for step in path], axis=0)
    inner = (slice(16, -16), slice(16, -16))
    contrast = true[inner].max() - true[inner].min()
    # It is blurred at all, and as it should be.
    assert np.abs(color - true)[inner].max() > 0.1 * contrast
    assert np.abs(made - true)[inner].max() < 0.01 * contrast


def test_what_is_near_covers_what_is_far() -> None:
    color = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    depth = np.full((HEIGHT, WIDTH), 4.0)
    color[40:80, 60:100], depth[40:80, 60:100] = 1.0, 1.0
    pose = np.eye(4)
    pose[0, 3] = 0.04
    seen, known = seen_from(View(color, depth, MATRIX, np.eye(4)), pose)
    # The near square moves by 6 pixels to the left, the wall by one and a half.
    assert known[60, 55:93].all()
    assert seen[60, 55:93].min() > 0.99
    assert seen[60, :53].max() < 0.01
    assert seen[60, 99:].max() < 0.01
    assert not known[60, 94:98].any()
    other = View(np.full_like(color, 0.25), np.full((HEIGHT, WIDTH), 4.0), MATRIX, np.eye(4))
    filled, known = seen_from(View(color, depth, MATRIX, np.eye(4)), pose, [other])
    assert filled[60, 95:97] == pytest.approx(0.25)


def test_generated_scenes_can_be_blurred() -> None:
    rng = np.random.default_rng(2)
    view = generated(rng, 96, 72)
    assert np.isfinite(view.depth).all()
    assert view.depth.min() > 0.5
    made = blurred(view, shaken(rng, 5, 0.02, 0.02))
    assert np.isfinite(made).all()
    assert np.abs(made - view.color).mean() > 0.01
    still = blurred(view, [np.eye(4)])
    assert np.abs(still - view.color).mean() < 0.01


def tree(folder: Path, depth: str) -> Path:
    """A view in a folder, as `weights.geometry.read` documents it."""
    for part in ("rgb", depth, "pose"):
        (folder / part).mkdir(parents=True)
    view = generated(np.random.default_rng(3), 64, 48)
    picture = np.round(255 * view.color[..., ::-1] ** (1 / 2.2)).astype(np.uint8)
    cv2.imwrite(str(folder / "rgb/000000.png"), picture)
    cv2.imwrite(str(folder / depth / "000000.png"), np.round(1000 * view.depth).astype(np.uint16))
    np.savetxt(folder / "intrinsics.txt", view.matrix)
    np.savetxt(folder / "pose/000000.txt", view.pose)
    return folder


def test_layouts_are_read(tmp_path: Path) -> None:
    true = generated(np.random.default_rng(3), 64, 48)
    tree(tmp_path / "hammer/scene2_traj1_1/polarization", "_gt")
    for (view,) in (
        list(rgbd(tree(tmp_path / "plain", "depth"))),
        list(hammer(tmp_path / "hammer")),
    ):
        assert np.abs(view.depth - true.depth).max() < 1e-3
        assert np.abs(view.color - true.color).max() < 0.01
        assert view.matrix == pytest.approx(true.matrix)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="scene2_traj1_1"):
        list(hammer(tmp_path))
    folder = tree(tmp_path / "scene2_traj1_1/polarization", "_gt")
    with pytest.raises(GeometryError, match="no camera d435"):
        list(hammer(tmp_path, "d435"))
    (folder / "intrinsics.txt").write_text("1 2 3")
    with pytest.raises(GeometryError, match="3 x 3 numbers"):
        list(hammer(tmp_path))
    with pytest.raises(GeometryError, match="no folder depth"):
        list(rgbd(folder))
