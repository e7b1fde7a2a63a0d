"""A feed as its user describes it, on the command line or in a file."""

import re
from contextlib import suppress
from dataclasses import dataclass, field

from stream.errors import UsageError
from stream.ipc.mailbox import Size
from stream.live.input.camera import Camera, resolve
from stream.live.output import targets
from stream.live.output.targets import OutputSettings
from stream.live.output.writer import Target
from stream.options.exposure import Exposure
from stream.options.live import DEFAULT_MAX_PIXELS, LiveRestoreOptions, LiveSettings
from stream.options.restore import USUAL_FUSE
from stream.options.scale import Scale

_HOURS = {"h": 1, "d": 24}
DEFAULT_OUTPUT = "serve:8554/live"


@dataclass(frozen=True)
class Description:
    """What `deblur live` is told about one feed; each field is the option of that name."""

    source: str = field(repr=False)
    outputs: tuple[str, ...] = field(default=(DEFAULT_OUTPUT,), repr=False)
    model: str = "lite"
    strength: float = 1.0
    fuse: int = USUAL_FUSE
    delay: int = 0
    smooth: float | None = None
    shutter: str = "auto"
    upscale: str | None = None
    upscaler: str = "auto"
    max_latency: float | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    transport: str = "tcp"
    stall: float = 5.0
    realtime: bool = False
    loop: bool = False
    size: str | None = None
    segment: float = 600.0
    keep: str = "0"
    insecure_tls: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def addresses(self) -> list[str]:
        """Source and outputs, those in the environment too, with their passwords. Raises
        `UsageError`."""
        return [resolve(each) for each in (self.source, *self.outputs)]

    @property
    def known(self) -> list[str]:
        """The same, as far as the environment has them."""
        found = []
        for each in (self.source, *self.outputs):
            with suppress(UsageError):
                found.append(resolve(each))
        return found

    @property
    def restoring(self) -> LiveRestoreOptions:
        """Raises `UsageError`, as all do that follow."""
        scale = Scale.parse(self.upscale) if self.upscale is not None else None
        return LiveRestoreOptions(
            model=self.model,
            strength=self.strength,
            smooth=self.smooth,
            upscale=scale,
            upscaler=self.upscaler,
            fuse=self.fuse,
            delay=self.delay,
            shutter=Exposure(self.shutter),
        )

    @property
    def settings(self) -> LiveSettings:
        return LiveSettings(
            restoring=self.restoring,
            device=self.device,
            precision=self.precision,
            engine=self.engine,
            max_latency_ms=self.max_latency,
            transport=self.transport,
            stall_s=self.stall,
            realtime=self.realtime,
            loop=self.loop,
            size=_size(self.size),
            insecure_tls=self.insecure_tls,
            max_pixels=self.max_pixels,
        )

    @property
    def camera(self) -> Camera:
        """Raises `NoInputError` as well."""
        return Camera.parse(self.addresses[0], self.settings)

    @property
    def targets(self) -> list[Target]:
        """Raises `SinkError` as well."""
        keep_s, keep_bytes = _kept(self.keep)
        asked = OutputSettings(
            self.transport, self.insecure_tls, self.segment, keep_s=keep_s, keep_bytes=keep_bytes
        )
        found = [targets.parse(each, asked) for each in self.addresses[1:]]
        places = [targets.place(each) for each in found]
        for number, each in enumerate(found):
            if places.index(places[number]) < number:
                raise UsageError(f"two outputs are the same, {each.name}")
        return found


def _kept(text: str) -> tuple[float, int]:
    """For how many seconds recordings are kept, and up to how many bytes; 0: without a limit."""
    seconds, size = 0.0, 0
    for part in text.split(","):
        match = re.fullmatch(r"(?i)\s*(\d{1,15}(?:\.\d{1,9})?)\s*(h|d|[kMGT]i?B)?\s*", part)
        if match is None:
            raise UsageError(
                "--keep takes hours such as 48, days such as 7d, a size such as 200GB, or two of "
                f"them such as 48h,200GB, got {text}"
            )
        number, unit = float(match[1]), (match[2] or "h").lower()
        if unit in _HOURS:
            seconds = number * _HOURS[unit] * 3600
        else:
            size = round(number * (1024 if "i" in unit else 1000) ** ("kmgt".index(unit[0]) + 1))
    return seconds, size


def _size(text: str | None) -> Size | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if match is None:
        raise UsageError(f"--size takes WxH such as 1280x720, got {text}")
    size = int(match[1]), int(match[2])
    if min(size) < 16 or size[0] % 2 or size[1] % 2 or size[0] * size[1] > DEFAULT_MAX_PIXELS:
        raise UsageError(f"--size must be even, at least 16x16 and at most 4096x2304, got {text}")
    return size
