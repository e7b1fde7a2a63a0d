"""A sheet of crops, pixel for pixel: before, after and their difference, or several versions."""

import re

import cv2
import numpy as np

from stream.compare.chart import drawn
from stream.compare.measure.clip import Clip
from stream.compare.measure.matches import Match
from stream.compare.measure.pictures import FONT, Picture, detail, encoded, enlarged, stamp
from stream.compare.result import Comparison
from stream.compare.versions import Versions
from stream.errors import UsageError

_WIDEST, _HIGHEST = 240, 180
"""Pixels of the input in a crop, where none is asked for."""
_CELL = 480
"""Pixels that a crop is at least enlarged to in width, as far as whole factors go."""
_GAP, _STRIP = 8, 26
"""Pixels between crops, and above a row for its text."""
_TIMES = 4
"""What differences are multiplied by."""
_PAPER, _INK = 255, (40, 40, 46)

Crop = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the input."""


def parse_crop(text: str) -> Crop:
    """Read `X,Y,W,H`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d{1,5}),(\d{1,5}),([1-9]\d{0,4}),([1-9]\d{0,4})", text)
    if match is None:
        raise UsageError(f"--crop takes X,Y,W,H in pixels such as 100,50,240,180, got {text}")
    left, top, width, height = map(int, match.groups())
    return left, top, width, height


class Sheet:
    """Collects crops and writes them as PNG: a row for each moment."""

    def __init__(self, versions: Versions, crop: Crop | None) -> None:
        """`crop` is in pixels of the input; None: where its first moment has most detail.

        Raises `UsageError`.
        """
        self._versions = versions
        self._crop = crop
        self._rows: list[Picture] = []
        width, height = versions.input.size
        if crop is not None and (crop[0] + crop[2] > width or crop[1] + crop[3] > height):
            asked = ",".join(map(str, crop))
            raise UsageError(f"--crop {asked} is not inside the picture, which is {width}x{height}")

    def add(self, match: Match, *, begins: bool) -> None:
        """A moment to show; all begin a row."""
        if self._crop is None:
            height, width = match.pictures[0].shape[:2]
            size = min(_WIDEST, width), min(_HIGHEST, height)
            self._crop = *detail(match.pictures[0], size), *size
        cells = [
            _cut(picture, self._of(clip, self._crop))
            for picture, clip in zip(match.pictures, self._versions.clips, strict=True)
        ]
        titles = list(self._versions.names)
        if len(cells) == 2:
            before, reduced = (_cut(picture, self._crop) for picture in match.reduced)
            change = _TIMES * (reduced.astype(np.int16) - before) + 128
            cells.append(np.asarray(np.clip(change, 0, 255), np.uint8))
            titles.append(f"difference x {_TIMES}")
        height, width = max(cell.shape[:2] for cell in cells)
        factor = max(_CELL // width, 1)
        titles[0] = f"{stamp(match.moment - self._versions.input.origin_s)}  {titles[0]}"
        row: list[Picture] = []
        for title, picture in zip(titles, cells, strict=True):
            cell = enlarged(picture, (width * factor, height * factor))
            column = np.vstack([_strip(title, width * factor), cell])
            gap = np.full((len(column), _GAP, 3), _PAPER, np.uint8)
            row += [gap, column] if row else [column]
        self._rows.append(np.hstack(row))

    def finish(self, found: "Comparison") -> bytes:
        """The whole sheet, with the charts beneath the crops."""
        left, top, wide, high = self._crop or (0, 0, *self._versions.input.size)
        clips = self._versions.clips
        sizes = " and ".join(f"{width}x{height}" for width, height in (c.size for c in clips))
        title = f"{sizes}; {wide}x{high} pixels of the input at {left},{top}"
        lines = found.summary.splitlines()
        width = self._rows[0].shape[1]
        strips = [_strip(line, width) for line in (title, *lines)]
        plots = [drawn(chart, width) for chart in found.charts]
        return encoded(np.vstack([*strips, *self._rows, *plots]), ".png")

    def _of(self, clip: Clip, crop: Crop) -> Crop:
        """The same place in pixels of another video."""
        (width, height), (wide, high) = self._versions.input.size, clip.size
        across, down = wide / width, high / height
        left, top = min(int(crop[0] * across), wide - 1), min(int(crop[1] * down), high - 1)
        return left, top, max(round(crop[2] * across), 1), max(round(crop[3] * down), 1)


def _cut(picture: Picture, crop: Crop) -> Picture:
    left, top, width, height = crop
    return picture[top : top + height, left : left + width]


def _strip(text: str, width: int) -> Picture:
    strip = np.full((_STRIP, width, 3), _PAPER, np.uint8)
    cv2.putText(strip, text, (2, _STRIP - 8), FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return strip
