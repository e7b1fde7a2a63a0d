"""`python -m weights.train deblur`: train a checkpoint."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer

import weights
from mssnet import PRESETS
from weights import device as devices
from weights.evaluate import PairsError, find_pairs
from weights.train import recipe as recipes
from weights.train.data import Samples
from weights.train.deblurring import Deblurring, data_of
from weights.train.enlarging import EnlargingTask
from weights.train.look import samples_sheet
from weights.train.loop import RunSettings, StoppedError, Task, train
from weights.train.pairs import write_pairs
from weights.train.shutter import train_shutter

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Images: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of sharp photographs; without one, drawn pictures.")
]
Curve: TypeAlias = Annotated[
    Path | None, typer.Option(help="Measured inverse response curve (.npy, 256 rows).")
]
Changes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a recipe's setting, such as blur.longest=40."),
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Seed of all that is random.")]
Out: TypeAlias = Annotated[Path, typer.Option(help="Folder for the state, weights and log.")]
Minutes: TypeAlias = Annotated[
    float | None, typer.Option(help="How long to train, interrupted runs included.")
]
Steps: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="How many steps to train, instead of minutes: reproducible."),
]
Resume: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What to go on with: the folder of an interrupted run, or, to start a new run "
        "from finished weights, a checkpoint's name or .safetensors file."
    ),
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="CPU cores to train with; all if not given.")
]
Workers: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Threads that make samples.")]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Pieces: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Also keep the weights to go on with as files of at most this many MiB, for "
        "machines that hand back only small ones; --resume takes their folder.",
    ),
]


@app.callback()
def main() -> None:
    """Train the networks of deblur-stream."""


@app.command()
def deblur(
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Option(help="Name of a recipe, or a .toml file; that of the preset if not given."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"The network's size: {', '.join(PRESETS)}.")
    ] = None,
    images: Images = None,
    response: Curve = None,
    minutes: Minutes = None,
    steps: Steps = None,
    resume: Resume = None,
    change: Changes = None,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = "auto",
    seed: Seed = 0,
    piece_mib: Pieces = None,
) -> None:
    """Train the deblurring network on blur synthesized from photographs."""
    with _errors_said():
        made = _recipe(recipe, preset, minutes, change or [])
        run = _run(images, resume, device, threads, workers, seed, piece_mib, steps)
        run = replace(run, response=response)
        _train(Deblurring(made, run), run, out, resume)


@app.command()
def upscale(
    out: Out,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a .toml file.")] = "x3-lite",
    images: Images = None,
    restorer: Annotated[
        str, typer.Option(help="The deblurring model whose pictures are to be enlarged.")
    ] = "lite",
    minutes: Minutes = None,
    steps: Steps = None,
    resume: Resume = None,
    change: Changes = None,
    threads: Threads = None,
    workers: Workers = None,
    device: Device = "auto",
    seed: Seed = 0,
    piece_mib: Pieces = None,
) -> None:
    """Train the upscaler on photographs made three times smaller, and on restored ones."""
    with _errors_said():
        made = recipes.load_enlarging(recipes.find(recipe), _settings(change or []))
        made = replace(made, minutes=minutes) if minutes else made
        run = _run(images, resume, device, threads, workers, seed, piece_mib, steps)
        run = replace(run, restorer=weights.path(restorer))
        _train(EnlargingTask(made, run), run, out, resume)


@app.command()
def shutter(
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe: what clips are made.")] = "lite",
    images: Images = None,
    response: Curve = None,
    clips: Annotated[int, typer.Option(min=100, help="How many clips to make.")] = 8000,
    change: Changes = None,
    seed: Seed = 0,
) -> None:
    """Train the network that tells for how long the shutter is open; a few minutes."""
    with _errors_said():
        made = _recipe(recipe, None, None, change or [])
        run = RunSettings(images=images, response=response, seed=seed)
        facts = train_shutter(data_of(made.phases[-1][1], run, 0), clips, out)
        typer.echo(
            f"of clips kept aside, told one by one, {facts['within']:.0%} are within 30 %; "
            f"the median error is a factor of {np.exp(facts['error']):.2f}"
        )


@app.command()
def samples(
    out: Annotated[Path, typer.Option(help="The .png to write.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a .toml file.")] = "lite",
    phase: Annotated[int, typer.Option(help="Which phase of it; -1 is the last.")] = -1,
    images: Images = None,
    response: Curve = None,
    real: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="Real pairs to show beside them."),
    ] = None,
    change: Changes = None,
    seed: Seed = 0,
) -> None:
    """Look at what a recipe trains on: 16 samples, blurred and sharp."""
    with _errors_said():
        made = _recipe(recipe, None, None, change or [])
        if not -len(made.phases) <= phase < len(made.phases):
            raise ValueError(f"the recipe has {len(made.phases)} phases, counted from 0")
        run = RunSettings(images=images, response=response, seed=seed)
        settings = data_of(made.phases[phase][1], run, phase % len(made.phases))
        settings = replace(settings, scenes=16, uses=1)
        sets = [one for path in real or [] for one in find_pairs(path)]
        samples_sheet(Samples(settings), sets, out)


@app.command()
def pairs(
    out: Annotated[Path, typer.Option(help="Folder to write a folder of each kind into.")],
    count: Annotated[int, typer.Option(min=1, help="Pairs of each kind.")] = 12,
    images: Images = None,
    seed: Seed = 2**20,
) -> None:
    """Write pairs to measure with: light, moderate, heavy, noisy, compressed, a sequence with
    depth and poses, and test charts."""
    with _errors_said():
        for folder in write_pairs(out, count, images, seed):
            typer.echo(folder)


@contextmanager
def _errors_said() -> Iterator[None]:
    """What cannot work ends the program with one line and code 2."""
    try:
        yield
    except (ValueError, PairsError, weights.WeightsError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


def _run(
    images: Path | None,
    resume: str | None,
    device: str,
    threads: int | None,
    workers: int | None,
    seed: int,
    piece_mib: int | None,
    steps: int | None,
) -> RunSettings:
    where = devices.choose(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return RunSettings(
        images=images,
        steps=steps,
        start=weights.path(resume) if resume and not Path(resume).is_dir() else None,
        device=where,
        threads=threads or cores or 1,
        workers=workers or (1 if where.type == "cpu" else max((cores or 2) - 1, 1)),
        seed=seed,
        piece_mib=piece_mib,
    )


def _train(task: Task, run: RunSettings, out: Path, resume: str | None) -> None:
    try:
        folder = Path(resume) if resume and Path(resume).is_dir() else None
        progress = train(task, run, out, folder)
    except StoppedError:
        again = f"add --resume {out} to the same command to go on"
        typer.echo(f"stopped, all steps kept in {out}; {again}", err=True)
        raise typer.Exit(130) from None
    typer.echo(
        f"{progress.step} steps in {progress.seconds / 60:.1f} minutes; "
        f"the weights are {out / 'weights.safetensors'}"
    )


def _settings(changes: list[str]) -> dict[str, str]:
    settings = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, such as blur.longest=40, not {change}")
        settings[key] = value
    return settings


def _recipe(
    name: str | None, preset: str | None, minutes: float | None, changes: list[str]
) -> recipes.Recipe:
    settings = _settings(changes)
    if preset:
        settings["preset"] = preset
    if preset and preset not in PRESETS:
        raise ValueError(f"unknown preset {preset}; choose one of {', '.join(PRESETS)}")
    file = recipes.find(name or (preset if preset in ("lite", "wide") else "lite"))
    recipe = recipes.load(file, settings)
    return replace(recipe, minutes=minutes) if minutes else recipe


if __name__ == "__main__":
    app()
