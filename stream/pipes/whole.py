"""Whether what came by a pipe ended where it might, or was cut off: FFmpeg calls both the end."""

from typing import Protocol

from stream.frame import Packet

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_FRAME = len(b"FRAME\n")


class ByteSource(Protocol):
    """What bytes come from."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, once there are any; none at the end."""
        ...


class Watched:
    """Bytes on their way to FFmpeg, and whether there was anything behind the last packet."""

    def __init__(self, incoming: ByteSource, begins: bytes) -> None:
        self._incoming = incoming
        self._count = 0
        self._elements = Elements() if begins.startswith(_EBML) else None
        self._y4m = begins.startswith(b"YUV4MPEG2")
        self._last: tuple[int, int] | None = None
        self._head = _FRAME

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self._incoming.read(size)
        self._count += len(data)
        if self._elements is not None:
            self._elements.push(data)
        return data

    def came(self, packet: Packet) -> None:
        """Note a packet of the video."""
        if self._y4m and packet.pos is not None:
            if self._last is not None:
                self._head = packet.pos - sum(self._last)
            self._last = packet.pos, packet.size

    @property
    def cut(self) -> bool:
        """At the end, whether that came too early."""
        if self._elements is not None:
            return not self._elements.whole
        return self._last is not None and self._count > sum(self._last) + self._head


class Elements:
    """Walks through the elements of Matroska (RFC 8794) as their bytes pass."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the element that is passing."""
        self._head = b""
        self._lost = False
        """Whether this is no Matroska that can be followed."""

    @property
    def whole(self) -> bool:
        """Whether the last element is, so far."""
        return self._lost or not (self._left or self._head)

    def push(self, data: bytes) -> None:
        """Take the next bytes."""
        data, self._head = self._head + data, b""
        place = 0
        while place < len(data) and not self._lost:
            step = min(self._left, len(data) - place)
            self._left -= step
            place += step
            if self._left or place == len(data):
                return
            name = _width(data, place)
            size = _width(data, place + name)
            self._lost = 0 in data[place : place + 1] or 0 in data[place + name : place + name + 1]
            begins = place + name + size
            if size == 0 or begins > len(data):
                self._head = data[place:]
                return
            self._left = int.from_bytes(data[place + name : begins], "big") & (1 << 7 * size) - 1
            if data[place : place + name] == _SEGMENT or self._left == (1 << 7 * size) - 1:
                self._left = 0  # what is in it follows
            place = begins


def _width(data: bytes, place: int) -> int:
    """How many bytes a number takes that begins here; 0 where it does not yet."""
    return 9 - data[place].bit_length() if place < len(data) else 0
