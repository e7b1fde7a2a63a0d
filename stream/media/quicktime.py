"""Languages in MOV files, of which FFmpeg writes only those that the first Macintosh knew."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from stream.media.language import terminological

_OLD = 0x400
"""Lower codes are the Macintosh's own; others are three letters of five bits (QTFF)."""
_UNSAID = 0x7FFF


def write_languages(path: Path, languages: Sequence[str]) -> None:
    """Put the languages of a finished MOV file's tracks, in their order, where it has none."""
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        tracks = list(boxes(file, 0, end, b"moov", b"trak"))
        for begin, end in tracks:
            # FFmpeg counts them by their streams, and leaves out those without packets.
            number = [_number(file, place) for place, _ in boxes(file, begin, end, b"tkhd")]
            if not number or not 1 <= number[0] <= len(languages):
                continue
            code = _packed(terminological(languages[number[0] - 1]))
            for place, _ in boxes(file, begin, end, b"mdia", b"mdhd"):
                file.seek(place)
                # Behind two times, a clock and a length, of which version 1 has longer ones.
                at = place + (32 if file.read(1) == b"\1" else 20)
                file.seek(at)
                (known,) = struct.unpack(">H", file.read(2))
                if code and known == _UNSAID:
                    file.seek(at)
                    file.write(struct.pack(">H", code))


def _number(file: BinaryIO, place: int) -> int:
    """The number of a track, by what its header's box holds."""
    file.seek(place)
    file.seek(place + (20 if file.read(1) == b"\1" else 12))
    return int.from_bytes(file.read(4), "big")


def _packed(language: str) -> int:
    """A language of three letters as a number; 0 for any other."""
    letters = [ord(letter) - 0x60 for letter in language]
    if len(letters) != 3 or not all(1 <= letter <= 26 for letter in letters) or language == "und":
        return 0
    return letters[0] << 10 | letters[1] << 5 | letters[2]


def boxes(file: BinaryIO, begin: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of what is in the boxes of these names, each within the one before."""
    name, *inner = path
    while begin + 8 <= end:
        file.seek(begin)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = begin + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            content += 8
        if size < content - begin:
            return  # it reaches to the end, as what is being written does
        if kind == name and inner:
            yield from boxes(file, content, begin + size, *inner)
        elif kind == name:
            yield content, begin + size
        begin += size
