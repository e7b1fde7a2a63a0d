"""Files whose end promises nothing: MPEG, Ogg, pictures in a row, and Matroska that was streamed or
broken off."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import av.container

from stream.media.matroska import coded

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TAILS: Final = (1 << 20, 16 << 20, 128 << 20)
"""How far from the end the last cluster is looked for, in bytes."""
_TS_TAIL: Final = 4 << 20
"""How much of the end of MPEG-TS is looked through, in bytes, ..."""
_TAIL: Final = 1 << 20
"""... and of Ogg and MPEG's program streams."""
_PACK, _LAST = 0xBA, 0xB9
"""Of a program stream, what its packs begin with, and what it may end with."""
_JPEG_END: Final = b"\xff\xd9"
_FRAME: Final = b"FRAME\n"
"""How frames of Y4M begin."""
_PARTITION: Final = bytes.fromhex("060e2b34020501010d01020101")
"""How the key of a partition of MXF begins."""
_INDEX: Final = bytes.fromhex("4e58dd672f23e64e")
"""How the index of NUT begins."""
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
        elif "ogg" in kinds:
            if not all(_pages(file)):
                said.append(
                    "the input lacks the mark at which streams of Ogg end: its recording was "
                    "broken off, or its end cut off"
                )
        elif "nut" in kinds:
            if _INDEX not in _tail(file):
                said.append(
                    "the input has no index: its recording was broken off, or its end cut off"
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
    place, end = _last_cluster(file), file.seek(0, 2)
    while place is not None and place < end:
        size, content = _sized(file, place)
        # What has no size is followed by what is in it.
        place = content + (size or 0)
    return place is not None and place > end


def half_cluster(file: BinaryIO) -> bool:
    """Whether the last cluster of a Matroska file, which holds its frames, is not all there."""
    place, end = _last_cluster(file), file.seek(0, 2)
    if place is None:
        return False
    size, content = _sized(file, place)
    return size is not None and content + size > end


def _last_cluster(file: BinaryIO) -> int | None:
    """Where it begins; None where there is none."""
    end = file.seek(0, 2)
    for tail in _TAILS:
        begin = max(0, end - tail)
        file.seek(begin)
        found = file.read().rfind(_CLUSTER)
        if found >= 0:
            return begin + found
    return None


def half_gif(file: BinaryIO) -> bool:
    """Whether a GIF lacks the mark at which it ends."""
    return not _tail(file).rstrip(b"\0\r\n").endswith(b";")


def half_jpeg(file: BinaryIO) -> bool:
    """Whether a row of JPEGs ends within one."""
    tail = _tail(file)
    # Cameras that leave out the end of a picture leave it out of all.
    return _JPEG_END in tail[:-2] and not tail.rstrip(b"\0\r\n").endswith(_JPEG_END)


def half_frame(file: BinaryIO, size: int) -> bool:
    """Whether a Y4M file, whose frames have `size` bytes, ends within one of them."""
    file.seek(0)
    head = file.readline(1024)
    plain = file.read(len(_FRAME)) == _FRAME  # a frame's own header may say more
    end = file.seek(0, 2)
    return plain and bool((end - len(head)) % (len(_FRAME) + size))


def half_partition(file: BinaryIO) -> bool:
    """Whether an MXF file (SMPTE ST 377-1, 7.1) lacks the footer that its header speaks of."""
    file.seek(0)
    begins = file.read(1 << 16)
    place = begins.find(_PARTITION)
    if place < 0:
        return False
    length = begins[place + 16]  # of the length, where it has more than a byte
    content = place + 17 + (length & 0x7F if length & 0x80 else 0)
    footer = int.from_bytes(begins[content + 24 : content + 32], "big")
    return footer >= file.seek(0, 2)


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


def half_page(file: BinaryIO) -> bool:
    """Whether an Ogg file ends within a page."""
    return None in _pages(file)


def _pages(file: BinaryIO) -> list[bool | None]:
    """Of each stream of an Ogg file (RFC 3533) whether its last page is marked as such; None where
    a page is not whole."""
    data = _tail(file)
    place, ends = data.find(b"OggS"), dict[bytes, bool]()
    while 0 <= place < len(data):
        head = data[place : place + 27].ljust(27, b"\xff")
        lengths = data[place + 27 : place + 27 + head[26]]
        end = place + 27 + head[26] + sum(lengths)
        if end > len(data):
            return [None]
        ends[head[14:18]] = bool(head[5] & 4)
        # Behind the last one may be something else.
        begun = end < len(data) and b"OggS".startswith(data[end : end + 4])
        place = end if begun else data.find(b"OggS", end)
    return [*ends.values()]


def half_pack(file: BinaryIO) -> bool:
    """Whether a program stream of MPEG (ISO/IEC 13818-1) ends within a packet."""
    data = _tail(file)
    place = data.rfind(bytes((0, 0, 1, _PACK)))
    if place < 0:
        return False
    while place < len(data):
        head = data[place : place + 14]
        if head[:3] != b"\0\0\1"[: len(head)] or head[3:4] == bytes((_LAST,)):
            return False  # padding, or the end
        if len(head) < 6:
            return True
        if head[3] != _PACK:
            place += 6 + int.from_bytes(head[4:6], "big")
        elif head[4] >> 6 != 1:  # that of MPEG-1
            place += 12
        else:
            place += 14 + (head[13] & 7 if len(head) == 14 else 0)
    return place > len(data)


def _tail(file: BinaryIO) -> bytes:
    file.seek(max(0, file.seek(0, 2) - _TAIL))
    return file.read()


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
