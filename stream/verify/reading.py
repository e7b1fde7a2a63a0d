"""What is in a video file, read in one pass, to compare it with another one.

It shares nothing of how `Source` takes timestamps, so that a mistake there is seen; only a clock
that jumps, which `Clock` tells by itself, is put right by the same `Timeline`.
"""

import os
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import av.container
import av.error
from av.sidedata.sidedata import Type
from av.stream import Disposition, Stream
from av.video.reformatter import VideoReformatter

from stream.errors import SourceError
from stream.input.container.demux import Reader, discontinuous
from stream.input.container.ending import early_end
from stream.input.container.opening import (
    Tail,
    decoder_of,
    main_video,
    no_frame,
    open_input,
    threads_of,
)
from stream.input.container.timeline import Timeline
from stream.limits import DEFAULT_MAX_PIXELS
from stream.media.convert import has_alpha
from stream.media.remux import describe, is_cover
from stream.media.side_data import side_data
from stream.verify.clock import Clock, ClockJumpsError
from stream.verify.facts import UPRIGHT, Chapter, Facts, Picture, Track, Turn
from stream.verify.gather import Frames, Packets
from stream.verify.seen import seen
from stream.verify.timestamps import Timestamps


@dataclass(frozen=True)
class Known:
    """What is known of a file's frames before it is read."""

    timestamps: Sequence[Fraction | None] | None = None
    """Their times."""
    beside: Collection[str] = ()
    """What some of them have beside the picture: names of `MOVING`."""
    transparent: bool = False
    """Whether one of them is, somewhere."""


def facts(
    path: str | os.PathLike[str],
    *,
    decode: bool = True,
    known: Known | None = None,
    nth: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    check: Callable[[], None] = lambda: None,
) -> Facts:
    """Read a file. Raises a `SourceError`, also where no frame of it can be decoded.

    Without `decode` the frames' times are those of their packets, which is right for files
    without B-frames, and only frames at the start and the end are decoded. `nth` chooses
    among several moving pictures. `check` is called for every packet, and may raise an error to
    end it.

    In a file whose clock jumps all times are on one clock, without the jumps.
    """
    read = partial(_facts, Path(path), decode, known or Known(), nth, max_pixels, check)
    try:
        return read(clock=Clock())
    except ClockJumpsError:
        return read(clock=None)


def _facts(
    path: Path,
    decode: bool,
    known: Known,
    nth: int | None,
    max_pixels: int,
    check: Callable[[], None],
    *,
    clock: Clock | None,
) -> Facts:
    """Read a file whose clock is watched, or known to jump."""
    with open_input(path, max_pixels=max_pixels) as container:
        moving = [each for each in container.streams.video if not is_cover(each)]
        video = _chosen(container, path, moving, nth)
        video.codec_context.options = {"max_pixels": str(max_pixels)}
        video.thread_type = threads_of(container)
        packets = {s.index: Packets(s, content=s is not video) for s in container.streams}
        every = decode and known.timestamps is None
        edited = "mov" in container.format.name.split(",")
        kept = partial(Tail.kept, path=path, index=video.index, max_pixels=max_pixels)
        ending = known.timestamps is None
        frames = Frames(decoder_of(video), every=every, ending=ending, kept=kept, edited=edited)
        frames.side.moving |= {*known.beside}
        reader = _read(container, video, packets, frames, clock, check)
        if (first := frames.first) is None:
            raise no_frame(path)
        tracks = [_track(stream, packets[stream.index]) for stream in container.streams]
        own = next(track for track in tracks if track.index == video.index)
        decoded = packets[video.index].decoded if container.format.name == "asf" else None
        shown = _shown(known, own, frames if decode else None, decoded)
        early = None
        if clock is not None:
            harmed = every and bool(frames.damaged)
            early = early_end(
                *(container, path, _ends(tracks, own if harmed else None, shown), video.index),
                frame_s=float(shown.step * shown.base),
                missing=reader.missing_at_end,
                damaged=bool(frames.damaged),
            )
        failure = f"{reader.unread} packets cannot be read" if reader.unread else ""
        others, nth = [each for each in tracks if each is not own], moving.index(video)
        return Facts(
            path=path,
            kind=_kind(container, path),
            origin=Fraction(container.start_time or 0, av.time_base),
            duration=Fraction(container.duration, av.time_base) if container.duration else None,
            tags={key.lower(): text for key, text in container.metadata.items()},
            chapters=tuple(_chapters(container)),
            picture=_picture(video, own, nth, shown, frames, first, transparent=known.transparent),
            tracks=tuple(each for each in others if not _names_chapters(each, container)),
            failure=str(early) if early is not None else failure,
            early=early is not None,
            jumps=clock is None,
        )


