"""Streams that pass through untouched, and everything that is said about streams and file."""

import io
import math
import re
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

_LONG = 60
"""More letters of a title are not for a message."""

_TS_NONSTRICT = 0x20000
"""FFmpeg's AVFMT_TS_NONSTRICT: a format in which packets may follow at the same time."""

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

LOSSLESS = ("flac", "alac", "wavpack", "tta", "truehd", "mlp", "ape")
"""Codecs of sound that keep every sample."""

_RUN_IN_S = Fraction(1, 40)
"""How much of what an edit list hides is kept where nothing can hide it, as decoders start with the
packet before: one of AAC. It is what the picture would be late by."""

TEXTS = frozenset({"ass", "ssa", "mov_text", "subrip", "srt", "text", "webvtt"})
"""Codecs of subtitles that are text."""

_REFUSED = {
    "mp4": {"ffv1", "vp8", "truehd"},
    "mov": {"vp8", "vp9", "av1", "dvvideo", "flac", "opus", "truehd"},
    "matroska": {
        *("atrac3", "cook", "sipr", "ra_144", "ra_288", "rv10", "rv20", "rv30", "rv40"),
        "tta",  # how long the last packet is would be told by how long the file is
    },
}
"""Codecs that FFmpeg lists for a container and refuses when they come, or that do not play."""

_COVERS = {
    "mp4": {"mjpeg", "png", "bmp"},
    "matroska": {"mjpeg", "png", "gif", "tiff"},
}
"""Pictures that stand for a file, by container; FFmpeg leaves others out without a word."""

_KEYS = {
    "mp4": {
        *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
        *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
        *("network", "keywords", "episode_sort", "season_number", "media_type", "hd_video"),
        *("gapless_playback", "compilation", "track", "disc", "creation_time", "timecode"),
    },
    "mov": {
        *("title", "artist", "author", "album", "date", "comment", "genre", "copyright", "make"),
        *("model", "location", "keywords", "creation_time", "timecode"),
    },
}
"""Tags for which a container's usual list has a place."""

_STATISTICS = re.compile(
    r"(encoder|bps|duration|number_of_(frames|bytes)|_statistics_.+)(-\w+)?", re.IGNORECASE
)
"""Tags that tell of a stream as it was coded once, which it may be no more."""


class CopiedTrack:
    """A stream whose packets are written as they are."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        # Texts may appear together, pictures and sounds must follow one another; Matroska's clock
        # is too coarse for the shortest packets of sound.
        loose = stream.type == "audio" and stream.container.format.flags & _TS_NONSTRICT
        self._together = bool(loose) or stream.type in ("subtitle", "data")
        self._early: list[Packet] = []
        """The first packets, while no decoding time is known."""
        codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
        self._hides = stream.container.format.name in ("mp4", "mov")
        self._alone = codec in LOSSLESS or codec.startswith("pcm_")
        """Whether each packet decodes alone."""
        self._hidden: list[Packet] = []
        """Packets that players do not show, of the beginning."""
        self._last: Fraction | None = None
        self._step: Fraction | None = None
        """The shortest time between two packets, in seconds."""

    def push(self, packet: Packet) -> list[Packet]:
        """Take a packet on the output's clock; hand it on with times that a muxer takes."""
        first = self._last is None
        if is_hidden(packet):
            if first and not self._early and (self._hides or self._runs_in(packet)):
                self._hidden.append(packet)
            return []
        if self._hidden:
            hidden, self._hidden = self._hidden, []
            return [each for one in (*hidden, packet) for each in self._shown(one)]
        return self._shown(packet)

    def _runs_in(self, packet: Packet) -> bool:
        """Whether a decoder needs a packet that is not shown for the first one that is."""
        begin = (packet.pts or 0) * Fraction(packet.time_base or 1)
        return self.stream.type == "audio" and not self._alone and -_RUN_IN_S <= begin < 0

    def _shown(self, packet: Packet) -> list[Packet]:
        first = self._last is None
        if first and self.stream.type == "video" and packet.dts is None and packet.pts is not None:
            # Before pictures that are shown in another order there are some that Matroska has no
            # decoding time for.
            self._early.append(packet)
            return []
        early, self._early = self._early, []
        if packet.dts is not None:
            for number, each in enumerate(reversed(early), 1):
                each.dts = packet.dts - number * (packet.duration or 1)
        return [self._placed(each) for each in (*early, packet)]

    def flush(self) -> list[Packet]:
        """Hand on what waited for a decoding time."""
        return [self._placed(each) for each in self._early]

    def _placed(self, packet: Packet) -> Packet:
        packet.stream = self.stream
        base = Fraction(packet.time_base or self.stream.time_base or 1)
        if packet.dts is None and self.stream.type == "video" and self._last is not None:
            packet.dts = math.floor(self._last / base)
        if packet.dts is None:
            # Cover art has no time at all.
            packet.dts = packet.pts = packet.pts or 0
        if self._last is not None and packet.dts * base <= self._last:
            if not self._together:
                base = self._finer(packet, base)
            packet.dts = math.floor(self._last / base) + (not self._together)
        if packet.pts is not None and packet.pts < packet.dts:
            packet.pts = packet.dts
        timestamp = packet.dts * base
        if self._last is not None and timestamp > self._last:
            step = timestamp - self._last
            self._step = step if self._step is None else min(self._step, step)
        if not packet.duration and self.stream.type in ("audio", "video"):
            # Matroska need not say it, and in MP4 a last packet that has none is never played.
            packet.duration = round((self._step or 0) / base)
        self._last = timestamp
        return packet

    def _finer(self, packet: Packet, base: Fraction) -> Fraction:
        """Put a packet on the output's clock, if that is finer: a tick of it adds up to nothing."""
        finer = Fraction(self.stream.time_base or base)
        if finer >= base:
            return base
        packet.pts, packet.dts, packet.duration = (
            None if ticks is None else round(ticks * base / finer)
            for ticks in (packet.pts, packet.dts, packet.duration)
        )
        packet.time_base = finer
        return finer


