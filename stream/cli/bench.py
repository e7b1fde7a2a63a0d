"""`deblur bench`."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.table import Table

from stream.cli.options import Device
from stream.cli.terminal import out, rate, reported, say
from stream.cli.terminal.progress import counter


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            help="A model's name or a .safetensors file; all that are installed by default.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT such as 1280x720; 640x360, 1280x720 and 1920x1080 by default.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure for about a minute how fast this machine is, and recommend a model."""
    from stream.files.bench import LIVE_FPS, SIZES
    from stream.files.bench import bench as measured

    with reported():
        sizes = SIZES if size is None else (_size(size),)
        say("measuring for about a minute; Ctrl-C ends it")
        with counter("measuring") as show, _insistent() as came:

            def progress(done: int, total: int) -> None:
                if came:
                    raise KeyboardInterrupt
                show(done, total)

            found = measured(model, sizes, device, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("model", "engine", "size"):
        table.add_column(column, no_wrap=True)
    for column in ("network fps", "run fps", "x length"):
        table.add_column(column, justify="right")
    for row in found.rows:
        about = "" if row.measured else "~"
        figures = (rate(row.network_fps), about + rate(row.run_fps), about + rate(row.times_length))
        table.add_row(row.model, f"{row.engine}, {row.precision}", row.size, *figures)
    out.print(table)
    derived = "" if all(row.measured for row in found.rows) else "; ~ was derived"
    out.print(
        f"network: by itself; run: all of deblur run; x length: what video of {LIVE_FPS} fps takes "
        f"over its length{derived}",
        soft_wrap=True,
    )
    out.print(found.advice, soft_wrap=True)


@contextmanager
def _insistent() -> Iterator[list[int]]:
    """Ctrl-C, and word of it: engines are made by libraries that may take what is raised within
    for something else."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _size(text: str) -> tuple[int, int]:
    import stream

    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 16):
        raise stream.UsageError(f"--size takes WIDTHxHEIGHT such as 1280x720, got {text}")
    return int(width), int(height)