def _chosen(
    container: av.container.InputContainer,
    path: Path,
    moving: Sequence[av.VideoStream],
    nth: int | None,
) -> av.VideoStream:
    chosen = nth is not None and nth < len(moving)
    video = moving[nth or 0] if chosen else main_video(container)
    if video is None:
        raise SourceError(f"{path} has no video stream")
    if video.codec_context is None:
        raise SourceError(f"there is no decoder for the video in {path}")
    return video


def _ends(tracks: Sequence[Track], harmed: Track | None, shown: Timestamps) -> dict[int, float]:
    """When streams end; a `harmed` video by its frames, as packets that do not decode are of no
    use."""
    ends = {track.index: float(track.end) for track in tracks if track.end is not None}
    if harmed is not None and shown.last is not None:
        ends[harmed.index] = float(shown.last + shown.step * shown.base)
    return ends


def _shown(
    known: Known, track: Track, frames: Frames | None, decoded: Collection[int] | None
) -> Timestamps:
    """When frames are shown: as it is known, or as `frames` that were decoded are, or as their
    packets say; in ASF, where these are in disorder, when they are `decoded`."""
    base = track.timestamps.base
    if known.timestamps is not None:
        shown = Timestamps.of(known.timestamps)
    elif frames is not None:
        shown = Timestamps(frames.ticks, base)
    else:
        shown = Timestamps(sorted(track.timestamps.known), base)
    if decoded is not None and not shown.orderly:
        # It has no other times, and FFmpeg guesses them wrong at the end.
        return Timestamps(sorted(decoded), base)
    return shown


def _read(
    container: av.container.InputContainer,
    video: av.VideoStream,
    packets: Mapping[int, Packets],
    frames: Frames,
    clock: Clock | None,
    check: Callable[[], None],
) -> Reader:
    """Go through the file once."""
    may_leap = discontinuous(container)
    reader = Reader(container, list(container.streams))
    demuxed = iter(reader)
    if clock is None:
        flowing = [s.index for s in container.streams if s.type in ("video", "audio")]
        demuxed = Timeline(discontinuous=may_leap, flowing=flowing).placed(demuxed)
    for packet in demuxed:
        check()
        # Streams may begin in the middle of a file, and then are not among those opened.
        if packet.size and packet.stream_index in packets:
            if clock is not None and packet.stream.type in ("video", "audio"):
                clock.check(packet, may_leap=may_leap)
            packets[packet.stream_index].push(packet)
            if packet.stream_index == video.index:
                if frames.first is None and packet.has_sidedata("encryption_info"):
                    raise SourceError(f"{container.name.rpartition('file:')[2]} is encrypted")
                frames.push(packet)
    frames.flush()
    return reader


def _track(stream: Stream, packets: Packets) -> Track:
    kind = "cover" if is_cover(stream) else str(stream.type)
    if kind == "attachment":
        packets.attach(bytes(getattr(stream, "data", b"")))
    context = stream.codec_context
    sound = context if isinstance(context, av.AudioCodecContext) else None
    seen = context if isinstance(context, av.VideoCodecContext) else None
    tags = {key.lower(): text for key, text in stream.metadata.items()}
    return Track(
        index=stream.index,
        kind="data" if kind == "unknown" else kind,
        codec=packets.codec or ("" if kind == "attachment" else getattr(stream, "name", "") or ""),
        name=describe(stream),
        title=_title(tags),
        tags=tags,
        disposition=frozenset(str(f.name) for f in Disposition if f in stream.disposition),
        rate=sound.sample_rate if sound is not None else 0,
        channels=sound.channels if sound is not None else 0,
        layout=sound.layout.name if sound is not None else "",
        size=(seen.width, seen.height) if seen is not None else (0, 0),
        annexb=packets.annexb,
        timestamps=Timestamps(packets.ticks, Fraction(stream.time_base or Fraction(1, 90000))),
        durations=packets.durations,
        digests=packets.digests,
        texts=packets.texts,
        bytes=packets.bytes,
        whole=packets.whole,
        hidden=packets.hidden,
        undecoded=packets.undecoded,
        promised=_speaks_of(stream),
        skipped=packets.skipped,
    )


