"""Interlaced frames to progressive ones, with FFmpeg's bwdif."""

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import av.filter

_MODES = {"auto": "interlaced", "on": "all"}
"""bwdif's `deint`: frames that are marked as interlaced, or all."""


class Deinterlacer:
    """Makes one progressive frame of each interlaced one; the times stay.

    bwdif (Weston's filter with the motion check of yadif) looks one frame ahead and one back, so
    each frame comes out when the next one goes in.
    """

    def __init__(self, mode: str) -> None:
        """`mode` is "auto" (frames marked as interlaced) or "on" (all frames)."""
        self._deint = _MODES[mode]
        self._graph: av.filter.Graph | None = None
        self._form: tuple[int, int, str] | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a frame, with a time, and hand on those that are ready."""
        form = frame.width, frame.height, frame.format.name
        if form != self._form:
            yield from self.flush()
            self._graph, self._form = self._open(frame), form
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Hand on what is left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready(self._graph)
        self._graph = self._form = None

    def _open(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(frame.time_base or Fraction(1, 1000)),
        )
        bwdif = graph.add("bwdif", f"mode=send_frame:deint={self._deint}")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _ready(self, graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The filter counts in half ticks, to have a time for the second field as well.
            assert frame.pts is not None
            frame.pts //= 2
            frame.time_base = Fraction(frame.time_base or 1) * 2
            yield frame
