"""The whole program, stage by stage, and how near it comes to what the processors can do."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

import mssnet
import stream
from benchmarks.alone import alone
from benchmarks.plan import Plan, Size, named
from benchmarks.runner import Runner
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import Stopwatch, cores
from filters import Upscaler
from stream.compute.models import find_upscaler, load_model
from stream.input.source import Source
from stream.options.exposure import Exposure

BLURRED = Exposure("360deg")
"""By which clips are blurred as far as they move, so that a network works on all of the picture."""
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "--fuse 0": {"fuse": 0},
    "--upscale 3": {"upscale": stream.Scale.parse("3")},
}
"""What each clip is restored with."""

_LEAST_FRAMES = 20


@dataclass(frozen=True)
class Run:
    """One run of the whole program."""

    frames: int
    fps: float
    cpu_ms: float
    """Processor time for a frame, of all threads."""
    busy: dict[str, float]
    """Share of the time that each stage worked."""

    @property
    def rates(self) -> dict[str, float]:
        """Frames per second of each stage while it worked."""
        return {name: self.fps / share for name, share in self.busy.items() if share > 0}


def run(
    clip: Path,
    output: Path,
    settings: stream.Settings,
    restore: mssnet.Deblurrer,
    upscaler: Upscaler | str | None = None,
) -> Run:
    """Restore a clip with models that are loaded and warm."""
    with Stopwatch(restore.device) as watch:
        report = stream.Job(clip, output, settings).run(restore=restore, upscaler=upscaler)
    output.unlink()
    cpu_ms = 1e3 * watch.cost.cpu_s / report.frames
    return Run(report.frames, report.fps, cpu_ms, report.busy)


def measure(plan: Plan) -> Part:
    """Each clip with each variant in turns with the network alone; then every stage alone."""
    tables: list[Table] = []
    found: list[dict[str, Any]] = []
    for clip in plan.clips or _drawn(plan):
        data, made = _clip(plan, clip)
        found.append(data)
        tables += made
    return Part({"clips": found}, tables)


def _drawn(plan: Plan) -> Iterable[Path]:
    for size in plan.sizes[:2] if plan.where.type == "cpu" else plan.sizes:
        yield plan.drawn(size)


def _clip(plan: Plan, clip: Path) -> tuple[dict[str, Any], list[Table]]:
    source = Source(clip)
    size, rate = source.size, float(source.rate)
    whole = source.expected_frames or plan.frames
    source.close()
    restore = load_model("lite", device=plan.device)
    precision = str(restore.dtype).removeprefix("torch.")
    runner = Runner(plan.checkpoint("lite"), plan.device, restore.engine.name, precision, size)
    runner.restored()
    upscaler = find_upscaler("auto", restore.engine)
    output = plan.folder / "restored.mp4"
    # The first turn only warms up, on a second of video, and tells how much is right for later.
    seconds = dict.fromkeys(VARIANTS, 1.0)
    runs: dict[str, list[Run]] = {name: [] for name in VARIANTS}
    network: list[float] = []
    for turn in range(1 + max(2, plan.rounds // 2)):
        network.append(runner.fps(plan.turn_s))
        for name, changes in VARIANTS.items():
            span = stream.Span(0, seconds[name])
            settings = stream.Settings(
                device=plan.device, overwrite=True, span=span, shutter=BLURRED, **changes
            )
            each = run(clip, output, settings, restore, upscaler)
            if turn:
                runs[name].append(each)
            else:
                seconds[name] = min(max(plan.run_s * each.fps, _LEAST_FRAMES), whole) / rate
    stages = {
        name: alone(clip, stream.Settings(shutter=BLURRED, **changes), restore, upscaler, plan)
        for name, changes in VARIANTS.items()
    }
    net_fps = median(network[1:])
    return _told(clip, size, net_fps, runs, stages, restore.device)


def _told(
    clip: Path,
    size: Size,
    network: float,
    runs: dict[str, list[Run]],
    stages: dict[str, dict[str, float]],
    device: torch.device,
) -> tuple[dict[str, Any], list[Table]]:
    name = f"{clip.name}, {named(size)}"
    data: dict[str, Any] = {"clip": clip.name, "size": named(size), "network_fps": network}
    data["variants"] = {}
    rows, busy_rows, alone_rows = [], [], []
    for variant, several in runs.items():
        middle = sorted(several, key=lambda each: each.fps)[len(several) // 2]
        slowest = min(middle.rates, key=lambda stage: middle.rates[stage])
        total = sum(stages[variant].values())
        bound = cores() * 1e3 / total
        if device.type != "cpu":
            # The network's own time is not the processors'.
            bound = min(bound, network)
        figures = {
            "fps": middle.fps,
            "over_network": middle.fps / network,
            "over_slowest": middle.fps / middle.rates[slowest],
            "cpu_ms": middle.cpu_ms,
            "alone_ms": total,
            "bound_fps": bound,
            "over_bound": middle.fps / bound,
        }
        data["variants"][variant] = {
            **figures,
            "all_fps": [each.fps for each in several],
            "slowest": slowest,
            "busy": middle.busy,
            "rates": middle.rates,
            "alone": stages[variant],
        }
        rows.append((variant, slowest, *map(figure, figures.values())))
        busy_rows += [
            (variant, stage, f"{share:.0%}", figure(middle.rates.get(stage)))
            for stage, share in middle.busy.items()
        ]
        alone_rows += [
            (variant, stage, figure(ms), f"{ms / total:.0%}")
            for stage, ms in stages[variant].items()
        ]
    figures_of = ("fps", "/ network", "/ slowest", "CPU, ms", "alone, ms", "bound, fps", "/ bound")
    tables = [
        Table(
            f"deblur run: {name}",
            ("options", "slowest stage", *figures_of),
            rows,
            names=2,
            note=f"The network alone: {figure(network)} fps. / network, / slowest, / bound: frames "
            "per second over those of the network alone, of the slowest stage while it works, and "
            "over the bound: all cores doing nothing but each stage's own work. CPU: processor "
            "time of a frame; alone: the sum of the stages' when each runs by itself.",
        ),
        Table(
            f"Stages of deblur run: {name}",
            ("options", "stage", "busy", "fps while busy"),
            busy_rows,
            names=2,
        ),
        Table(
            f"Each stage alone: {name}",
            ("options", "stage", "core-ms a frame", "share"),
            alone_rows,
            names=2,
        ),
    ]
    return data, tables