def _speaks_of(stream: Stream) -> bool:
    """Whether a file says that there are packets of picture or sound."""
    if stream.type not in ("video", "audio"):
        return False
    exact = {"mov", "avi"} & {*stream.container.format.name.split(",")}
    return bool(getattr(stream, "frames", 0) or (exact and stream.duration))


def _title(tags: Mapping[str, str]) -> str:
    """What a stream is called; MP4 has three places for it, Matroska one."""
    said = (tags.get(key, "").strip() for key in ("title", "name", "handler_name"))
    return next((each for each in said if each), "")


def _picture(
    video: av.VideoStream,
    track: Track,
    nth: int,
    timestamps: Timestamps,
    frames: Frames,
    first: av.VideoFrame,
    *,
    transparent: bool,
) -> Picture:
    pixels = first.format
    matrix = side_data(first).get(Type.DISPLAYMATRIX)
    gray = len(pixels.components) <= 2 and not pixels.has_palette
    full = pixels.name.startswith("yuvj")
    return Picture(
        track=track,
        nth=nth,
        timestamps=timestamps,
        damaged=frames.damaged,
        resized=frames.resized,
        width=first.width,
        height=first.height,
        aspect=Fraction(video.sample_aspect_ratio or 1),
        turn=_turn(matrix) if matrix is not None else UPRIGHT,
        format=pixels.name,
        bits=max((component.bits for component in pixels.components), default=8),
        chroma=(0, 0) if gray else (pixels.chroma_width(16), pixels.chroma_height(16)),
        rgb=pixels.is_rgb or pixels.has_palette,
        transparent=transparent or frames.opacity < 1,
        alpha=has_alpha(pixels),
        seen=seen(first, VideoReformatter()),
        range=2 if full else int(first.color_range),
        matrix=int(first.colorspace),
        primaries=int(first.color_primaries),
        transfer=int(first.color_trc),
        rate=Fraction(video.average_rate) if video.average_rate else None,
        interlaced=2 * frames.interlaced > len(frames.ticks),
        # As shown, not as coded: FFmpeg's orders 2 to 5 are TT, BB, TB and BT.
        top_first={2: True, 3: False, 4: False, 5: True}.get(video.codec_context.field_order),
        fixed=frames.side.fixed,
        moving=frozenset(frames.side.moving),
    )


def _turn(matrix: bytes) -> Turn:
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    largest = max(abs(each) for each in (a, b, c, d)) or 1
    return (a / largest, b / largest, c / largest, d / largest)


def _chapters(container: av.container.InputContainer) -> list[Chapter]:
    return [
        Chapter(
            start=each["start"] * Fraction(each["time_base"] or 1),
            end=each["end"] * Fraction(each["time_base"] or 1),
            title=each["metadata"].get("title", "").strip(),
        )
        for each in container.chapters()
    ]


def _names_chapters(track: Track, container: av.container.InputContainer) -> bool:
    """Whether a stream holds the titles of chapters, as in MP4; they are compared as chapters."""
    plain = track.title in ("", "SubtitleHandler") and "timecode" not in track.tags
    return track.kind == "data" and plain and bool(container.chapters())


def _kind(container: av.container.InputContainer, path: Path) -> str:
    names = container.format.name.split(",")
    if "mov" in names:
        return "mov" if container.metadata.get("major_brand", "").startswith("qt") else "mp4"
    if "matroska" in names:
        return "webm" if path.suffix.lower() == ".webm" else "matroska"
    return names[0]
