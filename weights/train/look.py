"""A sheet of training samples, with real pairs beside them to compare with."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from weights.evaluate import PairSet
from weights.train.data import Samples

_ROWS = 8
_GAP = 8


def samples_sheet(samples: Samples, sets: Sequence[PairSet], file: Path, number: int = 0) -> None:
    """Write 16 samples, each blurred, registered neighbors and sharp, and crops of real pairs.

    `number` is that of the group they are taken from. Raises `OSError` if the file cannot be
    written.
    """
    shown, sharp = samples.group(number)
    pictures = [shown[:, :3], shown[:, -6:-3], shown[:, -3:]]
    codes = [(each.float() * 255).round().byte() for each in pictures]
    made = torch.cat([*codes, sharp], dim=3).permute(0, 2, 3, 1).numpy()
    columns = [made[:_ROWS], made[_ROWS : 2 * _ROWS]]
    if sets:
        rng = np.random.default_rng(number)
        columns.append(np.stack(_real(sets, samples.settings.patch, rng)))
    height = columns[0].shape[1]
    gap = np.full((_ROWS * height, _GAP, 3), 255, np.uint8)
    parts = [part for column in columns for part in (np.concatenate(list(column)), gap)]
    sheet = cv2.cvtColor(np.concatenate(parts[:-1], axis=1), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(file), sheet):
        raise OSError(f"cannot write {file}")


def _real(sets: Sequence[PairSet], side: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    crops = []
    for row in range(_ROWS):
        one = sets[row % len(sets)]
        at = int(rng.integers(one.pairs))
        blurred, sharp = next(islice(one.read(), at, None))
        height, width = blurred.shape[:2]
        taken = min(side, height, width)
        top, left = int(rng.integers(height - taken + 1)), int(rng.integers(width - taken + 1))
        pair = np.full((side, 2 * side, 3), 255, np.uint8)
        for index, frame in enumerate((blurred, sharp)):
            part = frame[top : top + taken, left : left + taken]
            pair[:taken, index * side : index * side + taken] = part
        crops.append(pair)
    return crops
