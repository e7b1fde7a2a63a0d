"""The least time that a network can take on this machine, and how near the engines come to it.

The roofline of Williams, Waterman and Patterson (Communications of the ACM 52(4), 2009): a layer
takes no less time than its arithmetic at the machine's peak, and no less than its reading and
writing at the memory's. Layers are counted as an ideal engine would run them: each convolution and
each resizing reads its input and its weights once and writes its output once; activations and
additions are done on the way, of which an addition reads its other operand; joining channels costs
nothing. Caches can keep what is written for the next layer, so the bound by memory is one for
engines that go layer by layer, and one that fuses more can be faster.
"""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import mssnet
from benchmarks.engines import speeds
from benchmarks.plan import Plan, Size, named
from benchmarks.presets import engines
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import Stopwatch
from mssnet import PRESETS, MSSNet
from mssnet.model import Leaving
from stream.compute.engines import choose_engine
from stream.compute.models import DTYPES


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
        return layers_of(net, torch.empty(1, config.inputs, height, width))


@dataclass(frozen=True)
class Peaks:
    """What the machine can do at most, as measured."""

    precision: str
    flops: float
    """Floating-point operations per second, of matrix products; two to a MAC."""
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
    best = peaks(plan)
    data: list[dict[str, Any]] = []
    rows = []
    for preset in plan.presets:
        for size in plan.sizes_of(preset):
            layers = layers_of_preset(preset, size)
            for precision, peak in best.items():
                item = torch.empty((), dtype=DTYPES[precision]).element_size()
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
        for each in best.values()
    ]
    tables = [
        Table(
            "Peaks of the machine",
            ("precision", "TFLOP/s", "GB/s"),
            peak_rows,
            note="The best of a large copy (bytes read and written), and of matrix products: "
            "PyTorch's, and convolutions of 128 to 1024 channels on every engine.",
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
    return Part({"peaks": [asdict(each) for each in best.values()], "rows": data}, tables)


def _fastest(plan: Plan, preset: str, precision: str, size: Size) -> tuple[str, float]:
    """The engine that is fastest in a precision, and the median time of a frame in ms."""
    found = [each for each in speeds(plan, preset, size) if each.precision == precision]
    best = max(found, key=lambda each: each.fps)
    return best.engine, 1e3 / best.fps


def peaks(plan: Plan) -> dict[str, Peaks]:
    """By precision, the best that could be seen: by PyTorch's products, and by every engine's."""
    device = plan.where
    moved = _copied(plan)
    found = {}
    for precision in dict.fromkeys(precision for _, precision in engines(device)):
        work = {
            engine: partial(_products, plan, choose_engine(engine, device, DTYPES[precision]))
            for engine, each in engines(device)
            if each == precision
        }
        work["mm"] = partial(_product, plan, DTYPES[precision])
        best = max(flops() for flops in work.values())
        found[precision] = Peaks(precision, best, moved)
    return found


@torch.inference_mode()
def _copied(plan: Plan) -> float:
    """Bytes per second, read and written, of a copy too large for caches."""
    numbers = (8 << 20) if plan.quick else (64 << 20) if plan.where.type == "cpu" else (512 << 20)
    source = torch.ones(numbers, device=plan.where)
    copy = torch.empty_like(source)
    times = []
    for _ in range(4 if plan.quick else 20):
        with Stopwatch(plan.where) as watch:
            copy.copy_(source)
        times.append(watch.cost.wall_s)
    return 2 * source.nbytes / min(times)


@torch.inference_mode()
def _product(plan: Plan, dtype: torch.dtype) -> float:
    """FLOP/s of a square matrix product, the best of a few."""
    side = 512 if plan.quick else 2048 if plan.where.type == "cpu" else 8192
    a, b = (torch.rand(side, side, device=plan.where).to(dtype) for _ in range(2))
    made = torch.empty_like(a)
    times = []
    for _ in range(5):
        with Stopwatch(plan.where) as watch:
            torch.mm(a, b, out=made)
        times.append(watch.cost.wall_s)
    return 2 * side**3 / min(times)


_log = logging.getLogger(__name__)
_ROWS = ((1024, 1), (512, 1), (256, 3), (128, 3))
"""Channels, and the side of the kernels, of rows of convolutions that engines are tried with."""


class _Row(nn.Module):
    """Convolutions, one after the other, so that little is read and written beside them."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False) for _ in range(8)
        )
        self.channels, self.kernel = channels, kernel

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(next(self.parameters()).dtype)
        for layer in self.layers:
            x = layer(x)
        return x

    def flops(self, pixels: int) -> int:
        return len(self.layers) * 2 * (self.channels * self.kernel) ** 2 * pixels


@torch.inference_mode()
def _products(plan: Plan, engine: mssnet.Engine) -> float:
    """FLOP/s of convolutions, which are matrix products, as an engine runs them; of all rows."""
    side = 24 if plan.quick else 64 if plan.where.type == "cpu" else 256
    best = 0.0
    for channels, kernel in _ROWS[-1:] if plan.quick else _ROWS:
        image = torch.rand(1, channels, side, side, device=plan.where)
        try:
            best = max(best, _row_flops(plan, engine, _Row(channels, kernel), image))
        except Exception as error:
            # An engine may run the project's own networks alone, and say so in its own way.
            _log.debug("%s does not run %d channels: %s", engine.name, channels, error)
    return best


def _row_flops(plan: Plan, engine: mssnet.Engine, row: _Row, image: Tensor) -> float:
    best = 0.0
    program = engine.compile(row)
    under_way = deque(program(image) for _ in range(engine.in_flight))
    # The first ones warm up.
    for _ in range(1 if plan.quick else 4):
        with Stopwatch(plan.where) as watch:
            for _ in range(2 * engine.in_flight):
                under_way.popleft()()
                under_way.append(program(image))
        flops = row.flops(image[0, 0].numel())
        best = max(best, 2 * engine.in_flight * flops / watch.cost.wall_s)
    while under_way:
        under_way.popleft()()
    return best
