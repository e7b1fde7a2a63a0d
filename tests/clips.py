"""Short clips with one peculiarity each, and what to compare of two clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from stream.media.encoders import ordinary_scheduling


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a moving pattern with edges, color and gradients."""
    y, x = np.mgrid[0:height, 0:width]
    red = 127 + 100 * np.sin((x + 3 * index) / 9)
    green = 255 * ((x // 8 + y // 8 + index) % 2) * 0.6 + 40
    blue = 255 * y / max(height - 1, 1)
    return np.asarray(np.clip(np.stack([red, green, blue], axis=2), 0, 255), np.uint8)


def make_clip(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    time_base: Fraction = Fraction(1, 25),
    pts: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
    audio: Sequence[str] = (),
    rotation: int = 0,
    aspect: Fraction | None = None,
    chapters: bool = False,
    subtitles: bool = False,
    metadata: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write a clip; `tags` are matrix, primaries, transfer and range, `audio` languages."""
    width, height = size
    with av.open(str(path), "w", format=container, options=mux or {}) as output:
        rate = 1 / time_base if time_base >= Fraction(1, 240) else Fraction(25)
        video = output.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        context = video.codec_context
        context.time_base = time_base
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        video.metadata["language"] = "fin"
        if codec == "libsvtav1":
            with ordinary_scheduling():
                context.open()
        sounds = []
        for language in audio:
            sound = output.add_stream("aac", rate=48000)
            assert isinstance(sound, av.AudioStream)
            sound.metadata["language"] = language
            sound.metadata["title"] = f"sound {language}"
            sounds.append(sound)
        words = _words(path, output) if subtitles else []
        output.metadata.update(metadata or {})
        if chapters:
            output.set_chapters(_CHAPTERS)  # type: ignore[arg-type]
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            frame = frame.reformat(format=pix_fmt, threads=1)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = time_base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        output.mux(words)
        for number, sound in enumerate(sounds):
            _tone(output, sound, seconds=0.5, pitch=220 * (number + 1))
    return path


_CHAPTERS: list[dict[str, Any]] = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
    {
        "id": 2,
        "start": 200,
        "end": 480,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": "two"},
    },
]


def _words(path: Path, output: av.container.OutputContainer) -> list[Any]:
    """Packets of a subtitle stream added to a Matroska file."""
    text = path.with_suffix(".srt")
    text.write_text("1\n00:00:00,100 --> 00:00:00,300\nHej\n\n")
    with av.open(str(text)) as spoken:
        stream = output.add_stream_from_template(spoken.streams[0])
        stream.metadata["language"] = "swe"
        packets = [packet for packet in spoken.demux() if packet.size]
    for packet in packets:
        packet.stream = stream
    return packets


def _tone(
    output: av.container.OutputContainer, stream: av.AudioStream, *, seconds: float, pitch: float
) -> None:
    total = int(48000 * seconds)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(total) / 48000)
    stereo = np.stack([wave, wave]).astype(np.float32)
    for start in range(0, total, 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(stereo[:, start : start + 1024]), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@dataclass(frozen=True)
class Seen:
    """What a player would see of a clip."""

    timestamps: list[Fraction]
    """When each frame is shown, in seconds."""
    pictures: list[NDArray[Any]]
    """Luma of each frame."""
    format: tuple[Any, ...]
    """Pixel format, size, tags (matrix, primaries, transfer, range) and rotation."""
    aspect: Fraction | None
    packets: list[list[tuple[Fraction, bytes]]]
    """Moment and content of every packet of each audio stream."""
    streams: list[tuple[str, str | None, str | None]]
    """Type, language and title."""
    chapters: list[tuple[Fraction, str]]
    metadata: dict[str, str]


def look(path: Path) -> Seen:
    """Decode a clip as a player would."""
    with av.open(str(path)) as container:
        video = next(stream for stream in container.streams.video)
        base = Fraction(video.time_base or 1)
        timestamps: list[Fraction] = []
        pictures: list[NDArray[Any]] = []
        form: tuple[Any, ...] = ()
        for frame in container.decode(video):
            timestamps.append((frame.pts or 0) * base)
            pictures.append(_luma(frame))
            form = (
                frame.format.name,
                (frame.width, frame.height),
                tuple(int(t) for t in (frame.colorspace, frame.color_primaries, frame.color_trc)),
                int(frame.color_range),
                frame.rotation,
            )
        return Seen(
            timestamps=timestamps,
            pictures=pictures,
            format=form,
            aspect=video.sample_aspect_ratio,
            packets=[_packets(path, stream.index) for stream in container.streams.audio],
            streams=[
                (s.type, s.metadata.get("language"), s.metadata.get("title"))
                for s in container.streams
            ],
            chapters=[
                (c["start"] * Fraction(c["time_base"] or 1), c["metadata"].get("title", ""))
                for c in container.chapters()
            ],
            metadata=dict(container.metadata),
        )


def _packets(path: Path, index: int) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            ((packet.pts or 0) * Fraction(packet.time_base or 1), bytes(packet))
            for packet in container.demux(container.streams[index])
            if packet.size
        ]


def _luma(frame: av.VideoFrame) -> NDArray[Any]:
    plane = frame.planes[0]
    wide = frame.format.components[0].bits > 8
    rows = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
    return rows.reshape(plane.height, -1)[:, : plane.width].copy()
