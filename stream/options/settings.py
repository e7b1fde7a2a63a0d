"""What a job is to do."""

from dataclasses import dataclass, field
from typing import Literal

from stream.errors import UsageError
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.encoding import EncoderSettings
from stream.options.lens import Lens, lens_of
from stream.options.reading import Span
from stream.options.restore import AUTO, RestoreOptions
from stream.paths import Overwrite

ENGINES = (AUTO, "eager", "openvino", "cuda", "onnx")
"""What `--engine` takes; behind onnx and a colon there may be a provider, and its options behind
another one."""
PRECISIONS = (AUTO, "float32", "bfloat16", "float16")
"""What `--precision` takes."""
KINDS = ("audio", "subtitle", "data", "attachment", "video")
"""What `--drop` takes."""
MOST_READOUT = 200


@dataclass(frozen=True)
class Settings(RestoreOptions):
    """What a job does to the picture, and with what."""

    motion: Literal["auto", "flow", "gyro"] = "auto"
    """What tells how the picture moved while the shutter was open: a gyroscope and what optical
    flow adds to it, where there is one and it fits; flow alone; or the gyroscope alone."""
    fov: str | None = None
    """Degrees that the lens sees from left to right, such as `94` or `118:fisheye`; None: as the
    camera noted it, or else as the picture shows it."""
    readout: float | None = None
    """Milliseconds from the first row of a frame to the last, below 0 from the bottom up; None: as
    the camera noted it, or else 0."""
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
    """"auto" where frames are flagged as interlaced, "on" or "off"."""
    apply_rotation: bool = False
    """Whether pictures are turned upright, instead of carrying the wish along."""
    span: Span = field(default_factory=Span)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
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
