"""What was measured, as tables for people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table as PreviewFeed


@dataclass(frozen=True)
class Table:
    """Rows of cells, all text; the first columns name things, the rest are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    """How many columns, from the left, name things."""
    note: str = ""
    """How it was measured, in full sentences."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.title} has {len(row)} cells: {row}")

    def markdown(self) -> str:
        """A heading, the table and the note."""
        rules = ["---"] * self.names + ["---:"] * (len(self.columns) - self.names)
        lines = [self.columns, rules, *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n{table}{note}\n"

    def shown(self) -> PreviewFeed:
        """The same for a terminal."""
        table = PreviewFeed(title=self.title, title_justify="left", caption=self.note or None)
        table.caption_justify = "left"
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index < self.names else "right")
        for row in self.rows:
            table.add_row(*row)
        return table


@dataclass(frozen=True)
class Part:
    """What one part of the benchmark found."""

    data: dict[str, Any]
    """All figures, as JSON has them."""
    tables: list[Table] = field(default_factory=list)


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent; None is a dash."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:.0f}"
    text = f"{rounded:.{digits + 4}f}".rstrip("0").rstrip(".")
    whole, _, behind = text.partition(".")
    wanted = max(digits - len(whole.lstrip("-")), 0)
    return text if len(behind) >= wanted else f"{whole}.{behind.ljust(wanted, '0')}"
