"""RTCP packets that a sender writes (RFC 3550, section 6)."""

import struct

_SENDER, _DESCRIPTION, _BYE = 200, 202, 203
_NTP_1900 = 2_208_988_800
"""Seconds from the epoch of NTP until that of Unix."""
_CNAME = 1


def sender_report(
    ssrc: int, name: str, wall_ns: int, timestamp: int, packets: int, octets: int
) -> bytes:
    """That `timestamp` of RTP is the moment `wall_ns`, in nanoseconds of Unix time.

    Readers bring streams of the same `name` (CNAME) to one clock by it.
    """
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    report = struct.pack(
        ">BBHIIIIII",
        *(0x80, _SENDER, 6, ssrc),
        *((seconds + _NTP_1900) & 0xFFFFFFFF, (rest << 32) // 1_000_000_000),
        *(timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF),
    )
    return report + _description(ssrc, name)


def bye(ssrc: int, name: str) -> bytes:
    """That nothing more comes."""
    empty = struct.pack(">BBHI", 0x80, 201, 1, ssrc)
    return empty + _description(ssrc, name) + struct.pack(">BBHI", 0x81, _BYE, 1, ssrc)


def _description(ssrc: int, name: str) -> bytes:
    text = name.encode()
    chunk = struct.pack(">IBB", ssrc, _CNAME, len(text)) + text
    chunk += bytes(4 - len(chunk) % 4)
    return struct.pack(">BBH", 0x81, _DESCRIPTION, len(chunk) // 4) + chunk
