"""Sound and subtitles in another coding, where the output's container cannot hold their own."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import av
import av.container
import av.error
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from stream.frame import Packet
from stream.remux import describe_as, holds

_LOSSLESS = ("flac", "alac", "wavpack", "tta", "truehd", "mlp", "ape")
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


class ConvertedAudio:
    """Sound that is decoded and encoded anew, at the times it had."""

    def __init__(self, stream: av.AudioStream, added: av.AudioStream, codec: str) -> None:
        self.stream = added
        self.codec = codec
        context = added.codec_context
        formats = context.codec.audio_formats or ()
        wanted = stream.codec_context.format.name
        names = [format.name for format in formats]
        deep = stream.codec_context.format.bytes > 2
        chosen = wanted if wanted in names else _nearest(names, deep=deep)
        rates = context.codec.audio_rates
        rate = stream.codec_context.sample_rate
        if rates and rate not in rates:
            rate = min(rates, key=lambda each: (each < rate, abs(each - rate)))
        context.sample_rate = rate
        context.layout = stream.codec_context.layout
        context.format = chosen
        context.time_base = Fraction(1, rate)
        if codec in ("aac", "opus", "mp3"):
            context.bit_rate = _BITS_PER_CHANNEL * stream.codec_context.layout.nb_channels
        context.open()
        self._resampler = av.AudioResampler(
            chosen, context.layout, rate, frame_size=context.frame_size or None
        )

    def push(self, packet: Packet) -> Iterator[Packet]:
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
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


class ConvertedText:
    """Text subtitles in the form of another container."""

    def __init__(self, added: Stream, codec: str) -> None:
        self.stream = added
        self.codec = codec

    def push(self, packet: Packet) -> Iterator[Packet]:
        decoder, encoder = _text(packet.stream), _text(self.stream)
        try:
            said = decoder.decode2(packet)
        except av.error.FFmpegError:
            return
        if said is None or not len(said) or packet.pts is None:
            return
        made = encoder.encode_subtitle(said)
        made.pts = made.dts = packet.pts
        made.duration = packet.duration
        made.time_base = packet.time_base
        made.stream = self.stream
        yield made

    def flush(self) -> Iterator[Packet]:
        yield from ()


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
    whole = own in _LOSSLESS or own.startswith("pcm_")
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
    if codec is None or context is None or context.codec.canonical_name not in _TEXTS:
        return None
    added = output.add_stream(codec)
    encoder = _text(added)
    encoder.time_base = Fraction(1, 1000)
    encoder.subtitle_header = _header(_text(stream))
    encoder.open()
    describe_as(added, stream)
    return ConvertedText(added, codec)


_TEXTS = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text"}


def _text(stream: Stream) -> SubtitleCodecContext:
    context = stream.codec_context
    assert isinstance(context, SubtitleCodecContext)
    return context


def _header(decoder: SubtitleCodecContext) -> bytes:
    """The styles that a decoder of text works with, which its encoder needs."""
    if not decoder.is_open:
        decoder.open()
    return bytes(decoder.subtitle_header or b"")


def _nearest(names: list[str], *, deep: bool) -> str:
    order = ("s32", "s32p", "fltp", "flt", "s16", "s16p")
    order = order if deep else ("fltp", "s16", "s16p", "flt", "s32", "s32p")
    return next((name for name in order if name in names), names[0])
