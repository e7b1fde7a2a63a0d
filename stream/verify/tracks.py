"""What is compared of the streams that pass through."""

from collections import Counter
from fractions import Fraction

from stream.media.remux import TEXTS, can_hold, usual_speakers
from stream.verify.conformance import (
    ABSENT,
    Case,
    Row,
    container_name,
    counted,
    listed,
    milliseconds,
    seconds,
)
from stream.verify.facts import Track
from stream.verify.labels import label_rows
from stream.verify.timestamps import agree, meet
from stream.verify.words import length_rows, word_rows

_REFRAMED = {"h264", "hevc", "vvc", "av1", "opus", "dvb_subtitle", "dvb_teletext"}
"""Codecs whose packets have another form, with the same content, in other containers."""


_MPEG = {"mp1", "mp2", "mp3"}

_PLACES = {"attachment": ("matroska",), "cover": ("mp4", "matroska")}
"""Containers that have something, where others have not."""

_FASTEST = {"aac": 96000, "mp3": 48000, "opus": 48000}
"""How many samples a second a codec takes at most."""

_COMPARED = 50
"""Packets of a part that are compared to tell which of its first ones are hidden."""

_EDIT = Fraction(1, 1000)
"""The coarsest clock of an edit list, in seconds."""


def track_rows(case: Case) -> list[Row]:
    """Every stream that the input has beside the picture, and what was added to them."""
    rows = []
    for kind in ("video", "cover", "audio", "subtitle", "attachment", "data"):
        ours = [track for track in case.input.tracks if track.kind == kind]
        theirs = [track for track in case.output.tracks if track.kind == kind]
        pairs = _pairs(ours, theirs)
        for track in ours:
            if track.promised and not len(track.timestamps) and not _dropped(track, case):
                row = Row(track.name, _form(track), ABSENT)
                rows.append(row.lost("cannot be read: its index is broken, or it is not there"))
            elif track.index in pairs:
                rows += _track(track, pairs[track.index], case)
            else:
                rows.append(_missing(track, case))
        found = [pairs[track.index].index for track in ours if track.index in pairs]
        # Muxers write the track of a timecode behind all others.
        ordered = [
            pairs[track.index].index
            for track in ours
            if track.index in pairs and "timecode" not in track.tags
        ]
        rows += [_added(track, case) for track in theirs if track.index not in found]
        if ordered != sorted(ordered):
            pair = sorted(ordered), ordered
            before, after = (listed([str(i) for i in each], 9) for each in pair)
            rows.append(Row(f"order of {kind} streams", before, after).changed())
    return rows


def _pairs(ours: list[Track], theirs: list[Track]) -> dict[int, Track]:
    """For the index of each input stream, the output stream that it has become."""
    # Where most are what they were, at their own place, the rest is few: else hundreds of streams
    # would be compared with one another.
    pairs = {a.index: b for a, b in zip(ours, theirs, strict=False) if _same(a, b)}
    taken = {b.index for b in pairs.values()}
    likely = sorted(
        (
            (_likeness(a, b, i == j), -i, -j)
            for i, a in enumerate(ours)
            if a.index not in pairs
            for j, b in enumerate(theirs)
            if b.index not in taken
        ),
        reverse=True,
    )
    for _, i, j in likely:
        a, b = ours[-i], theirs[-j]
        if a.index not in pairs and b.index not in taken:
            pairs[a.index] = b
            taken.add(b.index)
    return pairs


def _same(a: Track, b: Track) -> bool:
    """Whether two streams are alike in all that tells streams apart."""
    return all(
        len({*each}) == 1
        for each in (
            (a.whole, b.whole),
            (a.codec, b.codec),
            (a.title, b.title),
            (a.tags.get("language"), b.tags.get("language")),
            (a.tags.get("filename"), b.tags.get("filename")),
            (bool(len(a.timestamps)), bool(len(b.timestamps))),
        )
    )


