"""The finished file: the restored segments, and everything else that the input carries."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import av
import av.container
import av.error
from av.sidedata.sidedata import Type
from av.stream import Stream

from stream.colors import ColorTags
from stream.errors import SinkError, WriteError
from stream.frame import Packet
from stream.input.source import Source
from stream.media.hdr import hdr_of
from stream.media.matroska import write_aspects
from stream.media.quicktime import write_languages
from stream.media.remux import (
    CopiedTrack,
    aspect_of,
    attach,
    attach_cover,
    chapters,
    copy_stream,
    describe,
    describe_as,
    is_chapter_track,
    is_cover,
    is_empty,
    is_timecode,
    own_keys,
    tags,
)
from stream.media.side_data import FIXED, side_data
from stream.media.transcode import ConvertedAudio, ConvertedText, convert_stream
from stream.output.checkpoint import Segment
from stream.output.segment_sink import CONTAINERS, Plan, add_encoder, open_output
from stream.paths import put_on_disk

_log = logging.getLogger(__name__)

Track = CopiedTrack | ConvertedAudio | ConvertedText

_MATROSKA = ("matroska", "webm")
_ATTACHED = "attachment"

_LONGEST = (1 << 31) - 1
"""Muxers refuse packets that last longer, in ticks."""

_JUMP = 10
"""How many times longer than usual a frame is that is followed by a jump of the clock."""

_OF_THE_STREAM = FIXED.keys() - {Type.ICC_PROFILE}
"""What containers say of a whole stream, and FFmpeg only writes for a stream that has it."""


@dataclass
class Joined:
    """What became of the input's streams."""

    dropped: list[str] = field(default_factory=list)
    """What the output cannot hold, in words."""
    converted: list[str] = field(default_factory=list)
    """What was coded anew because the output cannot hold its coding, in words."""
    refused: int = 0
    """Copied packets that the muxer did not take."""
    undecoded: int = 0
    """Packets of sound to code anew that did not decode."""


def join(
    path: Path,
    source: Source,
    segments: Sequence[Segment],
    colors: ColorTags,
    *,
    drop: Iterable[str] = (),
    check: Callable[[], None] = lambda: None,
) -> Joined:
    """Write the whole file to `path`. Raises `WriteError`.

    `colors` is what the output says of them. `check` is called for every stream and packet, and
    may raise an error to end it. `drop` names kinds of streams that are left out: audio, subtitle,
    data, attachment, video.
    """
    joined = Joined()
    try:
        with av.open(f"file:{segments[0].file.absolute()}", format="matroska") as first:
            container = open_output(path, options_of(path, source, joined, set(drop)))
            try:
                restored = first.streams.video[0]
                _write(container, source, restored, colors, segments, joined, set(drop), check)
                finish(path, container)
            finally:
                container.close()
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}; free some space") from error
    except av.error.FFmpegError as error:
        raise WriteError(f"{path.suffix} cannot hold this video: {error.strerror}") from error
    return joined


def finish(path: Path, container: av.container.OutputContainer) -> None:
    """Close a file, write into it what FFmpeg does not, and put it on the disk."""
    kind = container.format.name
    spoken = [stream.metadata.get("language", "und") for stream in container.streams]
    shapes = [aspect_of(each) for each in container.streams if each.type != _ATTACHED]
    container.close()
    if kind == "mov":
        write_languages(path, spoken)
    elif kind in _MATROSKA:
        write_aspects(path, shapes)
    put_on_disk(path)


