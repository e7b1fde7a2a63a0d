"""`python -m weights.evaluate`: the command."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Self

import cv2
import torch
import typer
from rich.console import Console, RenderableType
from rich.progress import Progress
from torch import Tensor

import mssnet
import weights
from filters import USUAL_SMOOTHING, Upscaler, load_upscaler
from mssnet.regions import Where
from stream.compute.models import Passthrough
from stream.errors import DeblurError
from stream.options.exposure import Exposure
from stream.options.restore import MOST_FUSE, NONE, USUAL_FUSE
from stream.options.settings import Settings
from weights import device as devices
from weights.evaluate import tables
from weights.evaluate.enlarged import evaluate_enlarged
from weights.evaluate.fidelity import evaluate_fidelity, lines
from weights.evaluate.measure import Row
from weights.evaluate.pairs import PairsError, find_pairs
from weights.evaluate.pictures import find_pictures
from weights.evaluate.restored import Restored, evaluate
from weights.evaluate.sheet import sheet
from weights.evaluate.upscaler import PictureRow, evaluate_upscaler
from weights.store import sha256

_WIDTH = 100
"""Columns of the tables where they do not go to a terminal."""


class Precision(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class _Asked:
    """The options."""

    model: str | None
    upscaler: str | None
    pairs: list[Path]
    images: list[Path]
    fuse: int | None
    smooth: float | None
    exit: int | None
    device: str
    precision: Precision
    shutter: str
    geometry: bool
    json_file: Path | None
    sheet_file: Path | None

    @cached_property
    def settings(self) -> Settings:
        return Settings(fuse=USUAL_FUSE if self.fuse is None else self.fuse, smooth=self.smooth)

    @cached_property
    def exposure(self) -> Exposure:
        return Exposure(self.shutter)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str | None,
        typer.Option(help="Name of a checkpoint, or a .safetensors file; none: fusion alone."),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder with blur/ and sharp/, or with rgb/, depth/ and pose/, or .mp4 clip or "
            "folder of clips with blurred, depth and sharp frame side by side. May be given "
            "several times."
        ),
    ] = None,
    fuse: Annotated[
        int | None,
        typer.Option(
            help="With how many frames before and after it each restored one is also fused, "
            f"0..{MOST_FUSE}; 0: with none.",
            show_default=str(USUAL_FUSE),
        ),
    ] = None,
    smooth: Annotated[
        float | None,
        typer.Option(
            help="How much of the noise is averaged away by that, 0..1.",
            show_default=str(USUAL_SMOOTHING),
        ),
    ] = None,
    upscaler: Annotated[
        str | None,
        typer.Option(
            help="Name of an upscaler, or a .safetensors file: alone with --images, or with "
            "--model and --pairs, whose frames are made three times smaller first."
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of sharp pictures, or of pairs named HR and LR; each folder in it is a "
            "set of its own. May be given several times."
        ),
    ] = None,
    exit: Annotated[
        int | None,
        typer.Option(min=1, help="Where the model is left, counted from its cheapest exit."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="What the networks compute in.")
    ] = Precision.FLOAT32,
    shutter: Annotated[
        str,
        typer.Option(help="That of the camera: 1/60 at 30 frames per second, 180deg, or auto."),
    ] = "auto",
    geometry: Annotated[
        bool,
        typer.Option(
            "--geometry", help="Measure instead what it does to corners, edges and tracks."
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all figures, as JSON.")
    ] = None,
    sheet_file: Annotated[
        Path | None, typer.Option("--sheet", help="File for crops to look at, .png.")
    ] = None,
) -> None:
    """Measure a checkpoint on blurred and sharp frames, an upscaler on pictures, or both."""
    with _errors_said():
        asked = _Asked(
            model=model,
            upscaler=upscaler,
            pairs=pairs or [],
            images=images or [],
            fuse=fuse,
            smooth=smooth,
            exit=exit,
            device=device,
            precision=precision,
            shutter=shutter,
            geometry=geometry,
            json_file=json_file,
            sheet_file=sheet_file,
        )
        _check(asked)
        _measure(asked, _Networks.load(asked))


def _measure(asked: _Asked, networks: "_Networks") -> None:
    sets = [one for path in asked.pairs for one in find_pairs(path)]
    picture_sets = [one for path in asked.images for one in find_pictures(path)]
    total = sum(one.pairs for one in sets) + sum(one.pictures for one in picture_sets)
    settings, exposure, restore = asked.settings, asked.exposure, networks.restore
    if asked.geometry and restore:
        with _progress(total) as step:
            chain = Restored(restore, settings.fuse, settings.smooth, ["fused"], exposure)
            found = evaluate_fidelity(chain, sets, on_pair=step)
        typer.echo("\n".join([_title(asked, networks), "", *lines(found)]))
        return
    rows: Sequence[Row] | Sequence[PictureRow] = []
    table: RenderableType = ""
    fusing: dict[str, Any] = {"fuse": settings.fuse, "smooth": settings.smooth}
    fusing["exposure"] = exposure
    with _progress(total) as step:
        if restore and networks.enlarge:
            rows = evaluate_enlarged(restore, networks.enlarge, sets, **fusing, on_pair=step)
            table = tables.enlarged(rows)
        elif restore:
            rows = evaluate(restore, sets, **fusing, on_pair=step)
            table = tables.restored(rows)
        elif networks.enlarge:
            rows = evaluate_upscaler(networks.enlarge, picture_sets, on_picture=step)
            table = tables.pictures(rows)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False)
    console.print(_title(asked, networks), highlight=False, soft_wrap=True)
    console.print(table)
    if asked.json_file:
        facts = _facts(asked, networks, rows)
        asked.json_file.write_text(json.dumps(facts, indent=2) + "\n")
    if asked.sheet_file and restore:
        crops = cv2.cvtColor(sheet(restore, sets, exposure), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(asked.sheet_file), crops):
            raise PairsError(f"cannot write {asked.sheet_file}")


def _title(asked: _Asked, networks: "_Networks") -> str:
    """What was measured, in a line."""
    fused, settings = "", asked.settings
    if asked.pairs:
        fused = f", fused {settings.fuse} frames each way, smoothing {settings.smoothing:g}"
        fused = fused if settings.fuse else ", not fused"
    left = f", left at exit {asked.exit}" if asked.exit else ""
    names = ", ".join(name for name in (asked.model, asked.upscaler) if name)
    made = f"{names}{left}{fused}, {asked.precision} on {networks.device}"
    return f"{made}, torch {torch.__version__}"


def _facts(
    asked: _Asked, networks: "_Networks", rows: Sequence[Row] | Sequence[PictureRow]
) -> dict[str, Any]:
    return {
        "model": asked.model,
        "upscaler": asked.upscaler,
        "exit": asked.exit,
        "sha256": {name: sha256(file) for name, file in networks.files.items()},
        "fuse": asked.settings.fuse if asked.pairs else None,
        "smooth": asked.settings.smoothing if asked.pairs else None,
        "shutter": str(asked.exposure) if asked.pairs else None,
        "precision": str(asked.precision),
        "device": str(networks.device),
        "torch": torch.__version__,
        "kornia": version("kornia"),
        "pairs": [str(path) for path in asked.pairs],
        "images": [str(path) for path in asked.images],
        "sets": [asdict(row) for row in rows[:-1]],
        "all": asdict(rows[-1]),
    }


@dataclass(frozen=True)
class _Networks:
    """What is measured."""

    device: torch.device
    files: dict[str, Path]
    """Of each network, by its name."""
    restore: mssnet.Deblurrer | None
    enlarge: Upscaler | None

    @classmethod
    def load(cls, asked: _Asked) -> Self:
        """Raises `WeightsError` and `ValueError`."""
        model, upscaler = asked.model, asked.upscaler
        where, dtype = devices.choose(asked.device), getattr(torch, asked.precision)
        files = {name: weights.path(name) for name in (model, upscaler) if name and name != NONE}
        restore: mssnet.Deblurrer | None = None
        if model == NONE:
            restore = Passthrough(mssnet.Eager(where, dtype))
        elif model:
            restore = mssnet.load(files[model], device=where, dtype=dtype)
        if asked.exit:
            restore = _left(restore, asked.exit)
        enlarge = load_upscaler(files[upscaler], device=where, dtype=dtype) if upscaler else None
        return cls(where, files, restore, enlarge)


def _check(asked: _Asked) -> None:
    """Raise `ValueError` or a `DeblurError` for what makes no sense, before the work, which takes
    minutes."""
    _check_networks(asked.model, asked.upscaler, bool(asked.pairs), bool(asked.images))
    if asked.images and not (asked.smooth is None and asked.fuse is None):
        name = "fuse" if asked.smooth is None else "smooth"
        raise ValueError(f"--{name} is for the frames of --pairs, not for --images")
    _ = asked.settings, asked.exposure  # raise as well
    json_file, sheet_file = asked.json_file, asked.sheet_file
    if asked.geometry and (not asked.pairs or asked.upscaler or json_file or sheet_file):
        raise ValueError("--geometry takes a --model and --pairs, and prints its figures")
    if sheet_file and asked.upscaler:
        raise ValueError("--sheet shows what a model makes of pairs; leave --upscaler out")
    if sheet_file and sheet_file.suffix.lower() != ".png":
        raise ValueError(f"--sheet must name a .png file, not {sheet_file}")
    for file in (json_file, sheet_file):
        if file and not file.parent.is_dir():
            raise ValueError(f"there is no folder {file.parent} for {file.name}")


def _check_networks(model: str | None, upscaler: str | None, pairs: bool, images: bool) -> None:
    """Raise `ValueError` where networks and what they are to be measured on do not fit."""
    if pairs and images:
        raise ValueError("--pairs and --images cannot be measured at once; leave one of them out")
    if pairs and not model:
        raise ValueError("--pairs need a --model")
    if images and model:
        raise ValueError("--images measure an upscaler alone; leave --model out, or give --pairs")
    if images and not upscaler:
        raise ValueError("--images need an --upscaler")
    if not (pairs or images):
        raise ValueError(
            "nothing to measure on: give --pairs for a --model, with or without an --upscaler, "
            "or --images for an --upscaler alone"
        )


class _LeftEarly(mssnet.Deblurrer):
    """A deblurrer whose network is left early, whoever asks."""

    def __init__(self, restore: mssnet.Deblurrer, exit: mssnet.Exit) -> None:
        super().__init__(restore.net, engine=restore.engine)
        self._exit = exit

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        return super().submit(image, told, where, exit=exit or self._exit)


def _left(restore: mssnet.Deblurrer | None, exit: int) -> mssnet.Deblurrer:
    """The model, left at one of its exits; raises `ValueError` where it has none such."""
    if restore is None:
        raise ValueError("--exit is for a --model")
    if not restore.exits:
        raise ValueError("--exit is for a --model that is a network")
    if exit > len(restore.exits):
        raise ValueError(f"--exit of this model goes up to {len(restore.exits)}, got {exit}")
    return _LeftEarly(restore, restore.exits[exit - 1])


@contextmanager
def _errors_said() -> Iterator[None]:
    """What cannot work ends the program with one line and code 2."""
    try:
        yield
    except (PairsError, weights.WeightsError, DeblurError, ValueError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("evaluating", total=total)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    app()
