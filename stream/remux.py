"""Streams that pass through untouched, and everything that is said about streams and file."""

import av
import av.container
import av.error
from av.stream import Disposition

_OF_THE_CONTAINER = {"encoder", "major_brand", "minor_version", "compatible_brands"}
"""Tags that describe how the old file was written, not what is in it."""


def copy_stream(
    stream: av.stream.Stream, output: av.container.OutputContainer, dropped: list[str]
) -> av.stream.Stream | None:
    """Add a stream like `stream` to `output`, or name it in `dropped` and return None."""
    if stream.type == "attachment":
        return _attach(stream, output, dropped)
    context = stream.codec_context
    if stream.type not in ("video", "audio", "subtitle") or context is None:
        # The titles of chapters are such a stream; chapters travel as chapters.
        chapters = stream.container.chapters() and "timecode" not in stream.metadata
        if not (chapters and stream.type == "data" and title(stream) in ("", "SubtitleHandler")):
            dropped.append(describe(stream))
        return None
    codec = context.codec.canonical_name
    if not holds(output, codec):
        dropped.append(describe(stream))
        return None
    try:
        added = output.add_stream_from_template(stream)
    except (ValueError, av.error.FFmpegError):
        dropped.append(describe(stream))
        return None
    added.metadata.update({k: v for k, v in stream.metadata.items() if k != "encoder"})
    added.disposition = stream.disposition
    return added


def carry_tags(source: av.container.InputContainer, output: av.container.OutputContainer) -> None:
    """Carry the file's own tags and its chapters."""
    output.metadata.update(
        {key: value for key, value in source.metadata.items() if key not in _OF_THE_CONTAINER}
    )
    if chapters := source.chapters():
        output.set_chapters(chapters)


def describe(stream: av.stream.Stream) -> str:
    """A stream in words: kind, index, codec, language and title."""
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else ""
    cover = "cover art" if is_cover(stream) else stream.type
    facts = [codec, stream.metadata.get("language", ""), title(stream)]
    said = ", ".join(fact for fact in facts if fact and fact != "und")
    return f"{cover} stream {stream.index}" + (f" ({said})" if said else "")


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a video stream is a picture that stands for the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def title(stream: av.stream.Stream) -> str:
    title = stream.metadata.get("title") or stream.metadata.get("handler_name") or ""
    return title.strip()


def holds(output: av.container.OutputContainer, codec: str) -> bool:
    """Whether a container can hold a codec, by FFmpeg's canonical name of it."""
    if "matroska" in output.format.name:
        return codec not in ("mov_text", "eia_608", "dvb_teletext")
    if output.format.name == "mpegts":
        # FFmpeg has no list for it; these are what players of it know.
        return codec in _MPEGTS
    if output.format.name == "mp4" and codec in ("ffv1", "vp8"):
        return False  # FFmpeg writes it and nothing plays it
    return codec in output.supported_codecs


_MPEGTS = {
    *("h264", "hevc", "mpeg2video", "mpeg4", "aac", "ac3", "eac3", "mp2", "mp3", "opus", "dts"),
    *("dvb_subtitle", "dvb_teletext"),
}


def _attach(
    stream: av.stream.Stream, output: av.container.OutputContainer, dropped: list[str]
) -> av.stream.Stream | None:
    name = stream.metadata.get("filename")
    data = getattr(stream, "data", None)
    if "matroska" not in output.format.name or not name or not data:
        dropped.append(describe(stream))
        return None
    mime = stream.metadata.get("mimetype", "application/octet-stream")
    added = output.add_attachment(name, mime, bytes(data))
    added.metadata.update(stream.metadata)
    return None
