"""Every stage of the program by itself: how much processor time a frame takes in it."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import mssnet
import stream
from benchmarks.plan import Plan
from benchmarks.timing import Stopwatch, in_turns
from filters import Enlarger, Shutter, Upscaler, to_rgb
from mssnet import PRESETS, Deblurrer, MSSNet, Result
from mssnet.regions import Where
from stream.compute.threads import shared
from stream.frame import Frame
from stream.input.source import Source
from stream.output.checkpoint import JobCheckpoint
from stream.output.segment_sink import SegmentSink, plan
from stream.pipeline import Stage
from stream.stages.build import stages_of


class Passthrough(Deblurrer):
    """Hands on what it is given: what is then left of the stage is not the network."""

    told = False
    """Whether it has itself told the motion, of which it makes nothing."""

    @property
    def is_told(self) -> bool:
        return self.told

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> Result:
        return lambda: image


def alone(
    clip: Path,
    settings: stream.Settings,
    restore: mssnet.Deblurrer,
    upscaler: Upscaler | str,
    asked: Plan,
) -> dict[str, float]:
    """Core-milliseconds of a frame in each stage, the medians of a few turns.

    Color is what is done to a frame around the network: to R'G'B' and back. Finding out what a
    network is told of the motion, fusing and enlarging are what the stage takes with them less what
    it takes without.
    """
    count = 12 if asked.quick else 48
    untouched, told = (
        Passthrough(MSSNet(PRESETS["lite"]), engine=restore.engine) for _ in range(2)
    )
    told.told = restore.is_told
    source = Source(clip)
    frames = list(islice(source, count))
    size = settings.upscale.of(source.size, even=True) if settings.upscale else source.size
    enlarge = Enlarger(size, upscaler) if settings.upscale else None
    bare = replace(settings, fuse=0, upscale=None)
    fused = replace(settings, upscale=None)
    finished = frames
    if enlarge is not None:
        finished = _through(_deblur(settings, untouched, enlarge), frames[:4])
    work: dict[str, Callable[[], float]] = {
        "decode": lambda: _decode(clip, count),
        "network": lambda: _network(restore, frames),
        "color": lambda: _cpu_ms(lambda: _deblur(bare, untouched, None), frames),
        "encode": lambda: _encode(clip, settings, finished, asked.folder),
    }
    if restore.is_told:
        work["told"] = lambda: _cpu_ms(lambda: _deblur(bare, told, None), frames)
    if settings.passes:
        work["fused"] = lambda: _cpu_ms(lambda: _deblur(fused, untouched, None), frames)
    if enlarge is not None:
        work["enlarged"] = lambda: _cpu_ms(lambda: _deblur(bare, untouched, enlarge), frames[:8])
    # With as many threads as the job has.
    with shared(restore.engine, enlarges=enlarge is not None):
        turns = in_turns(work, max(2, asked.rounds // 2))
    times = {name: median(each) for name, each in turns.items()}
    source.close()
    color = times["color"]
    found = {"decode": times["decode"], "network": times["network"], "color": color}
    if restore.is_told:
        found["motion"] = max(times["told"] - color, 0.0)
    if settings.passes:
        found["fuse"] = max(times["fused"] - color, 0.0)
    if enlarge is not None:
        found["enlarge"] = max(times["enlarged"] - color, 0.0)
    found["encode"] = times["encode"]
    return found


def _deblur(
    settings: stream.Settings, restore: Deblurrer, enlarge: Enlarger | None
) -> Stage[Frame]:
    return stages_of(settings, restore, enlarge, {}, shutter=Shutter(share=0.5))["deblur"]


def _through(stage: Stage[Frame], frames: Iterable[Frame]) -> list[Frame]:
    made = [each for frame in frames for each in stage.push(frame)]
    return [*made, *stage.flush()]


def _cpu_ms(stage: Callable[[], Stage[Frame]], frames: list[Frame]) -> float:
    made = stage()
    with Stopwatch() as watch:
        _through(made, frames)
    return 1e3 * watch.cost.cpu_s / len(frames)


def _decode(clip: Path, count: int) -> float:
    source = Source(clip)
    with Stopwatch() as watch:
        decoded = sum(1 for _ in islice(source, count))
    source.close()
    return 1e3 * watch.cost.cpu_s / decoded


@torch.inference_mode()
def _network(restore: Deblurrer, frames: list[Frame]) -> float:
    images = []
    for frame in frames[: 8 + restore.engine.in_flight]:
        planes = [torch.from_numpy(plane).to(restore.device) for plane in frame.planes]
        images.append(to_rgb(planes, frame.coding).clamp_(0, 1))
    under_way: deque[Result] = deque()
    with Stopwatch(restore.device) as watch:
        for image in images:
            under_way.append(restore.submit(image))
            if len(under_way) >= restore.engine.in_flight:
                under_way.popleft()()
        while under_way:
            under_way.popleft()()
    return 1e3 * watch.cost.cpu_s / len(images)


def _encode(clip: Path, settings: stream.Settings, frames: list[Frame], folder: Path) -> float:
    source = Source(clip)
    output = folder / f"encoded{clip.suffix}"
    chosen = plan(output, source, settings.encoder, settings.upscale)
    work = JobCheckpoint.begin(folder / "encoded.part", {})
    try:
        sink = SegmentSink(work, source, chosen)
        with Stopwatch() as watch:
            for frame in frames:
                sink.push(frame)
            sink.flush()
        return 1e3 * watch.cost.cpu_s / len(frames)
    finally:
        work.remove()
        source.close()
