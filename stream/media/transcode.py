"""Sound and subtitles in another coding, where the output's container cannot hold their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.container
import av.error
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from stream.frame import Packet
from stream.media.remux import LOSSLESS, TEXTS, describe_as, holds, speakers

_KEPT_WHOLE = (("flac", "flac"), ("alac", "alac"))
_LOSSY = (("aac", "aac"), ("opus", "libopus"), ("mp3", "libmp3lame"))
"""Codecs to change to, best first: FFmpeg's name of the codec and of its encoder."""

_TEXT: Final = {
    "mp4": "mov_text",
    "mov": "mov_text",
    "matroska": "ass",
    "webm": "webvtt",
}
"""The text subtitles of each container."""

_BITS_PER_CHANNEL = 96_000

_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
    "alac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)"),
    "mp3": ("mono", "stereo"),
    "opus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
"""Where the channels of a codec can be, with few ones first."""


class ConvertedAudio:
    """Sound that is decoded and encoded anew, at the times it had."""

    def __init__(self, stream: av.AudioStream, added: av.AudioStream, codec: str) -> None:
        self.stream = added
        self.form = codec
        """What it becomes, in words."""
        self.undecoded = 0
        """Packets that did not decode."""
        context = added.codec_context
        layout = _layout(codec, speakers(stream.codec_context.layout))
        formats = context.codec.audio_formats or ()
        wanted = stream.codec_context.format.name
        names = [format.name for format in formats]
        deep = stream.codec_context.format.bytes > 2
        chosen = wanted if wanted in names else _nearest(names, deep=deep)
        rates = context.codec.audio_rates
        rate = stream.codec_context.sample_rate
        if rates and rate not in rates:
            rate = min(rates, key=lambda each: (each < rate, abs(each - rate)))
            if rate < stream.codec_context.sample_rate:
                self.form += f" at {rate} Hz"
        context.sample_rate = rate
        context.layout = layout
        context.format = chosen
        context.time_base = Fraction(1, rate)
        if codec in ("aac", "opus", "mp3"):
            context.bit_rate = _BITS_PER_CHANNEL * layout.nb_channels
        context.open()
        self._resampler = av.AudioResampler(
            chosen, context.layout, rate, frame_size=context.frame_size or None
        )

    def push(self, packet: Packet) -> Iterator[Packet]:
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.undecoded += 1
            return  # damaged sound leaves a gap, as it does in a player
        for frame in frames:
            assert isinstance(frame, av.AudioFrame)
            yield from self._encode(frame)

    def flush(self) -> Iterator[Packet]:
        yield from self._encode(None)
        yield from self.stream.encode(None)

    def _encode(self, frame: av.AudioFrame | None) -> Iterator[Packet]:
        for made in self._resampler.resample(frame):
            yield from self.stream.encode(made)


@dataclass(frozen=True)
class _Cue:
    """A text on the screen."""

    end: int
    lines: tuple[bytes, ...]
    """As ASS has them, with their styles."""


class ConvertedText:
    """Text subtitles in the form of another container."""

    def __init__(self, added: Stream, codec: str) -> None:
        self.stream = added
        self.form = self.codec = codec
        self._overlaps = codec != "mov_text"
        """Whether texts may stand side by side; if not they are cut where they do, and joined."""
        self._shown: list[_Cue] = []
        self._now = 0
        self._base = Fraction(1, 1000)

    def push(self, packet: Packet) -> Iterator[Packet]:
        try:
            said = _text(packet.stream).decode2(packet)
        except av.error.FFmpegError:
            return
        lines = tuple(rect.ass for rect in said or () if isinstance(rect, AssSubtitle))
        if not lines or packet.pts is None:
            return
        self._base = Fraction(packet.time_base or self._base)
        start, end = packet.pts, packet.pts + (packet.duration or 0)
        if not self._overlaps:
            yield from self._until(start)
        if self._overlaps or end == start:
            yield self._packet(lines, start, end)
        else:
            self._shown.append(_Cue(end, lines))

    def flush(self) -> Iterator[Packet]:
        yield from self._until(max((cue.end for cue in self._shown), default=0))

    def _until(self, timestamp: int) -> Iterator[Packet]:
        """What stands on the screen until a moment, once for each time that it changes."""
        timestamp = max(timestamp, self._now)
        while self._shown:
            stop = min(timestamp, *(cue.end for cue in self._shown))
            if stop > self._now:
                lines = [line for cue in self._shown for line in cue.lines]
                yield self._packet(lines, self._now, stop)
                self._now = stop
            self._shown = [cue for cue in self._shown if cue.end > stop]
            if stop == timestamp:
                break
        self._now = timestamp

    def _packet(self, lines: Sequence[bytes], start: int, end: int) -> Packet:
        whole, length = _joined(lines), round((end - start) * self._base * 1000)
        if self.codec == "webvtt":
            # FFmpeg leaves to its caller what would be taken for markup.
            *styled, text = whole.split(b",", 8)
            text = text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
            whole = b",".join([*styled, text])
        made = _text(self.stream).encode_subtitle(SubtitleSet.create(whole, 0, length))
        made.pts = made.dts = start
        made.duration = end - start
        made.time_base = self._base
        made.stream = self.stream
        return made


