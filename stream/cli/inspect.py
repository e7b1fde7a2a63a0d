"""`deblur info` and `deblur verify`: what is in a file, and what became of it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stream.cli.options import (
    Argument,
    Duration,
    MaxPixels,
    Start,
)
from stream.cli.options.arguments import span_of
from stream.cli.terminal import out, plain, reported, say
from stream.limits import DEFAULT_MAX_PIXELS


def info(
    file: Annotated[Path, Argument(help="The video file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
) -> None:
    """Say what the program sees in a file."""
    from stream.paths import check_input

    with reported():
        check_input(file)
        from stream.input.probe import probe

        facts = probe(file, max_pixels=max_pixels)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = _facts(0)
    for key, value in facts.items():
        if key not in ("streams", "telemetry"):
            table.add_row(key, plain(value))
    out.print(table)
    if facts["telemetry"]:
        noted = _facts(2)
        for key, value in facts["telemetry"].items():
            noted.add_row(key, plain(value))
        out.print("\ntelemetry")
        out.print(noted)
    for stream_facts in facts["streams"]:
        facts_table = _facts(2)
        for key, value in stream_facts.items():
            if value not in (None, "", {}, []) and key not in ("index", "type"):
                facts_table.add_row(key, plain(value))
        main_mark = " (restored)" if stream_facts.get("restored") else ""
        out.print(f"\nstream {stream_facts['index']}: {stream_facts['type']}{main_mark}")
        out.print(facts_table)


def _facts(indent: int) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, indent))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def verify(
    input: Annotated[Path, Argument(help="The video file.", show_default=False)],
    output: Annotated[Path, Argument(help="What was made of it.", show_default=False)],
    start: Start = "0",
    duration: Duration = None,
    apply_rotation: Annotated[
        bool, typer.Option("--apply-rotation", help="OUTPUT was to be turned upright.")
    ] = False,
    deinterlaced: Annotated[
        bool, typer.Option("--deinterlaced", help="OUTPUT was to be deinterlaced.")
    ] = False,
    upscale: Annotated[
        str | None, typer.Option(help="The --upscale that OUTPUT was made with.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A kind of streams that OUTPUT was to leave out.")
    ] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that OUTPUT differs from INPUT in nothing but the blur; ends with 1 if it does not."""
    import stream
    from stream.paths import check_input

    with reported():
        check_input(input)
        check_input(output)
        span = span_of(start, duration, input=input)
        from stream.verify import Asked, verify

        asked = Asked(
            span.start,
            span.duration,
            apply_rotation,
            deinterlaced,
            tuple(drop or ()),
            stream.Scale.parse(upscale) if upscale is not None else None,
        )
        found = verify(input, output, asked, max_pixels=max_pixels)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("what", "input", "output", "verdict"):
            table.add_column(column, overflow="fold")
        styles = {"same": "dim", "allowed": "", "lost": "bold red", "changed": "bold red"}
        for row in found.rows:
            reason = f": {row.why}" if row.why and not row.why.startswith("(") else ""
            cells = (row.what, row.input, row.output, row.verdict + reason)
            table.add_row(*cells, style=styles[row.verdict])
        out.print(table)
    say(found.summary)
    if not found.conforms:
        raise typer.Exit(stream.DiffersError.exit_code)
