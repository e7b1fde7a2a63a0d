"""Files whose end promises nothing: MPEG-TS, and Matroska that its writer did not come back to."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import av.container

from stream.media.matroska import coded

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TAILS: Final = (1 << 20, 16 << 20, 128 << 20)
"""How far from the end the last cluster is looked for, in bytes."""
_TS_TAIL: Final = 4 << 20
"""How much of the end of MPEG-TS is looked through, in bytes."""
_APART_S = 1.0
"""By how much picture and sound may end apart without a word."""


def hints(
    container: av.container.InputContainer, path: Path, ends: Mapping[int, float], video: int
) -> list[str]:
    """What hints that a file is not all that there was, where nothing in it promises more.

    It was read to its end; `ends` is when each stream ended, by its index, `video` that of the
    picture. Nothing of it is certain: recordings of broadcasts are like that and whole.
    """
    kinds = {*container.format.name.split(",")}
    said = []
    with path.open("rb") as file:
        if "matroska" in kinds and endless(file):
            said.append(
                "the input does not say its length, and has no index: its recording was broken "
                "off, or it was written to where nothing can be put in later"
            )
        elif "mpegts" in kinds:
            if half_packets(file):
                said.append(
                    "the input ends within a packet, as recordings of broadcasts do, or what was "
                    "cut off; MPEG-TS does not tell how much is missing"
                )
        else:
            return []
    sounds = [each for each in container.streams if each.type == "audio" and each.index in ends]
    if video in ends and sounds:
        apart = ends[video] - max(ends[each.index] for each in sounds)
        if abs(apart) > _APART_S:
            first, second = ("sound", "picture") if apart > 0 else ("picture", "sound")
            said.append(f"the {first} of the input ends {abs(apart):.1f} s before its {second}")
    return said


def endless(file: BinaryIO) -> bool:
    """Whether a Matroska file does not say its length."""
    file.seek(0)
    place = file.read(128).find(_SEGMENT)
    return place >= 0 and _sized(file, place)[0] is None


def half_element(file: BinaryIO) -> bool:
    """Whether a Matroska file that does not say its length ends within an element."""
    end = file.seek(0, 2)
    for tail in _TAILS:
        begin = max(0, end - tail)
        file.seek(begin)
        found = file.read().rfind(_CLUSTER)
        if found < 0:
            continue
        place = begin + found
        while place < end:
            size, content = _sized(file, place)
            # What has no size is followed by what is in it.
            place = content + (size or 0)
        return place > end
    return False


def _sized(file: BinaryIO, place: int) -> tuple[int | None, int]:
    """The size of an element, where it says it, and where its content begins."""
    file.seek(place)
    # Of what is cut off nothing is known, but that it reaches beyond the end.
    head = file.read(12).ljust(12, b"\xff")
    _, at = coded(head, 0)
    size, content = coded(head, min(at, 4))
    unknown = (1 << 7 * (content - at)) - 1
    size &= unknown
    return (None if size == unknown else size), place + content


def half_packets(file: BinaryIO) -> bool:
    """Whether an MPEG-TS file ends within a packet (PES) of a stream that says its length."""
    end = file.seek(0, 2)
    for size, skip in ((188, 0), (192, 4)):
        begin = max(end % size, end - _TS_TAIL // size * size)
        file.seek(begin)
        data = file.read()
        packets = [data[at + skip : at + skip + 188] for at in range(0, len(data), size)]
        if packets and all(each[:1] == b"G" for each in packets):
            return _half(packets)
    return False


def _half(packets: list[bytes]) -> bool:
    lacking: dict[int, int] = {}
    """Bytes that are to come of each stream's packet, by PID."""
    for packet in packets:
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        if not packet[3] & 0x10:  # no payload
            continue
        payload = packet[5 + packet[4] if packet[3] & 0x20 else 4 :]
        if packet[1] & 0x40:
            lacking[pid] = 0
            length = int.from_bytes(payload[4:6], "big")
            if payload[:3] == b"\0\0\1" and length:
                lacking[pid] = length + 6
        if pid in lacking:
            lacking[pid] -= len(payload)
    return any(each > 0 for each in lacking.values())
