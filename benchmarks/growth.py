"""What a frame costs in longer videos, and a pixel in larger ones."""

from statistics import median
from typing import Any

import stream
from benchmarks.clip import RATE
from benchmarks.pipeline import BLURRED, run
from benchmarks.plan import LONG_S, SMALLEST, Plan, Size, named
from benchmarks.runner import Runner
from benchmarks.tables import Part, Table, figure
from benchmarks.timing import in_turns
from stream.compute.models import load_model


def measure(plan: Plan) -> Part:
    """The whole program by length, and the network alone by size."""
    asked = [(plan.growing[0], plan.lengths_s)]
    if plan.long:
        asked.append((SMALLEST, (*plan.lengths_s, LONG_S)))
    lengths, tables = [], []
    for size, lengths_s in asked:
        found, table = _lengths(plan, size, lengths_s)
        lengths += found
        tables.append(table)
    sizes, table = _sizes(plan)
    return Part({"lengths": lengths, "sizes": sizes}, [*tables, table])


def _lengths(
    plan: Plan, size: Size, lengths_s: tuple[float, ...]
) -> tuple[list[dict[str, Any]], Table]:
    """The shortest one once more after each of the others, to see what drifts."""
    restore = load_model("lite", device=plan.device)
    output = plan.folder / "restored.mp4"
    settings = stream.Settings(device=plan.device, overwrite=True, shutter=BLURRED)

    def fps(seconds: float) -> float:
        return run(plan.drawn(size, round(seconds * RATE)), output, settings, restore).fps

    shortest, *longer = lengths_s
    fps(shortest)
    before = fps(shortest)
    rows = [(shortest, 1e3 / before, 1.0)]
    for seconds in longer:
        took = fps(seconds)
        after = fps(shortest)
        beside = (before + after) / 2
        rows.append((seconds, 1e3 / took, beside / took))
        before = after
    names = ("seconds", "frame_ms", "over_shortest")
    found = [{"size": named(size), **dict(zip(names, row, strict=True))} for row in rows]
    table = Table(
        f"Time of a frame by the video's length, {named(size)}",
        ("video, s", "ms a frame", "over the shortest"),
        [tuple(map(figure, row)) for row in rows],
        note="deblur run with lite, all of it. The shortest video is restored before and after "
        "each of the others, and the ratio is to the mean of both.",
    )
    return found, table


def _sizes(plan: Plan) -> tuple[list[dict[str, Any]], Table]:
    restore = load_model("lite", device=plan.device)
    precision = str(restore.dtype).removeprefix("torch.")
    file = plan.checkpoint("lite")
    runners = {
        size: Runner(file, plan.device, restore.engine.name, precision, size)
        for size in plan.growing
    }
    for runner in runners.values():
        runner.restored(1)
    work = {named(size): lambda run=run: run.fps(plan.turn_s) for size, run in runners.items()}
    times = in_turns(work, max(2, plan.rounds // 2))
    found: list[dict[str, Any]] = []
    for size in plan.growing:
        ms = 1e3 / median(times[named(size)])
        pixels = size[0] * size[1]
        found.append(
            {"size": named(size), "pixels": pixels, "frame_ms": ms, "ns_a_pixel": 1e6 * ms / pixels}
        )
    least = found[0]["ns_a_pixel"]
    rows = [
        (
            str(each["size"]),
            figure(each["frame_ms"]),
            figure(each["ns_a_pixel"]),
            figure(each["ns_a_pixel"] / least),
        )
        for each in found
    ]
    table = Table(
        "Time of a pixel by the video's size",
        ("size", "ms a frame", "ns a pixel", "over the smallest"),
        rows,
        note=f"The network lite alone, on {restore.engine.name} in {precision}, with as many "
        "frames under way as the engine asks for.",
    )
    return found, table