def _likeness(a: Track, b: Track, same_place: bool) -> float:
    names = [track.tags.get("filename", "") for track in (a, b)]
    shared = len({*a.digests} & {*b.digests}) / max(len({*a.digests, *b.digests}), 1)
    return (
        80 * (bool(len(a.timestamps)) == bool(len(b.timestamps)))
        + 40 * (a.whole == b.whole)
        + 20 * shared
        + 10 * (a.tags.get("language") == b.tags.get("language"))
        + 5 * (a.codec == b.codec)
        + 4 * (a.title == b.title)
        + 4 * (names[0] == names[1])
        + 2 * same_place
    )


def _added(track: Track, case: Case) -> Row:
    row = Row(f"{track.name} of the output", ABSENT, _form(track))
    said = track.tags.get("timecode")
    tags = (case.input.tags, case.input.picture.track.tags)
    if (
        track.kind == "data"
        and said is not None
        and said in (each.get("timecode") for each in tags)
    ):
        return row.allowed("the timecode of the input, which was a tag")
    return row.changed("was added")


def _dropped(track: Track, case: Case) -> bool:
    return ("video" if track.kind == "cover" else track.kind) in case.asked.dropped


def _missing(track: Track, case: Case) -> Row:
    output = case.output
    if _dropped(track, case):
        return Row(track.name, _form(track), ABSENT).allowed("as asked")
    if track.kind not in ("attachment", "cover") and not len(track.timestamps):
        return Row(track.name, _form(track), ABSENT).allowed("it was empty")
    if case.part is not None and len(track.timestamps) and not case.wanted(track)[0]:
        return Row(track.name, _form(track), ABSENT).allowed("nothing of it is in the part")
    said = output.picture.track.tags.get("timecode")
    if track.kind == "data" and said is not None and track.tags.get("timecode") == said:
        row = Row(track.name, f"timecode {said}", "a tag of the video")
        return row.allowed(f"as {container_name(output)} keeps a timecode")
    places = _PLACES.get(track.kind, (output.kind,))
    held = output.kind in places and (not track.codec or can_hold(output.kind, track.codec))
    why = "" if held else f", {container_name(output)} cannot hold it"
    return Row(track.name, _form(track), ABSENT).lost(f"is missing{why}")


def _form(track: Track) -> str:
    """What a stream is made of."""
    facts = [track.codec]
    if track.kind == "attachment":
        facts = [track.tags.get("filename", ""), track.tags.get("mimetype", "")]
    elif track.kind == "audio":
        facts += [f"{track.rate} Hz" if track.rate else "", track.layout]
    elif track.kind == "video":
        facts += ["{}x{}".format(*track.size)]
    return ", ".join(fact for fact in facts if fact) or track.kind


def _track(a: Track, b: Track, case: Case) -> list[Row]:
    what = f"{a.kind} {a.index}"
    rows = [_format(what, a, b, case)]
    if a.kind in ("attachment", "cover"):
        row = Row(f"{what} content", f"{a.bytes} bytes", f"{b.bytes} bytes")
        return [*rows, row if a.whole == b.whole else row.changed("is another one")]
    if a.kind == "data" and "timecode" in a.tags and "timecode" in b.tags:
        # A muxer writes it anew from the tag, in a form of its own.
        before, after = (f"timecode {each.tags['timecode']}" for each in (a, b))
        return [Row(what, before, after).plain()]
    if _one_coding(a, b):
        rows += [_content(what, a, b, case), *_times(what, a, b, case)]
        rows += length_rows(what, a, b, case) if a.kind == "subtitle" else []
    elif {a.codec, b.codec} <= TEXTS:
        rows += word_rows(what, a, b, case)
        if a.texts == b.texts:
            rows += [*_times(what, a, b, case), *length_rows(what, a, b, case)]
    if a.kind == "audio":
        if b.undecoded > a.undecoded:
            row = Row(f"{what} decoding", f"{a.undecoded} damaged", f"{b.undecoded} damaged")
            rows.append(row.lost("does not decode any more"))
        rows += [*_sync(what, a, b, case), *_skipped(what, a, b, case)]
    return rows + label_rows(what, a, b, case)


def _one_coding(a: Track, b: Track) -> bool:
    """Whether packets were copied; MP4 has one name for all of MPEG audio."""
    if a.codec == b.codec or {a.codec, b.codec} <= _MPEG:
        return True
    return a.bytes > 0 and a.whole == b.whole


