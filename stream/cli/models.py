"""`deblur models`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stream.cli.options import Argument, verbosely
from stream.cli.terminal import out, reported, say

app = typer.Typer(no_args_is_help=False, help="List, import and export models.")


@app.callback(invoke_without_command=True)
@verbosely
def models(context: typer.Context) -> None:
    """List the models on this machine."""
    if context.invoked_subcommand:
        return
    import stream
    import weights

    with reported():
        try:
            found = weights.checkpoints()
        except weights.WeightsError as error:
            raise stream.ModelError(str(error)) from error
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "size", "MB", "about"):
        table.add_column(column)
    for checkpoint in found:
        size = f"{checkpoint.bytes / 1e6:.1f}"
        table.add_row(checkpoint.name, checkpoint.preset, size, checkpoint.about)
    out.print(table)


@app.command("import")
@verbosely
def import_model(
    file: Annotated[
        Path, Argument(help="A checkpoint: .pt, .pth or .safetensors.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="The name that --model then takes.")],
) -> None:
    """Convert a checkpoint, such as one of MSSNet's authors, into a model of this program."""
    from stream.compute.models import import_checkpoint

    with reported():
        checkpoint = import_checkpoint(file, name)
    say(f"{checkpoint.name} ({checkpoint.preset}) -> {checkpoint.file}")


@app.command("export")
@verbosely
def export_model(
    name: Annotated[
        str,
        Argument(
            help="A model of `deblur models`, or a .safetensors file of one.", show_default=False
        ),
    ],
    file: Annotated[Path, Argument(help="The ONNX file to write.", show_default=False)],
    motion: Annotated[
        bool, typer.Option("--motion", help="Have it take what tells of the motion as well.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="float32 or float16, inside the network.")
    ] = "float32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there already.")
    ] = False,
) -> None:
    """Write a model as ONNX, for programs that run such files."""
    from stream.compute import onnx_export

    with reported():
        made = onnx_export.export_model(
            name, file, motion=motion, precision=precision, overwrite=overwrite
        )
    say(f"{name} -> {made}")
