"""Pictures of what was measured; only where Matplotlib is installed."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.machine import hardware
from benchmarks.report import Measured, data_of


def available() -> bool:
    """Whether Matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(folder: Path, measured: Measured) -> list[Path]:
    """Write a PNG for each part that there is something to see of."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn = []
    for name, figure in _figures(pyplot, measured):
        figure.supxlabel(_stamp(measured), x=0.01, ha="left", fontsize=6, color="gray")
        file = folder / f"{name}.png"
        figure.savefig(file, dpi=150)
        pyplot.close(figure)
        drawn.append(file)
    return drawn


def _stamp(measured: Measured) -> str:
    facts = measured.machine
    trial = "TRIAL, figures mean nothing; " if measured.quick else ""
    return f"{trial}{hardware(facts)}; commit {facts['commit']}, {facts['date']}"


def _figures(pyplot: Any, measured: Measured) -> Iterator[tuple[str, Any]]:
    if rows := data_of(measured, "engines").get("engines"):
        yield "engines", _engines(pyplot, rows)
    if clips := data_of(measured, "pipeline").get("clips"):
        yield "stages", _stages(pyplot, clips)
    if rows := data_of(measured, "memory").get("sizes"):
        yield "memory", _memory(pyplot, [row for row in rows if row["preset"] == "lite"])
    if rows := data_of(measured, "growth").get("sizes"):
        yield "pixels", _pixels(pyplot, rows)


def _engines(pyplot: Any, rows: list[dict[str, Any]]) -> Any:
    groups = list(dict.fromkeys((row["preset"], row["size"]) for row in rows))
    kinds = list(dict.fromkeys((row["engine"], row["precision"], row["threads"]) for row in rows))
    figure, axes = pyplot.subplots(figsize=(max(7.0, 3 + len(groups)), 4.5), layout="constrained")
    width = 0.8 / len(kinds)
    for index, kind in enumerate(kinds):
        bars = {
            (row["preset"], row["size"]): row["fps"]
            for row in rows
            if (row["engine"], row["precision"], row["threads"]) == kind
        }
        places = [place + (index - len(kinds) / 2 + 0.5) * width for place in range(len(groups))]
        heights = [bars.get(group, 0) for group in groups]
        label = " ".join(word for word in kind if word != "-")
        axes.bar(places, heights, width, label=label)
    axes.set_xticks(range(len(groups)), [f"{preset}\n{size}" for preset, size in groups])
    axes.set_yscale("log")
    axes.set_ylabel("frames per second")
    axes.set_title("The network alone, by engine")
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def _stages(pyplot: Any, clips: list[dict[str, Any]]) -> Any:
    bars = [
        (f"{clip['size']}\n{variant}", found["alone"], found["cpu_ms"])
        for clip in clips
        for variant, found in clip["variants"].items()
    ]
    stages = list(dict.fromkeys(stage for _, alone, _ in bars for stage in alone))
    figure, axes = pyplot.subplots(figsize=(8, 1.5 + 0.6 * len(bars)), layout="constrained")
    left = [0.0] * len(bars)
    for stage in stages:
        lengths = [alone.get(stage, 0.0) for _, alone, _ in bars]
        axes.barh(range(len(bars)), lengths, left=left, label=stage)
        left = [a + b for a, b in zip(left, lengths, strict=True)]
    axes.plot([cpu for *_, cpu in bars], range(len(bars)), "k|", markersize=16, label="all, in use")
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("core-milliseconds a frame")
    axes.set_title("deblur run: each stage alone, and all of them together")
    axes.legend(fontsize=7)
    return figure


def _memory(pyplot: Any, rows: list[dict[str, Any]]) -> Any:
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    pixels = [_pixels_of(row["size"]) / 1e6 for row in rows]
    axes.plot(pixels, [row["mib"] for row in rows], "o-", label="measured")
    axes.plot(pixels, [row["bound_mib"] for row in rows], "--", label="promised on a CPU")
    axes.set_xlabel("million pixels of a frame")
    axes.set_ylabel("MiB")
    axes.set_ylim(0)
    axes.set_title("Peak memory of deblur run with lite")
    axes.legend()
    return figure


def _pixels(pyplot: Any, rows: list[dict[str, Any]]) -> Any:
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot([row["pixels"] / 1e6 for row in rows], [row["ns_a_pixel"] for row in rows], "o-")
    axes.set_xlabel("million pixels of a frame")
    axes.set_ylabel("ns a pixel")
    axes.set_ylim(0)
    axes.set_title("The network lite alone")
    return figure


def _pixels_of(size: str) -> int:
    width, _, height = size.partition("x")
    return int(width) * int(height)
