"""Whether a restored file differs from its input in nothing but the blur."""

import os
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from stream.limits import DEFAULT_MAX_PIXELS
from stream.verify.conformance import (
    ABSENT,
    Asked,
    Case,
    Conformance,
    Row,
    container_name,
    counted,
    limits,
    listed,
    milliseconds,
    seconds,
)
from stream.verify.facts import Facts
from stream.verify.labels import file_rows
from stream.verify.picture import picture_rows
from stream.verify.reading import Known, facts
from stream.verify.timestamps import NOTHING, agree, best_shift
from stream.verify.tracks import track_rows

__all__ = ["Asked", "Conformance", "Facts", "Known", "Row", "compare", "facts", "verify"]

_ROUNDING = {"matroska", "webm", "mpegts"}
"""Containers whose clock is fixed, so that they round what does not fit it."""

_CHAPTER = Fraction(1, 1000)
"""By how many seconds a chapter may be off."""


def verify(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    asked: Asked | None = None,
    *,
    decode: bool = True,
    known: Known | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    check: Callable[[], None] = lambda: None,
) -> Conformance:
    """Read both files and compare them. Raises a `SourceError` for what cannot be read.

    Right after a file was written, `known` can give what its input's frames were found to be, and
    `decode=False` trust the times that its packets have. `check` is called for every packet, and
    may raise an error to end it.
    """
    read = partial(facts, max_pixels=max_pixels, check=check)
    before = read(input, known=known)
    after = read(output, decode=decode, nth=before.picture.nth)
    return compare(before, after, asked)


def compare(input: Facts, output: Facts, asked: Asked | None = None) -> Conformance:
    """Compare what is in a file and in what was made of it."""
    asked = asked or Asked()
    frames, part = input.picture.timestamps, limits(input, asked)
    if part is not None:
        frames = frames.pick(frames.within(*part))
    shown = output.picture.timestamps
    step = shown.base if output.kind in _ROUNDING else Fraction(0)
    rounding = step / 2 or NOTHING
    likely = _likely_shift(input, output, asked)
    timed = frames.orderly
    shift = best_shift(frames, shown, rounding, step, likely) if timed else Fraction(0)
    case = Case(input, output, asked, frames, shift, rounding, timed)
    rows = [
        *_reading(case),
        *_frames(case),
        *picture_rows(case),
        *track_rows(case),
        *_chapters(case),
        *file_rows(case),
    ]
    return Conformance(tuple(rows), len(shown), 1 + len(output.tracks))


def _likely_shift(input: Facts, output: Facts, asked: Asked) -> Fraction:
    """By how much the output is later, by what was asked or by what its sound tells."""
    if asked.part:
        return -(input.origin + Fraction(asked.start_s)) if asked.start_s else Fraction(0)
    sounds = [next((t for t in f.tracks if t.kind == "audio"), None) for f in (input, output)]
    starts = [sound.timestamps.first for sound in sounds if sound is not None]
    if len(starts) < 2 or starts[0] is None or starts[1] is None:
        return Fraction(0)
    return starts[1] - starts[0]


def _reading(case: Case) -> list[Row]:
    """The container, how long it is, and whether it can be read to its end."""
    a, b = case.input, case.output
    rows = [Row("container", container_name(a), container_name(b))]
    if a.kind != b.kind:
        rows = [rows[0].allowed("as the output's name asks")]
    if a.jumps or b.jumps:
        before, after = ("jumps" if each.jumps else "goes on" for each in (a, b))
        row = Row("clock", before, after)
        rows.append(row.changed() if b.jumps else row.allowed("picture and sound put on one clock"))
    if a.failure or b.failure:
        row = Row("reading", a.failure or "to the end", b.failure or "to the end")
        rows.append(row.changed(b.failure) if b.failure else row.allowed("the input is damaged"))
    if a.picture.damaged or b.picture.damaged:
        row = Row("damaged frames", str(a.picture.damaged), str(b.picture.damaged))
        good = b.picture.damaged == 0
        rows.append(row.allowed("the decoder concealed them") if good else row.changed())
    return [*rows, _duration(case)]


def _duration(case: Case) -> Row:
    a, b, asked = case.input, case.output, case.asked
    told, found = _expected(case), b.duration
    slack = case.frame_s + 2 * case.rounding
    # Sound ends with a whole packet, in all of which only some containers count.
    sounds = [
        track
        for track in a.tracks
        if asked.part or (track.kind == "audio" and not track.codec.startswith("pcm_"))
    ]
    slack += max((track.longest_s for track in sounds), default=Fraction(0))
    row = Row("duration", seconds(told), seconds(found))
    if told is None:
        return row.allowed("the input does not say its own")
    if found is None:
        return row.lost("is not said any more")
    if abs(found - told) <= Fraction(1, 1000):
        return row
    if abs(found - told) <= slack:
        return row.allowed("containers count the ends differently")
    if a.jumps:
        return row.allowed("the input's clock jumps")
    if a.early and found < told:
        return row.allowed("the input ends early")
    if not case.timed:
        return row.allowed("timestamps were made anew")
    if not asked.part:
        # What the header says may be wrong, or tell of a stream that is missing.
        ends = [(a.end, b.end)]
        if len(a.tracks) > len(b.tracks):
            ends.append((a.picture.track.end, b.picture.track.end))
        lengthened = [y - x - case.shift for x, y in ends if x is not None and y is not None]
        if any(abs(each) <= slack for each in lengthened):
            return row.allowed("the streams that are there are as long as they were")
    return row.changed()


