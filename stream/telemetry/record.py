"""What a camera noted, whatever it was read from."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.options.lens import Lens

Numbers: TypeAlias = NDArray[np.float64]
_LEAST_HZ, _MOST_HZ = 20.0, 40_000.0
"""Rates of gyroscopes that can be used, and that there are."""
_MOST_RATE = 90.0
"""Radians per second: beyond what gyroscopes measure."""
_UNSTEADY = 0.25
"""The share by which intervals between samples may differ from their median ..."""
_FEW = 0.01
"""... but for so many of them."""
_LEAST_COVERED = 0.9
"""The share of the video that a gyroscope's readings must cover."""


class TelemetryError(ValueError):
    """What is there cannot be used, in one line."""


@dataclass(frozen=True, eq=False)
class Series:
    """Readings and their moments."""

    times: Numbers
    """(n,), seconds on the file's clock, ascending."""
    values: Numbers
    """(n,) or (n, k)."""

    @property
    def rate(self) -> float:
        """Readings per second; 0 of fewer than two."""
        if len(self.times) < 2:
            return 0.0
        return float((len(self.times) - 1) / (self.times[-1] - self.times[0]))


@dataclass(eq=False)
class Telemetry:
    """What was noted beside the pictures of one video."""

    origin: str
    """What it was read from: `GPMF`, or a file's name."""
    camera: str = ""
    shutter: Series | None = None
    """Seconds for which the shutter was open, of each frame."""
    gyro: Series | None = None
    """Angular rates of the camera about its axes, (n, 3), radians per second: x to the right, y
    down, z into the picture."""
    orientation: Series | None = None
    """The camera's, as quaternions, (n, 4), w first, as the file has them."""
    readout: float | None = None
    """Seconds from the first row of a frame to the last; below 0: from the bottom up."""
    stabilized: bool | None = None
    """Whether the camera stabilized the pictures already."""
    lens: Lens | None = None
    faults: list[str] = field(default_factory=list)
    """What could not be used, and why."""

    def fault(self, text: str) -> None:
        """Note what could not be used, once."""
        if text not in self.faults:
            self.faults.append(text)

    def facts(self) -> dict[str, Any]:
        """For `deblur info`, ready for JSON; without what is not there."""
        facts: dict[str, Any] = {"origin": self.origin, "camera": self.camera}
        if self.shutter is not None:
            seconds = float(np.median(self.shutter.values))
            facts["shutter"] = f"1/{1 / seconds:.0f} s, of {len(self.shutter.times)} frames"
        if self.gyro is not None:
            facts["gyroscope"] = f"{len(self.gyro.times)} readings, {self.gyro.rate:.1f} a second"
        if self.orientation is not None:
            facts["orientations"] = len(self.orientation.times)
        if self.readout is not None:
            facts["frame_readout_ms"] = round(1000 * self.readout, 3)
        if self.stabilized is not None:
            facts["stabilized_in_camera"] = self.stabilized
        if self.lens is not None:
            facts["lens"] = str(self.lens)
        if self.faults:
            facts["not_used"] = "; ".join(self.faults)
        return {key: value for key, value in facts.items() if value not in ("", None)}


def check_gyro(gyro: Series, begin: float, end: float) -> None:
    """Raise a `TelemetryError` if readings cannot be those of a gyroscope in a camera that took a
    video from one moment to another, in seconds."""
    times, values = gyro.times, gyro.values
    if len(times) < 2:
        raise TelemetryError("the gyroscope has no readings")
    if not (np.isfinite(times).all() and np.isfinite(values).all()):
        raise TelemetryError("the gyroscope has readings that are no numbers")
    if np.abs(values).max() > _MOST_RATE:
        raise TelemetryError("the gyroscope has readings beyond what gyroscopes measure")
    steps = np.diff(times)
    if not (steps > 0).all():
        raise TelemetryError("the gyroscope's times do not ascend")
    usual = float(np.median(steps))
    if not _LEAST_HZ <= 1 / usual <= _MOST_HZ:
        raise TelemetryError(f"the gyroscope would have {1 / usual:.3g} readings a second")
    if np.mean(np.abs(steps / usual - 1) > _UNSTEADY) > _FEW or steps.max() > 20 * usual + 0.05:
        raise TelemetryError("the gyroscope's readings have gaps")
    covered = min(end, times[-1]) - max(begin, times[0])
    if covered < _LEAST_COVERED * (end - begin):
        raise TelemetryError(
            f"the gyroscope's readings cover {max(covered, 0.0):.1f} s of {end - begin:.1f} s"
        )


def check_shutter(shutter: Series) -> None:
    """Raise a `TelemetryError` if these cannot be shutter times."""
    values = shutter.values
    if not len(values) or not np.isfinite(values).all() or values.min() <= 1e-6 or values.max() > 2:
        raise TelemetryError("the shutter times cannot be")
