"""GoPro's metadata format, GPMF: named values within named values, big-endian.

Each value has a name of four letters, a letter for its type, the bytes that one sample takes, and
how many samples there are. What describes a stream of samples stands before them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TYPES: Final = {
    "b": ">i1",
    "B": ">u1",
    "s": ">i2",
    "S": ">u2",
    "l": ">i4",
    "L": ">u4",
    "j": ">i8",
    "J": ">u8",
    "f": ">f4",
    "d": ">f8",
}
_DEEPEST = 8
"""Values within values: files have three levels."""


class GpmfError(ValueError):
    """What is there is not GPMF, or a piece of it."""


@dataclass(frozen=True)
class Value:
    """A named value."""

    name: str
    type: str
    size: int
    """Bytes of a sample."""
    content: bytes

    @property
    def text(self) -> str:
        return self.content.split(b"\0")[0].decode("latin-1").strip()

    def numbers(self) -> NDArray[np.float64]:
        """(samples, numbers of a sample). Raises `GpmfError` where these are no numbers."""
        kind = np.dtype(_TYPES.get(self.type, ">u1"))
        if self.type not in _TYPES or not self.size or self.size % kind.itemsize:
            raise GpmfError(f"{self.name} has no numbers of type {self.type!r}")
        flat = np.frombuffer(self.content, kind).astype(np.float64)
        return flat.reshape(-1, self.size // kind.itemsize)


@dataclass
class Stream:
    """Samples of one kind in one packet, with what describes them."""

    device: str
    values: dict[str, Value] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """The first number of a value, where it is there. Raises `GpmfError`."""
        if name not in self.values:
            return None
        numbers = self.values[name].numbers()
        return float(numbers[0, 0]) if numbers.size else None

    def samples(self, name: str) -> NDArray[np.float64]:
        """The samples of a name in the unit they are given in, (n, numbers of a sample).

        Raises `GpmfError`, also where integers have no scale, or one of 0.
        """
        value = self.values[name]
        found = value.numbers()
        scale = self.values.get("SCAL")
        if scale is None:
            if value.type not in "fd":
                raise GpmfError(f"{name} has no scale")
            return found
        divisors = scale.numbers().ravel()
        if divisors.size not in (1, found.shape[1]) or not (divisors != 0).all():
            raise GpmfError(f"{name} has a scale that cannot be")
        return np.asarray(found / divisors, np.float64)


def streams(packet: bytes) -> list[Stream]:
    """What is in a packet, or in the box of a file's header. Raises `GpmfError`.

    A device's own values, which describe no samples, come as a stream of their own.
    """
    found: list[Stream] = []
    for device in _values(packet):
        if device.name != "DEVC" or device.type:
            raise GpmfError(f"a device was expected, not {device.name!r}")
        inner = list(_values(device.content))
        name = next((each.text for each in inner if each.name == "DVNM"), "")
        own = Stream(name)
        for each in inner:
            if each.name == "STRM" and not each.type:
                found.append(Stream(name, {one.name: one for one in _flat(each.content)}))
            else:
                own.values[each.name] = each
        found.append(own)
    return found


def _flat(content: bytes, depth: int = 0) -> Iterator[Value]:
    """The values of a stream, and those within them."""
    for value in _values(content):
        if value.type or depth >= _DEEPEST:
            yield value
        else:
            yield from _flat(value.content, depth + 1)


def _values(content: bytes) -> Iterator[Value]:
    place = 0
    while place + 8 <= len(content):
        name, kind, size, count = struct.unpack_from(">4sBBH", content, place)
        if name == b"\0\0\0\0":
            return  # what pads a packet
        letters = name.decode("latin-1")
        if not (letters.isascii() and letters.isprintable()):
            raise GpmfError(f"{name!r} is no name")
        end = place + 8 + size * count
        if end > len(content):
            raise GpmfError(f"{letters} is longer than what it is in")
        yield Value(letters, chr(kind) if kind else "", size, content[place + 8 : end])
        place += 8 + (size * count + 3) // 4 * 4
    if any(content[place:]):
        raise GpmfError("there are bytes behind the last value")