def is_hidden(packet: Packet) -> bool:
    """Whether players show nothing of a packet, as an edit list leaves it out."""
    if packet.is_discard or packet.pts is None:
        return bool(packet.is_discard)
    # FFmpeg marks nothing where no key frame is before what is shown.
    stream = packet.stream
    if packet.pts >= 0 or "mov" not in stream.container.format.name.split(","):
        return False
    return stream.type == "video" or packet.pts + (packet.duration or 0) <= 0


def copy_stream(stream: Stream, output: av.container.OutputContainer) -> CopiedTrack | None:
    """Add a stream like `stream` to `output`; None where it cannot be held as it is."""
    if stream.type == "data":
        kind = getattr(stream, "name", None)
        if kind not in _DATA.get(output.format.name, ()):
            return None
    elif stream.codec_context is None or not holds_stream(output, stream):
        return None
    if is_cover(stream) and not _holds_cover(output, stream):
        return None
    try:
        added = output.add_stream_from_template(stream)
    except (ValueError, av.error.FFmpegError):
        return None
    if isinstance(added, av.AudioStream) and added.codec_context.name.startswith("pcm_"):
        # MP4 says which speakers it is for, and FFmpeg fails at the end where that is not known.
        added.codec_context.layout = speakers(added.codec_context.layout)
    if isinstance(added, av.VideoStream) and (aspect := aspect_of(stream)):
        # That of the coded pictures was copied; here it is what players go by.
        added.codec_context.sample_aspect_ratio = aspect
    describe_as(added, stream)
    if is_cover(stream):
        # FFmpeg takes what is anything else beside for a second video.
        added.disposition = Disposition.attached_pic
    return CopiedTrack(added)


def aspect_of(stream: Stream) -> Fraction | None:
    """Width of a pixel by its height, where it is said of a stream."""
    if not isinstance(stream, av.VideoStream):
        return None
    said = stream.sample_aspect_ratio
    return Fraction(said) if said else None


def speakers(layout: av.AudioLayout) -> av.AudioLayout:
    """Which speakers the channels of sound are for; the usual ones where the file does not say."""
    count = layout.nb_channels
    if layout.name != f"{count} channels":
        return layout
    try:
        return av.AudioLayout(f"{count}c")
    except ValueError:
        return layout


def usual_speakers(layout: str) -> str:
    """A layout's name, one for all that players take for the same.

    Speakers at the sides and in the back are the same ones where there are not both.
    """
    try:
        return speakers(av.AudioLayout(layout)).name.replace("(side)", "")
    except ValueError:  # no layout, or one of its own
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


def attach_cover(stream: Stream, data: bytes, output: av.container.OutputContainer) -> bool:
    """Add cover art to Matroska, which has it as an attached file; `data` is the picture."""
    if not data or not _holds_cover(output, stream):
        return False
    codec = stream.codec_context.codec.canonical_name
    ending, mime = ("jpg", "image/jpeg") if codec == "mjpeg" else (codec, f"image/{codec}")
    # By this name players know it.
    name = stream.metadata.get("filename") or f"cover.{ending}"
    added = output.add_attachment(name, mime, data)
    kept = {k: v for k, v in stream.metadata.items() if k.lower() in ("title", "comment")}
    added.metadata.update({**kept, "filename": name, "mimetype": mime})
    return True


def _holds_cover(output: av.container.OutputContainer, stream: Stream) -> bool:
    context = stream.codec_context
    held = _COVERS.get(output.format.name, ())
    return context is not None and context.codec.canonical_name in held


def describe_as(added: Stream, stream: Stream) -> None:
    """Say of a new stream what the old one's container says of it."""
    added.metadata.update(
        {k: v for k, v in stream.metadata.items() if not _STATISTICS.fullmatch(k)}
    )
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


def own_keys(said: Collection[str], kind: str) -> list[str]:
    """The tags for which the usual list of MP4, or MOV, has no place."""
    return [key for key in said if key.lower() not in _KEYS[kind]]


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
            start, stop = (round((timestamp - Fraction(begin)) / base) for timestamp in (low, high))
            kept.append({**chapter, "start": start, "end": stop})
    return kept


def describe(stream: Stream) -> str:
    """A stream in words: kind, index, codec, language and title."""
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else ""
    cover = "cover art" if is_cover(stream) else stream.type
    if stream.type == "data" and (kind := getattr(stream, "name", None)) != "bin_data":
        codec = kind or ""
    called = title(stream)
    if len(called) > _LONG:
        called = f"{called[: _LONG - 3]}..."
    file = stream.metadata.get("filename", "") if stream.type == "attachment" else ""
    facts = [codec, stream.metadata.get("language", ""), called, file]
    said = ", ".join(fact for fact in facts if fact and fact != "und")
    return f"{cover} stream {stream.index}" + (f" ({said})" if said else "")


def is_empty(stream: Stream) -> bool:
    """Whether a file announces sound of which nothing comes, so that nothing is known of it."""
    context = stream.codec_context  # none where there is no decoder
    return isinstance(context, av.AudioCodecContext) and not context.sample_rate


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a picture that stands for the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def title(stream: Stream) -> str:
    """What a stream is called, or nothing."""
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


def can_hold(kind: str, codec: str) -> bool:
    """Whether a container can hold a codec; both by FFmpeg's names."""
    try:
        with av.open(io.BytesIO(), "w", format=kind) as container:
            return holds(container, codec)
    except (ValueError, av.error.FFmpegError):
        return True


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
