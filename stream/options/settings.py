"""What a job is to do."""

from dataclasses import dataclass, field
from typing import Literal

from filters import USUAL_SMOOTHING
from stream.errors import UsageError
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.encoding import EncoderSettings
from stream.options.exposure import Exposure
from stream.options.lens import Lens, lens_of
from stream.options.reading import Span
from stream.options.scale import Scale
from stream.paths import Overwrite

NONE, AUTO = "none", "auto"
"""What `--model` takes beside names: fusion alone, and what suits the machine."""
ENGINES = (AUTO, "eager", "openvino", "cuda", "onnx")
"""What `--engine` takes; behind onnx and a colon there may be a provider, and its options behind
another one."""
PRECISIONS = (AUTO, "float32", "bfloat16", "float16")
"""What `--precision` takes."""
TOLD_BEFORE = 2
"""Frames before a frame that a network may be told of."""
KINDS = ("audio", "subtitle", "data", "attachment", "video")
"""What `--drop` takes."""
MOST_CROP = 0.5
MOST_READOUT = 200
USUAL_FUSE, MOST_FUSE, MOST_DELAY = 3, 5, 3
_AGAIN = 2
"""With how many frames each way fused frames are fused again."""


@dataclass(frozen=True)
class Settings:
    """What a job does to the picture, and with what."""

    model: str = "auto"
    """Name of a checkpoint, the path of a `.safetensors` file, or "none": fusion alone. auto: what
    this machine can pay for, see `stream.files.choice.choose_model`."""
    strength: float | Literal["auto"] = 1.0
    """0 leaves the picture as it is, 1 restores it fully; auto: each region as far as it is
    blurred."""
    fuse: int = USUAL_FUSE
    """With how many frames before and after it each one is fused, 0 to 5; 0: with none."""
    delay: int | None = None
    """Live, how many frames after each one are waited for, so that it is fused with them; None:
    as many as before it, as files have them."""
    smooth: float | None = None
    """How much of the noise is averaged away by fusion: 0 nothing, up to 1. None: as much as is
    usual, where the picture is restored at all."""
    shutter: Exposure = field(default_factory=Exposure)
    """For how long the shutter is open: what a network that is told the motion takes for blur."""
    motion: Literal["auto", "flow", "gyro"] = "auto"
    """What tells how the picture moved while the shutter was open: a gyroscope and what optical
    flow adds to it, where there is one and it fits; flow alone; or the gyroscope alone."""
    fov: str | None = None
    """Degrees that the lens sees from left to right, such as `94` or `118:fisheye`; None: as the
    camera noted it, or else as the picture shows it."""
    readout: float | None = None
    """Milliseconds from the first row of a frame to the last, below 0 from the bottom up; None: as
    the camera noted it, or else 0."""
    stabilize: bool = False
    """Whether the camera's shaking is taken out of the picture."""
    crop: float = 0.1
    """The share of width and height that is given up where it is stabilized: all pictures are
    enlarged by that much, to have something around them to move them in."""
    upscale: Scale | None = None
    """How much larger the picture becomes; None: as large as it is."""
    upscaler: str = "auto"
    """Name of a checkpoint, the path of a `.safetensors` file, or one of
    `filters.INTERPOLATIONS`; auto: what suits the device."""
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    """What runs the networks; one of `ENGINES`."""
    decoder: str = "auto"
    """One of `stream.options.reading.DECODERS`; "auto" is the GPU's where the networks run on it as
    well, and it gives the same pictures as software."""
    tile: int | None = None
    """The largest side in pixels restored in one piece; None: as memory allows."""
    overwrite: Overwrite = False
    """Whether an output that is there is replaced; "own": only one that the program has made."""
    resume: bool = False
    """Go on where an earlier run of the same job ended, if there is one."""
    drop: tuple[str, ...] = ()
    """Kinds of streams to leave out; some of `KINDS`."""
    max_pixels: int = DEFAULT_MAX_PIXELS
    deinterlace: str = "auto"
    """"auto" where frames are marked as interlaced, "on" or "off"."""
    apply_rotation: bool = False
    """Whether pictures are turned upright, instead of carrying the wish along."""
    span: Span = field(default_factory=Span)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)

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
        if self.motion not in ("auto", "flow", "gyro"):
            raise UsageError(f"--motion must be auto, flow or gyro, got {self.motion}")
        if self.fov is not None:
            lens_of(self.fov)
        if self.readout is not None and not abs(self.readout) < MOST_READOUT:
            most = f"-{MOST_READOUT}..{MOST_READOUT}"
            raise UsageError(f"--readout must be milliseconds in {most}, got {self.readout:g}")
        for kind in self.drop:
            if kind not in KINDS:
                raise UsageError(f"--drop takes {', '.join(KINDS)}, got {kind}")

    @property
    def lens(self) -> Lens | None:
        """The lens, where it is told."""
        return None if self.fov is None else lens_of(self.fov)

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
        # Beyond those that a frame is fused with, what the network is told of these.
        fused = sum(before for before, _ in self.passes)
        told = 1 if fused else TOLD_BEFORE
        return fused if self.model == NONE else fused + told
