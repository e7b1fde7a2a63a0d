"""Opening video files: what is in them, and which of it is the video to restore."""

import logging
import os
import re
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import av.container
import av.error
from av.codec.hwaccel import HWAccel

from stream.errors import NoInputError, SourceError
from stream.frame import Packet
from stream.input.container.ending import whole_boxes
from stream.limits import DEFAULT_MAX_PIXELS
from stream.media.formats import NAMED_ALONE
from stream.media.remux import is_cover
from stream.paths import check_input

_log = logging.getLogger(__name__)


TEXTS = {"webvtt", "ffmetadata", "tty"}
"""Formats that any text can be taken for."""

_KINDS = (
    (rb"\s*#EXTM3U", "a playlist, not a video"),
    (rb"\s*ffconcat|\s*file\s", "a list of other files, not a video"),
    (rb"v=0\s", "a description of a stream (SDP), not a video"),
    (rb"# VobSub index", "an index of subtitles, not a video"),
    (rb"MLVI", "Magic Lantern raw video, which can go on in other files and is not read"),
    (rb"(?is)\s*(<\?xml.{0,500})?<MPD", "a playlist (DASH), not a video"),
    (rb"(?i)\s*<(!doctype html|html)", "a web page, not a video; the download went wrong"),
    (
        rb"(?s)RIFF.{4}WEBP.*ANIM",
        "an animated WebP; convert it to a video first",
    ),
    (rb"%PDF-", "a PDF document, not a video"),
    (
        rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|\xfd7zXZ|BZh|\x28\xb5\x2f\xfd",
        "an archive; unpack it first",
    ),
)
"""What else than a video is known by how it begins."""

_GROUP = 600
"""Packets from a key frame on that are held, at most."""

_PEEKED = 9
"""Frames looked at beforehand, to tell how fast they follow and whether they are interlaced."""


_ANNOUNCED_LATE = (b"FLV", b"\0\0\1\xba")
"""How FLV and MPEG-PS begin. Their headers name no streams, and of those that come later FFmpeg
decodes while it looks what is there whatever their size."""


