"""The whole comparison of videos."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.compare.film import VIEWS, VideoWriter
from stream.compare.measure.clip import Timed, moment
from stream.compare.measure.figures import Meter
from stream.compare.measure.matches import Match, Matching
from stream.compare.measure.shift import find_shift
from stream.compare.measure.spread import Spread
from stream.compare.page import Page
from stream.compare.result import Comparison, whole
from stream.compare.sheet import Crop, Sheet
from stream.compare.versions import Versions
from stream.errors import SinkError, UsageError
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.reading import Span
from stream.paths import Overwrite, check_output, target_of

KINDS: Final = {"page": ".html", "sheet": ".png", "video": ".mp4"}
"""What `--as` takes, and the usual ending of each."""
_ENDINGS: Final = {".html": "page", ".png": "sheet"} | dict.fromkeys(
    (".mp4", ".mkv", ".mov"), "video"
)
_MOMENTS, _MOST_MOMENTS = 6, 24
_FRAMES, _MOST_FRAMES = 6, 144
"""In a row, from each moment of a page on."""
_MOST_SHOWN = 240
"""Frames of a page, which a browser holds in memory."""
_ROUNDING = 0.001
"""Seconds; Matroska counts in so many."""


@dataclass(frozen=True)
class Showing:
    """What of the videos is shown, and how."""

    kind: str = "page"
    """One of `KINDS`."""
    view: str | None = None
    """One of `VIEWS`; None: side by side. For a video alone."""
    moments: int | None = None
    """How many are shown; None: 6. Not for a video."""
    frames: int | None = None
    """In a row, from each moment on; None: 6. For a page alone."""
    crop: Crop | None = None
    """For a sheet alone; None: the place with most detail."""
    span: Span = field(default_factory=Span)
    """The part of the input."""
    overwrite: Overwrite = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--as must be one of {', '.join(KINDS)}, got {self.kind}")
        if self.view not in (None, *VIEWS):
            raise UsageError(f"--view must be one of {', '.join(VIEWS)}, got {self.view}")
        if self.moments is not None and not 1 <= self.moments <= _MOST_MOMENTS:
            raise UsageError(f"--moments must be in 1..{_MOST_MOMENTS}, got {self.moments}")
        if self.frames is not None and not 1 <= self.frames <= _MOST_FRAMES:
            raise UsageError(f"--frames must be in 1..{_MOST_FRAMES}, got {self.frames}")
        shown = (self.moments or _MOMENTS) * (self.frames or _FRAMES)
        if self.kind == "page" and shown > _MOST_SHOWN:
            raise UsageError(
                f"--moments times --frames must be at most {_MOST_SHOWN}, got {shown}; "
                "show fewer, or write a video"
            )
        given = {name: getattr(self, name) for name in ("view", "moments", "frames", "crop")}
        of = {
            "view": ("video",),
            "moments": ("page", "sheet"),
            "frames": ("page",),
            "crop": ("sheet",),
        }
        for name, kinds in of.items():
            if given[name] is not None and self.kind not in kinds:
                raise UsageError(f"--{name} is for a {' or '.join(kinds)}, not for a {self.kind}")


def target(output: Path, to: Path | None, kind: str | None) -> tuple[Path, str]:
    """Where a comparison is written and of which of `KINDS` it is.

    `clean.mp4` gets `clean.compare.html`, or as the kind asks. Raises `SinkError`.
    """
    if to is None:
        kind = kind or "page"
        return output.with_name(f"{output.stem}.compare{KINDS.get(kind, '')}"), kind
    own = _ENDINGS.get(to.suffix.lower())
    if own is None:
        raise SinkError(f"{to} has none of the endings {', '.join(_ENDINGS)}")
    if kind not in (None, own):
        raise SinkError(f"{to} would be a {own}; leave out --as {kind}, or choose another ending")
    return to, own


def compare(
    input: Path,
    outputs: Sequence[Path],
    to: Path,
    showing: Showing,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    truth: Path | None = None,
) -> Comparison:
    """Write to `to` what became of `input` in each of `outputs`.

    `truth` is a video that shows what they should be. `progress` gets the number of frames that are
    done and that there will be, about. Raises a `DeblurError`; nothing is under the name until it
    is whole.
    """
    to = target_of(to)
    for each in (input, *outputs, *(() if truth is None else (truth,))):
        check_output(each, to, overwrite=showing.overwrite)
    versions = Versions.of(input, outputs, truth, showing.max_pixels)
    with whole(to, overwrite=showing.overwrite) as part:
        return _Comparer(versions, showing, progress).write(part)


class _Comparer:
    """One comparison on its way."""

    def __init__(
        self, versions: Versions, showing: Showing, progress: Callable[[int, int], None]
    ) -> None:
        self._versions = versions
        self._input, *self._others = versions.clips
        self._showing = showing
        self._progress = progress
        span, one = showing.span, self._input
        self._shifts = tuple(find_shift(one, other, span.start) for other in self._others)
        begin = one.origin_s + span.start
        self._asked_end = float("inf") if span.duration is None else begin + span.duration
        shifted = list(zip(self._others, self._shifts, strict=True))
        self._begin = max(begin, *(other.origin_s + shift for other, shift in shifted))
        ends = [other.end_s + shift for other, shift in shifted]
        end = min(self._asked_end, one.end_s, *ends)
        if self._begin >= end:
            raise self._apart()
        self._frames = (end - self._begin) / one.frame_s
        self._spread = Spread.over(
            *(self._begin, end, one.frame_s),
            showing.moments or _MOMENTS,
            (showing.frames or _FRAMES) if showing.kind == "page" else 1,
        )
        self._matching = Matching(self._shifts, one.frame_s / 2)
        self._meter = Meter(one.origin_s, truth=versions.truth)

    def write(self, part: Path) -> Comparison:
        """Write what is asked for, under this name."""
        if self._showing.kind == "video":
            self._film(part)
        else:
            part.write_bytes(self._drawn())
        return self._found()

    def _found(self) -> Comparison:
        return Comparison(
            versions=self._versions,
            shifts_s=self._shifts,
            figures=self._meter.figures,
            runs=len(self._spread.runs),
            skipped=self._matching.skipped,
        )

    def _film(self, part: Path) -> None:
        source = self._input.open(self._begin - _ROUNDING, self._asked_end)
        try:
            film = VideoWriter(part, source, self._versions, self._showing.view or VIEWS[0])
            try:
                frames = ((moment(frame, source), frame) for frame in source)
                for match in self._matches(frames, self._begin, self._asked_end, self._frames):
                    run = self._spread.run_at(match.moment)
                    if run is not None:
                        self._meter.add(match, run)
                    film.add(match)
                if not self._matching.matches:
                    raise self._apart()
                film.close()
            except BaseException:
                film.abandon()
                raise
        finally:
            source.close()

    def _drawn(self) -> bytes:
        """A page or a sheet."""
        sheet = self._showing.kind == "sheet"
        drawing = Sheet(self._versions, self._showing.crop) if sheet else Page(self._versions)
        long = 1 if sheet else self._showing.frames or _FRAMES
        match: Match | None = None
        shown = 0
        for run, (begin, until) in enumerate(self._spread.runs):
            # Matroska may end with the beginning of its last frame.
            longer = self._input.frame_s if self._spread.whole else 0.0
            end = min(until + longer, self._asked_end) if longer else until
            # What belongs to a moment is in one run.
            coming = deque(each for number, each in self._spread.shown if number == run)
            left = 0
            # Runs that meet must not have a frame in common.
            least = match.moment if match else -math.inf
            around = self._input.frames(begin - _ROUNDING, end)
            frames = (each for each in around if each[0] > least)
            for match in self._matches(frames, begin, end, self._spread.frames):
                self._meter.add(match, run)
                near = match.moment + self._input.frame_s / 2
                begins = bool(coming) and coming[0] <= near
                while coming and coming[0] <= near:
                    coming.popleft()
                    left = long
                if left:
                    drawing.add(match, begins=begins)
                    shown, left = shown + 1, left - 1
        if match is None:
            raise self._apart()
        if not shown:
            # Sound that goes on for long after the last frame.
            drawing.add(match, begins=True)
        return drawing.finish(self._found())

    def _matches(
        self, frames: Iterable[Timed], begin: float, end: float, total: float
    ) -> Iterator[Match]:
        """Frames of the input with their partners in the other videos."""
        around = self._input.frame_s
        theirs = [
            other.frames(begin - shift - around, end - shift + around)
            for other, shift in zip(self._others, self._shifts, strict=True)
        ]
        for match in self._matching.of(frames, theirs):
            yield match
            self._progress(self._matching.matches, round(total))

    def _apart(self) -> UsageError:
        *names, last = (str(clip.path) for clip in self._versions.clips)
        return UsageError(f"{', '.join(names)} and {last} have no frames at the same moments")