def _format(what: str, a: Track, b: Track, case: Case) -> Row:
    row = Row(what, _form(a), _form(b))
    texts = {a.codec, b.codec} <= TEXTS
    if row.input == row.output:
        return row
    # Opus plays at 48000 Hz whatever it was made from.
    rated = a.codec != b.codec and (
        b.codec == "opus" or b.rate == _FASTEST.get(b.codec, a.rate) < a.rate
    )
    if (a.channels, a.size) != (b.channels, b.size) or (a.rate != b.rate and not rated):
        return row.changed()
    if usual_speakers(a.layout) != usual_speakers(b.layout):
        return row.changed()
    if a.codec == b.codec:
        return row.allowed("the file does not say which speakers it is for")
    container = container_name(case.output)
    if _one_coding(a, b):
        return row.allowed(f"the same packets under the name that {container} has for them")
    if not texts and a.kind not in ("audio", "video", "cover"):
        return row.changed()
    if can_hold(case.output.kind, a.codec):
        return row.changed(f"was converted to {b.codec}, but {container} can hold {a.codec}")
    return row.allowed(f"{container} cannot hold {a.codec}")


def _content(what: str, a: Track, b: Track, case: Case) -> Row:
    before, after = (f"{counted(len(t.timestamps), 'packet')}, {t.bytes} bytes" for t in (a, b))
    row = Row(f"{what} content", before, after)
    if a.whole == b.whole:
        return row
    if a.codec.startswith("pcm_"):
        # Containers cut it into packets as they like.
        return row.changed() if case.part is None else row.allowed("the part asked for")
    must, may = case.wanted(a)
    in_ts = "mpegts" in (case.input.kind, case.output.kind)
    if a.codec in _REFRAMED and (in_ts or a.annexb != b.annexb):
        if len(must) <= len(b.timestamps) <= len(may):
            return row.allowed("the containers give packets another form")
        return row.lost("misses packets") if len(b.timestamps) < len(must) else row.changed()
    there = Counter(b.digests)
    lost = (Counter(a.digests[index] for index in must) - there - Counter(b.hidden)).total()
    added = (there - Counter(a.digests[index] for index in may) - Counter(a.hidden)).total()
    if lost and added:
        return row.changed(f"differs in {counted(max(lost, added), 'packet')}")
    if lost:
        return row.lost(f"misses {lost} of {counted(len(must), 'packet')}")
    if added:
        return row.changed(f"has {counted(added, 'packet')} too many")
    if case.part is None and (run_in := max(_run_in(a, b, case))):
        return row.allowed(f"{counted(run_in, 'packet')} that only decoders need cannot be hidden")
    if case.part is None:
        return row.changed("is in another order")
    if a.kind == "subtitle" and len(b.timestamps) < len(may):
        begun = counted(len(may) - len(b.timestamps), "text")
        return row.allowed(f"as asked, without {begun} from before the part")
    return row.allowed("as asked")


def _run_in(a: Track, b: Track, case: Case) -> tuple[int, int]:
    """How many packets at the start of each are there for the decoder's sake alone.

    They are shown by a container that cannot hide them, and hidden by the other one.
    """
    first = min(case.wanted(a)[1], default=0)
    ours = [*a.digests][first:]
    most = len(ours) if case.part is None else _COMPARED
    for count in range(1 + max(len(a.hidden), len(b.hidden))):
        for hidden, shown, other, pair in (
            ([*a.hidden], [*b.digests], ours, (0, count)),
            ([*b.hidden], ours, [*b.digests], (count, 0)),
        ):
            begins = shown[:count] == hidden[len(hidden) - count :]
            if count <= len(hidden) and begins and shown[count:][:most] == other[:most]:
                return pair
    return 0, 0


def _slack(a: Track, b: Track, case: Case) -> Fraction:
    """How far the containers' clocks can move a packet against the picture."""
    slack = b.timestamps.base / 2 + case.rounding
    video = case.input.picture.track
    coarsest = min(max(a.timestamps.base, video.timestamps.base), _EDIT)
    if case.output.kind in ("mp4", "mov"):
        # A stream that starts late is delayed by an edit list, which has a clock of its own.
        slack += b.timestamps.base / 2 + coarsest
    elif case.part is not None:
        slack += coarsest
    return slack


