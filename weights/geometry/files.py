"""Pictures with depth in files: plain folders, and HAMMER's layout (arXiv 2303.14840).

A plain folder has `rgb/` (8-bit PNG or JPEG), `depth/` (16-bit PNG, millimeters, 0 where not
known), with the same names, `intrinsics.txt` (3 x 3 numbers), and, if poses are known, `pose/` with
4 x 4 numbers of the same names, from the camera to the scene, in meters.

HAMMER's has for each scene and trajectory (`scene2_traj1_1`) a folder for each camera
(`polarization`, `d435`, `l515`, `tof`) with `rgb/`, `depth/` or depth of other cameras and truth
(`_gt`) beside it, `intrinsics.txt` and `pose/`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weights.geometry.blur import Floats, View

_GAMMA = 2.2
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
    found = ViewFolder(folder, depth)
    yield from map(found.view, range(len(found)))


class ViewFolder:
    """A folder of views, which are read as they are asked for."""

    def __init__(self, folder: Path, depth: str = "depth") -> None:
        """Raises `GeometryError`."""
        for part in ("rgb", depth):
            if not (folder / part).is_dir():
                raise GeometryError(f"{folder} has no folder {part}")
        self.folder, self._depth = folder, depth
        self._matrix = _numbers(folder / "intrinsics.txt", (3, 3))
        there = sorted((folder / "rgb").iterdir())
        self._pictures = [each for each in there if each.suffix in _PICTURES]
        if not self._pictures:
            raise GeometryError(f"{folder / 'rgb'} has no pictures")

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def has_poses(self) -> bool:
        """Whether it is known where the camera was."""
        return (self.folder / "pose").is_dir()

    def view(self, index: int) -> View:
        """One of the views. Raises `GeometryError`."""
        picture = self._pictures[index]
        file = self.folder / self._depth / f"{picture.stem}.png"
        away = _read(file, cv2.IMREAD_UNCHANGED)
        color = _read(picture, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
        if away.dtype != np.uint16 or away.shape != color.shape[:2]:
            raise GeometryError(f"{file} must be 16 bits and as large as the picture")
        pose = np.eye(4)
        if self.has_poses:
            pose = _numbers(self.folder / "pose" / f"{picture.stem}.txt", (4, 4))
        # Light adds up in linear values.
        return View(color ** np.float32(_GAMMA), away / 1000.0, self._matrix, pose)


def write(folder: Path, views: Iterable[View]) -> None:
    """Write views of one camera as a plain folder. Raises `OSError`."""
    for part in ("rgb", "depth", "pose"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index, view in enumerate(views):
        name = f"{index:03}"
        away = np.where(np.isfinite(view.depth), view.depth, 0) * 1000
        for file, picture in (
            (folder / "rgb" / f"{name}.png", codes(view.color)[..., ::-1]),
            (folder / "depth" / f"{name}.png", np.rint(away).clip(0, 65535).astype(np.uint16)),
        ):
            if not cv2.imwrite(str(file), picture):
                raise OSError(f"cannot write {file}")
        np.savetxt(folder / "pose" / f"{name}.txt", view.pose)
        np.savetxt(folder / "intrinsics.txt", view.matrix)


def codes(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light, (H, W, 3) RGB in 0..1, as an encoded picture."""
    return np.asarray(np.rint(light.clip(0, 1) ** np.float32(1 / _GAMMA) * 255), np.uint8)


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
