"""What the program sees in a file."""

import os
from fractions import Fraction
from typing import Any

import av
from av.stream import Disposition, Stream

from stream.input.source import Source
from stream.limits import DEFAULT_MAX_PIXELS
from stream.media.remux import title
from stream.options.reading import Reading
from stream.telemetry.read import read_telemetry
from stream.telemetry.record import Telemetry


def probe(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> dict[str, Any]:
    """Facts about a video file, ready for JSON. Raises a `SourceError`."""
    source = Source(path, Reading(max_pixels=max_pixels))
    try:
        container = source.container
        telemetry = telemetry_of(source)
        return {
            "file": str(source.path),
            "container": container.format.long_name or container.format.name,
            "duration_s": container.duration / av.time_base if container.duration else None,
            "start_s": source.origin_s,
            "chapters": len(container.chapters()),
            "tags": dict(container.metadata),
            "telemetry": telemetry.facts() if telemetry is not None else {},
            "streams": [_stream(stream, source) for stream in container.streams],
        }
    finally:
        source.close()


def telemetry_of(source: Source) -> Telemetry | None:
    """What the camera noted beside the pictures of a video, with what of it cannot be used."""
    begin, video = source.origin_s, source.video
    end = None
    if video.duration and video.time_base:
        end = begin + float(video.duration * video.time_base)
    return read_telemetry(source.path, source.container, begin=begin, end=end)


def _stream(stream: Stream, source: Source) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {
        "index": stream.index,
        "type": stream.type,
        "codec": context.codec.canonical_name if context is not None else None,
        "language": stream.metadata.get("language"),
        "title": title(stream) or None,
        "disposition": [flag.name for flag in Disposition if flag in stream.disposition],
    }
    if isinstance(context, av.AudioCodecContext):
        facts |= {"sample_rate": context.sample_rate, "channels": context.channels}
    if isinstance(context, av.VideoCodecContext):
        facts |= {"size": f"{context.width}x{context.height}", "pixel_format": context.pix_fmt}
    if stream.index == source.video.index:
        facts |= _restored(source)
    return facts


def _restored(source: Source) -> dict[str, Any]:
    """What only the stream that is restored, and decoded for this, tells."""
    first, video = source.info.first, source.video
    coding = source.coding
    return {
        "restored": True,
        "size": f"{first.width}x{first.height}",
        "pixel_format": first.format.name,
        "bits": coding.depth,
        "frames": video.frames or None,
        "frame_rate": _fraction(source.rate),
        "time_base": _fraction(source.time_base),
        "pixel_aspect": _fraction(video.sample_aspect_ratio),
        "rotation": first.rotation,
        "matrix": coding.matrix,
        "range": "full" if coding.full_range else "limited",
        "tagged": {
            "matrix": source.info.tags.matrix,
            "primaries": source.info.tags.primaries,
            "transfer": source.info.tags.transfer,
            "range": source.info.tags.range,
        },
        "interlaced": source.info.interlaced,
    }


def _fraction(value: Fraction | None) -> str | None:
    return f"{value.numerator}/{value.denominator}" if value else None
