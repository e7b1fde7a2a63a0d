"""`python -m weights.evaluate`: the command."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import cv2
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import mssnet
import weights
from weights import device as devices
from weights.evaluate.measure import Figures, Row, evaluate
from weights.evaluate.pairs import PairsError, find_pairs
from weights.evaluate.sheet import sheet
from weights.store import sha256


class Precision(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def _table(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("set")
    table.add_column("", no_wrap=True)
    for heading in ("\npairs", "PSNR\nbefore", "\nafter", "\ngain", "SSIM\nbefore", "\nafter"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("identity\nPSNR", justify="right", no_wrap=True)
    table.add_column("not\naligned", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, "plain", *_cells(row.plain), f"{row.identity_psnr:.2f}", "")
        if row.aligned:
            table.add_row("", "aligned", *_cells(row.aligned), "", str(row.unaligned))
    return table


def _steadiness(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("sequence")
    for heading in ("\nsteps", "E_warp\nbefore", "\nafter", "\nsharp", "tOF\nbefore", "\nafter"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if steady := row.steadiness:
            errors = steady.e_warp_before, steady.e_warp_after, steady.e_warp_sharp
            flows = steady.tof_before, steady.tof_after
            figures = (*(f"{e:.3f}" for e in errors), *(f"{f:.3f}" for f in flows))
            table.add_row(row.name, str(steady.pairs), *figures)
    return table


def _cells(figures: Figures) -> list[str]:
    return [
        str(figures.pairs),
        f"{figures.psnr_before:.2f}",
        f"{figures.psnr_after:.2f}",
        f"{figures.psnr_gain:+.2f}",
        f"{figures.ssim_before:.4f}",
        f"{figures.ssim_after:.4f}",
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="Name of a checkpoint, or a .safetensors file.")],
    pairs: Annotated[
        list[Path],
        typer.Option(
            help="Folder with blur/ and sharp/, or .mp4 clip or folder of clips with blurred, "
            "depth and sharp frame side by side. May be given several times."
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="What the network computes in.")
    ] = Precision.FLOAT32,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all figures, as JSON.")
    ] = None,
    sheet_file: Annotated[
        Path | None, typer.Option("--sheet", help="File for crops to look at, .png.")
    ] = None,
) -> None:
    """Measure a checkpoint on pairs of blurred and sharp frames."""
    try:
        # Before the work, which takes minutes.
        for file in (json_file, sheet_file):
            if file and not file.parent.is_dir():
                raise PairsError(f"there is no folder {file.parent} for {file.name}")
        if sheet_file and sheet_file.suffix.lower() != ".png":
            raise PairsError(f"--sheet must name a .png file, not {sheet_file}")
        where = devices.choose(device)
        sets = [one for path in pairs for one in find_pairs(path)]
        file = weights.path(model)
        restore = mssnet.load(file, device=where, dtype=getattr(torch, precision))
        errors = Console(stderr=True)
        with Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("evaluating", total=sum(one.pairs for one in sets))
            rows = evaluate(restore, sets, on_pair=lambda: progress.advance(task))
        made = f"{model}, {precision} on {where}, torch {torch.__version__}"
        console = Console()
        console.print(_table(rows, made))
        if any(row.steadiness for row in rows):
            console.print()
            console.print(_steadiness(rows))
        if json_file:
            facts: dict[str, Any] = {
                "model": model,
                "sha256": sha256(file),
                "precision": str(precision),
                "device": str(where),
                "torch": torch.__version__,
                "kornia": version("kornia"),
                "pairs": [str(path) for path in pairs],
                "sets": [asdict(row) for row in rows[:-1]],
                "all": asdict(rows[-1]),
            }
            json_file.write_text(json.dumps(facts, indent=2) + "\n")
        if sheet_file:
            crops = cv2.cvtColor(sheet(restore, sets), cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(sheet_file), crops):
                raise PairsError(f"cannot write {sheet_file}")
    except (PairsError, weights.WeightsError, ValueError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
