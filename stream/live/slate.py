"""Fitting pictures onto a canvas whose size never changes, and what is shown without a signal."""

from dataclasses import replace

import cv2
import numpy as np

from stream.live.picture import Picture, Plane, Size

_BLACK = 16, 128, 128
_DIM = 0.35
"""How bright the last picture stays behind the words."""
_WORDS = "no signal"
_READABLE = 14
"""Pixels of the height of letters."""


class Canvas:
    """Brings pictures to one size, whole and in their shape, with black beside them."""

    def __init__(self, size: Size) -> None:
        """`size`: width and height, both even."""
        self.size = size

    def fit(self, picture: Picture) -> Picture:
        """The picture on the canvas; the same object where it has that size already."""
        if picture.size == self.size:
            return picture
        width, height = self.size
        scale = min(width / picture.width, height / picture.height)
        # Even, and at an even place, so that chroma stays where it belongs.
        inner = [max(2, round(side * scale / 2) * 2) for side in picture.size]
        left, top = ((whole - part) // 4 * 2 for whole, part in zip(self.size, inner, strict=True))
        made = []
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        for plane, black, part in zip(picture.planes, _BLACK, (1, 2, 2), strict=True):
            canvas = np.full((height // part, width // part), black, np.uint8)
            small = cv2.resize(plane, (inner[0] // part, inner[1] // part), interpolation=method)
            y, x = top // part, left // part
            canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
            made.append(canvas)
        return replace(picture, data=_packed(made, self.size))

    def slate(self, last: Picture | None, moment: int) -> Picture:
        """What is shown at `moment` while there is no signal: the last picture, dimmed, and words.

        `last` has the size of the canvas.
        """
        width, height = self.size
        if last is None:
            data = np.full((height * 3 // 2, width), _BLACK[1], np.uint8)
            data[:height] = _BLACK[0] + 24
            last = Picture(data, moment, moment)
        luma, *chroma = last.planes
        dimmed = (luma * np.float32(_DIM) + 16 * (1 - _DIM)).astype(np.uint8)
        pale = [(128 + (plane - np.float32(128)) * _DIM).astype(np.uint8) for plane in chroma]
        _write(dimmed, _WORDS)
        return replace(last, data=_packed([dimmed, *pale], self.size), moment=moment, cut=False)


def _write(luma: Plane, words: str) -> None:
    """Words in the middle of a picture, as large as a twelfth of its height, or as can be read."""
    height, width = luma.shape
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 1.0
    (across, up), _ = cv2.getTextSize(words, font, size, 2)
    size = min(max(height / 12, _READABLE) / up, width * 0.8 / across)
    thick = max(1, round(size * 2))
    (across, up), _ = cv2.getTextSize(words, font, size, thick)
    place = (width - across) // 2, (height + up) // 2
    cv2.putText(luma, words, place, font, size, 16, thick * 3, cv2.LINE_AA)
    cv2.putText(luma, words, place, font, size, 235, thick, cv2.LINE_AA)


def _packed(planes: list[Plane], size: Size) -> Plane:
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, size[0])
