"""Pictures to enlarge, each beside the same a third of its size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from filters.sampling import FACTOR, third
from weights.evaluate.pairs import Frame, PairsError
from weights.evaluate.quality import to_frame, to_tensor
from weights.pictures import find_images, read_rgb

_SMALLEST = 18
"""Pixels that a side must have for SSIM's window inside of what is cut off."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures that share a row of figures; read anew, one by one."""

    name: str
    pictures: int
    read: Callable[[], Iterator[tuple[Frame, Frame]]]
    """The small and the large picture, the large one of exactly three times the size."""


def find_pictures(path: Path) -> list[PictureSet]:
    """The sets of pictures in a folder: each folder in it that holds some is one.

    Where a name with HR in it is there with LR as well, that file is the small picture; other
    pictures are made smaller. Raises `PairsError`.
    """
    try:
        files = find_images(path)
    except ValueError as error:
        raise PairsError(str(error)) from error
    files.sort(key=lambda file: (file.parent, file.name))
    sets = []
    for folder, inside in groupby(files, key=lambda file: file.parent):
        pictures = _beside_each_other(list(inside))
        # resolve(): "." has no name.
        sets.append(PictureSet(folder.resolve().name, len(pictures), partial(_read, pictures)))
    return sets


def _beside_each_other(files: Sequence[Path]) -> list[tuple[Path | None, Path]]:
    """The small one, if there is one, and the large picture."""
    small = {
        file.with_name("LR".join(file.name.rsplit("HR", 1))): file
        for file in files
        if "HR" in file.name
    }
    pairs: list[tuple[Path | None, Path]] = [(f, small[f]) for f in files if f in small]
    if not pairs:
        return [(None, file) for file in files]
    if lone := set(files) - {file for pair in pairs for file in pair if file}:
        raise PairsError(f"{min(lone)} is not there as both HR and LR, unlike others beside it")
    return pairs


def _read(pictures: Sequence[tuple[Path | None, Path]]) -> Iterator[tuple[Frame, Frame]]:
    for small_file, file in pictures:
        try:
            large = read_rgb(file)
            small = read_rgb(small_file) if small_file else None
        except ValueError as error:
            raise PairsError(str(error)) from error
        height, width = (side // FACTOR for side in large.shape[:2])
        if min(height, width) * FACTOR < _SMALLEST:
            raise PairsError(f"{file} is smaller than {_SMALLEST} px")
        large = np.ascontiguousarray(large[: height * FACTOR, : width * FACTOR])
        if small is None:
            small = to_frame(third(to_tensor(large)))
        elif small.shape != (height, width, 3):
            raise PairsError(f"{small_file} is not a third of the size of {file.name}")
        yield small, large