def _expected(case: Case) -> Fraction | None:
    """How long the output has to be, by what the input says of itself."""
    told, asked = case.input.duration, case.asked
    if not asked.part:
        return told
    left = None if told is None else told - Fraction(asked.start_s)
    if asked.duration_s is None:
        return left
    return min(left or Fraction(asked.duration_s), Fraction(asked.duration_s))


def _frames(case: Case) -> list[Row]:
    """Every frame, and when it is shown."""
    a, b = case.frames, case.output.picture.timestamps
    count = Row("frames", str(len(a)), str(len(b)))
    before, after = (f"{seconds(each.first)} to {seconds(each.last)}" for each in (a, b))
    times = Row("timestamps", before, after)
    if not b.orderly:
        return [_count(count, len(a), len(b)), times.changed("do not increase in the output")]
    if not case.timed:
        why = "the input's own are missing or out of order, so they were made anew"
        if case.part is not None:
            # Which frames are in it nobody can tell by the input's times.
            return [count if len(a) == len(b) else count.allowed(why), times.allowed(why)]
        return [_count(count, len(a), len(b)), times.allowed(why)]
    met = agree(a, b, case.shift, case.rounding)
    where = [seconds(a.pick([index]).first) for index in met.missing]
    where += [seconds(b.pick([index]).first) for index in met.added]
    rows = [_count(count, len(a), len(b), f" at {listed(where)}" if where else "")]
    # Frames without a partner, beyond those that the counts explain, are at a wrong time.
    astray = met.deviating or min(len(met.missing), len(met.added))
    if astray:
        worst = f" by up to {milliseconds(met.worst)}" if met.worst else ""
        rows.append(times.changed(f"differ{worst} in {counted(astray, 'frame')} of {len(a)}"))
    elif case.shift or met.worst:
        reasons = []
        if case.shift:
            direction = "later" if case.shift > 0 else "earlier"
            reasons.append(f"all streams are {milliseconds(abs(case.shift))} {direction}")
        if met.worst:
            unit = f"{container_name(case.output)} counts in {milliseconds(b.base)}"
            reasons.append(f"rounded by up to {milliseconds(met.worst)}: {unit}")
        rows.append(times.allowed(", ".join(reasons)))
    else:
        rows.append(times)
    return [*rows, _last_frame(case)]


def _count(row: Row, ours: int, theirs: int, where: str = "") -> Row:
    if theirs < ours:
        return row.lost(f"are missing: {ours - theirs} of {ours}{where}")
    return row if ours == theirs else row.changed(f"were added: {theirs - ours} to {ours}{where}")


def _last_frame(case: Case) -> Row:
    a, b = case.input.picture.last_s, case.output.picture.last_s
    row = Row("last frame's length", milliseconds(a), milliseconds(b))
    if abs(a - b) <= max(2 * case.rounding, case.output.picture.timestamps.base / 2):
        return row
    if case.asked.part or abs(a - b) <= case.frame_s:
        return row.allowed("nothing after it says how long it is shown")
    if case.input.early:
        return row.allowed("the input ends early")
    return row.changed()


def _chapters(case: Case) -> list[Row]:
    """Chapters, which move with a part and are cut at its limits."""
    wanted = [(each.start, each.end, each.title) for each in case.input.chapters]
    if case.part is not None:
        begin, end = case.part
        origin = begin if case.asked.start_s else Fraction(0)
        wanted = [
            (max(start, begin) - origin, (stop if end is None else min(stop, end)) - origin, title)
            for start, stop, title in wanted
            if stop > begin and (end is None or start < end)
        ]
    found = [(each.start, each.end, each.title) for each in case.output.chapters]
    row = Row("chapters", str(len(wanted) or ABSENT), str(len(found) or ABSENT))
    if not wanted and not found:
        return []
    if len(wanted) != len(found):
        return [row.plain()]
    shift = Fraction(0) if case.part is not None else case.shift
    rows = []
    for number, (want, have) in enumerate(zip(wanted, found, strict=True), 1):
        before, after = (f"{seconds(s)} to {seconds(e)} {t}" for s, e, t in (want, have))
        off = [have[0] - want[0], have[1] - want[1]]
        still, moved = max(map(abs, off)), max(abs(each - shift) for each in off)
        if want[2] != have[2] or min(still, moved) > _CHAPTER:
            rows.append(Row(f"chapter {number}", before, after).changed())
    return rows or [row]
