"""Opening video files: what is in them, and which of it is the video to restore."""

import logging
import os
from itertools import pairwise
from pathlib import Path

import av
import av.container
import av.error
from av.codec.hwaccel import HWAccel

from stream.errors import NoInputError, SourceError
from stream.frame import Packet
from stream.remux import is_cover

_log = logging.getLogger(__name__)

DEFAULT_MAX_PIXELS = 8192 * 4352
"""Larger frames are refused: a small file can claim a picture that fills all memory."""

_PLAYLISTS = {"hls", "concat", "dash", "sdp", "concatf", "webvtt", "ffmetadata", "tty"}
"""Text formats; the first ones would make FFmpeg open other files and addresses."""

_PEEKED = 9
"""Frames looked at beforehand, to tell how fast they follow and whether they are interlaced."""


def open_input(
    path: str | os.PathLike[str], *, hwaccel: HWAccel | None = None
) -> av.container.InputContainer:
    """Open a local file for reading, its videos to be decoded by `hwaccel` where it can.

    Raises `NoInputError` or `SourceError`.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            if not opened.read(1):
                raise SourceError(f"{file} is empty")
    except FileNotFoundError:
        raise NoInputError(f"{file} does not exist") from None
    except IsADirectoryError:
        raise NoInputError(f"{file} is a folder, not a video file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NoInputError(f"cannot read {file}: {reason}") from error
    try:
        # As an absolute path behind file:, so that no name is taken for a protocol, and with the
        # protocols of local files alone, so that no content makes FFmpeg go elsewhere.
        container = av.open(
            f"file:{file.absolute()}",
            options={"protocol_whitelist": "file,crypto,data"},
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{file} is not a video that can be read ({error.strerror}); "
            "is it complete, and a video at all?"
        ) from error
    if set(container.format.name.split(",")) & _PLAYLISTS:
        container.close()
        raise SourceError(f"{file} is a text or playlist file, not a video")
    return container


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
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise SourceError(f"{path} has no video stream, only {kinds or 'nothing'}")
    if video.codec_context is None:
        raise SourceError(f"there is no decoder for the video in {path}")
    if video.width * video.height > max_pixels:
        raise SourceError(
            f"{path} claims frames of {video.width}x{video.height}, more than "
            f"{max_pixels} pixels; allow them with --max-pixels {video.width * video.height}"
        )
    # Frames can be larger than the header says.
    video.codec_context.options = {"max_pixels": str(max_pixels)}
    video.thread_type = "AUTO"
    if video.codec_context.is_hwaccel:
        # Each thread needs another surface, of which NVDEC has 32 at most.
        video.codec_context.thread_count = 1
    return video


def first_frames(
    container: av.container.InputContainer, video: av.VideoStream, path: Path
) -> list[av.VideoFrame]:
    """The first frames that decode, at least one. Raises a `SourceError`."""
    encrypted = False
    found: list[av.VideoFrame] = []
    try:
        for packet in container.demux(video):
            encrypted = encrypted or packet.has_sidedata("encryption_info")
            if encrypted or len(found) >= _PEEKED:
                break
            found += frames_of(packet)
    except (av.error.FFmpegError, IndexError) as error:
        # PyAV raises IndexError at the end of a TS in which a stream appears on the way.
        _log.debug("reading ended early: %s", error)
    if found and not encrypted:
        return found
    hint = "it is encrypted" if encrypted else "it is damaged, truncated or encrypted"
    raise SourceError(f"no frame of {path} can be decoded; {hint}")


def frames_of(packet: Packet) -> list[av.VideoFrame]:
    """What a packet decodes to; nothing where it is damaged."""
    try:
        decoded = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except av.error.FFmpegError:
        return []
    return [frame for frame in decoded if frame.width and frame.height]


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
