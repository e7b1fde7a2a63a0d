"""Files with sound, subtitles and other streams of every kind, put together from single ones."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

import mssnet
import stream

Cue = tuple[float, float, str]
"""A subtitle: from one second to another, and what it says."""

CUES: Sequence[Cue] = ((0.2, 0.6, "Hej"), (0.7, 0.95, "Ja,\ntack"))


@dataclass(frozen=True)
class Piece:
    """The first stream of a file, which becomes one of many."""

    file: Path
    said: Mapping[str, str] = field(default_factory=dict)
    """Tags that are added."""
    roles: Disposition | None = None


def together(
    path: Path,
    *pieces: Piece,
    attached: Mapping[str, bytes] | None = None,
    tags: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a file with a stream for each piece; the first one is the picture."""
    packets = []
    opened = [av.open(str(piece.file)) for piece in pieces]
    with av.open(str(path), "w", options=dict(options or {})) as output:
        for piece, source in zip(pieces, opened, strict=True):
            stream = source.streams[0]
            added = output.add_stream_from_template(stream, opaque=True)
            added.metadata.update({**stream.metadata, **piece.said})
            added.disposition = piece.roles or Disposition(0)
            for packet in source.demux(stream):
                if packet.size:
                    if packet.dts is None:
                        packet.pts = packet.dts = packet.pts or 0
                    packet.stream = added
                    packets.append(packet)
        for name, content in (attached or {}).items():
            output.add_attachment(name, "font/ttf", content)
        output.metadata.update(tags or {})
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            output.mux(packet)
    for source in opened:
        source.close()
    return path


def sound(
    path: Path,
    codec: str,
    *,
    seconds: float = 1.0,
    rate: int = 48000,
    layout: str = "stereo",
    depth: int = 16,
    start: float = 0.0,
) -> Path:
    """A file of one stream of sound: in each channel a tone that grows louder.

    `depth` is that of samples in what is lossless; more than 16 bits lie in 32.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        context = stream.codec_context
        context.bit_rate = 96_000 * av.AudioLayout(layout).nb_channels
        context.layout = layout
        known = [format.name for format in context.codec.audio_formats or ()]
        whole = ("s32", "s32p") if depth > 16 else ("s16", "s16p")
        context.format = next((name for name in whole if name in known), known[0])
        if codec in ("vorbis", "opus", "dca", "truehd"):
            context.options = {"strict": "-2"}
        context.time_base = Fraction(1, rate)
        resampler = av.AudioResampler(context.format, layout, rate)
        size = context.frame_size or 1024
        steps = 2 ** (depth - 1)
        wave = np.round(tone(seconds, rate, context.layout.nb_channels) * steps) / steps
        begin = round(start * rate)
        for first in range(0, wave.shape[1], size):
            block = np.ascontiguousarray(wave[:, first : first + size], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = begin + first
            for made in resampler.resample(frame):
                output.mux(stream.encode(made))
        output.mux(stream.encode(None))
    return path


def tone(seconds: float, rate: int, channels: int) -> Any:
    """(channels, samples) of float32: a tone of its own in each channel, ever louder."""
    timestamps = np.arange(round(seconds * rate)) / rate
    pitches = 220 * (1 + np.arange(channels)[:, None])
    return (0.5 * timestamps / seconds * np.sin(2 * np.pi * pitches * timestamps)).astype(
        np.float32
    )


def words(path: Path, cues: Sequence[Cue] = CUES) -> Path:
    """A file of one stream of text subtitles, of the kind that its ending says: srt, ass, vtt, mp4.

    The one of MP4 is mov_text.
    """
    if path.suffix == ".mp4":
        packets = []
        for start, end, text in cues:
            said = text.encode()
            packets.append((start, end, struct.pack(">H", len(said)) + said))
        return _packets(path, "mov_text", packets)
    if path.suffix == ".srt":
        lines = [
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
            for number, (start, end, text) in enumerate(cues, 1)
        ]
    elif path.suffix == ".vtt":
        lines = ["WEBVTT\n"]
        lines += [f"{_clock(s, '.')} --> {_clock(e, '.')}\n{text}\n" for s, e, text in cues]
    else:
        events = [
            f"Dialogue: 0,{_clock(start, '.')[1:-1]},{_clock(end, '.')[1:-1]},Default,,0,0,0,,"
            + text.replace("\n", "\\N")
            for start, end, text in cues
        ]
        lines = [ASS + "\n".join(events)]
    path.write_text("\n".join(lines))
    return path


ASS = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _clock(seconds: float, point: str) -> str:
    millis = round(seconds * 1000)
    minutes, rest = divmod(millis, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _packets(path: Path, codec: str, packets: Sequence[tuple[float, float, bytes]]) -> Path:
    """A file of one stream, of packets that are made already."""
    with av.open(str(path), "w") as output:
        stream: Any
        if codec in ("bin_data", "klv"):
            stream = output.add_data_stream(codec)
        elif codec == "mov_text":
            stream = output.add_stream(codec)
            stream.codec_context.subtitle_header = ASS.encode()
        else:
            stream = output.add_mux_stream(codec)
        for start, end, content in packets:
            packet: av.Packet[Any] = av.Packet(content)
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((end - start) * 1000)
            packet.stream = stream
            output.mux(packet)
    return path


def bitmaps(path: Path, codec: str) -> Path:
    """A file of one stream of subtitles that are pictures."""
    said = _BITMAPS[codec]
    return _packets(path, codec, [(0.2, 0.6, said), (0.7, 0.95, said)])


def data(path: Path) -> Path:
    """A file of one stream of data, such as action cameras' sensors."""
    said = [(n / 5, (n + 1) / 5, b"DEVC" + bytes([n])) for n in range(5)]
    return _packets(path, "bin_data", said)


def _dvb() -> bytes:
    def segment(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBHH", 0x0F, kind, 1, len(content)) + content

    # A page with nothing on it, and its end.
    return b"\x20\x00" + segment(0x10, bytes([2, 0x00])) + segment(0x80, b"") + b"\xff"


def _pgs() -> bytes:
    def segment(kind: int, content: bytes) -> bytes:
        return struct.pack(">BH", kind, len(content)) + content

    # A composition with nothing on it, and its end.
    shown = struct.pack(">HHBHBBBB", 64, 64, 0x10, 1, 0x80, 0, 0, 0)
    return segment(0x16, shown) + segment(0x80, b"")


def _dvd() -> bytes:
    # One line of two pixels, shown at once, by the commands behind it.
    lines = b"\x00\x00\x00\x00"
    commands = bytes([0x03, 0x32, 0x10, 0x04, 0xFF, 0xFF, 0x05, 0, 0, 1, 0, 0, 1])
    commands += bytes([0x06, 0, 4, 0, 6, 0x01, 0xFF])
    begin = 4 + len(lines)
    control = struct.pack(">HH", 0, begin) + commands
    return struct.pack(">HH", begin + len(control), begin) + lines + control


_BITMAPS = {"dvdsub": _dvd(), "pgssub": _pgs(), "dvbsub": _dvb()}


def carried(
    source: Path, output: Path, restore: mssnet.Deblurrer, drop: tuple[str, ...] = ()
) -> stream.Report:
    """Run a job that changes no picture."""
    settings = stream.Settings(strength=0, device="cpu", drop=drop)
    return stream.Job(source, output, settings).run(restore=restore)


def told(report: stream.Report) -> str:
    """The outcome of the comparison at the end of a run, in one line."""
    assert report.conformance is not None
    return report.conformance.summary
