"""HDR10's static metadata: the display that a video was graded on, and how bright it gets."""

import struct
from dataclasses import dataclass
from fractions import Fraction

import av
from av.sidedata.sidedata import Type

from stream.media.side_data import MOVING, side_data


@dataclass(frozen=True)
class Mastering:
    """The mastering display (SMPTE ST 2086)."""

    primaries: tuple[Fraction, ...]
    """CIE 1931 x and y of red, green, blue and white."""
    brightest: Fraction
    """Candela per square meter."""
    darkest: Fraction
    """Candela per square meter."""


@dataclass(frozen=True)
class Hdr:
    """What a video says of its brightness, where it says it."""

    mastering: Mastering | None = None
    light: tuple[int, int] | None = None
    """MaxCLL and MaxFALL (CTA-861.3), candela per square meter."""
    dynamic: tuple[str, ...] = ()
    """Names of metadata that changes from frame to frame, which no encoder here can write."""


_DYNAMIC = (Type.DOVI_RPU_BUFFER, Type.DYNAMIC_HDR_PLUS, Type.DYNAMIC_HDR_VIVID)


def hdr_of(frame: av.VideoFrame) -> Hdr:
    """The metadata of a decoded frame."""
    side = side_data(frame)
    display = side.get(Type.MASTERING_DISPLAY_METADATA)
    light = side.get(Type.CONTENT_LIGHT_LEVEL)
    return Hdr(
        mastering=_mastering(display) if display is not None else None,
        light=struct.unpack_from("=2I", light) if light is not None else None,
        dynamic=tuple(MOVING[type] for type in _DYNAMIC if type in side),
    )


def options(encoder: str, hdr: Hdr) -> dict[str, str]:
    """What makes an encoder write it; nothing for encoders that cannot."""
    if encoder not in _WRITERS or (hdr.mastering is None and hdr.light is None):
        return {}
    option, display, light, in_units = _WRITERS[encoder]
    said = []
    if hdr.mastering is not None:
        said.append(f"{display}={_written(hdr.mastering, in_units)}")
    if hdr.light is not None:
        said.append(f"{light}={hdr.light[0]},{hdr.light[1]}")
    return {option: ":".join(said)}


_WRITERS = {
    "libx264": ("x264-params", "mastering-display", "cll", True),
    "libx265": ("x265-params", "master-display", "max-cll", True),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False),
}
"""By encoder: the option that takes parameters, their names, and whether numbers are counted in
the units of SEI messages (0.00002 and 0.0001 cd/m2) or are plain."""


def _mastering(data: bytes) -> Mastering | None:
    """FFmpeg's AVMasteringDisplayMetadata: ten rationals and two flags."""
    if len(data) < 88:
        return None
    numbers = struct.unpack_from("=22i", data)
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    values = [Fraction(numbers[i], numbers[i + 1]) for i in range(0, 20, 2)]
    return Mastering(tuple(values[:8]), brightest=values[9], darkest=values[8])


def _written(display: Mastering, in_units: bool) -> str:
    def number(value: Fraction, per_unit: int) -> str:
        return str(round(value * per_unit)) if in_units else f"{float(value):.5f}"

    red, green, blue, white = (
        f"({number(display.primaries[i], 50000)},{number(display.primaries[i + 1], 50000)})"
        for i in (0, 2, 4, 6)
    )
    levels = f"({number(display.brightest, 10000)},{number(display.darkest, 10000)})"
    return f"G{green}B{blue}R{red}WP{white}L{levels}"
