"""What is compared of text subtitles: what can be read on the screen, and when."""

from collections import Counter
from fractions import Fraction

from stream.verify.conformance import Case, Row, counted, milliseconds, seconds
from stream.verify.facts import Track


def word_rows(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """Subtitles that were converted to another kind of text."""
    must, may = case.wanted(a)
    ours = [a.texts[index] for index in must if a.texts[index]]
    theirs = [text for text in b.texts if text]
    row = Row(f"{what} content", counted(len(ours), "text"), counted(len(theirs), "text"))
    if ours == theirs:
        return [row]
    if case.part is not None:
        there = Counter(theirs)
        if Counter(ours) <= there <= Counter(a.texts[index] for index in may):
            return [row.allowed("as asked")]
    elif _alike(_screen(a, case.shift), _screen(b), a.timestamps.base + b.timestamps.base):
        return [row.allowed("the same on the screen, cut where texts overlap")]
    if len(theirs) < len(ours):
        return [row.lost(f"misses {len(ours) - len(theirs)} of {row.input}")]
    others = sum(x != y for x, y in zip(ours, theirs, strict=False))
    return [row.changed(f"differs in {counted(max(others, 1), 'text')}")]


def length_rows(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """How long each subtitle is shown."""
    if case.part is not None or len(a.durations) != len(b.durations):
        return []
    pairs = zip(a.durations, b.durations, strict=True)
    off = [abs(x * a.timestamps.base - y * b.timestamps.base) for x, y in pairs if x]
    if not off:
        return []
    before, after = (seconds(sum(t.durations) * t.timestamps.base) for t in (a, b))
    row, worst = Row(f"{what} lengths", before, after), max(off)
    # Both ends of each are rounded.
    if worst > a.timestamps.base + b.timestamps.base:
        if a.codec == b.codec == "dvd_subtitle" and case.output.kind == "mp4":
            return [row.allowed("they say themselves how long they are shown")]
        return [row.changed(f"differ by up to {milliseconds(worst)}")]
    return [row.allowed(f"rounded by up to {milliseconds(worst)}") if worst else row]


_Screen = list[tuple[Fraction, frozenset[str]]]
"""Which lines stand on the screen from each moment on."""


def _screen(track: Track, shift: Fraction = Fraction(0)) -> _Screen:
    events: list[tuple[Fraction, int, str]] = []
    base = track.timestamps.base
    for tick, length, text in zip(
        track.timestamps.ticks, track.durations, track.texts, strict=True
    ):
        if tick is None or not text:
            continue
        start, end = tick * base + shift, (tick + length) * base + shift
        for line in text.split("\n"):
            events += [(start, 1, line), (end, -1, line)]
    screen: _Screen = []
    standing: Counter[str] = Counter()
    for timestamp, step, line in sorted(events):
        standing[line] += step
        lines = frozenset(line for line, count in standing.items() if count > 0)
        if screen and timestamp - screen[-1][0] <= base:
            screen.pop()
        if not screen or screen[-1][1] != lines:
            screen.append((timestamp, lines))
    return screen


def _alike(a: _Screen, b: _Screen, slack: Fraction) -> bool:
    return len(a) == len(b) and all(
        x == y and abs(start - begin) <= slack for (start, x), (begin, y) in zip(a, b, strict=True)
    )