def _times(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """When each packet is."""
    if a.kind == "data" or not a.timestamps.known or not b.timestamps.known:
        return []
    before, after = (
        f"{seconds(t.timestamps.first)} to {seconds(t.timestamps.last)}" for t in (a, b)
    )
    row = Row(f"{what} times", before, after)
    slack = _slack(a, b, case)
    if not case.timed:
        return [row.allowed("timestamps of the video were made anew")]
    if case.part is not None:
        met = meet(a.timestamps.pick(case.wanted(a)[1]), b.timestamps, case.shift, slack)
        astray = len(met.added)
    elif len(a.timestamps) == len(b.timestamps):
        met = agree(a.timestamps, b.timestamps, case.shift, slack)
        astray = met.deviating
    elif a.codec.startswith("pcm_"):
        return []
    else:
        met = meet(a.timestamps, b.timestamps, case.shift, slack)
        astray = min(len(met.added), len(met.missing))
    if astray:
        by = f" by up to {milliseconds(met.worst)}" if met.worst else ""
        why = f"differ{by} in {counted(astray, 'packet')} of {len(b.timestamps)}"
        return [row.changed(why)]
    if case.part is not None:
        return [row.allowed("as asked")]
    if met.worst:
        return [row.allowed(f"rounded by up to {milliseconds(met.worst)}")]
    return [row.allowed("moved with the picture") if case.shift else row]


def _sync(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """Where the sound stands against the picture."""
    shown = case.output.picture.timestamps.first
    exact = slack = _slack(a, b, case)
    last, last_now = a.timestamps.last, b.timestamps.last
    if len(a.timestamps) != len(b.timestamps):
        # Cut into other packets, so only where the sound ends can be compared.
        last, last_now = a.end, b.end
        exact = slack = exact + a.timestamps.base + b.timestamps.base
    if not _one_coding(a, b):
        # An encoder begins with some silence of its own, and ends with a whole packet.
        slack += a.longest_s + b.longest_s
    first, end = a.timestamps.first, None
    first_now = b.timestamps.first
    if _one_coding(a, b):
        skipped, skipped_now = _run_in(a, b, case)
        if skipped and case.part is None:
            first = a.timestamps.pick(range(skipped, len(a.timestamps))).first
        first_now = b.timestamps.pick(range(skipped_now, len(b.timestamps))).first
        if len(a.timestamps) - skipped == len(b.timestamps) - skipped_now:
            last, last_now, exact = a.timestamps.last, b.timestamps.last, _slack(a, b, case)
            slack = exact
    if case.part is not None and first is not None and last is not None:
        begin, end = case.part
        first, last = max(first, begin), last if end is None else min(last, end)
        slack += a.longest_s + case.frame_s
    points = [("start", first, case.frames.first, first_now)]
    if case.timed:
        points.append(("end", last, case.frames.last, last_now))
    else:
        slack += case.frame_s
    rows = []
    for name, sound, picture, sound_now in points:
        if sound is None or picture is None or sound_now is None or shown is None:
            continue
        # By the clock that most frames agree on, as single ones may be missing.
        before = sound - picture
        after = sound_now - (picture + case.shift if case.timed else shown)
        row = Row(f"{what} to picture, {name}", milliseconds(before), milliseconds(after))
        moved = after - before
        if abs(moved) > slack:
            direction = "later" if moved > 0 else "earlier"
            row = row.changed(f"is {milliseconds(abs(moved))} {direction} than it was")
        elif abs(moved) > exact:
            row = row.allowed("within a packet, as sound is cut and encoded in whole ones")
        rows.append(row)
    return rows


def _skipped(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """Samples that players leave out, where the encoder had put silence."""
    if not _one_coding(a, b) or case.part is not None or {*a.skipped, *b.skipped} == {0}:
        return []
    before, after = ("{} + {} samples".format(*track.skipped) for track in (a, b))
    row = Row(f"{what} silence left out", before, after)
    if a.skipped == b.skipped:
        return [row]
    if case.input.kind != case.output.kind or len(a.hidden) > 1:
        # Of what an edit list hides FFmpeg may count packets in, or not.
        return [row.allowed("the containers note it differently")]
    return [row.changed()]
