"""The least time that a network can take on this machine, and how near the engines come to it.

The roofline of Williams, Waterman and Patterson (Communications of the ACM 52(4), 2009): a layer
takes no less time than its arithmetic at the machine's peak, and no less than its reading and
writing at the memory's. Layers are counted as an ideal engine would run them: each convolution and
each resizing reads its input and its weights once and writes its output once; activations and
additions are done on the way, of which an addition reads its other operand; joining channels costs
nothing. Caches can keep what is written for the next layer, so the bound by memory is one for
engines that go layer by layer, and one that fuses more can be faster.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.plan import Plan, Size, named
from benchmarks.presets import engines
from benchmarks.runner import Runner
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import Stopwatch, in_turns
from mssnet import PRESETS, MSSNet
from mssnet.model import Leaving
from stream.models import PRECISIONS


@dataclass(frozen=True)
class Layer:
    """What one operation has to do at least."""

    name: str
    macs: int
    """Multiplications with additions."""
    read: int
    """Numbers, not bytes."""
    written: int


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "convolution":
            image, kernel = args[0], args[1]
            macs = made.numel() * kernel[0].numel()
            self._add(name, macs, image.numel() + kernel.numel(), made.numel())
        elif name.startswith("upsample") or "pixel_" in name:
            self._add(name, 0, args[0].numel(), made.numel())
        elif name in ("add", "add_") and isinstance(args[1], Tensor):
            self._add(name, 0, args[1].numel(), 0)
        return made

    def _add(self, name: str, macs: int, read: int, written: int) -> None:
        self.layers.append(Layer(name, macs, read, written))


def layers_of(module: nn.Module, image: Tensor) -> list[Layer]:
    """What `module` does to `image`, layer by layer; on the device "meta" nothing is computed."""
    counter = _Counter()
    # Not in inference mode, in which a convolution has another name.
    with torch.no_grad(), counter:
        module(image)
    return counter.layers


def layers_of_preset(preset: str, size: Size) -> list[Layer]:
    """The layers of one frame through a preset, padded as it is in use."""
    config = PRESETS[preset]
    with torch.device("meta"):
        net = Leaving(MSSNet(config)).eval()
        width, height = (side + -side % config.multiple_of for side in size)
        return layers_of(net, torch.empty(1, 3, height, width))


@dataclass(frozen=True)
class Peaks:
    """What the machine can do at most, as measured."""

    precision: str
    flops: float
    """Floating-point operations per second, of a large matrix product; two to a MAC."""
    bytes_per_s: float
    """Read and written, of a large copy."""


@dataclass(frozen=True)
class Bound:
    """The least time of one frame, in ms."""

    gmacs: float
    mbytes: float
    compute_ms: float
    memory_ms: float
    bound_ms: float
    """The sum over layers of the larger of both."""


def bound(layers: Iterable[Layer], peaks: Peaks, item: int) -> Bound:
    """`item`: bytes of a number."""
    macs = moved = 0
    compute = memory = least = 0.0
    for layer in layers:
        size = item * (layer.read + layer.written)
        macs, moved = macs + layer.macs, moved + size
        times = 2 * layer.macs / peaks.flops, size / peaks.bytes_per_s
        compute, memory, least = compute + times[0], memory + times[1], least + max(times)
    return Bound(macs / 1e9, moved / 1e6, 1e3 * compute, 1e3 * memory, 1e3 * least)


def measure(plan: Plan) -> Part:
    """The peaks in every precision, and the best engine's time in each beside its bound."""
    device = plan.where
    usable = dict.fromkeys(precision for _, precision in engines(device))
    peaks = {name: _peaks(plan, name) for name in usable}
    data: list[dict[str, Any]] = []
    rows = []
    for preset in plan.presets:
        for size in plan.sizes_of(preset):
            layers = layers_of_preset(preset, size)
            for precision, peak in peaks.items():
                item = torch.empty((), dtype=PRECISIONS[precision]).element_size()
                least = bound(layers, peak, item)
                engine, took = _fastest(plan, preset, precision, size)
                reached = least.bound_ms / took
                row: dict[str, Any] = {
                    "preset": preset,
                    "size": named(size),
                    "precision": precision,
                }
                row |= {"engine": engine, "frame_ms": took, "reached": reached}
                data.append(row | asdict(least))
                figures = (least.gmacs, least.mbytes, least.compute_ms, least.memory_ms)
                cells = map(figure, (*figures, least.bound_ms, took, reached))
                rows.append((preset, named(size), precision, engine, *cells))
    columns = ("network", "size", "precision", "engine", "GMAC", "MB")
    times = ("compute, ms", "memory, ms", "bound, ms", "frame, ms", "reached")
    peak_rows = [
        (each.precision, figure(each.flops / 1e12), figure(each.bytes_per_s / 1e9))
        for each in peaks.values()
    ]
    tables = [
        Table(
            "Peaks of the machine",
            ("precision", "TFLOP/s", "GB/s"),
            peak_rows,
            note="The best of a large matrix product and of a large copy (bytes read and written).",
        ),
        Table(
            "How near the networks come to the machine's limits",
            (*columns, *times),
            rows,
            names=4,
            note="Compute and memory: the least time for all layers' arithmetic, and for reading "
            "and writing each layer's data once. Bound: the larger of both, layer by layer. Frame: "
            "1 over the frames per second of the fastest engine of that precision.",
        ),
    ]
    return Part({"peaks": [asdict(each) for each in peaks.values()], "rows": data}, tables)


def _fastest(plan: Plan, preset: str, precision: str, size: Size) -> tuple[str, float]:
    """The engine that is fastest in a precision, and the median time of a frame in ms."""
    file = plan.checkpoint(preset)
    runners = {
        engine: Runner(file, str(plan.where), engine, each, size)
        for engine, each in engines(plan.where)
        if each == precision
    }
    for runner in runners.values():
        runner.restored(1)
    work = {name: lambda run=run: run.fps(plan.turn_s) for name, run in runners.items()}
    fps = {name: median(found) for name, found in in_turns(work, max(2, plan.rounds // 2)).items()}
    best = max(fps, key=lambda name: fps[name])
    return best, 1e3 / fps[best]


@torch.inference_mode()
def _peaks(plan: Plan, precision: str) -> Peaks:
    device, dtype = plan.where, PRECISIONS[precision]
    side = 512 if plan.quick else 2048 if device.type == "cpu" else 8192
    numbers = (8 << 20) if plan.quick else (128 << 20) if device.type == "cpu" else (1 << 30)
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    made = torch.empty_like(a)
    source = torch.ones(numbers // 4, device=device)
    copy = torch.empty_like(source)

    def product() -> float:
        with Stopwatch(device) as watch:
            torch.mm(a, b, out=made)
        return 2 * side**3 / watch.cost.wall_s

    def copied() -> float:
        with Stopwatch(device) as watch:
            copy.copy_(source)
        return 2 * numbers / watch.cost.wall_s

    found = in_turns({"product": product, "copy": copied}, 5 if plan.quick else 20, warm_up=3)
    return Peaks(precision, max(found["product"]), max(found["copy"]))
