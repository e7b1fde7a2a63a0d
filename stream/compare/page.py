"""A page that shows moments of both videos under a slider, in one file that needs no other."""

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

import cv2

from stream.compare.chart import Chart, svg
from stream.compare.clip import Clip
from stream.compare.pairs import Pair
from stream.compare.pictures import Picture, encoded, fitted, stamp, within

_LONGEST = 2560
"""Pixels of the longer side of a picture; more would make the file too large for a phone."""
_QUALITY = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


class Page:
    """Collects moments and writes them as HTML."""

    def __init__(self, clips: tuple[Clip, Clip]) -> None:
        self._clips = clips
        self._moments: list[dict[str, str]] = []
        self._stamps: list[str] = []

    def add(self, pair: Pair) -> None:
        """A moment to show."""
        self._moments.append({"before": _uri(pair.before), "after": _uri(pair.after)})
        self._stamps.append(stamp(pair.moment - self._clips[0].origin_s))

    def finish(self, summary: str, charts: Sequence[Chart]) -> bytes:
        """The whole page."""
        one, other = self._clips
        width, height = within(max(one.size, other.size), _LONGEST)
        shape = width * max(one, other, key=lambda clip: clip.size).aspect / height
        buttons = [f'<button type="button">{text}</button>' for text in self._stamps]
        template = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
        page = template.substitute(
            title=escape(f"{one.path.name} before and after"),
            summary=escape(f"{summary[:1].upper()}{summary[1:]}."),
            before=_said(one),
            after=_said(other),
            buttons="".join(buttons),
            moments=json.dumps(self._moments),
            charts="\n".join(map(svg, charts)),
            ratio=f"{float(shape):.5f}",
            width=round(height * shape),
            fit=max(round(height * shape), 1280),
        )
        return page.encode()


def _said(clip: Clip) -> str:
    return escape(f"{clip.path.name}, {clip.size[0]}x{clip.size[1]}")


def _uri(picture: Picture) -> str:
    height, width = picture.shape[:2]
    data = encoded(fitted(picture, within((width, height), _LONGEST)), ".jpg", *_QUALITY)
    return f"data:image/jpeg;base64,{b64encode(data).decode()}"
