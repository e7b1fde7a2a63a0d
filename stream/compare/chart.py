"""Small line charts of a figure over time, as SVG and as pictures.

A few lines, two axes and a legend are all there is to draw; a library for plots would be the
largest dependency of the program for that, and would not follow a page into dark mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from statistics import fmean

import cv2
import numpy as np

from stream.compare.measure.figures import Each, Figure
from stream.compare.measure.pictures import FONT, Picture

_TITLES = {
    "sharpness": "Sharpness: mean gradient of smoothed luma",
    "flicker": "Flicker: warping error to the frame before, x 1000",
    "psnr": "PSNR against the truth, in dB",
}
_FROM_ZERO = {"sharpness", "flicker"}
COLORS = (
    *((214, 110, 20), (31, 119, 180), (30, 140, 80), (150, 80, 190), (205, 45, 70)),
    *((0, 140, 150), (135, 100, 60)),
)
"""R'G'B' of the line of the input and of what became of it; the first two are told apart by all
eyes."""
TRUTH = 110, 110, 118
"""R'G'B' of the line of the truth."""
_INK, _GRID = (60, 60, 66), (222, 222, 226)

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 28
"""Pixels around the plot and its legend."""
_ROW = 18
"""Pixels of a row of the legend."""
_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400),
)
"""Seconds between two marks of the axis of time."""
_LONGEST = 22
"""Characters of a name in a legend."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """One figure of all videos."""

    title: str
    first: float
    """Where the axis of time begins."""
    last: float
    names: tuple[str, ...]
    """Of the videos."""
    lines: tuple[Sequence[Sequence[Point]], ...]
    """Of each video, pieces of lines: seconds and values. A piece may be a single point."""
    dotted: bool
    """Whether points stand far apart, and are marked."""
    from_zero: bool = True
    truth: bool = False
    """Whether the last line is the truth's."""

    @property
    def colors(self) -> list[tuple[int, int, int]]:
        """R'G'B' of each line."""
        colors = list(COLORS[: len(self.lines)])
        return [*colors[: len(self.lines) - 1], TRUTH] if self.truth else colors


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    anchor: str
    """start, middle or end."""
    line: int | None = None
    """The line that it names."""


@dataclass(frozen=True)
class _Marks:
    """What is drawn where, in pixels."""

    top: float
    """The y where the plot begins."""
    height: int
    grid: list[float]
    """The y of horizontal lines."""
    texts: list[_Text]
    pieces: list[tuple[int, list[Point]]]
    """Number of a line and the points of a piece of it."""


def charts(
    figures: Sequence[Figure], names: Sequence[str], *, whole: bool, truth: bool = False
) -> list[Chart]:
    """What is measured over time, of the videos of these names, of which `truth` is the last.

    One point for each run of frames unless all frames are there: then it is `whole`.
    """
    found = []
    for name, title in _TITLES.items():
        runs = []
        for _, run in groupby(figures, key=lambda each: each.run):
            points = [(each.second, getattr(each, name)) for each in run]
            runs.append(points if whole else _mean(points))
        pieces = _pieces([point for run in runs for point in run])
        if pieces:
            count = len(pieces[0][0][1])
            lines = tuple([[(x, y[i]) for x, y in piece] for piece in pieces] for i in range(count))
            found.append(
                Chart(
                    title,
                    figures[0].second,
                    figures[-1].second,
                    tuple(names[:count]),
                    lines,
                    dotted=not whole,
                    from_zero=name in _FROM_ZERO,
                    truth=truth and count == len(names),
                )
            )
    return found


def _mean(run: Sequence[tuple[float, Each | None]]) -> list[tuple[float, Each | None]]:
    known = [value for _, value in run if value is not None]
    if not known:
        return []
    mean = tuple(map(fmean, zip(*known, strict=True)))
    return [(fmean(second for second, _ in run), mean)]


def _pieces(points: Sequence[tuple[float, Each | None]]) -> list[list[tuple[float, Each]]]:
    """Split where nothing is known."""
    return [
        [(x, y) for x, y in piece if y is not None]
        for known, piece in groupby(points, key=lambda point: point[1] is not None)
        if known
    ]


