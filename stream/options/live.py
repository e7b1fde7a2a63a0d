"""What a live feed is to do."""

import re
from dataclasses import dataclass, field

from stream.errors import UsageError
from stream.options.exposure import Exposure
from stream.options.scale import Scale, Size
from stream.options.settings import ENGINES, MOST_DELAY, MOST_FUSE, PRECISIONS, USUAL_FUSE

DEFAULT_MAX_PIXELS = 4096 * 2304
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_MOST_PIXELS = 16384 * 16384
"""Beyond what any camera has, and within what memory can be asked for."""


@dataclass(frozen=True)
class Restoring:
    """What is done to the picture; may be changed while the feed runs."""

    model: str = "lite"
    """Name of a checkpoint, the path of a `.safetensors` file, or "none": fusion alone."""
    strength: float = 1.0
    """0 leaves the picture as it is, 1 restores it fully."""
    smooth: float | None = None
    """How much of the noise is averaged away by fusion, in 0..1; None: as much as is usual, where
    the picture is restored at all."""
    upscale: Scale | None = None
    upscaler: str = "auto"
    early: bool = False
    """Whether the network is left as early as it can be."""
    fuse: int = USUAL_FUSE
    """With how many frames before it each one is fused, 0 to 5; 0: with none."""
    delay: int = 0
    """For how many frames after it each one waits, to be fused with them too, 0 to 3."""
    shutter: Exposure = field(default_factory=Exposure)
    """For how long the camera's shutter is open."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength must be in 0..1, got {self.strength}")
        if self.smooth is not None and not 0 <= self.smooth <= 1:
            raise UsageError(f"--smooth must be in 0..1, got {self.smooth}")
        if not 0 <= self.fuse <= MOST_FUSE:
            raise UsageError(f"--fuse must be in 0..{MOST_FUSE} frames, got {self.fuse}")
        if not 0 <= self.delay <= MOST_DELAY:
            raise UsageError(f"--delay must be in 0..{MOST_DELAY} frames, got {self.delay}")


@dataclass(frozen=True)
class LiveSettings:
    """How a live feed works."""

    restoring: Restoring = Restoring()
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    max_latency_ms: float | None = None
    """From the arrival of a frame until it is encoded; beyond it the ladder goes down. None: the
    picture is always restored as well as can be, and frames are dropped."""
    transport: str = "tcp"
    """Of RTSP sources: tcp or udp."""
    stall_s: float = 5.0
    """A source that sends nothing for so long is given up and connected again."""
    realtime: bool = False
    """Whether a file is played as if it were a camera."""
    loop: bool = False
    """Whether that file begins anew at its end; else its end is the feed's."""
    size: Size | None = None
    """Of the outputs; None: the first picture's. With it they are up before the camera is."""
    insecure_tls: bool = False
    """Whether certificates of servers are not checked."""
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"unknown --device {self.device}; use auto, cpu, cuda, cuda:1 or mps")
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown --precision {self.precision}; use {', '.join(PRECISIONS)}")
        kind, _, provider = self.engine.partition(":")
        if kind not in ENGINES or (provider and kind != "onnx"):
            raise UsageError(f"unknown --engine {self.engine}; use {', '.join(ENGINES)}")
        if self.transport not in ("tcp", "udp"):
            raise UsageError(f"--transport must be tcp or udp, got {self.transport}")
        if self.max_latency_ms is not None and self.max_latency_ms <= 0:
            raise UsageError(f"--max-latency must be above 0, got {self.max_latency_ms:g}")
        if not 1 <= self.stall_s <= 60:
            raise UsageError(f"--stall must be in 1..60 seconds, got {self.stall_s:g}")
        if not 256 <= self.max_pixels <= _MOST_PIXELS:
            raise UsageError(f"--max-pixels must be in 256..{_MOST_PIXELS}, got {self.max_pixels}")


@dataclass(frozen=True)
class Beyond:
    """Told to the model's process now and then: what comes after it."""

    ms: float
    """From the end of its work until a frame is encoded, as the slowest output needs it."""


@dataclass(frozen=True)
class InUse:
    """Told by the model's process: how it restores from now on."""

    restoring: Restoring
    models: tuple[str, ...] = ()
    """Names of all that there are to choose from."""
    feed: str = ""
    """The name of the feed, where there are several."""
    answered: int = 0
    """The number of the last change that this is the answer to, where they have any."""
