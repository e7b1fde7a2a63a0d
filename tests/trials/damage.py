"""Ways to damage a file, as disks, networks and malice do. Each gives the same for one seed."""

import re
from collections.abc import Callable

import numpy as np

EXTREMES = [0, 1, 2, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
"""Sizes and counts that a reader may stumble on."""
_BOXES = re.compile(
    rb"moov|trak|mdia|minf|stbl|stsd|stts|ctts|stsc|stsz|stco|co64|stss|mvhd|tkhd|mdhd|hdlr|avc1|"
    rb"hvc1|hev1|mp4a|avcC|hvcC|esds|edts|elst|udta|meta|moof|traf|tfhd|trun|mvex|trex|mdat|colr|"
    rb"pasp|sidx|ftyp|RIFF|LIST|strh|strf|idx1"
)
_ELEMENTS = re.compile(
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|"
    rb"\x1c\x53\xbb\x6b|\x11\x4d\x9b\x74|\x12\x54\xc3\x67|\xae(?=[\x80-\xff\x40-\x7f])|"
    rb"\xa3(?=[\x80-\xff\x40-\x7f])|\xe0(?=[\x80-\xff])|\x63\xa2(?=[\x80-\xff\x40-\x7f])"
)

Rng = np.random.Generator
Way = Callable[[bytearray, bytes, Rng], bytearray]
"""From a file, another one and a source of chance, a damaged file."""


def damage(data: bytes, other: bytes, rng: Rng) -> tuple[bytes, str]:
    """Damage `data` in one to three ways; returns the result and the ways' names."""
    made = bytearray(data)
    names = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        way = WAYS[int(rng.integers(len(WAYS)))]
        names.append(way.__name__)
        if len(made) >= 16:
            made = way(made, other, rng)
    return bytes(made), " + ".join(names)


def flip_bits(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    for place in rng.integers(0, len(data), int(2 ** rng.uniform(0, 10))):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def flip_bits_at_the_start(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """Where most containers have their headers."""
    for place in rng.integers(0, min(len(data), 4096), int(2 ** rng.uniform(0, 5))):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def flip_bits_at_the_end(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """Where the others have them."""
    for place in rng.integers(max(0, len(data) - 4096), len(data), int(2 ** rng.uniform(0, 5))):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def blank_a_run(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """A run of bytes becomes zeros, as a disk gives back what it cannot read."""
    start, length = _run(data, rng)
    data[start : start + length] = bytes(length)
    return data


def scramble_a_run(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start, length = _run(data, rng)
    data[start : start + length] = rng.bytes(length)
    return data


def cut_off(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    return data[: int(rng.integers(1, len(data)))]


def cut_off_the_start(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    return data[int(rng.integers(1, len(data))) :]


def cut_out(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start, length = _run(data, rng)
    del data[start : start + length]
    return data


def repeat(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start, length = _run(data, rng)
    place = int(rng.integers(len(data)))
    data[place:place] = data[start : start + length]
    return data


def swap(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start, length = _run(data, rng)
    place = int(rng.integers(0, len(data) - length + 1))
    first, second = data[start : start + length], data[place : place + length]
    data[start : start + length], data[place : place + length] = second, first
    return data


def insert(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    place = int(rng.integers(len(data)))
    data[place:place] = rng.bytes(int(2 ** rng.uniform(0, 14)))
    return data


def extreme_number(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """32 bits anywhere in the first or last part become a number at some edge."""
    zone = min(len(data) - 4, 8192)
    place = int(rng.integers(0, zone))
    if rng.random() < 0.5:
        place = len(data) - 4 - place
    data[place : place + 4] = _extreme(rng)
    return data


def size_of_a_box(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """The size of an MP4 box or of a RIFF chunk; elsewhere some number."""
    boxes = [found.start() for found in _BOXES.finditer(data) if found.start() >= 4]
    if not boxes:
        return extreme_number(data, other, rng)
    place = int(rng.choice(boxes)) - 4
    if data[:4] == b"RIFF":
        place += 8
    data[place : place + 4] = _extreme(rng)[: len(data) - place]
    return data


def inside_of_a_box(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """A count or a field near the start of an MP4 box."""
    boxes = [found.end() for found in _BOXES.finditer(data) if found.end() + 40 < len(data)]
    if not boxes:
        return extreme_number(data, other, rng)
    place = int(rng.choice(boxes)) + 4 * int(rng.integers(0, 9))
    data[place : place + 4] = _extreme(rng)
    return data


def length_of_an_element(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """The length of a Matroska element becomes 1 to 8 bytes of any value; elsewhere a number."""
    elements = [found.end() for found in _ELEMENTS.finditer(data)]
    if data[:4] != b"\x1a\x45\xdf\xa3" or not elements:
        return extreme_number(data, other, rng)
    place = int(rng.choice(elements))
    width = int(rng.integers(1, 9))
    filler = (0x00, 0xFF, int(rng.integers(256)))[int(rng.integers(3))]
    value = bytearray([filler] * width)
    value[0] = (value[0] & ((1 << (8 - width)) - 1)) | 1 << (8 - width)
    data[place : place + width] = value[: len(data) - place]
    return data


def splice(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """The start of the file and the end of another."""
    return data[: int(rng.integers(1, len(data)))] + other[int(rng.integers(0, len(other))) :]


def head_of_another(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """The first kilobytes of another file on the body of this one."""
    length = min(len(data), len(other), int(2 ** rng.uniform(6, 14)))
    data[:length] = other[:length]
    return data


def _run(data: bytearray, rng: Rng) -> tuple[int, int]:
    """Where a run of bytes starts and how long it is: a few bytes up to a quarter of the file."""
    length = int(2 ** rng.uniform(0, np.log2(len(data) / 4)))
    return int(rng.integers(0, len(data) - length)), length


def _extreme(rng: Rng) -> bytes:
    number = int(rng.choice(EXTREMES)) if rng.random() < 0.8 else int(rng.integers(2**32))
    return number.to_bytes(4, "big")


WAYS: list[Way] = [
    flip_bits,
    flip_bits_at_the_start,
    flip_bits_at_the_end,
    blank_a_run,
    scramble_a_run,
    cut_off,
    cut_off_the_start,
    cut_out,
    repeat,
    swap,
    insert,
    extreme_number,
    size_of_a_box,
    inside_of_a_box,
    length_of_an_element,
    splice,
    head_of_another,
]
