"""Reading pictures with depth: plain folders, and HAMMER's layout (arXiv 2303.14840).

A plain folder has `rgb/` (8-bit PNG or JPEG), `depth/` (16-bit PNG, millimeters, 0 where not
known), with the same names, `intrinsics.txt` (3 x 3 numbers), and, if poses are known, `pose/` with
4 x 4 numbers of the same names, from the camera to the scene, in meters.

HAMMER's has for each scene and trajectory (`scene2_traj1_1`) a folder for each camera
(`polarization`, `d435`, `l515`, `tof`) with `rgb/`, `depth/` or depth of other cameras and truth
(`_gt`) beside it, `intrinsics.txt` and `pose/`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from weights.geometry.blur import Floats, View

_PICTURES = (".png", ".jpg", ".jpeg")


class GeometryError(ValueError):
    """A folder does not have what it should, in one line."""


def hammer(root: Path, camera: str = "polarization", depth: str = "_gt") -> Iterator[View]:
    """All views of a camera in all trajectories below a folder of HAMMER's layout, with `depth`
    from the folder of that name. Raises `GeometryError`."""
    trajectories = sorted(each for each in root.glob("scene*_traj*") if each.is_dir())
    if not trajectories:
        raise GeometryError(f"{root} has no folders such as scene2_traj1_1, as HAMMER has")
    for trajectory in trajectories:
        if not (trajectory / camera).is_dir():
            raise GeometryError(f"{trajectory} has no camera {camera}")
        yield from rgbd(trajectory / camera, depth=depth)


def rgbd(folder: Path, *, depth: str = "depth") -> Iterator[View]:
    """All views of a folder, by name. Raises `GeometryError`."""
    for part in ("rgb", depth):
        if not (folder / part).is_dir():
            raise GeometryError(f"{folder} has no folder {part}")
    matrix = _numbers(folder / "intrinsics.txt", (3, 3))
    pictures = [each for each in sorted((folder / "rgb").iterdir()) if each.suffix in _PICTURES]
    if not pictures:
        raise GeometryError(f"{folder / 'rgb'} has no pictures")
    for picture in pictures:
        away = _read(folder / depth / f"{picture.stem}.png", cv2.IMREAD_UNCHANGED)
        color = _read(picture, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
        if away.dtype != np.uint16 or away.shape != color.shape[:2]:
            raise GeometryError(
                f"{folder / depth / picture.stem}.png must be 16 bits and as large as the picture"
            )
        pose = np.eye(4)
        if (folder / "pose").is_dir():
            pose = _numbers(folder / "pose" / f"{picture.stem}.txt", (4, 4))
        # Light adds up in linear values.
        yield View(color ** np.float32(2.2), away / 1000.0, matrix, pose)


def _read(file: Path, how: int) -> Any:
    found = cv2.imread(str(file), how) if file.is_file() else None
    if found is None:
        raise GeometryError(f"{file} is not there, or no picture")
    return found


def _numbers(file: Path, shape: tuple[int, int]) -> Floats:
    try:
        return np.loadtxt(file, dtype=np.float64).reshape(shape)
    except (OSError, ValueError):
        rows, columns = shape
        raise GeometryError(f"{file} must have {rows} x {columns} numbers") from None