def check_header(path: Path, source: Source, plan: Plan, *, drop: Iterable[str] = ()) -> None:
    """Try whether a container takes all that is to be written, before any work.

    Raises `SinkError`.
    """
    dropped = set(drop)
    options = options_of(path, source, Joined(), dropped)
    try:
        with av.open(
            io.BytesIO(), "w", format=CONTAINERS[path.suffix.lower()], options=options
        ) as container:
            add_encoder(container, source, plan)
            for stream in carried_of(source, dropped):
                add_other(container, source, stream, Joined())
            container.start_encoding()
    except (OSError, ValueError, av.error.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SinkError(
            f"{path.suffix} cannot hold what is in {source.path.name} ({reason}); use .mkv"
        ) from error


def options_of(path: Path, source: Source, joined: Joined, drop: set[str]) -> dict[str, str]:
    """The muxer's, for a file named `path`; what it cannot hold is noted in `joined`."""
    ending = path.suffix.lower()
    if ending not in (".mp4", ".m4v", ".mov"):
        return {}
    # The edit list keeps a stream that does not start at zero where it was.
    options = {"use_editlist": "1"}
    if source.time_base.denominator > 1000:
        # A late start is stored in this clock; by default it would be cut to milliseconds.
        options["movie_timescale"] = str(source.time_base.denominator)
    kind = "mov" if ending == ".mov" else "mp4"
    if unusual := sorted(own_keys(tags(source.container), kind)):
        covers = "video" not in drop and any(map(is_cover, source.container.streams))
        if covers and kind == "mp4":
            # FFmpeg writes either cover art or them, and a cover is what people see.
            joined.dropped.append(f"tags beside cover art: {', '.join(unusual)}")
        else:
            options["movflags"] = "use_metadata_tags"
    return options


def _write(
    container: av.container.OutputContainer,
    source: Source,
    restored: av.VideoStream,
    colors: ColorTags,
    segments: Sequence[Segment],
    joined: Joined,
    drop: set[str],
    check: Callable[[], None],
) -> None:
    tracks: dict[int, Track] = {}
    carried = carried_of(source, drop)
    for stream in source.container.streams:
        check()
        if stream.index == source.video.index:
            video = _add_video(container, source, restored, colors)
        elif stream in carried:
            track = add_other(container, source, stream, joined)
            if track is not None:
                tracks[stream.index] = track
    container.metadata.update(tags(source.container))
    if found := chapters(source.container, *source.limits()):
        container.set_chapters(found)
    container.start_encoding()
    pictures = _pictures(segments, source.time_base, video, source.times.last)
    for packet in _interleaved(pictures, _others(source, tracks)):
        check()
        try:
            container.mux(packet)
        except (av.error.ArgumentError, av.error.InvalidDataError) as error:
            joined.refused += 1
            _log.debug("a packet was refused: %s", error.strerror)
    converted = [track for track in tracks.values() if isinstance(track, ConvertedAudio)]
    joined.undecoded = sum(track.undecoded for track in converted)


def carried_of(source: Source, drop: set[str]) -> list[Stream]:
    """The streams beside the restored one that the output is to have."""
    return [
        stream
        for stream in source.container.streams
        if stream.index != source.video.index
        and stream.type not in drop
        and not is_chapter_track(stream)
    ]


def _add_video(
    container: av.container.OutputContainer,
    source: Source,
    restored: av.VideoStream,
    colors: ColorTags,
) -> av.VideoStream:
    own = source.video.codec_context.codec.canonical_name
    same = own == restored.codec_context.codec.canonical_name
    said = bool(_OF_THE_STREAM & side_data(source.info.first).keys())
    # Matroska would go on calling it Dolby Vision.
    plain = not hdr_of(source.info.first).dynamic or "matroska" not in container.format.name
    if same and said and plain:
        added = container.add_stream_from_template(source.video, opaque=True)
        ours, new = restored.codec_context, added.codec_context
        new.extradata = ours.extradata
        new.pix_fmt = ours.pix_fmt
        new.width, new.height = ours.width, ours.height
    else:
        added = container.add_stream_from_template(restored, opaque=True)
    context = added.codec_context
    if restored.metadata.get("alpha_mode") == "1":
        context.pix_fmt = "yuva420p"  # what Matroska's muxer goes by
    context.framerate = source.rate  # MP4 writes a timecode only beside a rate
    colors.put(context)
    if source.aspect:
        context.sample_aspect_ratio = source.aspect
    if context.codec.canonical_name == "hevc" and container.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players know no other
    if context.codec.canonical_name == "prores":
        context.codec_tag = restored.codec_context.codec_tag  # which says whether it is 4444
    added.time_base = source.time_base
    if source.info.matrix is not None or source.info.turned:
        added.set_display_matrix(source.info.matrix or _UPRIGHT)
    describe_as(added, source.video)
    added.metadata.pop("alpha_mode", None)  # of VP8 and VP9; it is how they were coded
    return added


_UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def add_other(
    container: av.container.OutputContainer, source: Source, stream: Stream, joined: Joined
) -> Track | None:
    """Add a stream for what is in `stream`; None where there are no packets to pass through it.
    What becomes of it is noted in `joined`."""
    kind = container.format.name
    if stream.type == _ATTACHED or (is_cover(stream) and kind == "matroska"):
        if is_cover(stream):
            done = attach_cover(stream, source.still(stream.index), container)
        else:
            done = attach(stream, container)
        if not done:
            joined.dropped.append(describe(stream))
        return None
    if is_timecode(stream) and kind in ("mp4", "mov"):
        return None
    said = source.video.metadata.get("timecode")
    if is_timecode(stream) and said == stream.metadata["timecode"] and kind in _MATROSKA:
        joined.converted.append(f"{describe(stream)} to a tag of the video")
        return None
    if is_empty(stream):
        return None
    copied = copy_stream(stream, container)
    if copied is not None:
        return copied
    converted = convert_stream(stream, container)
    if converted is not None:
        joined.converted.append(f"{describe(stream)} to {converted.form}")
        return converted
    joined.dropped.append(describe(stream))
    return None


def _pictures(
    segments: Sequence[Segment],
    time_base: Fraction,
    video: av.VideoStream,
    end: tuple[int, int] | None,
) -> Iterator[Packet]:
    """The restored video's packets, at the times of the index.

    `end` is when the last frame of all is shown and for how long, where that is known.
    """
    fixed = Fraction(video.time_base or time_base)
    last: int | None = None
    for segment in segments:
        with av.open(f"file:{segment.file.absolute()}", format="matroska") as opened:
            packets = [packet for packet in opened.demux(video=0) if packet.size]
            if len(packets) != segment.frames:
                raise WriteError(
                    f"{segment.file} holds {len(packets)} frames instead of {segment.frames}; "
                    "begin anew with --overwrite"
                )
            steps = [b - a for a, b in pairwise(segment.pts)]
            steps.append(_last_step(steps))
            if end is not None and segment.pts[-1] == end[0]:
                steps[-1] = end[1]
            for packet, pts, step in zip(packets, segment.pts, steps, strict=True):
                # On the container's own clock, where two frames may fall on one tick.
                timestamp = round(pts * time_base / fixed)
                if last is not None and timestamp <= last:
                    timestamp = last + 1
                last = timestamp
                packet.time_base = fixed
                packet.pts = packet.dts = timestamp
                packet.duration = min(round(step * time_base / fixed), _LONGEST)
                packet.stream = video
                yield packet


def _last_step(steps: Sequence[int]) -> int:
    """How long a last frame is shown, of which nothing says it: as the one before it, unless that
    is followed by a jump."""
    if not steps:
        return 0
    usual = median_low(steps)
    return usual if steps[-1] > _JUMP * usual else steps[-1]


def _others(source: Source, tracks: dict[int, Track]) -> Iterator[Packet]:
    if tracks:
        for packet in source.others():
            if (track := tracks.get(packet.stream_index)) is not None:
                yield from track.push(packet)
    for track in tracks.values():
        yield from track.flush()


def _interleaved(pictures: Iterator[Packet], others: Iterator[Packet]) -> Iterator[Packet]:
    """Both by time, so that a muxer need not hold much."""
    picture = next(pictures, None)
    for packet in others:
        while picture is not None and _timestamp(picture) <= _timestamp(packet):
            yield picture
            picture = next(pictures, None)
        yield packet
    if picture is not None:
        yield picture
    yield from pictures


def _timestamp(packet: Packet) -> float:
    timestamp = packet.dts if packet.dts is not None else packet.pts
    return float((timestamp or 0) * (packet.time_base or 0))
