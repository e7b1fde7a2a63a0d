"""What GoPro's cameras note: a track of GPMF beside the video, about one packet a second."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from stream.options.lens import Lens
from stream.telemetry.gcsv import to_camera, turned
from stream.telemetry.gpmf import GpmfError, Stream, streams
from stream.telemetry.record import Numbers, Series, Telemetry, TelemetryError

FIELDS_OF_VIEW: Final = {
    "W": Lens(118.2, "fisheye"),
    "M": Lens(94.4, "fisheye"),
    "N": Lens(64.4, "fisheye"),
    "L": Lens(86.0, "pinhole"),
}
"""What `VFOV` stands for, of pictures of 16:9, by the maker's tables."""
_KINDS: Final = ("GYRO", "SHUT", "CORI", "IORI", "SROT")
_LATE = 0.15
"""Seconds by which a packet may be away from where its number of samples puts it."""
_TURNED = 0.01
"""The imaginary part of a quaternion beyond which a picture was turned."""


@dataclass(frozen=True)
class Packet:
    """A packet of the track."""

    time: float
    """Seconds on the file's clock, as is the duration."""
    duration: float
    content: bytes


@dataclass
class _Gathered:
    """The samples of one kind, of all packets."""

    parts: list[Numbers] = field(default_factory=list)
    starts: list[tuple[int, float]] = field(default_factory=list)
    """The number of the first sample of each packet, and when the packet begins."""
    clocks: list[float | None] = field(default_factory=list)
    """When the first sample of each packet was taken, on the camera's own clock, in seconds."""
    first: Stream | None = None
    end: float = 0.0

    def add(self, name: str, stream: Stream, packet: Packet) -> None:
        samples = stream.samples(name)
        if not len(samples):
            return
        before = sum(map(len, self.parts))
        total = stream.number("TSMP")
        number = before if total is None else int(total) - len(samples)
        if self.starts and number < self.starts[-1][0] + len(self.parts[-1]):
            raise GpmfError(f"{name} counts its samples backwards")
        self.parts.append(samples)
        self.starts.append((number, packet.time))
        self.clocks.append(_clock(stream))
        self.first = self.first or stream
        self.end = packet.time + packet.duration

    def series(self, what: str) -> Series:
        """With the moment of each sample: a steady rate, by the camera's own clock where each
        packet tells it, and otherwise by where the packets begin.

        Raises `TelemetryError`.
        """
        numbers, times = (np.array(each, np.float64) for each in zip(*self.starts, strict=True))
        own = np.array([np.nan if each is None else each for each in self.clocks])
        if len(own) > 1 and np.abs(own - own[0] - times + times[0]).max() < _LATE:
            times = own - own[0] + times[0]
        counts = [len(part) for part in self.parts]
        if len({part.shape[1] for part in self.parts}) > 1:
            raise TelemetryError(f"{what} changes its number of axes")
        if len(numbers) > 1:
            step, begin = np.polyfit(numbers - numbers[0], times, 1)
        else:
            step, begin = (self.end - times[0]) / counts[0], times[0]
        late = np.abs(begin + step * (numbers - numbers[0]) - times).max()
        if not step > 0 or late > _LATE:
            raise TelemetryError(f"{what} does not keep its rate: packets are off by {late:.2f} s")
        index = np.concatenate(
            [np.arange(count) + number for number, count in zip(numbers, counts, strict=True)]
        )
        return Series(begin + step * (index - numbers[0]), np.concatenate(self.parts))


def _clock(stream: Stream) -> float | None:
    for name, unit in (("STMP", 1e-6), ("TICK", 1e-3)):
        told = stream.number(name)
        if told is not None:
            return told * unit
    return None


