"""What a live feed is to do."""

import re
from dataclasses import dataclass

from stream.errors import UsageError
from stream.options.restore import AUTO, RestoreOptions
from stream.options.scale import Size
from stream.options.settings import ENGINES, PRECISIONS

DEFAULT_MAX_PIXELS = 4096 * 2304
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_MOST_PIXELS = 16384 * 16384
"""Beyond what any camera has, and within what memory can be asked for."""


@dataclass(frozen=True)
class LiveRestoreOptions(RestoreOptions):
    """What is done to the picture; may be changed while the feed runs."""

    model: str = "lite"
    delay: int | None = 0
    early: bool = False
    """Whether the network is left as early as it can be."""

    def __post_init__(self) -> None:
        if self.strength == AUTO:
            raise UsageError("--strength must be in 0..1, got auto")
        if self.stabilize:
            raise UsageError("live pictures are not stabilized")
        super().__post_init__()


@dataclass(frozen=True)
class LiveSettings:
    """How a live feed works."""

    restoring: LiveRestoreOptions = LiveRestoreOptions()
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
