"""Which stages frames pass through, for what the settings ask."""

import mssnet
from filters import Enlarger, Smoother
from stream.follow import Follow
from stream.frame import Frame, Memory
from stream.gauge import Gauge
from stream.pipeline import Stage
from stream.processor import Processor
from stream.settings import Settings
from stream.stabilize import LookAhead, Move


def stages_of(
    settings: Settings,
    restore: mssnet.Deblurrer,
    enlarge: Enlarger | None,
    memory: Memory,
    aspect: float = 1.0,
) -> dict[str, Stage[Frame]]:
    """What frames pass through; `memory` is that of the last frame of an earlier run.

    Pixels are `aspect` as wide as high.
    """
    temporal = Smoother(settings.smoothing) if settings.smoothing > 0 else None
    processor = Processor(
        restore.submit,
        restore.device,
        in_flight=restore.engine.in_flight,
        strength=1.0 if settings.strength == "auto" else settings.strength,
        temporal=temporal,
        enlarge=enlarge,
        memory=memory,
    )
    stages: dict[str, Stage[Frame]] = {}
    if settings.stabilize:
        stages["stabilize"] = LookAhead(settings.crop, aspect, memory)
    if settings.strength == "auto":
        stages["gauge"] = Gauge()
    if temporal is not None:
        stages["follow"] = Follow(memory)
    stages["deblur"] = processor
    if settings.stabilize:
        # Moved last of all, so that pictures are resampled once, at the size they come to have.
        stages["move"] = Move()
    return stages
