"""What a node needs of an input that it does not see: the packets of its piece, and what says
where they lie."""

from collections.abc import Iterator
from pathlib import Path

from stream.cluster.plan import Piece
from stream.input.packet_index import PacketIndex

_HEAD = 8 << 20
"""Bytes of the beginning, by which FFmpeg finds out what is in a file."""
_TAIL = 1 << 20
_AROUND = 6 << 20
"""Bytes before a piece's first packet: Matroska's clusters have up to 5 MB."""
_CHUNK = 16 << 20


def ranges_of(
    path: Path, index: PacketIndex, piece: Piece, begin: int, around: int, *, whole: bool
) -> Iterator[tuple[int, bytes]]:
    """The parts of a file, each with its place; all of it where `whole`, or where packets cannot be
    searched for. `begin` is the first frame of the part of the video to work on."""
    size = path.stat().st_size
    wanted = [(0, size)]
    if not whole and index.sought and len(index.times) and (index.pos >= 0).all():
        last = len(index.times) - 1
        first = min(max(begin + piece.first - around, 0), last)
        end = last if piece.end is None else min(begin + piece.end + around, last)
        needed = slice(
            index.entries(first)[0], int((index.pts <= index.times[end]).nonzero()[0][-1]) + 1
        )
        pos, ends = index.pos[needed], index.pos[needed] + index.size[needed]
        wanted = [
            (0, _HEAD),
            (int(pos.min()) - _AROUND, int(ends.max()) + _TAIL),
            # An index at the end, as MP4 and Matroska have it, is behind all packets.
            (min(int((index.pos + index.size).max()), size - _TAIL), size),
        ]
    with path.open("rb") as file:
        reached = 0
        for start, end in sorted(wanted):
            place = max(start, reached, 0)
            while place < min(end, size):
                file.seek(place)
                data = file.read(min(_CHUNK, min(end, size) - place))
                if not data:
                    break
                yield place, data
                place += len(data)
            reached = max(reached, place)
