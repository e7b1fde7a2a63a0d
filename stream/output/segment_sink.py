"""Restored frames to segments on disk, each encoded by an encoder of its own."""

import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import av
import av.container
import av.error

from filters import Coding
from stream.colors import LIMITED, ColorTags
from stream.errors import SinkError, UsageError, WriteError
from stream.frame import Frame, Memory
from stream.input import deinterlace
from stream.input.source import Source
from stream.media import hardware, hdr
from stream.media.encoders import ENCODERS, Encoder, candidates, choose, ordinary_scheduling
from stream.media.remux import holds
from stream.options.encoding import EncoderSettings
from stream.options.scale import Scale
from stream.output.checkpoint import JobCheckpoint, Segment
from stream.output.frame_coder import FrameCoder, Mean
from stream.output.size_estimate import SizeEstimate
from stream.paths import megabytes

_log = logging.getLogger(__name__)

_SEGMENT_S = 2
"""How much video a segment holds; also how often there is a key frame to seek to."""
_LONGEST = 250
"""Frames in a segment, at most."""
_REDONE_S = 1.0
"""Segments that take longer than this to make are kept frame by frame until they are finished."""
_SPARE = 4 << 20
"""Bytes of disk space that are left free."""
_KEEP_ALPHA = {"matroska", "webm", "mov"}
"""Containers in which players find transparency; VP9's is beside its packets, which MP4 has no
place for."""


CONTAINERS: Final = {
    **dict.fromkeys((".mp4", ".m4v"), "mp4"),
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    **dict.fromkeys((".ts", ".mts", ".m2ts", ".m2t"), "mpegts"),
}
"""What endings of outputs stand for, by FFmpeg's names. Left out are formats that lose frames'
times (AVI, Ogg), sound (FLV), or H.264 (ASF, which cuts it apart), or have room for one stream
alone; FFmpeg's lists have codecs for them that fail once all the work is done."""


@dataclass(frozen=True)
class Plan:
    """How the restored video is encoded."""

    encoder: Encoder
    coding: Coding
    """What the encoder takes; the frames' own wherever it can."""
    tags: ColorTags
    """What the output says of its colors."""
    options: dict[str, str]
    """The encoder's."""
    segment: int
    """Frames in a segment."""
    size: tuple[int, int]
    """Width and height of the frames."""
    top_first: bool | None = None
    """Of interlaced video, whether the upper field is the earlier one."""

    def coder(self) -> FrameCoder:
        """What makes of frames what the encoder takes."""
        pix_fmt = self.encoder.pix_fmt(self.coding)
        return FrameCoder(pix_fmt, self.coding, self.tags, self.top_first)


def plan(path: Path, source: Source, settings: EncoderSettings, scale: Scale | None = None) -> Plan:
    """Choose the encoder for a file named `path`.

    Raises `SinkError` or `UsageError`, and `DeviceError` where a GPU is to encode and cannot.
    """
    size = size_of(source, scale)
    own_coding = source.coding
    with open_output(path) as container:
        if container.format.name not in _KEEP_ALPHA:
            own_coding = replace(own_coding, alpha=False)
        video = [encoder.codec for encoder in ENCODERS if holds(container, encoder.codec)]
    own = source.video.codec_context.codec.canonical_name
    if settings.nvenc:
        suitable = candidates(settings, own, size, video, path.suffix)
        encoder, coding = hardware.choose(suitable, settings, own_coding, size)
    else:
        encoder = choose(*(settings, own, own_coding, size, video, path.suffix))
        coding = encoder.coding(own_coding, *size)
    if scale is not None and not encoder.holds(size):
        raise _too_large(encoder, size, source.size)
    order, marks = source.info.top_first, None
    if order is not None:
        marks = deinterlace.options(encoder.name, order, coding, size[1])
    options = encoder.settings(settings)
    for said in (hdr.options(encoder.name, hdr.hdr_of(source.info.first)), marks or {}):
        for name, value in said.items():
            options[name] = ":".join(filter(None, (options.get(name), value)))
    tags = source.info.tags
    if coding.full_range != source.coding.full_range:
        tags = tags._replace(range=LIMITED)
    marked = None if marks is None else order
    return Plan(encoder, coding, tags, options, segment_of(source), size, marked)


def segment_of(source: Source) -> int:
    """How many frames of a video are in a segment."""
    return max(1, min(_LONGEST, round(_SEGMENT_S * source.rate)))


