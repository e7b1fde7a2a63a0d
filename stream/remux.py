"""Streams that pass through untouched, and everything that is said about streams and file."""

from collections.abc import Collection
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.codec.codec
import av.container
import av.error
from av.stream import Disposition, Stream

from stream.frame import Packet

_OF_THE_CONTAINER = {"encoder", "major_brand", "minor_version", "compatible_brands"}
"""Tags that describe how the old file was written, not what is in it."""

_MPEGTS = {
    *("h264", "hevc", "mpeg2video", "mpeg4", "aac", "ac3", "eac3", "mp2", "mp3", "opus", "dts"),
    *("dvb_subtitle", "dvb_teletext"),
}
_M2TS = {"hdmv_pgs_subtitle", "pcm_bluray", "truehd"}
"""What Blu-ray's form of MPEG-TS has beside them."""
_DATA = {
    "mp4": {"bin_data"},
    "mov": {"bin_data"},
    "mpegts": {"bin_data", "klv", "timed_id3", "scte_35"},
}
"""Kinds of data that FFmpeg writes, by container."""

_REFUSED = {
    "mp4": {"ffv1", "vp8", "truehd"},
    "mov": {"vp8", "vp9", "av1", "dvvideo", "flac", "opus", "truehd"},
    "matroska": {"atrac3", "cook", "sipr", "ra_144", "ra_288", "rv10", "rv20", "rv30", "rv40"},
}
"""Codecs that FFmpeg lists for a container and refuses when they come, or that nothing plays."""

_MP4_KEYS = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
    *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
    *("network", "keywords", "episode_sort", "season_number", "media_type", "hd_video"),
    *("gapless_playback", "compilation", "track", "disc", "creation_time", "timecode"),
}
"""Tags for which MP4's usual list has a place."""


class CopiedTrack:
    """A stream whose packets are written as they are."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._last: int | None = None
        self._step: int | None = None
        """The shortest time between two packets."""

    def push(self, packet: Packet) -> list[Packet]:
        """Take a packet on the output's clock; hand it on with times that a muxer takes."""
        packet.stream = self.stream
        if packet.dts is None:
            # Cover art has no time at all.
            packet.dts = packet.pts = packet.pts or 0
        if self._last is not None and packet.dts <= self._last:
            # Texts may appear together, pictures and sounds must follow one another.
            together = self.stream.type in ("subtitle", "data")
            packet.dts = self._last + (not together)
        if packet.pts is not None and packet.pts < packet.dts:
            packet.pts = packet.dts
        if self._last is not None:
            step = packet.dts - self._last
            self._step = step if self._step is None else min(self._step, step)
        if not packet.duration and self.stream.type == "audio":
            # Matroska need not say it, and in MP4 a last packet that has none is never played.
            packet.duration = self._step or 0
        self._last = packet.dts
        return [packet]

    def flush(self) -> list[Packet]:
        return []


def copy_stream(stream: Stream, output: av.container.OutputContainer) -> CopiedTrack | None:
    """Add a stream like `stream` to `output`; None where it cannot be held as it is."""
    if stream.type == "data":
        kind = getattr(stream, "name", None)
        if kind not in _DATA.get(output.format.name, ()):
            return None
    elif stream.codec_context is None or not holds_stream(output, stream):
        return None
    if is_cover(stream) and output.format.name == "mov":
        return None  # FFmpeg would leave it out without a word
    try:
        added = output.add_stream_from_template(stream)
    except (ValueError, av.error.FFmpegError):
        return None
    if isinstance(added, av.AudioStream) and added.codec_context.name.startswith("pcm_"):
        # MP4 says which speakers it is for, and FFmpeg fails at the end where that is not known.
        added.codec_context.layout = speakers(added.codec_context.layout)
    describe_as(added, stream)
    return CopiedTrack(added)


def speakers(layout: av.AudioLayout) -> av.AudioLayout:
    """Which speakers the channels of sound are for; the usual ones where the file does not say."""
    count = layout.nb_channels
    if layout.name != f"{count} channels":
        return layout
    try:
        return av.AudioLayout(f"{count}c")
    except ValueError:
        return layout


