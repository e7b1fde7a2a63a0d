"""Pairs of blurred and sharp frames, as data sets keep them."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from weights.geometry import GeometryError, ViewFolder, codes, filmed, found_again
from weights.pictures import read_rgb

Frame: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Places: TypeAlias = NDArray[np.float32]
Pair: TypeAlias = tuple[Frame, Frame]
"""A blurred and a sharp frame of the same size."""

_LOSSLESS = {".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
_OPEN = 0.5
"""The share of the time for which the shutter is open that blurs pictures with depth."""
_SMALLEST = 16
"""Pixels that a frame's sides must have for SSIM's window inside the margin."""


class PairsError(Exception):
    """There are no pairs where they should be, or they do not fit together."""


@dataclass(frozen=True)
class PairSet:
    """Pairs that share a row of figures, in the order of time; read anew, one by one."""

    name: str
    pairs: int
    pixel_aligned: bool
    """Whether blurred and sharp frames were made from the same pixels; others are also aligned."""
    read: Callable[[], Iterator[Pair]]
    moved: Callable[[int, Places], Places] | None = None
    """Where what a sharp frame, by its index, shows at some places, (n, 2), x and y, is in the next
    one: by depth and poses, where these are known. NaN where it is not seen there."""


def find_pairs(path: Path) -> list[PairSet]:
    """The sets of pairs in a folder or a clip.

    A folder holds either `blur` and `sharp`, with equally named lossless pictures in them, or .mp4
    clips with blurred, depth and sharp frame side by side, of which each is a set, or `rgb`,
    `depth` and `pose` as `weights.geometry` reads them, whose frames are blurred as by a shutter
    that is open for half of the way to the next one. Raises `PairsError`.
    """
    if path.is_file() and path.suffix.lower() == ".mp4":
        return [_clip(path)]
    if not path.is_dir():
        raise PairsError(f"{path} is neither a folder nor an .mp4 clip")
    if (path / "blur").is_dir() and (path / "sharp").is_dir():
        return [_folder(path)]
    if (path / "rgb").is_dir():
        return [_posed(path)]
    if clips := sorted(file for file in path.iterdir() if file.suffix.lower() == ".mp4"):
        return [_clip(clip) for clip in clips]
    raise PairsError(
        f"{path} holds neither the folders blur and sharp, nor rgb, depth and pose, nor .mp4 clips"
    )


def _folder(path: Path) -> PairSet:
    names = {
        side: {p.name for p in (path / side).iterdir() if p.suffix.lower() in _LOSSLESS}
        for side in ("blur", "sharp")
    }
    if not names["blur"]:
        raise PairsError(
            f"no lossless pictures ({', '.join(sorted(_LOSSLESS))}) in {path / 'blur'}"
        )
    if lone := names["blur"] ^ names["sharp"]:
        raise PairsError(f"{min(lone)} is not both in blur and in sharp of {path}")
    files = [(path / "blur" / name, path / "sharp" / name) for name in sorted(names["blur"])]
    # resolve(): "." has no name.
    return PairSet(path.resolve().name, len(files), True, partial(_read_folder, files))


def _read_folder(files: list[tuple[Path, Path]]) -> Iterator[Pair]:
    for blurred_file, sharp_file in files:
        try:
            blurred, sharp = read_rgb(blurred_file), read_rgb(sharp_file)
        except ValueError as error:
            raise PairsError(str(error)) from error
        if blurred.shape != sharp.shape:
            raise PairsError(f"{blurred_file} and {sharp_file} differ in size")
        yield _not_too_small(blurred, sharp, blurred_file)


def _posed(path: Path) -> PairSet:
    try:
        found = ViewFolder(path)
    except GeometryError as error:
        raise PairsError(str(error)) from error
    if not found.has_poses:
        raise PairsError(f"{path} has no folder pose, and so no motion to blur its frames by")
    view = functools.lru_cache(3)(found.view)

    def moved(index: int, places: Places) -> Places:
        return found_again(view(index), view(index + 1), places)

    return PairSet(path.resolve().name, len(found), True, partial(_read_posed, found), moved)


def _read_posed(found: ViewFolder) -> Iterator[Pair]:
    try:
        views, again = tee(map(found.view, range(len(found))))
        for view, light in zip(views, filmed(again, _OPEN), strict=True):
            yield _not_too_small(codes(light), codes(view.color), found.folder)
    except GeometryError as error:
        raise PairsError(str(error)) from error


def _clip(file: Path) -> PairSet:
    # A container's own count of frames can be missing or wrong, and this finds damage early.
    pairs = sum(1 for _ in _read_clip(file))
    if not pairs:
        raise PairsError(f"{file} has no frames")
    return PairSet(file.stem, pairs, False, partial(_read_clip, file))


def _read_clip(file: Path) -> Iterator[Pair]:
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise PairsError(f"{file} has no video")
            for decoded in container.decode(video=0):
                frame = np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)
                width, rest = divmod(frame.shape[1], 3)
                if rest:
                    raise PairsError(
                        f"{file} is not blurred, depth and sharp frame side by side: "
                        f"its width, {frame.shape[1]}, is not a multiple of 3"
                    )
                yield _not_too_small(frame[:, :width], frame[:, 2 * width :], file)
    except (av.FFmpegError, OSError) as error:
        raise PairsError(f"cannot read the clip {file}: {error.strerror}") from error


def _not_too_small(blurred: Frame, sharp: Frame, where: Path) -> Pair:
    if min(blurred.shape[:2]) < _SMALLEST:
        raise PairsError(f"the frames of {where} are smaller than {_SMALLEST} px")
    return np.ascontiguousarray(blurred), np.ascontiguousarray(sharp)
