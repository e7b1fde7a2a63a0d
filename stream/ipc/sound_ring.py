"""Packets of sound on their way between processes, as they came from the source."""

import json
import struct
from dataclasses import asdict, dataclass, field

from stream.ipc.memory import Shared

_SLOTS = 256
_ROOM = 16 << 10
"""Bytes of the largest packet."""
_PAGE = 8 << 10
"""Bytes at the beginning: the count of packets, and what the sound is."""
_HEADER = struct.Struct("=QQqqQQ")
"""Begun, done, moment, duration, version of the format, bytes."""
_STRIDE = _ROOM + 64


@dataclass(frozen=True)
class SoundFormat:
    """What a decoder has to know about sound."""

    codec: str
    """FFmpeg's name of the codec, such as aac or pcm_mulaw."""
    sample_rate: int
    """Samples per second."""
    channels: int
    extradata: bytes = b""
    frame_size: int = field(default=0, compare=False)
    """Samples in each packet, where the codec has a fixed number; a connection may tell it late."""


@dataclass(frozen=True)
class Sound:
    """One packet of sound, encoded."""

    data: bytes
    timestamp: int
    """When it is heard, in nanoseconds of the clock of `Picture.moment`."""
    duration: int
    """Nanoseconds; 0 where it is not known."""
    version: int = 0
    """Of the format: the reader of a `SoundRing` gets another format with another version."""


class SoundRing(Shared):
    """The last packets of sound for several readers, each in a process of its own.

    Works as `Mailbox` does, but readers get all packets unless they are late by 256 of them.
    """

    def __init__(self) -> None:
        super().__init__(_PAGE + _SLOTS * _STRIDE)

    def announce(self, format: SoundFormat | None) -> None:
        """Say what the packets put from now on are; None: there is no sound."""
        text = b""
        if format is not None:
            fields = asdict(format) | {"extradata": format.extradata.hex()}
            text = json.dumps(fields).encode()
        if len(text) > _PAGE - 64:
            raise ValueError("the sound's extradata is too long")
        version = self.version + 1
        buffer = self._buffer
        # As with pictures: begun, then the text, then done.
        struct.pack_into("=QQQ", buffer, 8, version, 0, len(text))
        buffer[32 : 32 + len(text)] = text
        struct.pack_into("=Q", buffer, 16, version)

    @property
    def version(self) -> int:
        """Of the format; changes whenever one is announced."""
        return int(struct.unpack_from("=Q", self._buffer, 8)[0])

    def format(self) -> SoundFormat | None:
        """What the newest packets are; None where there is no sound, or it is being announced."""
        begun, done, length = struct.unpack_from("=QQQ", self._buffer, 8)
        text = bytes(self._buffer[32 : 32 + length])
        if begun != done or not length or self.version != begun:
            return None
        fields = json.loads(text)
        return SoundFormat(**fields | {"extradata": bytes.fromhex(fields["extradata"])})

    def put(self, data: bytes, timestamp: int, duration: int = 0) -> None:
        """Add a packet. Raises `ValueError` for one of more than 16 KiB."""
        if len(data) > _ROOM:
            raise ValueError(f"a packet of {len(data)} bytes is too large")
        number = self.count + 1
        start = self._start(number)
        buffer = self._buffer
        rest = timestamp, duration, self.version, len(data)
        _HEADER.pack_into(buffer, start, number, 0, *rest)
        buffer[start + 64 : start + 64 + len(data)] = data
        _HEADER.pack_into(buffer, start, number, number, *rest)
        struct.pack_into("=Q", buffer, 0, number)

    @property
    def count(self) -> int:
        """Packets put so far."""
        return int(struct.unpack_from("=Q", self._buffer, 0)[0])

    def since(self, number: int) -> tuple[list[Sound], int]:
        """The packets after number `number` that are still there, and the number of the last."""
        last = self.count
        found = []
        for each in range(max(number, last - _SLOTS // 2) + 1, last + 1):
            start = self._start(each)
            begun, done, timestamp, duration, version, length = _HEADER.unpack_from(
                self._buffer, start
            )
            data = bytes(self._buffer[start + 64 : start + 64 + min(length, _ROOM)])
            again = struct.unpack_from("=QQ", self._buffer, start)
            if (begun, done) == again == (each, each):
                found.append(Sound(data, timestamp, duration, version))
        return found, last

    def _start(self, number: int) -> int:
        return _PAGE + number % _SLOTS * _STRIDE
