"""`deblur doctor`."""

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from stream.cli.terminal import Terminal, out, reported

if TYPE_CHECKING:
    from stream.doctor import Group

_STYLES = {
    "ok": "green",
    "none": "dim",
    "note": "yellow",
    "missing": "yellow",
    "failed": "bold red",
}
_MARK, _WHAT = 7, 22
"""Columns of the marks and of the names, the same in all groups."""
_WIDE = 10_000
"""Columns, where lines are not broken: for what is pasted, searched, or read by a program."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try all that this machine has: what will be used, what is missing, and what to do about it.

    No camera is opened. Passwords, your name and the values of variables are left out, so the
    output can be shown to others. Ends with 0 if `deblur run` can work here.
    """
    with reported():
        _doctor(as_json)


def _doctor(as_json: bool) -> None:
    from stream.doctor import Verdict, examine

    groups: list[Group] = []
    with out.status("trying ...") if out.is_terminal and not as_json else nullcontext():
        for group in examine():
            groups.append(group)
            if not as_json:
                _print(group)
    verdict = Verdict.of(groups)
    if as_json:
        made = {
            "groups": [group.to_json() for group in groups],
            "verdict": verdict.said,
            "use": verdict.use,
            "exit_code": verdict.exit_code,
        }
        typer.echo(json.dumps(made, indent=2))
    else:
        style = "bold red" if verdict.exit_code else "bold green"
        out.print(Text(verdict.said, style=style), soft_wrap=not out.is_terminal)
    if verdict.exit_code:
        raise typer.Exit(verdict.exit_code)


def _print(group: "Group") -> None:
    """A table on a terminal; elsewhere a line for each finding, and one for what to do."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=_MARK)
    table.add_column(width=_WHAT)
    table.add_column(overflow="fold")
    for each in group.findings:
        style = _STYLES[each.state]
        dim = style if each.state == "none" else ""
        table.add_row(
            Text(each.state, style=style), Text(each.what, style=dim), Text(each.said, style=dim)
        )
        if each.todo:
            table.add_row("", "", Text(f"-> {each.todo}", style="cyan"))
    if out.is_terminal:
        out.print(Text(group.name, style="bold"), table, "", sep="\n")
        return
    plain = Terminal(width=_WIDE, color_system=None)
    with plain.capture() as kept:
        plain.print(table)
    lines = [line.rstrip() for line in kept.get().splitlines()]
    typer.echo("\n".join([group.name, *lines, ""]))
