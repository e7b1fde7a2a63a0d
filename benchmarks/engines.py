"""How fast every engine runs every network, and how far it is from PyTorch in float32."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.plan import Plan, Size, named
from benchmarks.presets import engines, shipped
from benchmarks.runner import Runner
from benchmarks.spinning import Spinning
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import in_turns, ratio, spread

_NOTE = (
    "Frame: the median time of one frame at a time. Frames per second: with as many under way as "
    "the engine asks for. x eager: frames per second against the fastest setting of PyTorch, the "
    "median of ratios within a round. Threads of OpenMP sleep or spin while they wait; PSNR is "
    "against PyTorch in float32 on the same frames."
)


@dataclass(frozen=True)
class Speed:
    """One engine with one network on frames of one size."""

    preset: str
    weights: str
    """shipped or random."""
    size: str
    engine: str
    precision: str
    threads: str
    """Of OpenMP, while they wait: sleep or spin; - where it does not matter."""
    in_flight: int
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    fps: float
    fps_low: float
    fps_high: float
    over_eager: float
    """Frames per second, over those of the fastest setting of eager."""
    psnr_db: float | None
    """Against eager in float32; None for the same thing in another process."""


def measure(plan: Plan) -> Part:
    """Each preset at each of its sizes, all engines taking turns."""
    found = [
        speed
        for preset in plan.presets
        for size in plan.sizes_of(preset)
        for speed in speeds(plan, preset, size)
    ]
    rows = [
        (
            *(each.preset, each.size, each.engine, each.precision, each.threads),
            figure(each.latency_ms),
            figure(each.fps),
            figure(each.over_eager),
            "exact" if each.psnr_db == math.inf else figure(each.psnr_db),
        )
        for each in found
    ]
    columns = ("network", "size", "engine", "precision", "threads")
    figures = ("frame, ms", "fps", "x eager", "PSNR, dB")
    note = _NOTE
    if random := [each for each in plan.presets if each not in shipped()]:
        note += f" {', '.join(random)}: random weights."
    table = Table("Engines", (*columns, *figures), rows, names=len(columns), note=note)
    data = [
        asdict(each) | ({"psnr_db": "exact"} if each.psnr_db == math.inf else {}) for each in found
    ]
    return Part({"engines": data}, [table])


@cache
def speeds(plan: Plan, preset: str, size: Size) -> tuple[Speed, ...]:
    """All engines with a preset on frames of a size; measured once."""
    return tuple(_compare(plan, preset, size))


def _compare(plan: Plan, preset: str, size: Size) -> Iterator[Speed]:
    file, device = plan.checkpoint(preset), plan.where
    with ExitStack() as stack:
        runners: dict[tuple[str, str, str], Runner | Spinning] = {}
        psnr: dict[tuple[str, str, str], float] = {}
        reference: list[Tensor] | None = None
        sleeping = "sleep" if device.type == "cpu" else "-"
        for engine, precision in engines(device):
            runner = Runner(file, str(device), engine, precision, size)
            threads = sleeping if engine == "eager" else "-"
            runners[engine, precision, threads] = runner
            if reference is None:
                assert (engine, precision) == ("eager", "float32")
                with _exactly():
                    reference = runner.restored()
            psnr[engine, precision, threads] = _psnr(runner.restored(), reference)
            if engine == "eager" and device.type == "cpu":
                spinning = Spinning(file, engine, precision, size)
                stack.callback(spinning.close)
                runners[engine, precision, "spin"] = spinning
        labels = {" ".join(key): key for key in runners}
        work: dict[str, Callable[[], float]] = {}
        for label, key in labels.items():
            work[f"{label} latency"] = partial(runners[key].latency_ms, plan.turn_s)
            if device.type != "cpu" or runners[key].in_flight > 1:
                work[f"{label} fps"] = partial(runners[key].fps, plan.turn_s)
        times = in_turns(work, plan.rounds, limit_s=plan.limit_s)
        for label in labels:
            # One at a time on a CPU: the one follows from the other.
            times.setdefault(f"{label} fps", [1e3 / ms for ms in times[f"{label} latency"]])
        eager = max(
            (label for label, key in labels.items() if key[0] == "eager"),
            key=lambda label: median(times[f"{label} fps"]),
        )
        for label, key in labels.items():
            latency, fps = spread(times[f"{label} latency"]), spread(times[f"{label} fps"])
            yield Speed(
                preset,
                "shipped" if preset in shipped() else "random",
                named(size),
                *key,
                runners[key].in_flight,
                *(latency.median, latency.low, latency.high),
                *(fps.median, fps.low, fps.high),
                ratio(times[f"{label} fps"], times[f"{eager} fps"]),
                psnr.get(key),
            )


def _psnr(made: list[Tensor], reference: list[Tensor]) -> float:
    """In dB, over all frames; infinite where they are the same."""
    pairs = zip(made, reference, strict=True)
    error = sum(float((a - b).square().mean()) for a, b in pairs) / len(made)
    return math.inf if error == 0 else -10 * math.log10(error)


@contextmanager
def _exactly() -> Iterator[None]:
    """Without TF32, which a GPU takes for float32 in convolutions unless told otherwise."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=False, allow_tf32=False
    ):
        yield