def _joined(lines: Sequence[bytes]) -> bytes:
    """Lines of ASS in one, each with its own style."""
    first, *others = lines
    for line in others:
        _, _, style, *_, text = line.split(b",", 8)
        first += b"\\N{\\r" + style + b"}" + text
    return first


def convert_stream(
    stream: Stream, output: av.container.OutputContainer
) -> ConvertedAudio | ConvertedText | None:
    """Add a stream with what is in `stream`, coded as `output` can hold it; None if it cannot."""
    if isinstance(stream, av.AudioStream):
        return _convert_audio(stream, output)
    if stream.type == "subtitle":
        return _convert_text(stream, output)
    return None


def _convert_audio(
    stream: av.AudioStream, output: av.container.OutputContainer
) -> ConvertedAudio | None:
    context = stream.codec_context
    if context is None or not context.sample_rate or context.format is None:
        return None
    own = context.codec.canonical_name
    whole = own in LOSSLESS or own.startswith("pcm_")
    for codec, encoder in (*_KEPT_WHOLE, *_LOSSY) if whole else _LOSSY:
        if holds(output, codec):
            added = output.add_stream(encoder, rate=context.sample_rate)
            assert isinstance(added, av.AudioStream)
            describe_as(added, stream)
            return ConvertedAudio(stream, added, codec)
    return None


def _convert_text(stream: Stream, output: av.container.OutputContainer) -> ConvertedText | None:
    context = stream.codec_context
    codec = _TEXT.get(output.format.name)
    if codec is None or context is None or context.codec.canonical_name not in TEXTS:
        return None
    added = output.add_stream(codec)
    encoder = _text(added)
    encoder.time_base = Fraction(1, 1000)
    encoder.subtitle_header = _header(_text(stream))
    encoder.open()
    describe_as(added, stream)
    return ConvertedText(added, codec)


def _text(stream: Stream) -> SubtitleCodecContext:
    context = stream.codec_context
    assert isinstance(context, SubtitleCodecContext)
    return context


def _header(decoder: SubtitleCodecContext) -> bytes:
    """The styles that a decoder of text works with, which its encoder needs."""
    if not decoder.is_open:
        decoder.open()
    return bytes(decoder.subtitle_header or b"")


def _layout(codec: str, own: av.AudioLayout) -> av.AudioLayout:
    """The layout with fewest channels in which a codec has a place for each of a sound's own."""
    known = [av.AudioLayout(name) for name in _LAYOUTS.get(codec, (own.name,))]
    places = [channel.name for channel in own.channels]
    # Speakers at the sides and in the back are the same ones where there are not both.
    behind = [{"SL": "BL", "SR": "BR"}.get(place, place) for place in places]
    wanted = [set(places), *([set(behind)] if len(set(behind)) == len(places) else [])]
    fitting = [
        layout
        for places in wanted
        for layout in known
        if places <= {channel.name for channel in layout.channels}
    ]
    return min(fitting or known[-1:], key=lambda layout: layout.nb_channels)


def _nearest(names: list[str], *, deep: bool) -> str:
    order = ("s32", "s32p", "fltp", "flt", "s16", "s16p")
    order = order if deep else ("fltp", "s16", "s16p", "flt", "s32", "s32p")
    return next((name for name in order if name in names), names[0])
