"""What is compared of what files and streams say of themselves: languages, titles, tags."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from stream.media.language import terminological
from stream.media.remux import own_keys
from stream.verify.conformance import ABSENT, Case, Row, container_name
from stream.verify.facts import Track

_WRITING = {
    *("encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id", "duration"),
    *("bps", "number_of_frames", "number_of_bytes", "source_id", "alpha_mode"),
}
"""Tags that describe how a file was written, not what is in it."""

_ELSEWHERE = {"language", "title", "name", "handler_name", "rotate", "filename", "mimetype"}
"""Tags of streams that are compared by themselves."""

_ONE_ROLE = {"descriptions": "visual_impaired", "captions": "hearing_impaired"}
"""Dispositions that MP4 has but one word for, with the ones that stand for both."""

_PLACEHOLDER = re.compile(r".*handler?|core media \w+", re.IGNORECASE)
"""What MP4's writers call streams that have no name of their own."""


def label_rows(what: str, a: Track, b: Track, case: Case) -> list[Row]:
    """A stream's language, title, dispositions and tags."""
    rows = []
    before, after = (_known(track.tags.get("language", "und"), "und") for track in (a, b))
    if {before, after} != {ABSENT}:
        row = Row(f"{what} language", before, after).plain()
        if row.verdict == "changed" and terminological(before) == terminological(after):
            row = row.allowed("another code of the same language")
        if row.verdict == "lost" and case.output.kind == "mpegts" and a.kind == "video":
            row = row.allowed("MPEG-TS knows none of video")
        rows.append(row)
    before, after = (_known(track.title, _PLACEHOLDER) for track in (a, b))
    if {before, after} != {ABSENT}:
        rows.append(Row(f"{what} title", before, after).plain())
    ours, theirs = ({_ONE_ROLE.get(f, f) for f in track.disposition} for track in (a, b))
    for flag in sorted((ours | theirs) - {"attached_pic"}):
        before, after = ("yes" if flag in flags else ABSENT for flags in (ours, theirs))
        row = Row(f"{what} is {flag}", before, after).plain()
        if row.verdict != "same" and flag == "default" and case.input.kind != case.output.kind:
            # Matroska says which stream plays by default, MP4 which ones can, MPEG-TS nothing.
            row = row.allowed("the containers have other defaults")
        rows.append(row)
    skip = _WRITING | _ELSEWHERE
    return rows + _tag_rows(what, _tags(a.tags, skip), _tags(b.tags, skip), case)


def file_rows(case: Case) -> list[Row]:
    """The tags of the file itself."""
    ours, theirs = (_tags(each.tags, _WRITING) for each in (case.input, case.output))
    return _tag_rows("file", ours, theirs, case)


def _known(text: str, nothing: str | re.Pattern[str]) -> str:
    return text if text and not re.fullmatch(nothing, text) else ABSENT


def _tag_rows(what: str, a: Mapping[str, str], b: Mapping[str, str], case: Case) -> list[Row]:
    rows = []
    for key in sorted({*a, *b}):
        row = Row(f"{what} tag {key}", a.get(key, ABSENT), b.get(key, ABSENT)).plain()
        # What a stream does not say of itself, its file says of all.
        ours = a.get(key) or case.input.tags.get(key)
        theirs = b.get(key) or case.output.tags.get(key)
        if row.verdict == "same":
            pass
        elif ours and theirs and _meaning(key, ours) == _meaning(key, theirs):
            row = row.allowed(
                "the same in another form" if a.get(key) and b.get(key) else "that of the file"
            )
        elif key == "creation_time" and what != "file":
            row = row.allowed("containers keep that of the file, if any")
        elif key == "timecode" and b.get(key, case.output.picture.track.tags.get(key)) == ours:
            row = row.allowed("the video has it")
        elif row.verdict == "lost" and _beside_cover(key, what, case):
            row = row.lost(f"{row.why}, MP4 has no place for it beside cover art")
        elif row.verdict == "lost" and case.input.kind != case.output.kind:
            row = row.lost(f"{row.why}, {container_name(case.output)} may not know it")
        rows.append(row)
    return rows


def _beside_cover(key: str, what: str, case: Case) -> bool:
    covers = any(track.kind == "cover" for track in case.output.tracks)
    return what == "file" and case.output.kind == "mp4" and covers and bool(own_keys([key], "mp4"))


def _tags(tags: Mapping[str, str], skip: set[str]) -> dict[str, str]:
    """Tags as they compare: Matroska writes keys in capitals and without spaces."""
    kept = {key.replace(" ", "_"): text.strip() for key, text in tags.items() if text.strip()}
    return {
        key: text
        for key, text in kept.items()
        if key not in skip
        and not key.startswith("_statistics")
        and not text.startswith("Lavf")
        # MP4 gives some tags twice, once with their language.
        and not (key[-4:-3] == "-" and key[:-4] in {*kept, *skip})
    }


def _meaning(key: str, text: str) -> object:
    """What a tag says that containers write differently."""
    if key == "creation_time":
        try:
            timestamp = datetime.fromisoformat(text)
        except ValueError:
            return text
        return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    if key.startswith("location"):
        return [round(float(each), 3) for each in re.findall(r"[+-]\d+(?:\.\d+)?", text)] or text
    return text
