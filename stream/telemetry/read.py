"""Reading what was noted beside the pictures of a video: from its own file, or a log beside it."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from stream.media.quicktime import boxes
from stream.telemetry.gcsv import read_gcsv
from stream.telemetry.gopro import Packet, read_gopro
from stream.telemetry.record import Telemetry, TelemetryError, check_gyro, check_shutter

_LARGEST = 16 << 20
"""Bytes of a packet, and of the header's box, that are read: more are not what they should be."""
_HANDLER = "GoPro MET"


def read_telemetry(
    path: Path, container: Any, *, begin: float, end: float | None
) -> Telemetry | None:
    """What was noted beside the video in a file that is open as a container, which lasts from one
    moment to another on its clock, in seconds; None where nothing was.

    A log of the same name that ends in `.gcsv` goes before what the file has. Nothing is raised:
    what cannot be used is among the faults.
    """
    found = _of_file(path, container)
    log = path.with_suffix(".gcsv")
    if log != path and log.is_file():
        try:
            other = read_gcsv(log)
        except TelemetryError as error:
            other = Telemetry(log.name)
            other.fault(str(error))
        if found is not None:
            other.shutter, other.stabilized = found.shutter, found.stabilized
            other.lens = other.lens or found.lens
            other.camera = found.camera or other.camera
        found = other
    if found is None:
        return None
    try:
        if found.gyro is not None and end is not None:
            check_gyro(found.gyro, begin, end)
    except TelemetryError as error:
        found.fault(str(error))
        found.gyro = None
    try:
        if found.shutter is not None:
            check_shutter(found.shutter)
    except TelemetryError as error:
        found.fault(str(error))
        found.shutter = None
    return found


def _of_file(path: Path, container: Any) -> Telemetry | None:
    if "mov" not in container.format.name.split(","):
        return None
    tracks = [
        stream
        for stream in container.streams
        if stream.type == "data" and _HANDLER in stream.metadata.get("handler_name", "")
    ]
    header = _header(path)
    if not tracks and not header:
        return None
    try:
        return read_gopro(_packets(path, tracks[0]) if tracks else (), header)
    except OSError as error:
        found = Telemetry("GPMF")
        found.fault(f"the telemetry cannot be read: {error}")
        return found


def _packets(path: Path, track: Any) -> Iterator[Packet]:
    """A track's packets, straight from where the index puts them: all else is passed by."""
    entries = list(track.index_entries)
    base = Fraction(track.time_base or Fraction(1, 1000))
    times = [float(entry.timestamp * base) for entry in entries]
    usual = times[1] - times[0] if len(times) > 1 else float((track.duration or 0) * base)
    with path.open("rb") as file:
        for number, entry in enumerate(entries):
            if not 0 < entry.size <= _LARGEST:
                continue
            file.seek(entry.pos)
            after = times[number + 1] if number + 1 < len(times) else times[number] + usual
            yield Packet(times[number], after - times[number], file.read(entry.size))


def _header(path: Path) -> bytes:
    """What is in the box that newer cameras write of the whole file; empty where there is none."""
    try:
        with path.open("rb") as file:
            for begin, end in boxes(file, 0, file.seek(0, 2), b"moov", b"udta", b"GPMF"):
                if end - begin <= _LARGEST:
                    file.seek(begin)
                    return file.read(end - begin)
    except (OSError, struct.error):
        pass
    return b""
