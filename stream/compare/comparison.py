"""The whole comparison of two videos."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stream.compare.chart import charts
from stream.compare.clip import Clip, Timed, moment
from stream.compare.figures import Figure, Means, Meter, means
from stream.compare.film import VIEWS, Film
from stream.compare.page import Page
from stream.compare.pairs import Pair, Pairing
from stream.compare.sheet import Crop, Sheet
from stream.compare.shift import find_shift
from stream.compare.spread import Spread
from stream.errors import SinkError, UsageError, WriteError
from stream.opening import DEFAULT_MAX_PIXELS
from stream.place import check_output
from stream.reading import Span

KINDS: Final = {"page": ".html", "sheet": ".png", "video": ".mp4"}
"""What `--as` takes, and the usual ending of each."""
_ENDINGS: Final = {".html": "page", ".png": "sheet"} | dict.fromkeys(
    (".mp4", ".mkv", ".mov"), "video"
)
_MOMENTS, _MOST_MOMENTS = 6, 24
_ROUNDING = 0.001
"""Seconds; Matroska counts in so many."""
_SHAPE = 0.02
"""By how much, as a share, the shapes of two pictures of one scene may differ."""


@dataclass(frozen=True)
class Showing:
    """What of two videos is shown, and how."""

    kind: str = "page"
    """One of `KINDS`."""
    view: str | None = None
    """One of `VIEWS`; None: side by side. For a video alone."""
    moments: int | None = None
    """How many are shown; None: 6. Not for a video."""
    crop: Crop | None = None
    """For a sheet alone; None: the place with most detail."""
    span: Span = field(default_factory=Span)
    """The part of the input."""
    overwrite: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--as must be one of {', '.join(KINDS)}, got {self.kind}")
        if self.view not in (None, *VIEWS):
            raise UsageError(f"--view must be one of {', '.join(VIEWS)}, got {self.view}")
        if self.moments is not None and not 1 <= self.moments <= _MOST_MOMENTS:
            raise UsageError(f"--moments must be in 1..{_MOST_MOMENTS}, got {self.moments}")
        given = {"view": self.view, "moments": self.moments, "crop": self.crop}
        of = {"view": ("video",), "moments": ("page", "sheet"), "crop": ("sheet",)}
        for name, kinds in of.items():
            if given[name] is not None and self.kind not in kinds:
                raise UsageError(f"--{name} is for a {' or '.join(kinds)}, not for a {self.kind}")


@dataclass(frozen=True)
class Comparison:
    """What was found."""

    input: Path
    output: Path
    shift_s: float
    """By how much the input's clock is later."""
    figures: list[Figure]
    """Of each frame that was measured."""
    runs: int
    """Runs of frames that were measured; 1 where that is all of them."""
    skipped: int
    """Frames without a partner."""

    @property
    def means(self) -> dict[str, Means]:
        return means(self.figures)

    @property
    def summary(self) -> str:
        """The means in words."""
        found = {name: mean.ratio for name, mean in self.means.items()}
        told = [f"{name} {ratio:.2f} times" for name, ratio in found.items() if ratio is not None]
        said = f"{', '.join(told)} that of the input" if told else "nothing to measure in the input"
        said += f", over {len(self.figures)} frames"
        said += f" in {self.runs} runs" if self.runs > 1 else ""
        return said + (f"; {self.skipped} had no partner" if self.skipped else "")

    def save(self, path: Path) -> None:
        """Write everything as JSON. Raises `WriteError`."""
        with _whole(path) as part:
            part.write_text(json.dumps(self.to_json(), indent=2))

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "input": str(self.input),
            "output": str(self.output),
            "shift_s": self.shift_s,
            "skipped": self.skipped,
            "runs": self.runs,
            "means": {
                name: {"before": mean.before, "after": mean.after, "ratio": mean.ratio}
                for name, mean in self.means.items()
            },
            "frames": [
                {
                    "second": each.second,
                    "run": each.run,
                    "sharpness": each.sharpness,
                    "flicker": each.flicker,
                }
                for each in self.figures
            ],
        }


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
    output: Path,
    to: Path,
    showing: Showing,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Write to `to` what became of `input` in `output`.

    `progress` gets the number of frames that are done and that there will be, about. Raises a
    `DeblurError`; nothing is under the name until it is whole.
    """
    for each in (input, output):
        check_output(each, to, overwrite=showing.overwrite)
    clips = Clip.of(input, showing.max_pixels), Clip.of(output, showing.max_pixels)
    _check_shapes(*clips)
    with _whole(to) as part:
        return _Comparer(clips, showing, progress).write(part)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Another name for a file that is being written; it gets its own when it is whole."""
    # Not .part: what a stopped run has left may lie there.
    part = path.with_name(f"{path.stem}.comparing{path.suffix}")
    try:
        part.touch()
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _check_shapes(one: Clip, other: Clip) -> None:
    """Refuse pictures of different shapes, as stored and as shown."""
    stored = (other.size[0] * one.size[1]) / (other.size[1] * one.size[0])
    shown = stored * float(other.aspect / one.aspect)
    if min(abs(stored - 1), abs(shown - 1)) > _SHAPE:
        sizes = [f"{clip.path} ({clip.size[0]}x{clip.size[1]})" for clip in (one, other)]
        raise UsageError(f"{sizes[0]} and {sizes[1]} have different shapes")


