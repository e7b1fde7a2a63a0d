"""Video that comes by a pipe: its frames, and the packets of its other streams, in one go."""

import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
import av.error

from stream.colors import UNTAGGED, ColorTags
from stream.errors import SourceError
from stream.frame import Packet
from stream.input.container.demux import Demuxer, earlier, wanted, when
from stream.input.container.ending import Truncated
from stream.input.container.opening import TEXTS, Tail, choose_video, decoder_of, frames_of, kind_of
from stream.input.source import Source
from stream.media.convert import has_alpha
from stream.media.formats import NAMED_ALONE
from stream.options.reading import Reading
from stream.pipes.ends import Incoming
from stream.pipes.form import RawFormat, siting_of
from stream.pipes.whole import Watched

_PEEKED, _MOST_AHEAD = 9, 2000
"""Frames looked at beforehand, and packets in which they have to be."""
_MOST_ASIDE = 256 << 20
"""Bytes of other streams that wait for the picture."""
_SITINGS = {b"jpeg": "center", b"mpeg2": "left", b"paldv": "topleft"}


class PipeSource(Source):
    """What comes by a pipe. Packets of other streams are kept until they are asked for."""

    def __init__(
        self,
        incoming: Incoming,
        reading: Reading,
        raw: RawFormat | None = None,
        colors: ColorTags = UNTAGGED,
    ) -> None:
        """`raw` says what raw video is; else what comes says it itself. `colors` is for what it
        does not say of them. Raises `SourceError`."""
        self._incoming, self._raw, self._colors = incoming, raw, colors
        self._begins = incoming.begins()
        self._watched = Watched(incoming, self._begins)
        self._ahead: list[Packet] = []
        self._others: deque[Packet] = deque()
        self._waiting = 0
        self._chosen: av.VideoStream | None = None
        self._broken = False
        """Whether the last packet of the video did not decode."""
        super().__init__(incoming.name, reading)
        self._demuxer = Demuxer(discontinuous=self.discontinuous, ahead=self._ahead)

    @property
    def hints(self) -> list[str]:
        """What came is not there to be looked at again; what is cut off is seen on its way."""
        return []

    @property
    def siting(self) -> str:
        """Where the chroma lies, in FFmpeg's words; nothing where nobody says it."""
        said = re.match(rb"YUV4MPEG2 [^\n]*\bC420(jpeg|mpeg2|paldv)\b", self._begins)
        return _SITINGS[said[1]] if said else siting_of(self)

    def until(self, timestamp: float) -> Iterator[Packet]:
        """The packets of other streams that came, on the clock of the frames, up to a moment in
        seconds."""
        begin, end = self.limits()
        while self._others and when(self._others[0], timestamp) - float(self.shift_s) <= timestamp:
            packet = self._others.popleft()
            self._waiting -= packet.size
            if begin <= when(packet, begin) < end:
                yield earlier(packet, self.shift_s)

    def close(self) -> None:
        self.container.close()
        self._incoming.close()

    def _open(self) -> tuple[list[av.VideoFrame], av.container.InputContainer, str]:
        name = self.path
        if not self._begins:
            raise SourceError(f"there is nothing on {name}")
        options = NAMED_ALONE | {"max_pixels": str(self.reading.max_pixels)}
        kind = None
        if self._raw is not None:
            options, kind = options | self._raw.options, "rawvideo"
        try:
            container = av.open(
                self._watched, "r", format=kind, options=options, metadata_errors="replace"
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise self._no_video(getattr(error, "strerror", None) or str(error)) from error
        if set(container.format.name.split(",")) & TEXTS:
            container.close()
            raise self._no_video("it is text")
        return self._peek(container), container, "software"

    def _no_video(self, reason: str) -> SourceError:
        if kind := kind_of(self._begins):
            return SourceError(f"{self.path} is {kind}")
        if self._begins[4:8] == b"ftyp":
            return SourceError(
                f"the MP4 on {self.path} cannot be read without seeking ({reason}); "
                "name the file itself, or have it written as NUT or Matroska"
            )
        return SourceError(
            f"{self.path} is not a video that can be read ({reason}); raw video "
            "needs --size, --rate and --pix-fmt"
        )

    def _peek(self, container: av.container.InputContainer) -> list[av.VideoFrame]:
        """The first frames; their packets are kept, to be decoded again."""
        video = self._choose(container)
        decoder = decoder_of(video)
        frames: list[av.VideoFrame] = []
        try:
            for packet in container.demux(wanted(container)):
                if packet.size:
                    self._ahead.append(packet)
                if packet.stream_index == video.index or not packet.size:
                    frames += frames_of(packet, decoder)
                if len(frames) >= _PEEKED or len(self._ahead) > _MOST_AHEAD:
                    break
        except (av.error.FFmpegError, IndexError):
            pass
        if not frames and self._begins[4:8] == b"ftyp":
            raise self._no_video("its index is behind the pictures")
        if not frames:
            raise SourceError(
                f"no frame of {self.path} can be decoded; it is damaged, cut off or encrypted"
            )
        if decoder is video.codec_context:
            decoder.flush_buffers()
        return frames

    def _choose(self, container: av.container.InputContainer) -> av.VideoStream:
        # Nothing of a decoder that is open may be set again.
        if self._chosen is None:
            self._chosen = choose_video(container, self.path, self.reading.max_pixels)
            self._colors.fill(self._chosen.codec_context)
        return self._chosen

    def still(self, index: int) -> bytes:
        """The picture of a stream that is cover art, if it came before the first frames."""
        return next((bytes(each) for each in self._ahead if each.stream_index == index), b"")

    def others(self) -> Iterator[Packet]:
        """All that is left of other streams."""
        return self.until(float("inf"))

    def _pass_by(self, packet: Packet) -> None:
        self._others.append(packet)
        self._waiting += packet.size
        if self._waiting > _MOST_ASIDE:
            raise SourceError(
                f"{self.path} has {_MOST_ASIDE >> 20} MiB of sound and other streams "
                "before the next picture; leave them out where it is written"
            )

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        failed = self.decoding.failed
        frames = super()._decode(packet)
        if packet.size:
            self._watched.came(packet)
            self._broken = self.decoding.failed > failed
        return frames

    def _kept(self, tail: Tail) -> list[av.VideoFrame]:
        return []  # reading again is needed for that

    def _early(self, last: int | None) -> Truncated | None:
        reader = self._demuxer.last
        missing = reader is not None and reader.missing_at_end
        if not (self._broken or missing or self._watched.cut):
            return None
        after = 0.0
        if last is not None:
            after = float((last * self.time_base) + 1 / self.rate) - self.origin_s
        return Truncated(None, after, 0.0)

    def _search(self, timestamp: Fraction, *, exactly: bool = False) -> bool:
        return False

    def _undecoded(self) -> int:
        return 0

    def _transparent(self, peeked: list[av.VideoFrame]) -> bool:
        # What comes later is not known.
        return any(has_alpha(frame.format) for frame in peeked)
