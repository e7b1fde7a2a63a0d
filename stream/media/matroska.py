"""The shape of pixels in Matroska files, which FFmpeg writes only from a field that PyAV keeps."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

_SEGMENT: Final = 0x18538067
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _TRACKS, _TRACK, _VIDEO = 0x1549A966, 0x1654AE6B, 0xAE, 0xE0
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xB0, 0xBA
_DISPLAY = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT) = (0x54B0, 0x54BA, 0x54B2)
_VOID, _CRC = 0xEC, 0xBF
_HEADER = (_SEEK_HEAD, _VOID, _INFO, _TRACKS)
"""How a file of FFmpeg's begins; behind these nothing moves."""
_MOST = 16 << 20
"""Bytes of a header, at most."""

_Elements = list[tuple[int, bytes]]
"""IDs, and what the elements hold."""


def write_aspects(path: Path, aspects: Sequence[Fraction | None]) -> None:
    """Say how wide pixels are by their height, in a finished file, for its tracks in their order.

    What is longer by that takes the place of what FFmpeg leaves free before; where that is too
    little, or a file begins otherwise, nothing is changed. Raises `OSError`.
    """
    if all(aspect in (None, 1) for aspect in aspects):
        return
    with path.open("r+b") as file:
        data = file.read(_MOST)
        base = next((at for id, at, _ in _places(data) if id == _SEGMENT), len(data))
        found = [place for _, place in zip(_HEADER, _places(data, base), strict=False)]
        if tuple(id for id, _, _ in found) != _HEADER or found[-1][2] > len(data):
            return
        seeks, _, info, tracks = (data[at:end] for _, at, end in found)
        told, size = iter(aspects), found[-1][2] - base
        tracks = _each(tracks, _TRACK, lambda track: _shaped(track, next(told, None)))
        info, tracks = _element(_INFO, info), _element(_TRACKS, tracks)
        places = {_TRACKS: size - len(tracks), _INFO: size - len(tracks) - len(info)}
        if places[_INFO] < found[0][2] - base + 2:  # which an element takes that stands for nothing
            return
        seeks = _element(_SEEK_HEAD, _each(seeks, _SEEK, lambda seek: _moved(seek, places)))
        file.seek(base)
        file.write(seeks + _void(places[_INFO] - len(seeks)) + info + tracks)


def _shaped(track: bytes, aspect: Fraction | None) -> bytes:
    """What a track holds, with the size in which to show its pictures."""
    if aspect is None or aspect == 1:
        return track
    wider, higher = max(aspect, Fraction(1)), min(aspect, Fraction(1))

    def video(content: bytes) -> bytes:
        elements = [each for each in _elements(content) if each[0] not in _DISPLAY]
        said = {id: int.from_bytes(value, "big") for id, value in elements}
        width, height = said.get(_PIXEL_WIDTH, 0), said.get(_PIXEL_HEIGHT, 0)
        # Like this nothing is shown smaller than it is, as mkvmerge does it.
        shown = round(width * wider), round(height / higher)
        more = [(id, _number(value)) for id, value in zip(_DISPLAY, shown, strict=False)]
        return _joined([*elements, *more])

    return _each(track, _VIDEO, video)


def _moved(seek: bytes, places: dict[int, int]) -> bytes:
    """Where an element is found, if it is one of those whose places are given."""
    said = dict(_elements(seek))
    place = places.get(int.from_bytes(said.get(_SEEK_ID, b""), "big"))
    if place is not None:
        said[_SEEK_POSITION] = _number(place)
    return _joined(list(said.items()))


def _each(content: bytes, kind: int, change: Callable[[bytes], bytes]) -> bytes:
    """What an element holds, with all of a kind in it changed, and its checksum."""
    changed = [(id, change(each) if id == kind else each) for id, each in _elements(content)]
    if changed and changed[0][0] == _CRC:
        rest = _joined(changed[1:])
        changed[0] = (_CRC, zlib.crc32(rest).to_bytes(4, "little"))
    return _joined(changed)


def _elements(content: bytes) -> _Elements:
    return [(id, content[at:end]) for id, at, end in _places(content)]


def _places(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """The elements that follow one another: ID, and where what it holds begins and ends."""
    while at < len(data):
        id, at = coded(data, at)
        size, begin = coded(data, at)
        size &= (1 << 7 * (begin - at)) - 1  # without the bit that says how long it is
        at = begin + size
        yield id, begin, at


def coded(data: bytes, at: int) -> tuple[int, int]:
    """A number that begins with a bit that says how long it is, and where it ends."""
    length = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + length], "big"), at + length


def _joined(elements: _Elements) -> bytes:
    return b"".join(_element(id, content) for id, content in elements)


def _element(id: int, content: bytes) -> bytes:
    length = len(content).bit_length() // 7 + 1
    size = (1 << 7 * length | len(content)).to_bytes(length, "big")
    return _number(id) + size + content


def _void(size: int) -> bytes:
    """An element that stands for nothing, of a whole size in bytes from 2."""
    content = size - 2 if size < 128 else size - 9
    coded = bytes([0x80 | content]) if size < 128 else (1 << 56 | content).to_bytes(8, "big")
    return _number(_VOID) + coded + bytes(content)


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
