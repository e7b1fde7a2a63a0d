"""What each filter costs beside the network, frame after frame in one run."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import TypeVar

from benchmarks.clip import image as drawn
from benchmarks.plan import Plan, named
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import synchronize
from filters import Coding, Upscaler, changes_of, luma, need
from stream.compute.models import find_upscaler, load_model
from stream.options.settings import Settings
from stream.stages.build import bursts_of

_T = TypeVar("_T")
_WARM_UP = 8
"""Frames that do not count."""


@dataclass(frozen=True)
class Cost:
    """One filter on frames of one size."""

    filter: str
    size: str
    ms: float
    """Median time of a frame."""
    share: float
    """Of the network's median time."""


def costs(model: str, device: str, width: int, height: int, seconds: float) -> list[Cost]:
    """The network first, then what is done beside it: medians of one run, filters in turns."""
    restore = load_model(model, device=device, late=False)
    upscaler = find_upscaler("auto", restore.engine)
    assert isinstance(upscaler, Upscaler)
    where = restore.device
    coding = Coding("bt601")
    bursts = dict(zip(("fusion", "fusion again"), bursts_of(Settings()), strict=True))
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., _T], *given: object) -> _T:
        begun = time.perf_counter()
        made = work(*given)
        synchronize(where)
        times.setdefault(name, []).append(time.perf_counter() - begun)
        return made

    ends = time.perf_counter() + seconds
    index = 0
    while time.perf_counter() < ends or index < 2 * _WARM_UP:
        image = drawn(index % 32, width, height).to(where)
        light = (luma(image)[0, 0] * 255).byte().cpu().numpy()
        restored = timed("network", restore, image)
        planes = changes_of(restored, coding)
        for name, burst in bursts.items():
            # Simpler than in the program, whose second pass is given what the first one made.
            timed(name, burst.push, planes, coding)
        timed("--strength auto", need, light)
        timed("upscaler", upscaler, restored)
        index += 1
    found = {name: 1e3 * median(values[_WARM_UP:]) for name, values in times.items()}
    rows = {"network": found.pop("network"), **found}
    size = named((width, height))
    return [Cost(name, size, ms, ms / rows["network"]) for name, ms in rows.items()]


def measure(plan: Plan) -> Part:
    """What filters cost beside `lite`, at the first two sizes."""
    found = [
        cost
        for width, height in plan.sizes[:2]
        for cost in costs("lite", plan.device, width, height, 10 * plan.turn_s)
    ]
    rows = [(each.size, each.filter, figure(each.ms), figure(each.share)) for each in found]
    columns = ("size", "filter", "ms a frame", "of the network's")
    note = "Frame after frame, each after the one before it; one frame at a time."
    table = Table("Filters beside the network", columns, rows, names=2, note=note)
    return Part({"filters": [asdict(each) for each in found]}, [table])