def _marks(chart: Chart, width: int, plot: int) -> _Marks:
    """`plot` is the height of the plot alone."""
    legend, rows = _legend(chart.names, width - _RIGHT)
    top = _TOP + _ROW * rows
    height = top + plot + _BOTTOM
    first, last = chart.first, chart.last
    values = [y for line in chart.lines for piece in line for _, y in piece]
    least = 0.0 if chart.from_zero else min(values)
    step = _nice((max(values) - least) / 4)
    bottom = step * math.floor(least / step + 1e-9)
    count = max(1, math.ceil((max(values) - bottom) / step - 1e-9))
    across = width - _LEFT - _RIGHT

    def place(x: float, y: float) -> Point:
        along = (x - first) / (last - first) if last > first else 0.5
        return _LEFT + along * across, top + (1 - (y - bottom) / (count * step)) * plot

    texts = [_Text(_LEFT, 18, chart.title, "start")]
    levels = [bottom + step * index for index in range(count + 1)]
    grid = [place(first, level)[1] for level in levels]
    texts += [
        _Text(_LEFT - 8, y + 4, f"{level:.6g}", "end")
        for level, y in zip(levels, grid, strict=True)
    ]
    tick = next((each for each in _STEPS if (last - first) / each <= 6), _STEPS[-1])
    seconds = [tick * n for n in range(math.ceil(first / tick), math.floor(last / tick) + 1)]
    texts += [_Text(place(x, 0)[0], height - 8, _clock(x, last), "middle") for x in seconds]
    pieces = [
        (number, [place(*point) for point in piece])
        for number, line in enumerate(chart.lines)
        for piece in line
    ]
    return _Marks(top, height, grid, texts + legend, pieces)


def _legend(names: Sequence[str], end: float) -> tuple[list[_Text], int]:
    """The names beneath the title, and in how many rows they are."""
    texts, rows, x = [], 1, float(_LEFT)
    for number, name in enumerate(names):
        # Names of files often begin alike, and differ at their end.
        head, tail = name[: _LONGEST // 2 - 2], name[-_LONGEST // 2 :]
        short = name if len(name) <= _LONGEST else f"{head}...{tail}"
        long = 8 * len(short)
        if x > _LEFT and x + long > end:
            rows, x = rows + 1, float(_LEFT)
        texts.append(_Text(x, 20 + _ROW * rows, short, "start", number))
        x += long + 16
    return texts, rows


def _nice(least: float) -> float:
    """A round number that is not smaller."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= least * (1 - 1e-9))


def _clock(second: float, last: float) -> str:
    if last < 60:
        return f"{second:.4g} s"
    minutes, rest = divmod(round(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _class(number: int, chart: Chart) -> str:
    """The class that a page's style colors a line by."""
    return "truth" if chart.truth and number == len(chart.lines) - 1 else f"video{number}"


def svg(chart: Chart, width: int = 720, plot: int = 140) -> str:
    """The chart for a page, whose style gives the classes their colors."""
    marks = _marks(chart, width, plot)
    parts = [f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>' for y in marks.grid]
    for each in marks.texts:
        named = "" if each.line is None else f' class="{_class(each.line, chart)}"'
        place = f'x="{each.x:.1f}" y="{each.y:.1f}" text-anchor="{each.anchor}"'
        parts.append(f"<text{named} {place}>{escape(each.text)}</text>")
    for number, points in marks.pieces:
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="{_class(number, chart)}" points="{joined}"/>')
        for x, y in points if chart.dotted or len(points) == 1 else ():
            place = f'cx="{x:.1f}" cy="{y:.1f}" r="3"'
            parts.append(f'<circle class="{_class(number, chart)}" {place}/>')
    # Where the shown frame is; the page moves it.
    parts.append(f'<path class="now" d="M0 {marks.top}V{marks.height - _BOTTOM}"/>')
    ends = f'data-first="{chart.first:.3f}" data-last="{chart.last:.3f}"'
    sides = f'data-left="{_LEFT}" data-right="{width - _RIGHT}"'
    label = escape(chart.title)
    head = (
        f'<svg viewBox="0 0 {width} {marks.height}" role="img" aria-label="{label}" {ends} {sides}>'
    )
    return "\n".join([head, *parts, "</svg>"])


def drawn(chart: Chart, width: int, plot: int = 140) -> Picture:
    """The chart as a picture, (H, width, 3); `plot` is the height of its plot alone."""
    marks = _marks(chart, width, plot)
    picture = np.full((marks.height, width, 3), 255, np.uint8)
    for y in marks.grid:
        cv2.line(picture, (_LEFT, round(y)), (width - _RIGHT, round(y)), _GRID, 1)
    colors = chart.colors
    for each in marks.texts:
        color = _INK if each.line is None else colors[each.line]
        long = cv2.getTextSize(each.text, FONT, 0.45, 1)[0][0]
        x = each.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[each.anchor] * long
        cv2.putText(
            picture, each.text, (round(x), round(each.y)), FONT, 0.45, color, 1, cv2.LINE_AA
        )
    for number, points in marks.pieces:
        # In sixteenths of a pixel.
        fine = np.round(np.array(points) * 16).astype(np.int32)
        cv2.polylines(picture, [fine], False, colors[number], 2, cv2.LINE_AA, 4)
        for x, y in fine if chart.dotted or len(points) == 1 else ():
            cv2.circle(picture, (int(x), int(y)), 48, colors[number], -1, cv2.LINE_AA, 4)
    return picture
