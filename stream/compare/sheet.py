"""A sheet of crops: before, after and their difference, pixel for pixel."""

import re
from collections.abc import Sequence

import cv2
import numpy as np

from stream.compare.chart import Chart, drawn
from stream.compare.clip import Clip
from stream.compare.pairs import Pair
from stream.compare.pictures import FONT, Picture, detail, encoded, enlarged, stamp
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

    def __init__(self, clips: tuple[Clip, Clip], crop: Crop | None) -> None:
        """`crop` is in pixels of the input; None: where its first moment has most detail.

        Raises `UsageError`.
        """
        self._clips = clips
        self._crop = crop
        self._rows: list[Picture] = []
        width, height = clips[0].size
        if crop is not None and (crop[0] + crop[2] > width or crop[1] + crop[3] > height):
            asked = ",".join(map(str, crop))
            raise UsageError(f"--crop {asked} is not inside the picture, which is {width}x{height}")

    def add(self, pair: Pair) -> None:
        """A moment to show."""
        if self._crop is None:
            height, width = pair.before.shape[:2]
            size = min(_WIDEST, width), min(_HIGHEST, height)
            self._crop = *detail(pair.before, size), *size
        before, reduced = _cut(pair.before, self._crop), _cut(pair.reduced, self._crop)
        after = _cut(pair.after, self._of_output(self._crop))
        change = _TIMES * (reduced.astype(np.int16) - before) + 128
        difference = np.asarray(np.clip(change, 0, 255), np.uint8)
        height, width = max(before.shape, after.shape)[:2]
        factor = max(_CELL // width, 1)
        second = stamp(pair.moment - self._clips[0].origin_s)
        titles = f"{second}  before", "after", f"difference x {_TIMES}"
        columns: list[Picture] = []
        for title, picture in zip(titles, (before, after, difference), strict=True):
            cell = enlarged(picture, (width * factor, height * factor))
            columns += [np.vstack([_strip(title, width * factor), cell])]
        gap = np.full((len(columns[0]), _GAP, 3), _PAPER, np.uint8)
        self._rows.append(np.hstack([columns[0], gap, columns[1], gap, columns[2]]))

    def finish(self, summary: str, charts: Sequence[Chart]) -> bytes:
        """The whole sheet, with the charts beneath the crops."""
        assert self._crop is not None
        left, top, wide, high = self._crop
        sizes = " and ".join(f"{width}x{height}" for width, height in (c.size for c in self._clips))
        title = f"{sizes}; {wide}x{high} pixels of the input at {left},{top}; {summary}"
        width = self._rows[0].shape[1]
        plots = [drawn(chart, width) for chart in charts]
        return encoded(np.vstack([_strip(title, width), *self._rows, *plots]), ".png")

    def _of_output(self, crop: Crop) -> Crop:
        """The same place in pixels of the output."""
        (width, height), (wide, high) = (clip.size for clip in self._clips)
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
