"""Pairs of blurred and sharp frames, as data sets keep them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from weights.pictures import read_rgb

Frame: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Pair: TypeAlias = tuple[Frame, Frame]
"""A blurred and a sharp frame of the same size."""

_LOSSLESS = {".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
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


def find_pairs(path: Path) -> list[PairSet]:
    """The sets of pairs in a folder or a clip.

    A folder holds either `blur` and `sharp`, with equally named lossless pictures in them, or .mp4
    clips with blurred, depth and sharp frame side by side, of which each is a set. Raises
    `PairsError`.
    """
    if path.is_file() and path.suffix.lower() == ".mp4":
        return [_clip(path)]
    if not path.is_dir():
        raise PairsError(f"{path} is neither a folder nor an .mp4 clip")
    if (path / "blur").is_dir() and (path / "sharp").is_dir():
        return [_folder(path)]
    if clips := sorted(file for file in path.iterdir() if file.suffix.lower() == ".mp4"):
        return [_clip(clip) for clip in clips]
    raise PairsError(f"{path} holds neither the folders blur and sharp nor .mp4 clips")


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


def _read_folder(files: Sequence[tuple[Path, Path]]) -> Iterator[Pair]:
    for blurred_file, sharp_file in files:
        try:
            blurred, sharp = read_rgb(blurred_file), read_rgb(sharp_file)
        except ValueError as error:
            raise PairsError(str(error)) from error
        if blurred.shape != sharp.shape:
            raise PairsError(f"{blurred_file} and {sharp_file} differ in size")
        yield _not_too_small(blurred, sharp, blurred_file)


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
