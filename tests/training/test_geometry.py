"""Blur by depth: equal to the analytic one, and read from the layouts that data sets have."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from weights.evaluate.fidelity import evaluate_fidelity
from weights.evaluate.pairs import PairsError, find_pairs
from weights.geometry import (
    GeometryError,
    Scene,
    View,
    blurred,
    filmed,
    found_again,
    generated,
    hammer,
    rgbd,
    seen_from,
    shaken,
    write,
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


def views(count: int) -> list[View]:
    """Of the plane, each some pixels from the one before, and turned a little."""
    found = []
    for index in range(count):
        pose = views_between(index)
        found.append(View(*plane(pose), MATRIX, pose))
    return found


def test_a_camera_that_moves_on_blurs_by_its_way_to_the_next_view() -> None:
    made = list(filmed(iter(views(3)), 0.6))
    assert len(made) == 3
    steps = np.linspace(-0.3, 0.3, 17)
    true = np.mean([plane(views_between(1 + step))[0] for step in steps], axis=0)
    inner = (slice(16, -16), slice(16, -16))
    contrast = true[inner].max() - true[inner].min()
    assert np.abs(views(3)[1].color - true)[inner].max() > 0.05 * contrast
    assert np.abs(made[1] - true)[inner].max() < 0.01 * contrast


def views_between(place: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.01, 0.03]) * place)[0]
    pose[:3, 3] = np.array([0.1, -0.05, 0.02]) * place
    return pose


def test_what_a_view_shows_is_found_in_another() -> None:
    one, other = views(2)
    places = np.array([[20, 30], [80, 60], [130, 90]], np.float32)
    there = found_again(one, other, places)
    # Both show the same of the plane, whose colors tell where on it a pixel is.
    for place, found in zip(places, there, strict=True):
        shown = cv2.getRectSubPix(other.color, (1, 1), (float(found[0]), float(found[1])))
        assert shown[0, 0] == pytest.approx(one.color[int(place[1]), int(place[0])], abs=0.01)
        assert np.linalg.norm(found - place) > 1
    # What is covered there, or outside, or of no clear depth, is not.
    near = replace(other, depth=other.depth.copy())
    near.depth[:, 70:100] = 0.5
    assert np.isnan(found_again(one, near, places)[1]).all()
    assert np.isnan(found_again(one, other, np.array([[0, 0]], np.float32))).all()
    unclear = replace(one, depth=one.depth.copy())
    unclear.depth[60, 81] = 0
    assert np.isnan(found_again(unclear, other, places)).tolist() == [
        [False] * 2,
        [True] * 2,
        [False] * 2,
    ]


def test_tracks_are_held_against_depth_and_poses(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scene = Scene(rng, 160, 120)
    write(tmp_path / "room", map(scene.seen, shaken(rng, 3, angle=0.03, way=0.05)))
    (found,) = find_pairs(tmp_path / "room")
    blurred_frames, sharp = zip(*found.read(), strict=True)
    assert [len(blurred_frames), found.pairs] == [3, 3]
    assert all(
        (one != other).mean() > 0.5 for one, other in zip(blurred_frames, sharp, strict=True)
    )

    def versions(frames: Iterable[NDArray[np.uint8]]) -> Iterator[dict[str, Tensor]]:
        for index, _ in enumerate(frames):
            # It jumps to and fro by two pixels.
            jumping = np.roll(sharp[index], index % 2 * 2, axis=1)
            yield {"jumping": torch.from_numpy(jumping).permute(2, 0, 1)[None] / 255}

    figures = evaluate_fidelity(versions, [found])
    assert figures["sharp"].reprojected < 0.15
    assert figures["jumping"].reprojected == pytest.approx(2, abs=0.2)
    shutil.rmtree(tmp_path / "room/pose")
    with pytest.raises(PairsError, match="has no folder pose"):
        find_pairs(tmp_path / "room")


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
    """A view in a folder, as `weights.geometry.files` documents it."""
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
