"""`stream.restore`: frames that a program has or makes, restored one after the other."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from typing import Any, Generic, Literal

from filters import Enlarger, Shutter
from stream.compute.models import find_upscaler, load_for
from stream.errors import UsageError
from stream.frame import Frame
from stream.iterators.arrays import Some, ways_for
from stream.live.restore.half_size import through
from stream.options.exposure import Exposure
from stream.options.restore import AUTO, USUAL_FUSE
from stream.options.scale import Scale
from stream.options.settings import Settings
from stream.pipeline import Stage
from stream.stages.build import asks_shutter, stages_of
from stream.stages.shutter import shutter_net


class Restored(Iterator[Some], Generic[Some]):
    """Restored frames, of the kind that was given. `close`, or the end of a `with` block, lets go
    of what is at work and takes no more frames."""

    def __init__(self, frames: Generator[Some, None, None]) -> None:
        self._frames = frames

    def __iter__(self) -> "Restored[Some]":
        return self

    def __next__(self) -> Some:
        return next(self._frames)

    def __enter__(self) -> "Restored[Some]":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more frames; those that wait are dropped."""
        self._frames.close()


def restore(  # noqa: PLR0913 (its keywords are its interface)
    frames: Iterable[Some],
    *,
    rate: Fraction | float = 25,
    model: str = AUTO,
    strength: float | Literal["auto"] = 1.0,
    fuse: int = USUAL_FUSE,
    delay: int | None = None,
    smooth: float | None = None,
    shutter: str = "auto",
    stabilize: bool = False,
    upscale: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
) -> Restored[Some]:
    """Restore frames that follow one another, all of one size and kind.

        for frame in stream.restore(frames, rate=30):
            show(frame)

    `frames` are NumPy arrays (H, W, 3) or tensors (3, H, W) of RGB, uint8, uint16 or float in
    0..1, or `av.VideoFrame`s; what comes out is of the same kind, type and device, one for each.
    PyAV's keep their times and come in their own planar format, RGB as rgb24 or rgb48le. A frame
    comes when those are there that it is fused with: by default 6 later (with a network, 7), or
    `delay` of 0 to 3. `rate` is frames per second, for a `shutter` in seconds. The others are
    options of `deblur run`.

    Nothing is loaded before the first frame is asked for. Raises a `DeblurError`: `UsageError` at
    once, `SourceError` where a frame is not like the first one.
    """
    if not 0 < rate <= 100_000:
        raise UsageError(f"rate must be above 0, got {rate}")
    settings = Settings(
        model=model,
        strength=strength,
        fuse=fuse,
        delay=delay,
        smooth=smooth,
        shutter=Exposure(shutter),
        stabilize=stabilize,
        upscale=Scale.parse(upscale) if upscale is not None else None,
        device=device,
        precision=precision,
        engine=engine,
    )
    exact = Fraction(rate).limit_denominator(1_000_000)
    return Restored(restored(frames, settings, exact))


def restored(
    frames: Iterable[Some], settings: Settings, rate: Fraction
) -> Generator[Some, None, None]:
    """`restore`, for what settings say."""
    waiting: deque[Some] = deque()
    ways: Any = None
    stages: list[Stage[Frame]] = []
    for number, given in enumerate(frames):
        if ways is None:
            ways = ways_for(given, rate)
            frame = ways.there(given, number)
            stages = _stages(settings, frame, rate)
        else:
            frame = ways.there(given, number)
        waiting.append(given)
        for made in through(stages, [frame]):
            yield ways.back(made, waiting.popleft())
    for made in through(stages, (), end=True):
        yield ways.back(made, waiting.popleft())


def _stages(settings: Settings, first: Frame, rate: Fraction) -> list[Stage[Frame]]:
    settings = settings.settled()
    network = load_for(settings)
    shutter = None
    if asks_shutter(settings, network):
        exposure = settings.shutter
        shutter = Shutter(shutter_net()) if exposure.auto else Shutter(share=exposure.share(rate))
    enlarge = None
    if settings.upscale is not None:
        even = first.coding.subsampling != (1, 1)
        size = settings.upscale.of((first.width, first.height), even=even)
        enlarge = Enlarger(size, find_upscaler(settings.upscaler, network.engine))
    return [*stages_of(settings, network, enlarge, {}, shutter=shutter).values()]
