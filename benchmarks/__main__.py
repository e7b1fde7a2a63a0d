"""`python -m benchmarks`: what the pipeline costs beside the network, and how memory grows.

Every ratio is of two figures of one run: first the network alone on frames of a size, then
`stream.run` on a clip of that size, then the network again. Times are medians.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated

import av
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import stream
from benchmarks.costs import costs
from stream.models import load_model

OUT = Path(__file__).parent / "out"
_console = Console()


@dataclass(frozen=True)
class Speed:
    """The network alone and the whole program, on frames of one size."""

    size: str
    network_fps: float
    run_fps: float
    ratio: float
    """run_fps / network_fps; 1 would be a pipeline that costs nothing."""
    decode_busy: float
    encode_busy: float
    """Share of the run's time that the stage worked."""


def clip(path: Path, width: int, height: int, frames: int) -> Path:
    """A clip with moving detail and sensor-like noise, about as hard to encode as footage."""
    rng = np.random.default_rng(1)
    world = rng.integers(0, 255, (height // 8 + 40, width // 8 + 40, 3), np.uint8)
    world = world.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            view = world[index : index + height, 2 * index : 2 * index + width]
            noisy = np.clip(view * 0.7 + rng.normal(20, 3, view.shape), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, format="rgb24")
            frame = frame.reformat(format="yuv420p", threads=1)
            frame.pts, frame.time_base = index, Fraction(1, 30)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def network_fps(model: str, device: str, width: int, height: int, seconds: float) -> float:
    """Frames per second of the network alone: 1 over the median time, after a warm-up."""
    restore = load_model(model, device=device)
    image = torch.rand(1, 3, height, width, device=restore.device)
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < 5:
        begun = time.perf_counter()
        restore(image)
        if restore.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 1 / median(times[2:])


def speed(model: str, device: str, width: int, height: int, folder: Path, seconds: float) -> Speed:
    before = network_fps(model, device, width, height, seconds / 2)
    frames = int(np.clip(before * seconds, 20, 240))
    source = clip(folder / f"{width}x{height}.mp4", width, height, frames)
    settings = stream.Settings(model=model, device=device, overwrite=True)
    report = stream.Job(source, folder / "out.mp4", settings).run()
    after = network_fps(model, device, width, height, seconds / 2)
    alone = (before + after) / 2
    return Speed(
        size=f"{width}x{height}",
        network_fps=round(alone, 2),
        run_fps=round(report.fps, 2),
        ratio=round(report.fps / alone, 3),
        decode_busy=round(report.busy["decode"], 3),
        encode_busy=round(report.busy["encode"], 3),
    )


def peak_mb(source: Path, output: Path, *options: str) -> float:
    """Peak resident memory in MB of a `deblur run` in a process of its own."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "stream", "run", str(source), str(output), "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *options], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{names[0].split(':')[1].strip()}, {len(names)} cores" if names else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "cpu": cpu,
        "gpu": gpu,
        "torch": version("torch"),
        "av": version("av"),
        "commit": commit,
    }


def main(
    model: Annotated[str, typer.Option(help="A model's name.")] = "lite",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seconds: Annotated[float, typer.Option(help="How long to measure each size.")] = 12,
    long_clip: Annotated[
        Path | None, typer.Option(help="A clip of a minute or more, for the growth of memory.")
    ] = None,
) -> None:
    """Measure, print a table, and write benchmarks/out/bench.json."""
    facts = machine()
    _console.print(", ".join(f"{key} {value}" for key, value in facts.items()), highlight=False)
    results: dict[str, object] = {"machine": facts, "model": model}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            speed(model, device, width, height, folder, seconds)
            for width, height in ((640, 360), (1280, 720))
        ]
        table = Table(title=f"{model}: the pipeline beside the network alone")
        for column in ("size", "network fps", "run fps", "ratio", "decode busy", "encode busy"):
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*(str(value) for value in asdict(row).values()))
        _console.print(table)
        results["speed"] = [asdict(row) for row in rows]

        filters = [
            cost
            for width, height in ((640, 360), (1280, 720))
            for cost in costs(model, device, width, height, seconds)
        ]
        table = Table(title=f"what filters cost beside {model}")
        for column in ("size", "filter", "ms a frame", "share of the network's"):
            table.add_column(column, justify="right")
        for cost in filters:
            table.add_row(cost.size, cost.filter, str(cost.ms), str(cost.share))
        _console.print(table)
        results["filters"] = [asdict(cost) for cost in filters]

        source = long_clip or clip(folder / "long.mp4", 480, 270, 1500)
        options = ("--model", model, "--device", device)
        part = peak_mb(source, folder / "part.mp4", *options, "--duration", "10")
        whole = peak_mb(source, folder / "whole.mp4", *options)
        results["memory"] = {"first_10_s_mb": part, "whole_mb": whole, "ratio": whole / part}
        _console.print(
            f"peak memory: {part:.0f} MB for the first 10 s, {whole:.0f} MB for all of "
            f"{source.name}, ratio {whole / part:.3f}"
        )
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
