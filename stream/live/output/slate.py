"""Fitting pictures onto a canvas whose size never changes, and what is shown without a signal."""

import unicodedata
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from stream.ipc.mailbox import Picture, Plane, Size, packed

_BLACK = 16, 128, 128
_DIM = 0.35
"""How bright the last picture stays behind the words."""
_NO_SIGNAL = "no signal"
_READABLE = 14
"""Pixels of the height of letters."""
_PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"})
"""What letters become that are not just another one with a mark."""
_LESS = 0.6
"""How large the other words are beside those."""


class Letterbox:
    """Brings pictures to one size, whole and in their shape, with black beside them."""

    def __init__(self, size: Size, aspect: Fraction = Fraction(1)) -> None:
        """`size`: width and height, both even, of pixels `aspect` as wide as high."""
        self.size, self.aspect = size, aspect

    def fit(self, picture: Picture) -> Picture:
        """The picture on the canvas; the same object where it has that form already."""
        if picture.shape == (self.size, self.aspect):
            return picture
        width, height = self.size
        # In pixels of the canvas.
        shape = picture.width * float(picture.aspect / self.aspect), picture.height
        scale = min(width / shape[0], height / shape[1])
        # Even, and at an even place, so that chroma stays where it belongs.
        inner = [max(2, round(side * scale / 2) * 2) for side in shape]
        left, top = ((whole - part) // 4 * 2 for whole, part in zip(self.size, inner, strict=True))
        made = []
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        for plane, black, part in zip(picture.planes, _BLACK, (1, 2, 2), strict=True):
            canvas = np.full((height // part, width // part), black, np.uint8)
            small = cv2.resize(plane, (inner[0] // part, inner[1] // part), interpolation=method)
            y, x = top // part, left // part
            canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
            made.append(canvas)
        return replace(picture, data=packed(made), aspect=self.aspect)

    def slate(
        self, last: Picture | None, timestamp: int, *, name: str = "", since: str = ""
    ) -> Picture:
        """What is shown at `moment` while there is no signal: the last picture, dimmed, and words.

        `last` has the size of the canvas; `name` is the camera's, and `since` says since when.
        """
        width, height = self.size
        if last is None:
            data = np.full((height * 3 // 2, width), _BLACK[1], np.uint8)
            data[:height] = _BLACK[0] + 24
            last = Picture(data, timestamp, timestamp, aspect=self.aspect)
        luma, *chroma = last.planes
        dimmed = (luma * np.float32(_DIM) + 16 * (1 - _DIM)).astype(np.uint8)
        pale = [(128 + (plane - np.float32(128)) * _DIM).astype(np.uint8) for plane in chroma]
        _write(dimmed, [_written(name), _NO_SIGNAL, f"since {since}" if since else ""])
        return replace(last, data=packed([dimmed, *pale]), timestamp=timestamp, cut=False)


def square_size(size: Size, aspect: Fraction) -> Size:
    """The size, both sides even, that pictures of a `size` get where their pixels, `aspect` as
    wide as high, are made as wide as high and nothing gets smaller."""
    one = Fraction(1)
    across, down = max(aspect, one), max(1 / aspect, one)
    return round(size[0] * across / 2) * 2, round(size[1] * down / 2) * 2


def _written(name: str) -> str:
    """A name in the letters that the font has."""
    if hasattr(cv2, "FontFace"):  # the fonts of OpenCV 5 have nearly all letters
        return unicodedata.normalize("NFC", name)
    plain = unicodedata.normalize("NFKD", name.translate(_PLAIN))
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return "".join(each if each.isascii() else "?" for each in plain)


def _write(luma: Plane, lines: list[str]) -> None:
    """Lines in the middle of a picture, the second as large as a twelfth of its height, or as can
    be read, and the others smaller."""
    height, width = luma.shape
    font = cv2.FONT_HERSHEY_SIMPLEX
    (_, up), _ = cv2.getTextSize(_NO_SIGNAL, font, 1.0, 2)
    most = max(height / 12, _READABLE) / up
    step = 2 * up * most
    letters = np.zeros_like(luma)
    for row, words in zip((-1, 0, 1), lines, strict=True):
        (across, _), _ = cv2.getTextSize(words, font, 1.0, 2)
        size = min(most * (_LESS if row else 1), width * 0.8 / max(1, across))
        thick = max(1, round(size * 2))
        (across, high), _ = cv2.getTextSize(words, font, size, thick)
        place = (width - across) // 2, round((height + high) / 2 + row * step)
        cv2.putText(letters, words, place, font, size, 255, thick, cv2.LINE_AA)
    edge = 2 * max(1, round(most)) + 1
    for shape, level in ((cv2.dilate(letters, np.ones((edge, edge))), 16), (letters, 235)):
        share = shape / np.float32(255)
        luma[:] = np.rint(luma * (1 - share) + level * share)