def size_of(source: Source, scale: Scale | None) -> tuple[int, int]:
    """Width and height of the restored frames. Raises `UsageError`."""
    if scale is None:
        return source.size
    if source.info.top_first is not None:
        raise UsageError("interlaced frames cannot be enlarged; use --deinterlace on")
    return scale.of(source.size, even=source.coding.subsampling != (1, 1))


def _too_large(encoder: Encoder, size: tuple[int, int], own: tuple[int, int]) -> SinkError:
    factor = min(
        encoder.longest / max(own),
        math.sqrt(encoder.pixels / (own[0] * own[1])) if encoder.pixels else math.inf,
    )
    smaller = math.floor(10 * factor) / 10
    suggested = f"use --upscale {smaller:g}" if smaller > 1 else "leave the size as it is"
    return SinkError(
        f"frames of {size[0]}x{size[1]} are larger than {encoder.codec} video can be; "
        f"{suggested}, or another --codec such as ffv1 in .mkv"
    )


def open_output(path: Path, options: dict[str, str] | None = None) -> av.container.OutputContainer:
    """Open a file for writing, in the container that its ending says. Raises `SinkError`.

    The file itself appears when the first packet is written.
    """
    suffix = path.suffix.lower()
    if not suffix:
        raise SinkError(
            f"{path} has no ending that says the format, such as .mp4 or .mkv; if it is to be a "
            "folder, create it first"
        )
    if suffix not in CONTAINERS:
        raise SinkError(
            f"{suffix} files are not written, as they cannot hold all of a video; "
            "use .mkv, .mp4, .mov or .webm"
        )
    # Without the file: prefix FFmpeg would take a colon in a name for a protocol.
    return av.open(f"file:{path.absolute()}", "w", format=CONTAINERS[suffix], options=options or {})


def add_encoder(
    container: av.container.OutputContainer,
    source: Source,
    plan: Plan,
    clock: Fraction | None = None,
) -> av.VideoStream:
    """Add a stream for the restored video, its encoder open, on the source's clock or on `clock`,
    of which each frame is a tick. Raises `SinkError`."""
    # Else libsvtav1 prints its settings on stderr.
    os.environ.setdefault("SVT_LOG", "1")
    # More than any encoder here takes would be a made-up rate anyway.
    rate = min(source.rate, Fraction(240)) if clock is None else 1 / clock
    video = container.add_stream(plan.encoder.name, rate=rate, options=dict(plan.options))
    assert isinstance(video, av.VideoStream)
    context = video.codec_context
    context.width, context.height = plan.size
    context.pix_fmt = plan.encoder.pix_fmt(plan.coding)
    context.time_base = clock or source.time_base
    context.gop_size = plan.segment
    plan.tags.put(context)
    if plan.top_first is not None:
        context.field_order = 2 if plan.top_first else 3  # FFmpeg's TT and BB
    if source.aspect:
        context.sample_aspect_ratio = source.aspect
    try:
        with ordinary_scheduling():
            context.open()
    except av.error.FFmpegError as error:
        width, height = plan.size
        raise SinkError(
            f"{plan.encoder.name} cannot encode {width}x{height} {context.pix_fmt} "
            f"({error.strerror}); choose another --codec"
        ) from error
    return video


@dataclass(frozen=True)
class _Encoder:
    """A segment that is being written."""

    container: av.container.OutputContainer
    video: av.VideoStream
    first: int
    """The time of its first frame."""


@dataclass
class _Keeping:
    """Whether frames are kept until their segment is finished."""

    on: bool = True
    took_s: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    def next(self) -> "_Keeping":
        """For the next segment: only where restoring one takes long."""
        # Keeping takes its own time, and must not be what makes itself necessary.
        return _Keeping(time.monotonic() - self.begun - self.took_s > _REDONE_S)


