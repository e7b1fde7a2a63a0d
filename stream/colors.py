"""What video says of its colors, and what is taken for granted where it says nothing."""

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from stream.errors import UsageError

if TYPE_CHECKING:  # processes that have no video in hand know colors as well
    import av

UNSPECIFIED: Final = 2
"""The code for "not said" of matrix, primaries and transfer."""
LIMITED, FULL = 1, 2
"""Ranges, as FFmpeg's AVColorRange counts them."""
# AVColorSpace (ITU-T H.273, table 4) to the names of `filters.coding`.
_MATRICES: Final = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
SWSCALE: Final = {"bt709": 1, "fcc": 4, "bt601": 5, "smpte240m": 7, "bt2020": 9}
"""Names of matrices to swscale's own codes."""
MATRIX_CODES: Final = {"bt709": 1, "fcc": 4, "bt601": 6, "smpte240m": 7, "bt2020": 9}
"""The same to those of H.273."""


_SYSTEMS: Final = {
    "bt601": (6, UNSPECIFIED, 6),
    "bt709": (1, 1, 1),
    "bt2020": (9, 9, 14),
    "hlg": (9, 9, 18),
    "pq": (9, 9, 16),
}
"""Names of systems to codes of matrix, primaries (which BT.601 has two of) and transfer."""
_RANGES: Final = {"limited": LIMITED, "full": FULL}


class Tagged(Protocol):
    """A frame or the context of a codec."""

    colorspace: int
    color_primaries: int
    color_trc: int
    color_range: int


class ColorTags(NamedTuple):
    """What is said of colors, as the codes of ITU-T H.273; copied to the output."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0
    """0 not said, 1 limited, 2 full (FFmpeg's AVColorRange)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `--color` takes: a system, a range, or both with a comma. Raises `UsageError`."""
        words = text.split(",")
        systems = [_SYSTEMS[word] for word in words if word in _SYSTEMS]
        ranges = [_RANGES[word] for word in words if word in _RANGES]
        if len(systems) + len(ranges) != len(words) or max(len(systems), len(ranges)) > 1:
            raise UsageError(
                f"--color takes {', '.join(_SYSTEMS)}, {' or '.join(_RANGES)}, or two of them such "
                f"as bt709,full, got {text}"
            )
        made = cls(*systems[0]) if systems else cls()
        return made._replace(range=ranges[0]) if ranges else made

    @property
    def full(self) -> bool:
        """Whether codes use their full range."""
        return self.range == FULL

    def matrix_of(self, width: int, height: int) -> str:
        """The matrix by the name that `filters.coding` has for it.

        Players' rule for what does not say it: BT.709 from 1280 wide or above 576 high, BT.601
        below (as mpv decides).
        """
        return _MATRICES.get(self.matrix, "bt709" if _is_large(width, height) else "bt601")

    def swscale_of(self, width: int, height: int) -> int:
        """The matrix as swscale counts them."""
        return SWSCALE[self.matrix_of(width, height)]

    def put(self, target: Tagged) -> None:
        """Say the same of a frame, or of what an encoder makes."""
        target.colorspace, target.color_range = self.matrix, self.range
        target.color_primaries, target.color_trc = self.primaries, self.transfer

    def fill(self, target: Tagged) -> None:
        """Say it where the target says nothing."""
        own = ColorTags(
            target.colorspace, target.color_primaries, target.color_trc, target.color_range
        )
        pairs = zip(own, self, ColorTags(), strict=True)
        ColorTags(*(ours if said == nothing else said for said, ours, nothing in pairs)).put(target)


UNTAGGED: Final = ColorTags()
"""Nothing is said."""


def tags_of(frame: "av.VideoFrame") -> ColorTags:
    """A decoded frame's color tags; those of an RGB frame are the ones it is converted to.

    Gray that does not say its range is full, as players take it, and a matrix for RGB (as PNG says
    of its gray) is none for anything else.
    """
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if is_rgb(frame.format):
        matrix = 1 if _is_large(frame.width, frame.height) else 6
        return ColorTags(matrix, primaries, transfer, LIMITED)
    name = frame.format.name
    full = name.startswith("yuvj") or name in ("monob", "monow")  # whatever they say
    full = full or (int(frame.color_range) == 0 and is_gray(frame.format))
    matrix = int(frame.colorspace) or UNSPECIFIED
    return ColorTags(matrix, primaries, transfer, FULL if full else int(frame.color_range))


def is_rgb(format: "av.VideoFormat") -> bool:
    """Whether pixels are R'G'B', or point into a palette of such."""
    return bool(format.is_rgb or format.has_palette)


def is_gray(format: "av.VideoFormat") -> bool:
    """Whether there is luma alone, with or without alpha."""
    return len(format.components) <= 2 and not is_rgb(format)


def _is_large(width: int, height: int) -> bool:
    return width >= 1280 or height > 576
