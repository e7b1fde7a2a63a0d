"""What is served: its tracks, and where each of them is."""

import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from stream.live.rtsp import rtcp

_HEADER = struct.Struct(">BBHII")
"""Of an RTP packet: flags, payload type and marker, sequence number, timestamp, source."""
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True)
class Batch:
    """RTP packets that belong together: a picture, or a packet of sound."""

    track: int
    moment: int
    """When it is shown or heard, in nanoseconds of the monotonic clock."""
    key: bool
    """Whether a reader can begin with it."""
    packets: tuple[bytes, ...]


@dataclass(frozen=True)
class Media:
    """What SDP says of a track."""

    kind: str
    """video or audio."""
    payload_type: int
    encoding: str
    """As in a=rtpmap: name, clock rate and channels."""
    clock_rate: int
    parameters: str = ""
    """As in a=fmtp."""


class Track:
    """A track on its way: relates RTP timestamps to moments, and counts."""

    def __init__(self, media: Media, moment: int, timestamp: int, ssrc: int) -> None:
        """`timestamp` is that of the `moment`, in ns of the monotonic clock."""
        self.media = media
        self.ssrc = ssrc
        self._moment, self._timestamp = moment, timestamp
        self._packets = self._octets = 0

    def timestamp(self, moment: int) -> int:
        """The RTP timestamp of a moment."""
        passed = (moment - self._moment) * self.media.clock_rate
        return (self._timestamp + round(passed / 1_000_000_000)) & 0xFFFFFFFF

    def sent(self, batch: Batch) -> None:
        """Count what goes out, and take up its timestamp."""
        self._packets += len(batch.packets)
        self._octets += sum(len(packet) - HEADER_BYTES for packet in batch.packets)
        self._moment, self._timestamp = batch.moment, fields(batch.packets[0])[1]

    def report(self, name: str, now: int, wall_ns: int) -> bytes:
        """A sender report: the moment `now` is `wall_ns` of Unix time."""
        at = self.timestamp(now)
        return rtcp.sender_report(self.ssrc, name, wall_ns, at, self._packets, self._octets)


class Presentation:
    """Everything that is served, from one opening of the output until it is closed."""

    def __init__(self, title: str, tracks: list[Track], want_key: Callable[[], None]) -> None:
        """`want_key` asks for a key frame; it is called often."""
        self.title = title
        self.tracks = tracks
        self.want_key = want_key
        self.id = secrets.randbits(62)
        self._name = secrets.token_urlsafe(12)
        # Both tracks keep one clock for as long as they run, even where the wall clock is set.
        self._wall_ns = time.time_ns() - time.monotonic_ns()

    def reports(self) -> list[bytes]:
        """A sender report for each track."""
        now = time.monotonic_ns()
        return [track.report(self._name, now, now + self._wall_ns) for track in self.tracks]

    def byes(self) -> list[bytes]:
        """The end of each track."""
        return [rtcp.bye(track.ssrc, self._name) for track in self.tracks]


def fields(packet: bytes) -> tuple[int, int, int]:
    """Sequence number, timestamp and source of an RTP packet."""
    _, _, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    return sequence, timestamp, ssrc


def packet(
    payload: bytes, payload_type: int, sequence: int, timestamp: int, ssrc: int, *, marker: bool
) -> bytes:
    """An RTP packet (RFC 3550, 5.1)."""
    second = payload_type | marker << 7
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp, ssrc) + payload
