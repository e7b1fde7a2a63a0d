"""Interlaced frames to progressive ones, with FFmpeg's bwdif; or marked as what they are."""

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import av.filter
from av.video.reformatter import VideoReformatter

from filters import Coding
from stream.input.decoding import pts_of
from stream.media.convert import to_planar

_MODES = {"auto": "interlaced", "on": "all"}
"""bwdif's `deint`: frames that are flagged as interlaced, or all."""


class Deinterlacer:
    """Makes one progressive frame of each interlaced one; the times stay.

    bwdif (Weston's filter with the motion check of yadif) looks one frame ahead and one back, so
    each frame comes out when the next one goes in.
    """

    def __init__(self, mode: str) -> None:
        """`mode` is "auto" (frames flagged as interlaced) or "on" (all frames)."""
        self._deint = _MODES[mode]
        self._reformatter = VideoReformatter()
        self._graph: av.filter.Graph | None = None
        self._form: tuple[int, int, str] | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a frame, with a time, and hand on those that are ready."""
        # Where a filter graph converts, it forgets matrix and range.
        frame = to_planar(frame, self._reformatter)
        form = frame.width, frame.height, frame.format.name
        if form != self._form:
            yield from self.flush()
            self._graph, self._form = self._open(frame), form
        if self._graph is None:
            yield frame
            return
        self._graph.vpush(frame)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Hand on what is left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready(self._graph)
        self._graph = self._form = None

    def _open(self, frame: av.VideoFrame) -> av.filter.Graph | None:
        chroma = frame.format.chroma_width(frame.width), frame.format.chroma_height(frame.height)
        if chroma[0] < 3 or chroma[1] < 4:
            return None  # bwdif takes nothing so small
        return _graph(frame, "bwdif", f"mode=send_frame:deint={self._deint}")

    def _ready(self, graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The filter counts in half ticks, to have a time for the second field as well.
            frame.pts = pts_of(frame) // 2
            frame.time_base = Fraction(frame.time_base or 1) * 2
            yield frame


def top_first(frame: av.VideoFrame) -> bool:
    """Whether an interlaced frame's upper field is the earlier one."""
    # PyAV does not tell, so a filter that lets only such frames pass is asked.
    graph = _graph(frame, "select", "eq(interlace_type\\,TOPFIRST)")
    graph.vpush(frame)
    try:
        graph.vpull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return False
    return True


class FieldMarker:
    """Marks frames as interlaced, for encoders that go by it."""

    def __init__(self, top_first: bool) -> None:
        """`top_first` is whether the upper field is the earlier one."""
        self._mode = "tff" if top_first else "bff"
        self._graph: av.filter.Graph | None = None

    def mark(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Mark a frame; all have the same size and format."""
        if self._graph is None:
            self._graph = _graph(frame, "setfield", self._mode)
        pts, time_base = frame.pts, frame.time_base
        self._graph.vpush(frame)
        marked = self._graph.vpull()
        marked.pts, marked.time_base = pts, time_base
        return marked


def options(encoder: str, top_first: bool, coding: Coding, height: int) -> dict[str, str] | None:
    """What makes an encoder write that frames are interlaced; None for those that cannot."""
    if encoder == "libx264" and coding.subsampling == (2, 2) and height % 4:
        return None  # each field would have half a line of chroma
    return {
        "libx264": {"x264-params": "tff=1" if top_first else "bff=1"},
        "prores_ks": {"flags": "+ildct"},
        "ffv1": {},
    }.get(encoder)


def _graph(frame: av.VideoFrame, name: str, arguments: str) -> av.filter.Graph:
    """A graph with one filter, for frames like this one."""
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=Fraction(frame.time_base or Fraction(1, 1000)),
    )
    filter = graph.add(name, arguments)
    graph.link_nodes(source, filter, graph.add("buffersink")).configure()
    return graph
