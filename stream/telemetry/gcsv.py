"""Gyroscope logs of the form `.gcsv`, which gyroflow documents: a header of names and values, then
a table of raw readings."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stream.telemetry.record import Series, Telemetry, TelemetryError

_HEADS = ("GYROFLOW IMU LOG", "CAMERA IMU LOG")
_USUAL_ORIENTATION = "xzY"
_LARGEST = 1 << 30
"""Bytes of a log that is read."""
_DOWNWARD = {"0": 1, "TopToBottom": 1, "1": -1, "180": -1, "BottomToTop": -1}


def read_gcsv(file: Path) -> Telemetry:
    """What a log says. Raises `TelemetryError`."""
    try:
        if file.stat().st_size > _LARGEST:
            raise TelemetryError(f"{file.name} is too large for a gyroscope log")
        with file.open(encoding="utf-8", newline="") as lines:
            if lines.readline().strip() not in _HEADS:
                raise TelemetryError(f"{file.name} is no gyroscope log: it begins with other words")
            return _parsed(file.name, csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TelemetryError(f"{file.name} cannot be read: {error}") from error


def _parsed(name: str, rows: Iterable[list[str]]) -> Telemetry:
    header: dict[str, str] = {}
    columns: list[str] = []
    table: list[list[str]] = []
    for row in rows:
        cells = [cell.strip() for cell in row]
        if columns:
            # The last line of a log that was cut off may be a piece of one.
            table.append(cells)
        elif cells and cells[0] in ("t", "time"):
            columns = ["t", *cells[1:]]
        elif len(cells) >= 2:
            header[cells[0]] = cells[1]
    needed = ("t", "gx", "gy", "gz")
    if missing := [each for each in needed if each not in columns]:
        raise TelemetryError(f"{name} has no column {missing[0]}")
    if "gscale" not in header:
        raise TelemetryError(f"{name} says no gscale, so its readings have no unit")
    if table and len(table[-1]) < len(columns):
        table.pop()
    picked = [columns.index(each) for each in needed]
    try:
        numbers = np.array([[float(row[place]) for place in picked] for row in table])
    except (ValueError, IndexError):
        raise TelemetryError(f"{name} has lines that are not readings") from None
    if len(numbers) < 2:
        raise TelemetryError(f"{name} has no readings")
    times = numbers[:, 0] * _number(name, header, "tscale", 0.001)
    rates = numbers[:, 1:] * _number(name, header, "gscale", 1.0)
    found = Telemetry(name, header.get("id", "").replace("_", " "))
    if "frame_readout_time" in header:
        way = _DOWNWARD.get(header.get("frame_readout_direction", "0"))
        if way is not None:  # from side to side is not known to what uses it
            found.readout = way * _number(name, header, "frame_readout_time", 0.0) / 1000
    orientation = header.get("orientation", _USUAL_ORIENTATION)
    found.gyro = Series(times, to_camera(turned(rates, orientation)))
    return found


def _number(name: str, header: dict[str, str], key: str, usual: float) -> float:
    try:
        number = float(header.get(key, usual))
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise TelemetryError(f"{name} has {key} {header[key]}, which is no number")
    return number


def turned(readings: np.ndarray, orientation: str) -> np.ndarray:
    """Readings, (n, 3), by axes of a sensor, as those by the axes that a camera's are told by.

    Three letters say which axis of the sensor each one is; a small one is turned around. Raises
    `TelemetryError`.
    """
    if not re.fullmatch(r"[xyzXYZ]{3}", orientation) or len({*orientation.lower()}) != 3:
        raise TelemetryError(f"the gyroscope's orientation {orientation} is no arrangement of XYZ")
    return np.stack(
        [
            readings[:, "xyz".index(axis.lower())] * (1 if axis.isupper() else -1)
            for axis in orientation
        ],
        axis=1,
    )


def to_camera(rates: np.ndarray) -> np.ndarray:
    """Rates about axes that lead up, left and back, (n, 3), which is how logs and GoPro's first
    cameras tell them, as those about axes to the right, down and into the picture."""
    return -rates[:, [1, 0, 2]]
