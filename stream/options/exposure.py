"""For how long a camera's shutter is open, as people say it."""

import re
from dataclasses import dataclass
from fractions import Fraction

from stream.errors import UsageError

_SECONDS = re.compile(r"(\d{1,5})/(\d{1,6})")
_DEGREES = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)(?:deg|°)")


@dataclass(frozen=True)
class Exposure:
    """`auto`, seconds such as `1/60`, or an angle such as `180deg`: half of the frame interval."""

    said: str = "auto"

    def __post_init__(self) -> None:
        if self.auto:
            return
        seconds, degrees = _SECONDS.fullmatch(self.said), _DEGREES.fullmatch(self.said)
        if seconds and int(seconds[1]) and int(seconds[2]):
            return
        if degrees and 0 < float(degrees[1]) <= 360:
            return
        raise UsageError(
            f"--shutter must be auto, seconds such as 1/60, or an angle such as 180deg, "
            f"got {self.said}"
        )

    def __str__(self) -> str:
        return self.said

    @property
    def auto(self) -> bool:
        """Whether it is to be found out."""
        return self.said == "auto"

    def share(self, rate: Fraction | float) -> float:
        """Of the frame interval, 0 to 1, at so many frames per second; not for `auto`."""
        if degrees := _DEGREES.fullmatch(self.said):
            return float(degrees[1]) / 360
        return min(float(Fraction(self.said) * Fraction(rate)), 1.0)
