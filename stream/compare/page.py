"""A page that shows moments of videos under a divider, in one file that needs no other."""

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import cv2

from stream.compare.chart import COLORS, TRUTH, svg
from stream.compare.measure.matches import Match
from stream.compare.measure.pictures import Picture, encoded, fitted, stamp, within
from stream.compare.result import Comparison
from stream.compare.versions import Versions
from stream.errors import UsageError
from stream.web import page as shared

_LONGEST = 2560
"""Pixels of the longer side of a picture; more would make the file too large for a phone."""
_LARGEST = 200_000_000
"""Characters of all pictures; browsers take no text of more than half a billion."""
_QUALITY = (
    *(cv2.IMWRITE_JPEG_QUALITY, 93),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
)
_DARK = (
    *("#f59a4a", "#5fb0ea", "#5fcf93", "#c69af0", "#ff8296", "#4fd0da", "#d0ab80"),
    "#a4a4ae",
)
"""Of lines on dark paper; the last is the truth's."""


class Page:
    """Collects frames and writes them as HTML."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._frames: list[dict[str, Any]] = []
        self._moment = -1
        self._length = 0

    def add(self, match: Match, *, begins: bool) -> None:
        """A frame to show; some begin a moment, and others follow on one."""
        self._moment += begins
        second = match.moment - self._versions.input.origin_s
        pictures = list(map(_base64, match.pictures))
        self._length += sum(map(len, pictures))
        if self._length > _LARGEST:
            raise UsageError(
                f"the page would be larger than {_LARGEST // 1_000_000} MB; show fewer --moments, "
                "--frames or videos"
            )
        self._frames.append(
            {
                "time": stamp(second),
                "second": round(second, 4),
                "moment": self._moment,
                "pictures": pictures,
            }
        )

    def finish(self, found: "Comparison") -> bytes:
        """The whole page."""
        largest = self._versions.largest
        width, height = within(largest.size, _LONGEST)
        size = [round(width * float(largest.aspect)), height]
        data = {"names": self._versions.names, "size": size, "frames": self._frames}
        folder = files(__package__)
        script = folder.joinpath("page.js").read_text("utf-8")
        style = folder.joinpath("page.css").read_text("utf-8")
        charts = [svg(chart) for chart in found.charts]
        page = Template(folder.joinpath("page.html").read_text("utf-8")).substitute(
            title=escape(self._title()),
            about=escape(f"Over {found.extent}."),
            table=_table(found),
            charts="\n".join(charts),
            style=f"{shared.text('viewer.css')}{style}{_colors()}",
            # Nothing in it may look like the end of the script.
            data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
            # In one file there is nothing to export to.
            script=re.sub(r"^export ", "", shared.text("viewer.js"), flags=re.MULTILINE) + script,
        )
        # Names of files need not be text.
        return page.encode("utf-8", "replace")

    def _title(self) -> str:
        one, *others = (clip.path.name for clip in self._versions.clips)
        return f"{one} and {', '.join(others)}"


def _table(found: "Comparison") -> str:
    """The means, a row for each video."""
    versions, means = found.versions, found.means
    digits = {"sharpness": ".4g", "flicker": ".4g", "psnr": ".2f", "ssim": ".4f"}
    titles = {"sharpness": "sharpness", "flicker": "flicker", "psnr": "PSNR, dB", "ssim": "SSIM"}
    rows = []
    for video, (name, clip) in enumerate(zip(versions.names, versions.clips, strict=True)):
        truth = versions.truth and video == len(versions.clips) - 1
        line = "truth" if truth else f"video{video}"
        said = name if name.endswith(clip.path.name) else f"{name}: {clip.path.name}"
        cells = [f"{clip.size[0]}x{clip.size[1]}"]
        for key, mean in means.items():
            if video >= len(mean):
                cells.append("")
                continue
            ratio = found.ratio(key, video) if key in ("sharpness", "flicker") and video else None
            times = "" if ratio is None else f" ({ratio:.2f}x)"
            cells.append(f"{mean[video]:{digits[key]}}{times}")
        body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row" class="{line}">{escape(said)}</th>{body}</tr>')
    heads = ["size", *(titles[key] for key in means)]
    head = "".join(f'<th scope="col">{each}</th>' for each in ("video", *heads))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _colors() -> str:
    """The style of lines and what names them."""
    names = [*(f"video{index}" for index in range(len(COLORS))), "truth"]
    light = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in (*COLORS, TRUTH)]
    rules = [f":root{{{_variables(names, light)}}}"]
    rules.append(f"@media (prefers-color-scheme: dark){{:root{{{_variables(names, _DARK)}}}}}")
    for name in names:
        rules.append(f"polyline.{name}{{stroke:var(--{name})}}")
        rules.append(f"svg text.{name},circle.{name}{{fill:var(--{name})}}")
        rules.append(f"th.{name}{{color:var(--{name})}}")
    return "\n".join(rules)


def _variables(names: Sequence[str], colors: Sequence[str]) -> str:
    return "".join(f"--{name}:{color};" for name, color in zip(names, colors, strict=True))


def _base64(picture: Picture) -> str:
    height, width = picture.shape[:2]
    data = encoded(fitted(picture, within((width, height), _LONGEST)), ".jpg", *_QUALITY)
    return b64encode(data).decode()
