"""Restored frames to a pipe, or to a file where what comes is not to be had twice."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import av
import av.container
import av.error

from stream.errors import ReaderLeftError, SinkError, WriteError
from stream.frame import Frame, Packet
from stream.input.container.demux import when
from stream.input.source import Source
from stream.media.remux import chapters, describe, describe_as, tags
from stream.output.frame_coder import Mean
from stream.output.join import Joined, Track, add_other, carried_of, finish, options_of
from stream.output.segment_sink import Plan, add_encoder, open_output
from stream.pipes.ends import Outgoing
from stream.pipes.form import FORMS, TIMELESS

if TYPE_CHECKING:
    from typing_extensions import Buffer

Until = Callable[[float], Iterator[Packet]]
"""The packets of other streams up to a moment in seconds."""


class FrameSink(Protocol):
    """What a relay's frames are written by, and what became of them."""

    plan: Plan
    joined: Joined
    frames: int

    @property
    def uneven(self) -> bool:
        """Whether frames had other times than a form without any can tell."""
        ...

    @property
    def from_neighbors(self) -> float:
        """The mean share of the frames that came from neighboring ones."""
        ...

    def push(self, frame: Frame) -> None:
        """Write a frame."""
        ...

    def flush(self) -> None:
        """Write what is left."""
        ...

    def abandon(self) -> None:
        """Let go of what is open, after a failure."""
        ...


class SideStreams:
    """The packets of a file's other streams, by their times."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._packets: Iterator[Packet] | None = None
        self._next: Packet | None = None

    def until(self, timestamp: float) -> Iterator[Packet]:
        """Those up to a moment in seconds, on the clock of the frames."""
        if self._packets is None:
            self._packets = self._source.others()
            self._next = next(self._packets, None)
        while self._next is not None and when(self._next, timestamp) <= timestamp:
            yield self._next
            self._next = next(self._packets, None)


class _EvenClock:
    """The clock of a form that tells no times."""

    def __init__(self, rate: Fraction) -> None:
        """`rate`: frames per second."""
        self.tick = 1 / Fraction(rate).limit_denominator(1 << 20)
        self.uneven = False
        """Whether frames had other times."""
        self._first = 0.0

    def compare(self, number: int, seconds: float) -> None:
        """Compare a frame's time with the one that it has by its number."""
        if not number:
            self._first = seconds
        off = seconds - self._first - number * float(self.tick)
        self.uneven = self.uneven or abs(off) > 0.6 * float(self.tick)


class _Open(NamedTuple):
    """An output that is being written."""

    container: av.container.OutputContainer
    video: av.VideoStream