def open_input(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a local file for reading, and no other one, its videos to be decoded by `hwaccel` where
    it can. Larger frames than `max_pixels` are not decoded.

    Raises `NoInputError` or `SourceError`.
    """
    file = Path(path)
    check_input(file)
    try:
        with file.open("rb") as opened:
            begins = opened.read(1024)
    except OSError as error:
        raise NoInputError(f"cannot read {file}: {error.strerror}") from error
    if not begins:
        raise SourceError(f"{file} is empty")
    # FFmpeg decodes while it looks what is there, and a picture of a few kB can fill all memory.
    options = NAMED_ALONE | {"max_pixels": str(max_pixels)}

    def again(part: str = "", **more: str) -> av.container.InputContainer:
        # As an absolute path behind file:, so that no name is taken for a protocol.
        name, given = f"{part}file:{file.absolute()}", options | more
        return av.open(name, options=given, metadata_errors="replace", hwaccel=hwaccel)

    part: dict[str, str] = {}
    try:
        if begins.startswith(_ANNOUNCED_LATE):
            with again(codec_whitelist="none") as untouched:
                _check_sizes(untouched, file, max_pixels)
        try:
            container = again()
        except av.error.InvalidDataError:
            # One cut fragment at the end of an MP4 keeps FFmpeg from opening all of it.
            with file.open("rb") as content:
                fragmented, end = whole_boxes(content)
            if not fragmented:
                raise
            part = {"part": f"subfile,,start,0,end,{end},,:", "protocol_whitelist": "file,subfile"}
            container = again(**part)
        if any(each.codec_context and not each.width for each in container.streams.video):
            with again(codec_whitelist="none", **part) as untouched:
                _check_sizes(untouched, file, max_pixels)
    except av.error.FFmpegError as error:
        if kind := kind_of(begins):
            raise SourceError(f"{file} is {kind}") from error
        raise SourceError(
            f"{file} is not a video that can be read ({error.strerror}); "
            "is it complete, and a video at all?"
        ) from error
    if set(container.format.name.split(",")) & TEXTS:
        container.close()
        raise SourceError(f"{file} is {kind_of(begins) or 'a text file, not a video'}")
    _log.debug("reading %s as %s", file.name, container.format.name)
    return container


def _check_sizes(container: av.container.InputContainer, file: Path, max_pixels: int) -> None:
    """Refuse videos too large to be looked at; `container` is opened without decoders."""
    left = {each.index for each in container.streams.video if each.codec_context}
    for video in container.streams.video:
        _check_size(video, file, max_pixels)
    for packet in container.demux(video=tuple(range(len(container.streams.video)))):
        if packet.stream_index not in left:
            continue
        left.remove(packet.stream_index)
        assert isinstance(packet.stream, av.VideoStream)
        packet.stream.codec_context.options = {"max_pixels": str(max_pixels)}
        packet.stream.thread_type = "NONE"  # other threads say later what is wrong
        try:
            packet.decode()
        except av.error.ArgumentError as error:
            raise SourceError(
                f"a picture in {file} is damaged or larger than {max_pixels} pixels; "
                "allow larger ones with --max-pixels"
            ) from error
        except av.error.FFmpegError:
            continue
        if not left:
            return


def _check_size(video: av.VideoStream, file: Path, max_pixels: int) -> None:
    if video.codec_context and video.width * video.height > max_pixels:
        raise SourceError(
            f"{file} claims frames of {video.width}x{video.height}, more than "
            f"{max_pixels} pixels; allow them with --max-pixels {video.width * video.height}"
        )


def kind_of(begins: bytes) -> str | None:
    """What a file is that begins so, if it is known to be something else than a video."""
    return next((kind for pattern, kind in _KINDS if re.match(pattern, begins)), None)


def main_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """The video stream to restore: the default one, else the first; never cover art."""
    moving = [stream for stream in container.streams.video if not is_cover(stream)]
    best = container.streams.best("video")
    return best if isinstance(best, av.VideoStream) and best in moving else next(iter(moving), None)


def choose_video(
    container: av.container.InputContainer, path: Path, max_pixels: int
) -> av.VideoStream:
    """The video stream to restore, ready to be decoded. Raises a `SourceError`."""
    video = main_video(container)
    if video is None:
        words = {"audio": "sound", "video": "cover art", "subtitle": "subtitles"}
        kinds = sorted({words.get(stream.type, stream.type) for stream in container.streams})
        raise SourceError(f"{path} has no video stream, only {' and '.join(kinds) or 'nothing'}")
    if video.codec_context is None:
        raise SourceError(f"there is no decoder for the video in {path}")
    _check_size(video, path, max_pixels)
    # Frames can be larger than the header says.
    video.codec_context.options = {"max_pixels": str(max_pixels)}
    video.thread_type = threads_of(container)
    if video.codec_context.is_hwaccel:
        # Each thread needs another surface, of which NVDEC has 32 at most.
        video.codec_context.thread_count = 1
    return video


def decoder_of(video: av.VideoStream) -> av.VideoCodecContext:
    """What decodes a stream that `choose_video` gave: its own decoder, unless that does not know
    where transparency is (VP8 and VP9 have it beside their packets)."""
    own = video.codec_context
    name = _SEES_ALPHA.get(own.codec.canonical_name)
    if name is None or video.metadata.get("alpha_mode") != "1":
        return own
    context = av.CodecContext.create(name, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.extradata = own.extradata
    context.options = own.options
    context.thread_type = "AUTO"
    return context


_SEES_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def first_frames(
    container: av.container.InputContainer, video: av.VideoStream, path: Path
) -> list[av.VideoFrame]:
    """The first frames that decode, at least one. Raises a `SourceError`."""
    encrypted = False
    found: list[av.VideoFrame] = []
    decoder = decoder_of(video)
    try:
        for packet in container.demux(video):
            encrypted = encrypted or packet.has_sidedata("encryption_info")
            if encrypted or len(found) >= _PEEKED:
                break
            found += frames_of(packet, decoder)
    except (av.error.FFmpegError, IndexError) as error:
        # PyAV raises IndexError at the end of a TS in which a stream appears on the way.
        _log.debug("reading ended early: %s", error)
    if found and not encrypted:
        return found
    raise no_frame(path, encrypted=encrypted)


def no_frame(path: Path, *, encrypted: bool = False) -> SourceError:
    """That no frame of a file decodes."""
    with path.open("rb") as opened:
        kind = kind_of(opened.read(1024))
    if kind and not encrypted:
        return SourceError(f"{path} is {kind}")
    hint = "it is encrypted" if encrypted else "it is damaged, truncated or encrypted"
    return SourceError(f"no frame of {path} can be decoded; {hint}")


def frames_of(packet: Packet, decoder: av.VideoCodecContext) -> list[av.VideoFrame]:
    """What a packet decodes to; nothing where it is damaged."""
    try:
        decoded = decoder.decode(packet if packet.size else None)
    except av.error.FFmpegError:
        return []
    return [frame for frame in decoded if frame.width and frame.height]


def threads_of(container: av.container.InputContainer) -> Literal["AUTO", "SLICE"]:
    """How the video is to be decoded by several threads."""
    # With a frame for each, those behind a damaged one are lost at the end. `Tail` finds them by
    # their times, of which AVI has none.
    return "SLICE" if container.format.name == "avi" else "AUTO"


class Tail:
    """The last packets of a video, to find frames that a decoder with many threads kept.

    At the end it gives none behind the first packet that does not decode, as the last one of a
    file that was cut.
    """

    def __init__(self) -> None:
        self._packets: list[Packet] = []
        self._shown: set[int | None] = set()

    def push(self, packet: Packet) -> None:
        """Note a packet before it is decoded."""
        if not packet.size:
            return
        if packet.is_keyframe or len(self._packets) >= _GROUP:
            self._packets = []
            self._shown.clear()
        self._packets.append(packet)

    def came(self, frame: av.VideoFrame) -> None:
        """Note a frame that came out."""
        self._shown.add(frame.pts)

    def kept(self, path: Path, index: int, max_pixels: int) -> list[av.VideoFrame]:
        """The frames of the last packets that did not come out; asked for at the very end."""
        wanted = {packet.pts for packet in self._packets if not packet.is_discard} - self._shown
        if not wanted - {None}:
            return []
        frames: list[av.VideoFrame] = []
        with open_input(path, max_pixels=max_pixels) as container:
            video = container.streams[index]
            assert isinstance(video, av.VideoStream)
            video.codec_context.options = {"max_pixels": str(max_pixels)}
            context = decoder_of(video)
            context.thread_count = 1
            for packet in (*self._packets, None):
                with suppress(av.error.FFmpegError):
                    frames += context.decode(packet)
        latest = max((pts for pts in self._shown if pts is not None), default=None)
        return [
            frame
            for frame in frames
            if frame.pts is not None
            and frame.pts in wanted
            and (latest is None or frame.pts > latest)
            and frame.width * frame.height
        ]


def disordered(frames: list[av.VideoFrame], *, avi: bool) -> bool:
    """Whether only the decoding times are in order.

    AVI has no others; FFmpeg guesses when its frames are shown, and guesses wrong later on if not
    at once.
    """
    shown = [frame.pts for frame in frames if frame.pts is not None]
    decoded = [frame.dts for frame in frames if frame.dts is not None]
    return _rises(decoded) and len(decoded) == len(frames) and (avi or not _rises(shown))


def _rises(times: list[int]) -> bool:
    return all(a < b for a, b in pairwise(times))
