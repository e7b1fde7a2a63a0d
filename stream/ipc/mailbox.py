"""Pictures on their way between processes, the newest of them only."""

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.context import SpawnContext

import numpy as np
from numpy.typing import NDArray

from stream.colors import UNTAGGED, ColorTags
from stream.ipc.memory import Shared

Plane = NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height in pixels."""
Shape = tuple[Size, Fraction]
"""Of a picture, and the width of its pixels by their height."""

_SLOTS = 4
"""One being written, one that is the newest, and two for those who still copy an older one."""
_HEADER = struct.Struct("=QQqqdiiiiiiiii")
"""Begun, done, timestamp, arrived, rate, width, height, matrix, primaries, transfer, range, flags,
numerator and denominator of the pixels' aspect."""
_SPACE = 128
"""Bytes kept for the header of the mailbox, and for that of each slot."""
_CUT, _DAMAGED = 1, 2
_TRIES = 16


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a live feed, in 8 bits, planar 4:2:0."""

    data: Plane
    """(H * 3 / 2, W): the rows of Y, then those of U and V, as FFmpeg and OpenCV lay out yuv420p
    (I420). H and W are even."""
    timestamp: int
    """When it is shown, in nanoseconds of this machine's monotonic clock; later than the picture
    before. Sound is on the same clock."""
    arrived: int
    """When the packet that completed it came in, in nanoseconds of the same clock."""
    rate: float = 25.0
    """Frames per second, as the source says."""
    tags: ColorTags = UNTAGGED
    cut: bool = False
    """Whether this is the first one after a gap: nothing from before it may be carried on. Readers
    of a mailbox that miss it get the next one as such."""
    damaged: bool = False
    """Whether the decoder concealed something that was lost."""
    aspect: Fraction = Fraction(1)
    """Width of a pixel by its height."""
    number: int = 0
    """Given by the mailbox, counting from 1; what a reader misses of the count was dropped."""

    @property
    def width(self) -> int:
        return int(self.data.shape[1])

    @property
    def height(self) -> int:
        return int(self.data.shape[0]) * 2 // 3

    @property
    def size(self) -> Size:
        return self.width, self.height

    @property
    def form(self) -> str:
        """Its size, and the shape of its pixels where they are not square, for people."""
        size = f"{self.width}x{self.height}"
        across, down = self.aspect.as_integer_ratio()
        return size if across == down else f"{size} with pixels of {across}:{down}"

    @property
    def shape(self) -> Shape:
        return self.size, self.aspect

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Y, (H, W), and U and V, (H / 2, W / 2), as views of `data`."""
        width, height = self.size
        flat = self.data.reshape(-1)
        luma, quarter = width * height, width * height // 4
        return (
            flat[:luma].reshape(height, width),
            flat[luma : luma + quarter].reshape(height // 2, width // 2),
            flat[luma + quarter :].reshape(height // 2, width // 2),
        )


def packed(planes: Iterable[Plane]) -> Plane:
    """Y, (H, W), and U and V, (H / 2, W / 2), one after the other, as `Picture.data`."""
    luma, *chroma = planes
    return np.concatenate([each.reshape(-1) for each in (luma, *chroma)]).reshape(-1, luma.shape[1])


class Mailbox(Shared):
    """Holds the newest picture for several readers, each in a process of its own.

    One process puts, any others read. Nobody holds a lock, so that none can be left behind by a
    process that is killed; each slot says before and after its picture which one it is, and a
    reader that was overtaken while it copied reads again. It passes to other processes as an
    argument of theirs.
    """

    def __init__(self, context: SpawnContext, max_pixels: int, readers: int) -> None:
        """Pictures have up to `max_pixels` pixels; memory is taken as they really need it."""
        self._room = max_pixels * 3 // 2
        self._stride = _SPACE + self._room
        super().__init__(_SPACE + _SLOTS * self._stride)
        # A semaphore for each reader: unlike locks and events, it survives being used by a process
        # that is killed.
        self._bells = [context.Semaphore(0) for _ in range(readers)]

    def put(self, picture: Picture) -> int:
        """Make `picture` the newest, and return the number it got."""
        size = picture.data.nbytes
        if size > self._room:
            raise ValueError(f"{picture.width}x{picture.height} pixels are too many")
        number = self.count + 1
        start = self._start(number)
        header = [
            *(picture.timestamp, picture.arrived, picture.rate, picture.width, picture.height),
            *picture.tags,
            _CUT * picture.cut + _DAMAGED * picture.damaged,
            *picture.aspect.as_integer_ratio(),
        ]
        buffer = self._buffer
        # Begun is not done: until both are the same number the slot holds no picture.
        _HEADER.pack_into(buffer, start, number, 0, *header)
        place = np.frombuffer(buffer, np.uint8, size, start + _SPACE)
        place.reshape(picture.data.shape)[:] = picture.data
        _HEADER.pack_into(buffer, start, number, number, *header)
        if picture.cut:
            struct.pack_into("=Q", buffer, 8, number)
        struct.pack_into("=Q", buffer, 0, number)
        for bell in self._bells:
            bell.release()
        return number

    @property
    def max_pixels(self) -> int:
        """How many pixels a picture can have."""
        return self._room * 2 // 3

    @property
    def count(self) -> int:
        """The number of the newest picture; 0 where there is none yet."""
        return int(struct.unpack_from("=Q", self._buffer, 0)[0])

    def newest(self, after: int = 0) -> Picture | None:
        """A copy of the newest picture, if its number is higher than `after`."""
        for _ in range(_TRIES):
            number = self.count
            if number <= after:
                return None
            start = self._start(number)
            buffer = self._buffer
            begun, done, *header = _HEADER.unpack_from(buffer, start)
            if begun == done == number:
                width, height = header[3:5]
                (last_cut,) = struct.unpack_from("=Q", buffer, 8)
                length = width * height * 3 // 2
                data = np.frombuffer(buffer, np.uint8, length, start + _SPACE).copy()
                if struct.unpack_from("=QQ", buffer, start) == (number, number):
                    timestamp, arrived, rate = header[:3]
                    # A cut is still one where the pictures right after it were not taken.
                    cut = header[9] & _CUT or after < last_cut <= number
                    return Picture(
                        data.reshape(-1, width),
                        timestamp,
                        arrived,
                        rate,
                        tags=ColorTags(*header[5:9]),
                        cut=bool(cut),
                        damaged=bool(header[9] & _DAMAGED),
                        aspect=Fraction(*header[10:]),
                        number=number,
                    )
            time.sleep(0.0005)
        return None

    def wait(self, reader: int, timeout_s: float) -> bool:
        """Wait until a picture is put; `reader` is the number of this reader, from 0."""
        bell = self._bells[reader]
        if not bell.acquire(timeout=timeout_s):
            return False
        while bell.acquire(block=False):
            pass
        return True

    def _start(self, number: int) -> int:
        return _SPACE + number % _SLOTS * self._stride