class RelaySink:
    """Encodes frames and writes them, and what is beside them, in one go."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        target: Outgoing | Path,
        form: str,
        until: Until,
        drop: Collection[str] = (),
    ) -> None:
        """`form` is one of `FORMS`, or for a file its ending."""
        self.plan = plan
        self.joined = Joined()
        self.frames = 0
        """How many were written."""
        self._source, self._target, self._form = source, target, form
        self._until, self._drop = until, set(drop)
        self._clock = _EvenClock(source.rate) if form in TIMELESS else None
        self._coder = plan.coder()
        self._open: _Open | None = None
        self._tracks: dict[int, Track] = {}
        self._shares = Mean()

    @property
    def from_neighbors(self) -> float:
        """The mean share of the frames that came from neighboring ones."""
        return self._shares.value

    @property
    def uneven(self) -> bool:
        """Whether frames had other times than a form without any can tell."""
        return self._clock is not None and self._clock.uneven

    def push(self, frame: Frame) -> None:
        """Write a frame, and what comes before it. Raises `SinkError`."""
        made = self._coder.made(frame)
        if self._clock is not None:
            made.pts, made.time_base = self.frames, self._clock.tick
            self._clock.compare(self.frames, frame.seconds)
        try:
            out = self._open = self._open or self._begun()
            self._write_others(out, frame.seconds)
            self._mux(out, out.video.encode(made))
        except (OSError, ReaderLeftError, av.error.FFmpegError) as error:
            raise self._told(error) from error
        self.frames += 1
        self._shares.add(frame.from_neighbors)

    def flush(self) -> None:
        """Write what is left, and the end."""
        if (out := self._open) is None:
            return
        try:
            self._mux(out, out.video.encode(None))
            self._write_others(out, float("inf"))
            for track in self._tracks.values():
                self._mux(out, track.flush())
            self._open = None
            if isinstance(self._target, Path):
                finish(self._target, out.container)
            else:
                out.container.close()
        except (OSError, ReaderLeftError, av.error.FFmpegError) as error:
            raise self._told(error) from error

    def abandon(self) -> None:
        """Let go of what is open, after a failure."""
        if self._open is not None:
            with suppress(OSError, SinkError, av.error.FFmpegError):
                self._open.container.close()
            self._open = None

    def _begun(self) -> "_Open":
        container = self._opened()
        tick = self._clock.tick if self._clock is not None else None
        with ExitStack() as failed:
            failed.callback(container.close)
            video = add_encoder(container, self._source, self.plan, tick)
            failed.pop_all()
        out = self._open = _Open(container, video)
        carried = carried_of(self._source, self._drop)
        if self._clock is not None:
            self.joined.dropped += [describe(stream) for stream in carried]
            container.start_encoding()
            return out
        self._describe(container, out.video)
        for stream in carried:
            track = add_other(container, self._source, stream, self.joined)
            if track is not None:
                self._tracks[stream.index] = track
        container.metadata.update(tags(self._source.container))
        if found := chapters(self._source.container, *self._source.limits()):
            container.set_chapters(found)
        container.start_encoding()
        return out

    def _opened(self) -> av.container.OutputContainer:
        if isinstance(self._target, Path):
            options = options_of(self._target, self._source, self.joined, self._drop)
            return open_output(self._target, options)
        self._target.open()
        # Each frame is sent at once: somebody waits for it.
        options = {"flush_packets": "1"}
        target: Outgoing | _Shaped = self._target
        if self._form == "y4m":
            options["strict"] = "-1"  # for more than 8 bits, which is no part of the first standard
            target = _Shaped(self._target, self._source.aspect)
        return av.open(target, "w", format=FORMS[self._form], options=options)

    def _describe(self, container: av.container.OutputContainer, video: av.VideoStream) -> None:
        if self._source.info.matrix is not None:
            video.set_display_matrix(self._source.info.matrix)
        context = video.codec_context
        if context.codec.canonical_name == "hevc" and container.format.name in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players know no other
        describe_as(video, self._source.video)
        video.metadata.pop("alpha_mode", None)

    def _write_others(self, out: "_Open", timestamp: float) -> None:
        for packet in self._until(timestamp):
            if (track := self._tracks.get(packet.stream_index)) is not None:
                self._mux(out, track.push(packet))

    def _mux(self, out: "_Open", packets: Iterable[Packet]) -> None:
        for packet in packets:
            try:
                out.container.mux(packet)
            except (av.error.ArgumentError, av.error.InvalidDataError):
                if packet.stream is out.video:
                    raise
                self.joined.refused += 1

    def _told(self, error: Exception) -> Exception:
        if isinstance(self._target, Outgoing):
            if self._target.gone:
                return ReaderLeftError(
                    f"whoever read {self._target.name} has left, after {self.frames} frames"
                )
            return WriteError(f"cannot write {self._target.name}: {_reason(error)}")
        return WriteError(f"cannot write {self._target}: {_reason(error)}; free some space")


class _Shaped:
    """Y4M whose first line tells the shape of pixels: PyAV tells FFmpeg's muxer nothing of it."""

    def __init__(self, target: Outgoing, aspect: Fraction | None) -> None:
        self._target, self._aspect = target, aspect

    def write(self, data: "Buffer") -> int:
        """Pass it on."""
        if self._aspect is None:
            return self._target.write(data)
        said = f" A{self._aspect.numerator}:{self._aspect.denominator} ".encode()
        size = memoryview(data).nbytes
        self._target.write(bytes(data).replace(b" A0:0 ", said, 1))
        self._aspect = None
        return size


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
