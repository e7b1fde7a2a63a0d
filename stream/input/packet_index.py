"""When all packets of a video are shown, read once: by it frames are found by their number."""

import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stream.errors import SourceError
from stream.input.container.demux import Demuxer
from stream.input.container.opening import open_input
from stream.input.source import Source
from stream.paths import identity

_HIDES = {"vp8"}
"""Codecs in which packets of their own make no frame."""
_NONE = np.iinfo(np.int64).min
"""Stands for a time that a packet does not have."""


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The packets of a file's video in the order in which they are decoded."""

    name: str
    """What the file is known by: its size, and a hash of its ends."""
    pts: NDArray[np.int64]
    """When each packet is shown, in ticks of the video's clock without its jumps."""
    key: NDArray[np.bool_]
    size: NDArray[np.int64]
    pos: NDArray[np.int64]
    """Where in the file each one begins, -1 where that is not known."""
    crc: NDArray[np.uint32]
    times: NDArray[np.int64]
    """When the frames are shown, in order; empty where the packets do not say it for sure: then
    frames are counted as they are decoded."""
    sought: bool
    """Whether a search in the file finds a packet; else all before it are read."""

    @classmethod
    def of(cls, source: Source) -> "PacketIndex":
        """Read all packets of a file. Raises `SourceError`."""
        demuxer = Demuxer(discontinuous=source.discontinuous)
        rows, discarded = [], []
        with open_input(source.path, max_pixels=source.reading.max_pixels) as container:
            for packet in demuxer.packets(container):
                if packet.stream_index != source.video.index or not packet.size:
                    continue
                shown = _NONE if packet.pts is None else packet.pts
                place = -1 if packet.pos is None else packet.pos
                rows.append((shown, packet.is_keyframe, packet.size, place, zlib.crc32(packet)))
                discarded.append(packet.is_discard)
            whole = demuxer.last is not None and not demuxer.last.unread
        columns = list(zip(*rows, strict=True)) or [()] * 5
        pts, key = np.array(columns[0], np.int64), np.array(columns[1], np.bool_)
        size, pos = (np.array(column, np.int64) for column in columns[2:4])
        crc = np.array(columns[4], np.uint32)
        times = source.times.in_order(pts[~np.array(discarded, np.bool_)])
        hides = source.video.codec_context.codec.canonical_name in _HIDES
        if not whole or hides or (pts == _NONE).any() or len(np.unique(pts)) < len(pts):
            times = times[:0]
        sought = not source.discontinuous and not demuxer.jumps
        return cls(_name(source.path), pts, key, size, pos, crc, times, sought)

    @property
    def frames(self) -> int:
        """How many frames there are, about where they are counted as they are decoded."""
        return len(self.times) or len(self.pts)

    def entries(self, frame: int) -> list[int]:
        """The numbers of packets from which decoding can begin so that a frame and all after it
        come out, the nearest one first; the last is 0."""
        if not len(self.times) or frame <= 0:
            return [0]
        time = self.times[frame]
        # All that is decoded before must be shown before: behind an open GOP's key frame follow
        # pictures that are shown before it, and those need the GOP before.
        usable = self._keys[(self.pts[self._keys] <= time) & (self._latest[self._keys - 1] < time)]
        return [*usable[:-4:-1].tolist(), 0]

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.key[1:]) + 1

    @cached_property
    def _latest(self) -> NDArray[np.int64]:
        """When the last of all packets up to each one is shown."""
        return np.maximum.accumulate(self.pts)

    def lead(self, frame: int) -> int:
        """How many packets are decoded in vain before a frame."""
        if not len(self.times) or frame <= 0:
            return frame
        wanted = int(np.flatnonzero(self.pts == self.times[frame])[0])
        return wanted - self.entries(frame)[0]

    def save(self, file: BinaryIO) -> None:
        """Write it, to be read by `load`."""
        arrays: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, file: Path, of: Path) -> "PacketIndex | None":
        """Read what was saved; None where that is damaged, or of another file than `of`."""
        try:
            with file.open("rb") as opened:
                index = cls._read(opened)
        except (OSError, ValueError, KeyError, EOFError, zlib.error):
            return None
        return index if index.name == _name(of) else None

    def to_bytes(self) -> bytes:
        """All of it, for `from_bytes`."""
        file = BytesIO()
        self.save(file)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "PacketIndex":
        """What `to_bytes` gave."""
        return cls._read(BytesIO(data))

    @classmethod
    def _read(cls, file: BinaryIO) -> "PacketIndex":
        with np.load(file, allow_pickle=False) as saved:
            found = {each.name: saved[each.name] for each in fields(cls)}
        return cls(**{**found, "name": str(found["name"]), "sought": bool(found["sought"])})


def _name(file: Path) -> str:
    try:
        size, digest = identity(file)
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from error
    return f"{size} {digest}"
