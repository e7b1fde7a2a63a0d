"""Which stages frames pass through, for what the options ask."""

from collections.abc import Callable

import mssnet
from filters import Burst, Enlarger, Shutter
from stream.compute.models import Passthrough, choose_devices
from stream.frame import Frame, Memory
from stream.options.reading import Reading
from stream.options.restore import NEXT, TOLD, RestoreOptions
from stream.options.settings import Settings
from stream.pipeline import Stage
from stream.stages.blur_map import BlurMapper
from stream.stages.measured import Measured
from stream.stages.motion import Motion
from stream.stages.processor import Processor
from stream.stages.stabilize import LookAhead, StabilizingWarp


def stages_of(
    options: RestoreOptions,
    restore: mssnet.Deblurrer,
    enlarge: Enlarger | None,
    memory: Memory,
    aspect: float = 1.0,
    shutter: Shutter | None = None,
    measured: Measured | None = None,
    leave_at: Callable[[], mssnet.Exit | None] = lambda: None,
) -> dict[str, Stage[Frame]]:
    """What frames pass through; `memory` is that of the last frame of an earlier run.

    Pixels are `aspect` as wide as high. `shutter` is that of the camera; without it
    nothing is made of the motion. What was `measured` of it goes before optical flow.
    `leave_at` is asked for each frame where the network is left.
    """
    alone = isinstance(restore, Passthrough)
    motion, waited = None, 0
    if shutter is not None and asks_shutter(options, restore):
        # Live, one of the frames that each one waits for is that which the network is told of.
        most = NEXT if alone else TOLD
        ahead = most if options.delay is None else min(options.delay, NEXT)
        # Fusion asks the frame two before by itself, and gains less of what holds more of it.
        stand_in = not options.passes
        motion = Motion(shutter, ahead=ahead, stand_in=stand_in, measured=measured)
        waited = 0 if options.delay is None else ahead
    processor = Processor(
        None if alone else lambda *given: restore.submit(*given, exit=leave_at()),
        restore.device,
        in_flight=1 if alone else restore.engine.in_flight,
        strength=1.0 if options.strength == "auto" else options.strength,
        motion=motion,
        fusion=bursts_of(options, waited),
        enlarge=enlarge,
    )
    stages: dict[str, Stage[Frame]] = {}
    if options.stabilize:
        stages["stabilize"] = LookAhead(options.crop, aspect, memory, measured)
    if options.strength == "auto" and not alone:
        stages["blur map"] = BlurMapper()
    stages["deblur"] = processor
    if options.stabilize:
        # Moved last of all, so that pictures are resampled once, at the size they come to have.
        stages["warp"] = StabilizingWarp()
    return stages


def asks_shutter(options: RestoreOptions, restore: mssnet.Deblurrer) -> bool:
    """Whether these options need the shutter: for networks that are told the motion, and where
    fused frames are brought to the middle of their exposure."""
    if options.strength == 0:
        return False
    # A live feed has the frame after for the one or the other, and fusion gains more of it.
    alone = isinstance(restore, Passthrough) and options.delay is None and bool(options.passes)
    return restore.is_told or alone


def bursts_of(options: RestoreOptions, waited: int = 0) -> list[Burst]:
    """What fuses frames with their neighbors, one after the other; with as many fewer after each
    one as it has `waited` for before."""
    smoothing, sharpen = options.smoothing, options.strength != 0
    # Noise is averaged away once; what is left of it is not worth as many neighbors.
    return [
        Burst(
            before,
            after - waited,
            smoothing=0.0 if index else smoothing,
            sharpen=sharpen,
            last=index == len(options.passes) - 1,
        )
        for index, (before, after) in enumerate(options.passes)
    ]


def reading_of(settings: Settings) -> Reading:
    """How the input is read. Raises `DeviceError` or `UsageError`."""
    decoder, gpu = settings.decoder, 0
    if decoder != "software" and settings.device != "cpu":
        device = choose_devices(settings.device)[0]
        gpu = device.index or 0
        if device.type != "cuda" and decoder == "auto":
            decoder = "software"
    elif decoder == "auto":
        decoder = "software"
    return Reading(
        *(
            settings.span,
            settings.max_pixels,
            settings.deinterlace,
            settings.apply_rotation,
            decoder,
            gpu,
        ),
        alpha=True,
        around=settings.reach,
    )
