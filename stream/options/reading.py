"""How a video file is read, and which part of it."""

from dataclasses import dataclass
from typing import Final

from stream.errors import UsageError
from stream.limits import DEFAULT_MAX_PIXELS

DECODERS: Final = ("auto", "software", "cuda")
"""What `--decoder` takes."""


@dataclass(frozen=True)
class Span:
    """The part of the input to work on, in seconds."""

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if self.start < 0:
            raise UsageError(f"--start must be 0 or more seconds, got {self.start}")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"--duration must be more than 0 seconds, got {self.duration}")


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    span: Span = Span()
    max_pixels: int = DEFAULT_MAX_PIXELS
    deinterlace: str = "auto"
    """"auto" where frames are flagged as interlaced, "on" or "off"."""
    apply_rotation: bool = False
    """Whether pictures are turned as the file asks, instead of carrying the wish along."""
    decoder: str = "software"
    """One of `DECODERS`; "auto" is the GPU's, where it gives the same pictures as software."""
    gpu: int = 0
    """The number of the GPU that decodes, if one does."""
    alpha: bool = False
    """Whether frames have alpha, where any of them is transparent; else it is left out."""
    around: int = 0
    """How many frames before and after the part are handed on as well, for their neighbors' sake.
    """

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise UsageError(f"--decoder must be {', '.join(DECODERS)}, got {self.decoder}")
        if self.deinterlace not in ("auto", "on", "off"):
            raise UsageError(f"--deinterlace must be auto, on or off, got {self.deinterlace}")