class SegmentSink:
    """Encodes frames into the segments of a job's work, beginning after what is done."""

    def __init__(
        self,
        work: JobCheckpoint,
        source: Source,
        plan: Plan,
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopped` says whether the job is to end before its input does."""
        self.plan = plan
        self.tail: Segment | None = None
        """After `flush`, where the job was stopped: the frames behind the last segment."""
        self._stopped = stopped
        self._coder = plan.coder()
        self._work = work
        self._source = source
        self._size_estimate = SizeEstimate(plan.segment)
        self._encoder: _Encoder | None = None
        self._written = work.folder / "segment.tmp"
        self._pts: list[int] = []
        self._memory: Memory = {}
        self._shares = Mean()
        self._keeping = _Keeping()
        for frame in list(work.kept(source.coding, source.time_base)):
            self._encode(frame)

    @property
    def frames(self) -> int:
        """How many frames there are by now, those of earlier runs included."""
        return self._work.in_segments + len(self._pts)

    @property
    def from_neighbors(self) -> float:
        """The mean share of the frames of this run that came from neighboring ones."""
        return self._shares.value

    @property
    def bytes_per_frame(self) -> float | None:
        """How large a frame is, encoded; None while too little is known."""
        return self._size_estimate.per_frame

    def push(self, frame: Frame) -> None:
        """Take a restored frame. Raises `WriteError`."""
        self._shares.add(frame.from_neighbors)
        try:
            if self._keeping.on:
                self._keeping.on = self._kept(partial(self._work.keep, frame))
            self._encode(frame)
            if len(self._pts) == self.plan.segment:
                self._finish()
        except OSError as error:
            raise self._write_error(error) from error

    def _kept(self, keep: Callable[[], None]) -> bool:
        """Keep frames until their segment is finished, if there is room for them."""
        begun = time.monotonic()
        try:
            keep()
        except OSError as error:
            # It is a safeguard, and much larger than the segment that it guards.
            _log.debug("frames are not kept: %s", error)
            self._work.keep_none()
            return False
        finally:
            self._keeping.took_s += time.monotonic() - begun
        return True

    def flush(self) -> None:
        """Finish the last segment; if the job was stopped it stays unfinished, for later."""
        if not self._pts:
            return
        try:
            if self._stopped():
                self._kept(self._work.write_kept)
                self._close()
                self.tail = Segment(self._written, tuple(self._pts))
            else:
                self._finish()
        except OSError as error:
            raise self._write_error(error) from error

    def abandon(self) -> None:
        """Let go of what is open, after a failure; what is done stays on disk."""
        with suppress(OSError, RuntimeError):  # the latter of a GPU that failed, with its memory
            self._work.write_kept()
        if self._encoder is not None:
            try:
                self._encoder.container.close()
            except (OSError, av.error.FFmpegError) as error:
                # The failure itself is being reported; a full disk fails here once more.
                _log.debug("closing a segment: %s", error)
            self._encoder = None

    def check_space(self) -> None:
        """Refuse to fill the disk: the segments must fit once more, as the finished file."""
        free = shutil.disk_usage(self._work.folder).free
        if free < self._work.bytes + _SPARE:
            raise WriteError(
                f"the disk is nearly full: {megabytes(free)} are free in "
                f"{self._work.folder.parent} and the finished file needs "
                f"{megabytes(self._work.bytes + _SPARE)}; free some space"
            )

    def _encode(self, frame: Frame) -> None:
        made = self._coder.made(frame)
        if self._encoder is None:
            self._encoder = self._open(frame.pts)
        # Each segment begins at zero, so that it can be played; the index has the times.
        made.pts = frame.pts - self._encoder.first
        try:
            self._mux(self._encoder, made)
        except av.error.FFmpegError as error:
            raise self._encoder_error(error) from error
        self._pts.append(frame.pts)
        self._memory = frame.memory

    def _open(self, first: int) -> "_Encoder":
        container = av.open(f"file:{self._written.absolute()}", "w", format="matroska")
        video = add_encoder(container, self._source, self.plan)
        _log.debug("a segment by %s as %s", self.plan.encoder.name, self._coder.pix_fmt)
        return _Encoder(container, video, first)

    def _close(self) -> None:
        if self._encoder is None:
            return
        try:
            self._mux(self._encoder, None)
            self._encoder.container.close()
        except av.error.FFmpegError as error:
            raise self._encoder_error(error) from error
        self._encoder = None

    def _mux(self, encoder: "_Encoder", frame: av.VideoFrame | None) -> None:
        for packet in encoder.video.encode(frame):
            self._size_estimate.add(packet.size)
            encoder.container.mux(packet)

    def _finish(self) -> None:
        self._close()
        self._work.finish(self._written, tuple(self._pts), self._memory, clean=self._source.clean)
        self._pts = []
        self._keeping = self._keeping.next()
        self.check_space()

    def _encoder_error(self, error: av.error.FFmpegError) -> WriteError:
        if isinstance(error, OSError) and error.errno in (5, 27, 28, 122):  # EIO, EFBIG, ENOSPC
            return self._write_error(error)
        return WriteError(f"{self.plan.encoder.name} failed: {error.strerror}")

    def _write_error(self, error: OSError) -> WriteError:
        return WriteError(f"cannot write to {self._work.folder}: {error.strerror}; free some space")
