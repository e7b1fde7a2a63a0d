"""What is collected of a video file while it passes, to compare it with another one."""

import gc
import hashlib
import re
import struct
from collections.abc import Callable

import av
import av.error
from av.stream import Stream
from av.video.reformatter import VideoReformatter

from stream.frame import Packet
from stream.input.container.layers import ALPHA, hidden_layer
from stream.input.container.opening import Tail
from stream.media.convert import opacity
from stream.media.remux import TEXTS, is_hidden
from stream.media.side_data import FIXED, MOVING, side_data

_TRIED = 8
"""Packets of each stream of sound that are decoded, to hear whether they still can be."""


class SideDataSeen:
    """What some frames of a video carry beside the picture, by name."""

    def __init__(self) -> None:
        self.fixed: dict[str, bytes] = {}
        """What is the same for the whole video."""
        self.moving: set[str] = set()
        """What changes with the frames."""
        self._looked = False

    def look(self, frame: av.VideoFrame) -> None:
        """Look at a frame, unless one was looked at since the last `collect`."""
        if self._looked:
            return
        self._looked = True
        side = side_data(frame)
        for type, name in FIXED.items():
            if type in side:
                self.fixed.setdefault(name, side[type])
        self.moving |= {name for type, name in MOVING.items() if type in side}

    def collect(self) -> None:
        """Let go of the frame that was looked at, which is in use no more.

        A frame of PyAV and its side data hold one another. Left to Python's own pace they would be
        hundreds.
        """
        if self._looked:
            self._looked = False
            gc.collect(1)


class Frames:
    """Decodes a video: every frame, or those at the start and perhaps at the end."""

    def __init__(
        self,
        context: av.VideoCodecContext,
        *,
        every: bool,
        ending: bool,
        kept: Callable[[Tail], list[av.VideoFrame]],
        edited: bool,
    ) -> None:
        """`kept` gives the frames that the decoder did not give up at the end; `edited`: whether
        nothing is shown before zero."""
        self._edited = edited
        self.every = every
        self._tail = Tail()
        self._kept = kept
        self.first: av.VideoFrame | None = None
        self.ticks: list[int | None] = []
        self.damaged = 0
        """Packets that did not decode, and frames that FFmpeg marked as corrupt."""
        self.resized = 0
        """Frames with another size than the first one's."""
        self.interlaced = 0
        self.opacity = 1.0
        """Where it is least, of the frames that were decoded, from 0 to 1."""
        self.side = SideDataSeen()
        self._context = context
        self._reformatter = VideoReformatter()
        self._ending = ending
        self._group: list[Packet] = []
        """Packets since the last key frame, to decode the end from."""

    def push(self, packet: Packet) -> None:
        if self.every or self.first is None:
            self._tail.push(packet)
            if self.first is None and (layer := hidden_layer(packet)) is not None:
                if layer == ALPHA:
                    self.opacity = 0.0
                else:
                    self.side.moving.add(layer)
            self._decode(packet)
        if self._ending and not self.every:
            if packet.is_keyframe or len(self._group) > 600:
                self._group.clear()
            self._group.append(packet)

    def flush(self) -> None:
        """Decode what the decoder still holds, or what was put aside."""
        if self.every or self.first is None:
            self._decode(None)
            self._take(self._kept(self._tail))
        elif self._group:
            self._context.flush_buffers()
            for packet in self._group:
                self._decode(packet)
            self._decode(None)

    def _decode(self, packet: "Packet | None") -> None:
        self.side.collect()
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self.damaged += 1
            return
        self._take(frames)

    def _take(self, frames: list[av.VideoFrame]) -> None:
        for frame in frames:
            self._tail.came(frame)
            if not frame.width * frame.height or (self._edited and (frame.pts or 0) < 0):
                continue  # what an edit list hides is not always marked
            first = self.first = self.first or frame
            # Not at each one: the object that the next frame will be in is there already, so it
            # survives the collection, and must have no side data to hold it.
            if len(self.ticks) % 4 == 0:
                self.side.look(frame)
            self.opacity = min(self.opacity, opacity(frame, self._reformatter))
            self.ticks.append(frame.pts)
            self.damaged += frame.is_corrupt
            self.resized += (frame.width, frame.height) != (first.width, first.height)
            self.interlaced += frame.interlaced_frame


class Packets:
    """The packets of one stream: when, how long, how large, and digests of their content."""

    def __init__(self, stream: Stream, *, content: bool) -> None:
        context = stream.codec_context
        extradata = getattr(context, "extradata", None) or b""
        self.codec = context.codec.canonical_name if context is not None else ""
        self.annexb = not extradata or extradata[:3] in (b"\0\0\0", b"\0\0\1")
        self.ticks: list[int | None] = []
        self.durations: list[int] = []
        self.hidden: list[int] = []
        """Digests of the packets that an edit list hides, which are counted nowhere else."""
        self.undecoded = 0
        """How many of the first packets of sound do not decode."""
        self._heard = 0
        self.decoded: list[int] = []
        """Ticks at which packets are decoded."""
        self.digests: list[int] = []
        self.texts: list[str] = []
        self.bytes = 0
        self.skipped = (0, 0)
        self._content = content
        self._whole = hashlib.blake2b(digest_size=16)

    @property
    def whole(self) -> str:
        return self._whole.hexdigest()

    def push(self, packet: Packet) -> None:
        content = bytes(packet)
        if self.codec == "aac":
            content = _without_adts(content)
        elif self.codec == "mov_text" and content[:2] == b"\0\0":
            return  # a gap between two texts, which only MP4 has to store
        if self._content and packet.has_sidedata("skip_samples"):
            start, end = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
            self.skipped = (self.skipped[0] + start, self.skipped[1] + end)
        digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
        if self._content and packet.stream.type == "audio" and self._heard < _TRIED:
            self._heard += 1
            self.undecoded += not _decodes(packet)
        if is_hidden(packet):
            self.hidden.append(digest)
            return
        tick = packet.pts if packet.pts is not None else packet.dts
        self.ticks.append(tick)
        if packet.dts is not None:
            self.decoded.append(packet.dts)
        self.durations.append(packet.duration or 0)
        self.bytes += len(content)
        if not self._content:
            return
        self._whole.update(content)
        self.digests.append(digest)
        if self.codec in TEXTS:
            self.texts.append(_text(packet))

    def attach(self, data: bytes) -> None:
        """Take what a stream has beside packets, as attachments do."""
        self._whole.update(data)
        self.bytes += len(data)


def _decodes(packet: Packet) -> bool:
    """Whether a packet of sound decodes, or there is nothing to decode it with."""
    if packet.stream.codec_context is None:
        return True
    try:
        packet.decode()
    except av.error.FFmpegError:
        return False
    return True


def _without_adts(content: bytes) -> bytes:
    """AAC without the header that MPEG-TS puts before each packet."""
    # No AAC begins with twelve ones: that would be an end with nothing before it.
    if len(content) > 9 and content[0] == 0xFF and content[1] & 0xF6 == 0xF0:
        length = (content[3] & 3) << 11 | content[4] << 3 | content[5] >> 5
        if length == len(content):
            return content[7 if content[1] & 1 else 9 :]
    return content


def _text(packet: Packet) -> str:
    """What a text subtitle says, without its styling."""
    try:
        said = [getattr(each, "dialogue", b"") or b"" for each in packet.decode()]
    except av.error.FFmpegError:
        return ""
    plain = re.sub(rb"\{[^}]*\}", b"", b"\n".join(said)).decode("utf-8", "replace")
    lines = re.split(r"\\N|\\n|\n", plain.replace("\\h", " "))
    return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)
