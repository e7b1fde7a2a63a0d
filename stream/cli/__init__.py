"""The command `deblur`. The only place that prints and exits."""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from stream.cli import models
from stream.cli.adapt import adapt
from stream.cli.bench import bench
from stream.cli.cluster import join
from stream.cli.compare import compare
from stream.cli.doctor import doctor
from stream.cli.inspect import info, verify
from stream.cli.live import live
from stream.cli.options import Verbose, verbosely
from stream.cli.options.arguments import with_ports
from stream.cli.run import run
from stream.cli.serve import serve
from stream.cli.terminal import keep_streams, log, say, unexpected

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Clean blurry, shaky video. What goes wrong is said in one line; the exit code says "
    "what kind of thing it was (see the README).",
)


def main() -> None:
    """Entry point of the command."""
    keep_streams()
    log()
    # Threads of the network that wait must sleep, not spin: decoder and encoder need the cores.
    # Read when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(args=with_ports(sys.argv[1:]), prog_name="deblur", standalone_mode=False)
        typer.echo(nl=False)  # and so what is left is written, or that fails here
    except Exception as error:
        # Of Typer, whose own box would print what was typed, or matched by a shell, as it is.
        said, where = getattr(error, "format_message", None), getattr(error, "ctx", None)
        if type(error).__name__ == "Abort":  # Ctrl-C before or after the work
            say("deblur: stopped")
            sys.exit(130)
        if said is None:
            sys.exit(_code_of(error))
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(said(), err=True)
        else:
            path = where.command_path if where is not None else "deblur"
            say(f"deblur: {' '.join(said().split()).rstrip('.')}; see {path} -h")
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _code_of(error: Exception) -> int:
    """Say what went wrong outside of what a command reports; the exit code."""
    from stream.errors import WriteError

    if isinstance(error, WriteError):
        say(f"deblur: {error}")
        return error.exit_code
    try:
        unexpected(error)
    except typer.Exit as end:
        return end.exit_code


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deblur-stream {version('deblur-stream')}")
        raise typer.Exit


@app.callback()
def _common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    pass


app.command()(verbosely(run))
app.command()(verbosely(join))
app.command()(verbosely(info))
app.command()(verbosely(verify))
app.command()(verbosely(live))
app.command()(verbosely(serve))
app.command()(verbosely(compare))
app.command()(verbosely(adapt))
app.command()(verbosely(bench))
app.command()(verbosely(doctor))
app.add_typer(models.app, name="models")