def read_gopro(packets: Iterable[Packet], header: bytes = b"") -> Telemetry:
    """What is in a track's packets, and in the box `GPMF` of the file's header.

    What cannot be used is among its faults: of a track that is damaged anywhere, all of it.
    """
    found = Telemetry("GPMF")
    gathered = {name: _Gathered() for name in _KINDS}
    own: list[Stream] = []
    read = 0
    try:
        own += streams(header)
        for packet in packets:
            read += 1
            for stream in streams(packet.content):
                for name in {*_KINDS} & stream.values.keys():
                    gathered[name].add(name, stream, packet)
                if not {*_KINDS} & stream.values.keys():
                    own.append(stream)
    except GpmfError as error:
        found.fault(f"the telemetry is damaged in packet {read}: {error}" if read else str(error))
        return found
    _tell(found, own)
    for name, what, take in (
        ("SHUT", "the shutter's times", _take_shutter),
        ("GYRO", "the gyroscope", _take_gyro),
        ("CORI", "the orientation", _take_orientation),
        ("IORI", "the picture's orientation", _take_turned),
        ("SROT", "the readout time", _take_readout),
    ):
        if gathered[name].parts:
            try:
                take(found, gathered[name], what)
            except (GpmfError, TelemetryError) as error:
                found.fault(str(error))
    return found


def _tell(found: Telemetry, own: Sequence[Stream]) -> None:
    """What the camera says of itself."""
    for stream in own:
        values = stream.values
        if not found.camera and "MINF" in values:
            found.camera = f"GoPro {values['MINF'].text}".replace("GoPro GoPro", "GoPro")
        if "EISE" in values:
            found.stabilized = values["EISE"].text.upper().startswith("Y")
        if "VFOV" in values and found.lens is None:
            found.lens = FIELDS_OF_VIEW.get(values["VFOV"].text[:1].upper())
    if not found.camera:
        found.camera = "GoPro"


def _take_shutter(found: Telemetry, gathered: _Gathered, what: str) -> None:
    series = gathered.series(what)
    found.shutter = Series(series.times, series.values[:, 0])


def _take_gyro(found: Telemetry, gathered: _Gathered, what: str) -> None:
    series, stream = gathered.series(what), gathered.first
    if series.values.shape[1] != 3 or stream is None:
        raise TelemetryError(f"{what} has {series.values.shape[1]} axes")
    found.gyro = Series(series.times, to_camera(_arranged(series.values, stream)))


def _arranged(rates: Numbers, stream: Stream) -> Numbers:
    """Rates as the order of axes that a stream says puts them: up, left and back."""
    values = stream.values
    if "MTRX" in values:
        matrix = values["MTRX"].numbers().ravel()
        if matrix.size != 9 or abs(abs(np.linalg.det(matrix.reshape(3, 3))) - 1) > 0.1:
            raise TelemetryError("the gyroscope's matrix is no rotation")
        return np.asarray(rates @ matrix.reshape(3, 3).T, np.float64)
    if "ORIN" in values:
        order = values["ORIN"].text
        goal = values["ORIO"].text if "ORIO" in values else "ZXY"
    else:
        # As in "Gyroscope (z,x,y)" or "(y,-x,z)".
        name = values["STNM"].text if "STNM" in values else ""
        axes = re.search(r"\((-?[xyz]),(-?[xyz]),(-?[xyz])\)", name.lower())
        order = "ZXY"
        if axes:
            order = "".join(each[1] if "-" in each else each.upper() for each in axes.groups())
        goal = "ZXY"
    if {*order.lower()} != {*"xyz"} or {*goal.lower()} != {*"xyz"}:
        raise TelemetryError(f"the gyroscope's axes {order} are no arrangement of XYZ")
    places = [order.lower().index(axis) for axis in goal.lower()]
    letters = [
        "XYZ"[place] if order[place].isupper() == axis.isupper() else "xyz"[place]
        for place, axis in zip(places, goal, strict=True)
    ]
    return np.asarray(turned(rates, "".join(letters)), np.float64)


def _take_orientation(found: Telemetry, gathered: _Gathered, what: str) -> None:
    series = gathered.series(what)
    if series.values.shape[1] != 4:
        raise TelemetryError(f"{what} has {series.values.shape[1]} numbers")
    found.orientation = series


def _take_turned(found: Telemetry, gathered: _Gathered, what: str) -> None:
    values = gathered.series(what).values
    # Pictures that lie otherwise than the camera were moved in it.
    if values.shape[1] == 4 and np.abs(values[:, 1:]).max() > _TURNED:
        found.stabilized = True


def _take_readout(found: Telemetry, gathered: _Gathered, what: str) -> None:
    milliseconds = float(np.median(np.concatenate(gathered.parts)))
    if not 0 < milliseconds < 200:
        raise TelemetryError(f"{what} cannot be {milliseconds:.3g} ms")
    found.readout = milliseconds / 1000