class _Comparer:
    """One comparison on its way."""

    def __init__(
        self, clips: tuple[Clip, Clip], showing: Showing, progress: Callable[[int, int], None]
    ) -> None:
        one, other = clips
        self._clips = clips
        self._showing = showing
        self._progress = progress
        self._shift = find_shift(one, other, showing.span.start)
        span = showing.span
        begin = one.origin_s + span.start
        self._asked_end = float("inf") if span.duration is None else begin + span.duration
        self._begin = max(begin, other.origin_s + self._shift)
        end = min(self._asked_end, one.end_s, other.end_s + self._shift)
        if self._begin >= end:
            raise self._apart()
        self._frames = (end - self._begin) / one.frame_s
        self._spread = Spread.over(self._begin, end, one.frame_s, showing.moments or _MOMENTS)
        self._pairing = Pairing(self._shift, one.frame_s / 2)
        self._meter = Meter(one.origin_s)

    def write(self, part: Path) -> Comparison:
        """Write what is asked for, under this name."""
        if self._showing.kind == "video":
            self._film(part)
        else:
            part.write_bytes(self._drawn())
        return self._found()

    def _found(self) -> Comparison:
        return Comparison(
            input=self._clips[0].path,
            output=self._clips[1].path,
            shift_s=self._shift,
            figures=self._meter.figures,
            runs=len(self._spread.runs),
            skipped=self._pairing.skipped,
        )

    def _film(self, part: Path) -> None:
        source = self._clips[0].open(self._begin - _ROUNDING, self._asked_end)
        try:
            film = Film(part, source, self._clips, self._showing.view or VIEWS[0])
            try:
                frames = ((moment(frame, source), frame) for frame in source)
                for pair in self._pairs(frames, self._begin, self._asked_end, self._frames):
                    run = self._spread.run_at(pair.moment)
                    if run is not None:
                        self._meter.add(pair, run)
                    film.add(pair)
                if not self._pairing.pairs:
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
        drawing = Sheet(self._clips, self._showing.crop) if sheet else Page(self._clips)
        shown, coming = 0, deque(self._spread.shown)
        pair = None
        for run, (begin, end) in enumerate(self._spread.runs):
            if self._spread.whole:
                # Matroska may end with the beginning of its last frame.
                end = min(end + self._clips[0].frame_s, self._asked_end)
            frames = self._clips[0].frames(begin - _ROUNDING, end)
            for pair in self._pairs(frames, begin, end, self._spread.frames):
                self._meter.add(pair, run)
                near = pair.moment + self._clips[0].frame_s / 2
                if coming and coming[0] <= near:
                    drawing.add(pair)
                    shown += 1
                while coming and coming[0] <= near:
                    coming.popleft()
        if pair is None:
            raise self._apart()
        if not shown:
            # Sound that goes on for long after the last frame.
            drawing.add(pair)
        found = self._found()
        return drawing.finish(found.summary, charts(found.figures, whole=self._spread.whole))

    def _pairs(
        self, frames: Iterable[Timed], begin: float, end: float, total: float
    ) -> Iterator[Pair]:
        """Frames of the input with their partners in the output."""
        around = self._clips[0].frame_s
        theirs = self._clips[1].frames(begin - self._shift - around, end - self._shift + around)
        for pair in self._pairing.of(frames, theirs):
            yield pair
            self._progress(self._pairing.pairs, round(total))

    def _apart(self) -> UsageError:
        one, other = self._clips
        return UsageError(f"{one.path} and {other.path} have no frames at the same moments")
