"""The outcome of comparing a restored file with its input: rows with a verdict each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from stream.options.scale import Scale
from stream.verify.facts import Facts, Track
from stream.verify.timestamps import Timestamps

Verdict = Literal["same", "allowed", "lost", "changed"]

ABSENT = "-"

_SAID = 6
"""So many differences are named in a summary."""


@dataclass(frozen=True)
class Asked:
    """What the user asked to change beside the blur."""

    start_s: float = 0.0
    duration_s: float | None = None
    apply_rotation: bool = False
    deinterlaced: bool = False
    dropped: tuple[str, ...] = ()
    """Kinds of streams to leave out: audio, subtitle, data, attachment, video."""
    scale: Scale | None = None
    """How much larger the pictures were to become."""

    @property
    def part(self) -> bool:
        return bool(self.start_s) or self.duration_s is not None


@dataclass(frozen=True)
class Row:
    """One thing compared: what it is in the input and in the output."""

    what: str
    input: str
    output: str
    verdict: Verdict = "same"
    """`allowed` differs, but as asked or because the output's container cannot do else."""
    why: str = ""
    """What another verdict than `same` rests on."""

    def allowed(self, why: str) -> "Row":
        return replace(self, verdict="allowed", why=why)

    def lost(self, why: str = "is missing") -> "Row":
        return replace(self, verdict="lost", why=why)

    def changed(self, why: str = "") -> "Row":
        return replace(self, verdict="changed", why=why)

    def plain(self) -> "Row":
        """The same row for things that must be equal as they are written."""
        if self.input == self.output:
            return replace(self, verdict="same", why="")
        if self.output == ABSENT:
            return self.lost(f"({short(self.input)}) is missing")
        return self.changed("" if self.input != ABSENT else f"({short(self.output)}) was added")

    @property
    def said(self) -> str:
        """The row in a few words, for a summary."""
        was, now = (short(each) for each in (self.input, self.output))
        return f"{self.what} {self.why or f'was {was}, is {now}'}"


@dataclass(frozen=True)
class Conformance:
    """Whether an output differs from its input in nothing but the blur."""

    rows: tuple[Row, ...]
    frames: int
    streams: int
    """Both of the output."""

    def having(self, verdict: Verdict) -> list[Row]:
        return [row for row in self.rows if row.verdict == verdict]

    @property
    def conforms(self) -> bool:
        return not self.having("lost") and not self.having("changed")

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if self.conforms:
            streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
            frames = "1 frame" if self.frames == 1 else f"{self.frames} frames"
            return f"conforms: {frames}, {streams}, nothing lost"
        found = {verdict: self.having(verdict) for verdict in ("lost", "changed")}
        counts = ", ".join(f"{len(rows)} {verdict}" for verdict, rows in found.items() if rows)
        said = [row.said for rows in found.values() for row in rows]
        more = [f"and {len(said) - _SAID} more"] if len(said) > _SAID else []
        return f"differs: {counts}: {'; '.join(said[:_SAID] + more)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "conforms": self.conforms,
            "summary": self.summary,
            "frames": self.frames,
            "streams": self.streams,
            "rows": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class Case:
    """Two files, what may differ, and how their clocks relate."""

    input: Facts
    output: Facts
    asked: Asked
    frames: Timestamps
    """Of the input's video, in the part asked for."""
    shift: Fraction
    """By how many seconds the output's video is later."""
    rounding: Fraction
    """By how many seconds the output's container may round a moment of the video."""
    timed: bool
    """Whether the input's own moments are there and in order, so that they can be kept."""

    @property
    def frame_s(self) -> Fraction:
        """How long a frame of the input is on average."""
        first, last = self.frames.first, self.frames.last
        if not self.timed or first is None or last is None or len(self.frames) < 2:
            return self.input.picture.last_s
        return (last - first) / (len(self.frames) - 1)

    @property
    def part(self) -> tuple[Fraction, Fraction | None] | None:
        """Limits of the part asked for, on the input's clock."""
        return limits(self.input, self.asked)

    def wanted(self, track: Track) -> tuple[list[int], list[int]]:
        """Which packets of a stream must be in the output, and which may be."""
        every = list(range(len(track.timestamps)))
        if self.part is None:
            return every, every
        begin, end = self.part
        must, may = [], []
        pairs = zip(track.timestamps.ticks, track.durations, strict=True)
        for index, (tick, length) in enumerate(pairs):
            start = begin if tick is None else tick * track.timestamps.base
            stop = start + length * track.timestamps.base
            if start >= begin and (end is None or stop <= end) and tick is not None:
                must.append(index)
            if stop >= begin and (end is None or start <= end):
                may.append(index)
        return must, may


def limits(input: Facts, asked: Asked) -> tuple[Fraction, Fraction | None] | None:
    """Where the part asked for begins and ends on the input's clock; None is all of it."""
    if not asked.part:
        return None
    begin = input.origin + Fraction(asked.start_s)
    return begin, None if asked.duration_s is None else begin + Fraction(asked.duration_s)


def short(text: str) -> str:
    """Text that fits into a line."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def seconds(timestamp: Fraction | None) -> str:
    """A time, if there is one, in words."""
    return ABSENT if timestamp is None else f"{float(timestamp):.3f} s"


def milliseconds(length: Fraction) -> str:
    """A length of time in words, without zeros at its end."""
    return f"{round(float(length * 1000), 3) + 0.0:.3f}".rstrip("0").rstrip(".") + " ms"


def counted(number: int, thing: str) -> str:
    """How many there are of a thing, whose plural ends in s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def listed(things: Sequence[str], most: int = 3) -> str:
    """Things in a row, the first ones at least."""
    return ", ".join(things[:most]) + (", ..." if len(things) > most else "")


CONTAINERS = {
    "mp4": "MP4",
    "mov": "MOV",
    "matroska": "Matroska",
    "webm": "WebM",
    "mpegts": "MPEG-TS",
}


def container_name(facts: Facts) -> str:
    """How people call a container format."""
    return CONTAINERS.get(facts.kind, facts.kind.upper())
