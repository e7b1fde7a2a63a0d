"""Crops to look at."""

from collections.abc import Sequence
from itertools import islice

import cv2
import numpy as np
import torch

from stream.options.exposure import Exposure
from weights.evaluate.measure import Restore
from weights.evaluate.pairs import Frame, PairSet
from weights.evaluate.quality import to_frame
from weights.evaluate.restored import AUTO, Restored

_CROP = 200
_ZOOM = 2
_STRIP = 28
"""Height in pixels of the text above a row of the sheet."""
_GAP = 8


@torch.inference_mode()
def sheet(restore: Restore, pairs: Sequence[PairSet], exposure: Exposure = AUTO) -> Frame:
    """Crops to look at, one row per set: blurred, restored and sharp, enlarged twice.

    A row shows the 200x200 pixels of the set's middle frame that differ most between blurred and
    sharp. `exposure` is as in `evaluate`; `auto` is told by that frame and the two beside it.
    """
    versions, rows = Restored(restore, 0, exposure=exposure), []
    for one in pairs:
        first = max(one.pairs // 2 - 1, 0)
        three = list(islice(one.read(), first, first + 3))
        blurred, sharp = three[one.pairs // 2 - first]
        made = list(versions(pair[0] for pair in three))[one.pairs // 2 - first]
        restored = to_frame(made["restored"])
        place = _busiest(blurred, sharp)
        rows.append(_sheet_row(one.name, [x[place] for x in (blurred, restored, sharp)]))
    return np.concatenate(rows)


def _busiest(blurred: Frame, sharp: Frame) -> tuple[slice, slice]:
    """The place, 200x200 or as large as the frame, where the two differ most."""
    difference = np.abs(blurred.astype(np.float64) - sharp).sum(axis=2)
    height, width = (min(_CROP, side) for side in difference.shape)
    sums = cv2.integral(difference)
    bands = sums[height:] - sums[:-height]
    windows = bands[:, width:] - bands[:, :-width]
    top, left = (int(place) for place in np.unravel_index(windows.argmax(), windows.shape))
    return slice(top, top + height), slice(left, left + width)


def _sheet_row(name: str, crops: Sequence[Frame]) -> Frame:
    cell = _CROP * _ZOOM
    row = np.full((_STRIP + cell + _GAP, 3 * (cell + _GAP) - _GAP, 3), 255, np.uint8)
    titles = (f"{name}: blurred", "restored", "sharp")
    for column, (title, crop) in enumerate(zip(titles, crops, strict=True)):
        left = column * (cell + _GAP)
        large = crop.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
        row[_STRIP : _STRIP + large.shape[0], left : left + large.shape[1]] = large
        place = (left + 4, _STRIP - 9)
        cv2.putText(row, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return row
