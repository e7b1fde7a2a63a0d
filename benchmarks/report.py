"""What was measured, on disk: JSON, Markdown, and the page of results by hardware."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import hardware
from benchmarks.tables import Part, Table

_TITLE = """# Measured

By `make bench`, and put here by `python -m benchmarks --results`: a section for each machine.
"""


@dataclass(frozen=True)
class Measured:
    """All parts that were measured on one machine at one commit."""

    machine: dict[str, str]
    quick: bool
    """Whether it was to see that all works, with figures that mean nothing."""
    parts: dict[str, Part]

    @classmethod
    def read(cls, file: Path) -> "Measured":
        """Raises `ValueError` or `KeyError` for a file that is no such thing."""
        said = json.loads(file.read_text())
        parts = {
            name: Part(part["data"], [Table(**table) for table in part["tables"]])
            for name, part in said["parts"].items()
        }
        return cls(said["machine"], said["quick"], parts)

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        said = {
            "machine": self.machine,
            "quick": self.quick,
            "parts": {name: asdict(part) for name, part in self.parts.items()},
        }
        file.write_text(json.dumps(said, indent=1, allow_nan=False) + "\n")

    def joined(self, earlier: "Measured") -> "Measured":
        """With the parts of an earlier run that are not in this one, if all else was the same."""
        same = {**self.machine, "date": ""} == {**earlier.machine, "date": ""}
        if not same or self.quick != earlier.quick:
            return self
        return Measured(self.machine, self.quick, {**earlier.parts, **self.parts})

    def markdown(self) -> str:
        """All tables under the machine's name."""
        stamp = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        warning = "**A trial: these figures mean nothing.**\n\n" if self.quick else ""
        tables = [table.markdown() for part in self.parts.values() for table in part.tables]
        head = f"## {hardware(self.machine)}\n\n{warning}Measured on: {stamp}.\n"
        return "\n".join([head, *tables])


def newest(files: Iterable[Path]) -> tuple[dict[str, Measured], list[str]]:
    """The latest measurement of each machine, and why files were left out.

    Files of one machine and one commit are joined; those of earlier commits, trials and files that
    are something else are left out.
    """
    found: dict[str, Measured] = {}
    left_out = []
    for file in sorted(files, key=lambda each: each.stat().st_mtime):
        try:
            read = Measured.read(file)
        except (ValueError, KeyError, TypeError) as error:
            left_out.append(f"{file.name}: not a measurement ({error!r})")
            continue
        if read.quick:
            left_out.append(f"{file.name}: a trial, made with --quick")
            continue
        key = hardware(read.machine)
        if key in found:
            joined = read.joined(found[key])
            if joined is read and found[key].parts.keys() - read.parts.keys():
                left_out.append(f"what is older than {file.name} and of another commit")
            read = joined
        found[key] = read
    return found, left_out


def publish(page: Path, measured: dict[str, Measured]) -> None:
    """Replace the sections of these machines in the page, or append them."""
    text = page.read_text() if page.exists() else _TITLE
    for key, each in measured.items():
        begin, end = f"<!-- machine: {key} -->", "<!-- /machine -->"
        section = f"{begin}\n{each.markdown()}{end}"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if pattern.search(text):
            text = pattern.sub(lambda _, section=section: section, text)  # type: ignore[misc]
        else:
            text = f"{text.rstrip()}\n\n{section}\n"
    page.write_text(text)


def write(folder: Path, measured: Measured) -> Measured:
    """bench.json and bench.md; parts that were measured before on the same machine stay."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bench.json"
    if file.exists():
        with suppress(ValueError, KeyError, TypeError):
            measured = measured.joined(Measured.read(file))
    measured.save(file)
    (folder / "bench.md").write_text(measured.markdown())
    return measured


def data_of(measured: Measured, part: str) -> dict[str, Any]:
    """The figures of a part; empty where it was not measured."""
    return measured.parts[part].data if part in measured.parts else {}