def attach(stream: Stream, output: av.container.OutputContainer) -> bool:
    """Add an attached file, such as a font, where the container can hold it."""
    name = stream.metadata.get("filename")
    data = getattr(stream, "data", None)
    if "matroska" not in output.format.name or not name or not data:
        return False
    mime = stream.metadata.get("mimetype", "application/octet-stream")
    added = output.add_attachment(name, mime, bytes(data))
    added.metadata.update(stream.metadata)
    return True


def describe_as(added: Stream, stream: Stream) -> None:
    """Say of a new stream what the old one's container says of it."""
    added.metadata.update({k: v for k, v in stream.metadata.items() if k.lower() != "encoder"})
    if "name" in added.metadata:
        # What MP4 calls a track's name is written, by FFmpeg, from the title.
        added.metadata.setdefault("title", added.metadata["name"])
    added.disposition = stream.disposition


def is_chapter_track(stream: Stream) -> bool:
    """Whether a stream holds the titles of chapters, which travel as chapters."""
    chapters = stream.container.chapters() and "timecode" not in stream.metadata
    return bool(chapters and stream.type == "data" and title(stream) in ("", "SubtitleHandler"))


def is_timecode(stream: Stream) -> bool:
    """Whether a stream holds the timecode, which is written anew from the video's tag."""
    return stream.type == "data" and "timecode" in stream.metadata


def tags(source: av.container.InputContainer) -> dict[str, str]:
    """The file's own tags."""
    return {k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_CONTAINER}


def needs_own_keys(said: Collection[str]) -> bool:
    """Whether MP4's usual list has no place for some of the tags."""
    return any(key.lower() not in _MP4_KEYS for key in said)


def chapters(source: av.container.InputContainer, begin: float, end: float) -> list[Any]:
    """The chapters between two moments of the file, moved to begin at the first; in seconds."""
    found = source.chapters()
    if begin == float("-inf"):
        return list(found)
    kept = []
    for chapter in found:
        base = Fraction(chapter["time_base"] or 1)
        low = max(chapter["start"] * base, Fraction(begin))
        high = chapter["end"] * base
        high = high if end == float("inf") else min(high, Fraction(end))
        if low < high:
            start, stop = (round((moment - Fraction(begin)) / base) for moment in (low, high))
            kept.append({**chapter, "start": start, "end": stop})
    return kept


def describe(stream: Stream) -> str:
    """A stream in words: kind, index, codec, language and title."""
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else ""
    cover = "cover art" if is_cover(stream) else stream.type
    facts = [codec, stream.metadata.get("language", ""), title(stream)]
    said = ", ".join(fact for fact in facts if fact and fact != "und")
    return f"{cover} stream {stream.index}" + (f" ({said})" if said else "")


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a picture that stands for the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def title(stream: Stream) -> str:
    title = stream.metadata.get("title") or stream.metadata.get("handler_name") or ""
    return title.strip()


def holds_stream(output: av.container.OutputContainer, stream: Stream) -> bool:
    """Whether a container can hold a stream as it is."""
    context = stream.codec_context
    return context is not None and holds(output, context.codec.canonical_name)


def holds(output: av.container.OutputContainer, codec: str) -> bool:
    """Whether a container can hold a codec, by FFmpeg's canonical name of it."""
    name = output.format.name
    if name == "mpegts":
        # FFmpeg has no list for it; these are what players of it know.
        blu_ray = output.name.lower().endswith(".m2ts")
        return codec in _MPEGTS or (blu_ray and codec in _M2TS)
    return codec in _listed(frozenset(output.supported_codecs)) - _REFUSED.get(name, set())


@cache
def _listed(coders: frozenset[str]) -> frozenset[str]:
    """The canonical names of codecs; a container's list has those of their coders."""
    codecs = set()
    for coder in coders:
        for mode in ("r", "w"):
            try:
                codecs.add(av.Codec(coder, mode).canonical_name)
            except av.codec.codec.UnknownCodecError:
                continue
    return frozenset(codecs)
