"""The lens before the camera."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream.errors import UsageError

Kind: TypeAlias = Literal["pinhole", "fisheye"]
_KINDS: dict[str, Kind] = {"": "pinhole", "pinhole": "pinhole", "fisheye": "fisheye"}


@dataclass(frozen=True)
class Lens:
    """How directions become places in the picture."""

    fov: float
    """Degrees that the picture is wide."""
    kind: Kind

    def __str__(self) -> str:
        return f"{self.fov:.0f}° across, {self.kind}"


def lens_of(said: str) -> Lens:
    """A lens as people say it: degrees, and what kind it is. Raises `UsageError`."""
    degrees, _, kind = said.partition(":")
    try:
        fov = float(degrees)
    except ValueError:
        fov = 0.0
    most = 360 if kind == "fisheye" else 170
    if not 1 <= fov <= most or kind not in _KINDS:
        raise UsageError(
            f"--fov must be degrees from left to right such as 94 or 118:fisheye, got {said}"
        )
    return Lens(fov, _KINDS[kind])
