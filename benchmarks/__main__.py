"""`python -m benchmarks`: speed and memory of every part of the program on this machine."""

import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import plots
from benchmarks.machine import machine
from benchmarks.plan import Plan, check_presets, parse_size, quick
from benchmarks.report import Measured, newest, publish, write
from benchmarks.tables import Part
from stream.errors import DeblurError

HERE = Path(__file__).parent
PARTS = ("engines", "roofline", "pipeline", "filters", "fusion", "memory", "growth")
"""Each is a module here that measures."""

_console = Console()
if not _console.is_terminal:
    _console = Console(width=140)
_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def main(
    only: Annotated[
        str | None, typer.Option(help=f"Parts to measure, such as engines,memory: {PARTS}.")
    ] = None,
    quick_: Annotated[
        bool, typer.Option("--quick", help="Everything once, tiny: to see that it works.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    presets: Annotated[str | None, typer.Option(help="Networks, such as lite,wide.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Sizes, such as 640x360,1280x720.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long each that is compared has its turn.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How many turns each has.")] = None,
    lengths: Annotated[
        str | None, typer.Option(help="Seconds of video, for what grows with them, such as 10,60.")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="Ten minutes of small video as well.")
    ] = False,
    clip: Annotated[
        list[Path] | None, typer.Option(help="A real video for the pipeline; can be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where bench.json and the rest go.")] = HERE / "out",
    results: Annotated[
        bool,
        typer.Option("--results", help="Only put what was measured into benchmarks/RESULTS.md."),
    ] = False,
) -> None:
    """Measure, print tables, and write bench.json, bench.md and plots."""
    if results:
        _publish(out)
        return
    try:
        parts = _words(only) or PARTS
        for part in parts:
            if part not in PARTS:
                raise ValueError(f"unknown part {part}; there are {', '.join(PARTS)}")
        with tempfile.TemporaryDirectory() as name:
            plan = quick(Path(name), device) if quick_ else Plan(Path(name), device)
            if chosen := tuple(map(parse_size, _words(sizes))):
                plan = replace(plan, sizes=chosen, growing=chosen)
            if named := _words(presets):
                check_presets(named)
                plan = replace(plan, presets=named)
            spans = tuple(map(float, _words(lengths))) or plan.lengths_s
            plan = replace(plan, lengths_s=spans, long=long)
            plan = replace(plan, clips=tuple(clip or ()))
            plan = replace(plan, turn_s=seconds or plan.turn_s, rounds=rounds or plan.rounds)
            _measure(plan, parts, out)
    except (ValueError, DeblurError) as error:
        _console.print(f"benchmarks: {error}", markup=False, highlight=False)
        raise typer.Exit(2) from error


def _measure(plan: Plan, parts: tuple[str, ...], out: Path) -> None:
    facts = machine()
    for key, value in facts.items():
        _console.print(f"{key:>24}  {value}", markup=False, highlight=False)
    measured, failed = Measured(facts, plan.quick, {}), []
    for name in parts:
        try:
            with _console.status(f"measuring {name}"):
                found: Part = import_module(f"benchmarks.{name}").measure(plan)
        except Exception:
            # What was measured, and what is to come, is worth having all the same.
            _console.print_exception()
            failed.append(name)
            continue
        for table in found.tables:
            _console.print(table.shown())
        # After each part, so that an interruption loses no more than one.
        measured = write(out, Measured(facts, plan.quick, {name: found}))
    if plots.available():
        out.mkdir(parents=True, exist_ok=True)
        drawn = plots.draw(out, measured)
        _console.print(f"{len(drawn)} plots, bench.json and bench.md are in {out}")
    else:
        _console.print(f"bench.json and bench.md are in {out}; no plots: there is no Matplotlib")
    if failed:
        _console.print(f"benchmarks: not measured: {', '.join(failed)}", markup=False)
        raise typer.Exit(1)


def _publish(out: Path) -> None:
    found, left_out = newest(out.glob("**/*.json"))
    for line in left_out:
        _console.print(f"left out: {line}", markup=False)
    if not found:
        _console.print(f"benchmarks: there is nothing measured in {out}", markup=False)
        raise typer.Exit(2)
    publish(HERE / "RESULTS.md", found)
    _console.print(f"{', '.join(found)} -> {HERE / 'RESULTS.md'}", markup=False)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


if __name__ == "__main__":
    _app(prog_name="python -m benchmarks")
