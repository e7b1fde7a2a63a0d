"""What is looked up in a file on the side, while or before it is read."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
from av.video.reformatter import VideoReformatter

from stream.input.container.demux import Demuxer, when
from stream.input.container.opening import choose_video, decoder_of, frames_of, open_input
from stream.input.frame_times import FrameTimes
from stream.media.convert import opacity


class Aside:
    """A file, opened anew for each question."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        self._path, self._max_pixels = path, max_pixels

    def open(self) -> av.container.InputContainer:
        """Raises a `SourceError`."""
        return open_input(self._path, max_pixels=self._max_pixels)

    def choose(self, container: av.container.InputContainer) -> av.VideoStream:
        """The video to restore."""
        return choose_video(container, self._path, self._max_pixels)

    def still(self, index: int) -> bytes:
        """The picture of a stream that is cover art."""
        with self.open() as container:
            packets = container.demux(container.streams[index])
            return next((bytes(packet) for packet in packets if packet.size), b"")

    def finds(self, times: FrameTimes, timestamp: Fraction, *, exactly: bool = False) -> bool:
        """Whether a search for a time in seconds finds a frame before it, or exactly then."""
        with self._frames() as (container, video):
            container.seek(int(timestamp * av.time_base))
            for frame in _decoded(container, video):
                time = times.of(frame)
                if time is None or time * times.time_base > timestamp:
                    return False
                if not exactly or time * times.time_base == timestamp:
                    return True
        return False

    def is_transparent(self, end_s: float) -> bool:
        """Whether a frame is transparent somewhere; as far as the first one that is."""
        reformatter = VideoReformatter()
        with self._frames() as (container, video):
            for frame in _decoded(container, video, end_s):
                if opacity(frame, reformatter) < 1:
                    return True
        return False

    def before_key(self, index: int, time_base: Fraction, begin_s: float) -> int:
        """How many packets of a video lie before the key frame that is needed first at a time."""
        count = needed = 0
        demuxer = Demuxer(discontinuous=True)
        with self.open() as container:
            for packet in demuxer.packets(container):
                if packet.stream_index != index or not packet.size:
                    continue
                if when(packet, begin_s) > begin_s and (packet.dts or 0) * time_base > begin_s:
                    break
                if packet.is_keyframe and when(packet, begin_s) <= begin_s:
                    needed = count
                count += 1
        return needed

    @contextmanager
    def _frames(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        """The file to be decoded as far as that goes."""
        with self.open() as container:
            video = self.choose(container)
            with suppress(av.error.FFmpegError, IndexError):
                yield container, video


def _decoded(
    container: av.container.InputContainer, video: av.VideoStream, end_s: float = float("inf")
) -> Iterator[av.VideoFrame]:
    decoder = decoder_of(video)
    for packet in container.demux(video):
        if when(packet, 0) >= end_s:
            return
        yield from frames_of(packet, decoder)
