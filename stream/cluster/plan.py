"""Where the pieces of a video begin and end, which depends on the file alone."""

import math
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream.errors import UsageError, WriteError
from stream.input.packet_index import PacketIndex
from stream.input.source import Source
from stream.output.segment_sink import segment_of

_WINDOW = 0.25
"""By what share of a piece's length its begin may be moved to be near behind a key frame."""
_INDEX = "index.npz"


@dataclass(frozen=True)
class Piece:
    """Some of a video's frames."""

    number: int
    """From 1 on."""
    of: int
    """How many pieces there are."""
    first: int
    """The first frame, counted from that with which the part to work on begins."""
    end: int | None
    """The frame behind the last; None: all that follow."""

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.number}-of-{self.of}"


def pieces_of(source: Source, index: PacketIndex, count: int, around: int) -> list[Piece]:
    """A video in `count` pieces, each frame of which needs as many as `around` on either side.

    They begin where segments of the output do, so that these are coded as in one go, and of those
    places where the least is decoded in vain: soon behind a key frame, which is where encoders see
    a cut. Raises `UsageError` where there are more pieces than segments.
    """
    begin, frames = extent(source, index)
    segment = segment_of(source)
    most = max(1, math.ceil(frames / segment))
    if count > most:
        raise UsageError(
            f"{source.path} has {frames} frames, which are {most} pieces at most, of {segment} "
            f"frames; got {count}"
        )
    starts = [0]
    for number in range(1, count):
        ideal, reach = number * most / count, _WINDOW * most / count
        near = range(math.ceil(ideal - reach), math.floor(ideal + reach) + 1)
        usual = math.floor(ideal + 0.5)

        def cost(place: int, ideal: float = ideal) -> tuple[int, float]:
            return index.lead(begin + place * segment - around), abs(place - ideal)

        inside = (place for place in near if 0 < place < most)
        starts.append(segment * min(inside, key=cost, default=usual))
    ends = [*starts[1:], None]
    return [
        Piece(number, count, first, end)
        for number, (first, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


def extent(source: Source, index: PacketIndex) -> tuple[int, int]:
    """The number of the first frame of the part to work on, and how many frames there are, about
    where frames are counted as they are decoded."""
    if not len(index.times):
        return 0, source.expected_frames or index.frames
    begin, end = np.searchsorted(index.times * float(source.time_base), source.limits())
    return int(begin), max(int(end - begin), 1)


def index_of(source: Source, folder: Path) -> PacketIndex:
    """The index of a file's packets, which is kept in `folder`. Raises `WriteError`."""
    known = PacketIndex.load(folder / _INDEX, source.path)
    if known is not None:
        return known
    made = PacketIndex.of(source)
    try:
        folder.mkdir(exist_ok=True)
        # Many may make it at once.
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".npz.tmp", delete=False) as file:
            made.save(file)  # type: ignore[arg-type]
        Path(file.name).replace(folder / _INDEX)
    except OSError as error:
        raise WriteError(f"cannot write to {folder}: {error.strerror}") from error
    return made


def forget(folder: Path) -> None:
    """Remove the index from a folder, and what was left of others."""
    for pattern in (_INDEX, "*.npz.tmp"):
        for file in folder.glob(pattern):
            with suppress(OSError):
                file.unlink()
