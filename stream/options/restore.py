"""How pictures are restored: what files, live feeds and the file of cameras have in common."""

from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self

from filters import USUAL_SMOOTHING
from stream.errors import UsageError
from stream.options.exposure import Exposure
from stream.options.scale import Scale

NONE, AUTO, USUAL_MODEL = "none", "auto", "lite"
"""What `--model` takes beside names of other checkpoints."""
TOLD: Final = 2
"""Frames before and after a frame that a network may be told of."""
NEXT: Final = 1
"""Frames before and after a frame by which its motion is found."""
USUAL_FUSE, MOST_FUSE, MOST_DELAY = 3, 5, 3
MOST_CROP = 0.5
_AGAIN = 2
"""With how many frames each way fused frames are fused again."""


@dataclass(frozen=True)
class RestoreOptions:
    """What is done to the picture. Raises `UsageError` for what is out of range."""

    model: str = AUTO
    """Name of a checkpoint, the path of a `.safetensors` file, or "none": fusion alone. auto: lite,
    or none where strength 0 leaves a network nothing to do."""
    strength: float | Literal["auto"] = 1.0
    """0 leaves the picture as it is, 1 restores it fully; auto: each region as far as it is
    blurred."""
    fuse: int = USUAL_FUSE
    """With how many frames before and after it each one is fused, 0 to 5; 0: with none."""
    delay: int | None = None
    """For how many frames after it each one waits, to be fused with them, 0 to 3; None: as many
    as before it, as files have them."""
    smooth: float | None = None
    """How much of the noise is averaged away by fusion: 0 nothing, up to 1. None: as much as is
    usual, where the picture is restored at all."""
    shutter: Exposure = field(default_factory=Exposure)
    """For how long the shutter is open: what is taken for blur of the motion."""
    stabilize: bool = False
    """Whether the camera's shaking is taken out of the picture."""
    crop: float = 0.1
    """The share of width and height that is given up where it is stabilized: all pictures are
    enlarged by that much, to have something around them to move them in."""
    upscale: Scale | None = None
    """How much larger the picture becomes; None: as large as it is."""
    upscaler: str = AUTO
    """Name of a checkpoint, the path of a `.safetensors` file, or one of
    `filters.INTERPOLATIONS`; auto: what suits the device."""

    def __post_init__(self) -> None:
        if self.strength != "auto" and not 0 <= self.strength <= 1:
            raise UsageError(f"--strength must be in 0..1 or auto, got {self.strength}")
        if not 0 <= self.fuse <= MOST_FUSE:
            raise UsageError(f"--fuse must be in 0..{MOST_FUSE} frames, got {self.fuse}")
        if self.delay is not None and not 0 <= self.delay <= MOST_DELAY:
            raise UsageError(f"--delay must be in 0..{MOST_DELAY} frames, got {self.delay}")
        if self.smooth is not None and not 0 <= self.smooth <= 1:
            raise UsageError(f"--smooth must be in 0..1, got {self.smooth}")
        if not 0 < self.crop <= MOST_CROP:
            raise UsageError(f"--crop must be above 0 and up to {MOST_CROP}, got {self.crop}")

    def settled(self) -> Self:
        """The same with a model in the place of `auto`."""
        usual = NONE if self.strength == 0 else USUAL_MODEL
        return replace(self, model=usual) if self.model == AUTO else self

    @property
    def smoothing(self) -> float:
        """How much noise is averaged away."""
        if self.smooth is None:
            return USUAL_SMOOTHING if self.strength != 0 else 0.0
        return self.smooth

    @property
    def passes(self) -> tuple[tuple[int, int], ...]:
        """For each time that frames are fused, with how many before and after."""
        if not self.fuse or (self.strength == 0 and not self.smoothing):
            return ()
        if self.delay is not None:
            return ((self.fuse, self.delay),)
        if self.strength == 0:
            return ((self.fuse, self.fuse),)
        again = min(self.fuse, _AGAIN)
        return (self.fuse, self.fuse), (again, again)

    @property
    def reach(self) -> int:
        """On how many frames before and after it a frame's result depends."""
        # Beyond those that a frame is fused with, what tells the motion of these.
        fused = sum(before for before, _ in self.passes)
        if self.strength == 0:
            return fused
        if self.model == NONE:
            return fused + (NEXT if fused else 0)
        return fused + TOLD
