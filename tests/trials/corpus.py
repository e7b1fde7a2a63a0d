"""`python -m tests.trials.corpus FOLDER...`: every file through the command, and what it made.

    python -m tests.trials.corpus ../shared/data/media --jobs 2
    python -m tests.trials.corpus ../shared/data/videos --only 'b*' -- --model lite

Each file goes through `deblur run FILE OUTPUT` and `deblur verify FILE OUTPUT`. What follows `--`
are options of `deblur run`, told to `deblur verify` where it needs to know; without any it is
`--strength 0`, the way without the network. What an output lost is no fault if `deblur run` said
so.
"""

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tests.trials.media import decodes
from tests.trials.runner import (
    Outcome,
    console,
    deblur,
    faults,
    misbehavior,
    own_and_extra,
    run,
    side_by_side,
)

NOT_VIDEO = {".srt", ".tsv", ".npy", ".md", ".txt", ".json", ".csv", ".py", ".part"}
"""Endings of files that lie beside videos."""
DOCUMENTED = ("encrypted", "playlist", "--max-pixels")
"""Words of the refusals that the documents announce."""
KEPT = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"}
"""Containers that keep everything of their own kind; others are written as Matroska."""


@dataclass(frozen=True)
class Plan:
    """What is done to each file."""

    options: list[str]
    """Of `deblur run`."""
    out: Path | None
    """Where outputs are kept."""
    ending: str
    """Of all outputs; the inputs' own where it is empty."""
    verify: bool
    limit_s: float


@dataclass(frozen=True)
class Row:
    """What came of one file."""

    kind: str
    """The first word of `result`, to count."""
    result: str
    seconds: float
    peak_mib: float
    faults: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """What the output lost, or has otherwise, and `deblur run` said so."""


def output_for(file: Path, folder: Path, ending: str) -> Path:
    own = file.suffix if file.suffix.lower() in KEPT else ".mkv"
    return folder / f"{file.stem}{ending or own}"


def try_file(file: Path, *, plan: Plan) -> Row:
    """Run the command on one file, and look at all that it left and said."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as name:
        folder = Path(name)
        if plan.out:
            # The whole name, as some files differ in their endings alone.
            folder = plan.out / file.parent.name / file.name
            folder.mkdir(parents=True)
        output = output_for(file, folder, plan.ending)
        done = run(deblur("run", file, output, *plan.options), watch=folder, limit_s=plan.limit_s)
        found = faults(done, output)
        if done.code not in (0, 1):
            if refused(done, folder) and _decodes(file):
                found.append("refused, though FFmpeg decodes it")
            return _row("error", f"error {done.code}: {done.line}", done, found)
        if not plan.verify:
            return _row("done", "done", done, found)
        words = ("verify", file, output, "--json", *told_to_verify(plan.options, done.said))
        checked = run(deblur(*words), limit_s=plan.limit_s)
        if misbehavior(checked) or checked.code not in (0, 1):
            why = "; ".join(misbehavior(checked)) or checked.line
            said = f"verify ended with {checked.code}: {why}"
            return _row("unverified", said, done, [*found, said])
        facts = json.loads(checked.printed)
        summary = " ".join(facts["summary"].split())
        if checked.code != done.code:
            found.append(f"run ended with {done.code}, but verify with {checked.code}")
        differences = [
            f"{row['verdict']} {row['what']}: {row['input']} -> {row['output']}, {row['why']}"
            for row in facts["rows"]
            if row["verdict"] in ("lost", "changed")
        ]
        kind = "differs" if checked.code else "conforms"
        return Row(kind, summary, done.seconds, done.peak_mib, found, differences)


def told_to_verify(options: list[str], said: str) -> list[str]:
    """What `deblur run` was asked for, or said that it did, beside restoring."""
    told = ["--deinterlaced"] if "was deinterlaced" in said else []
    for place, option in enumerate(options):
        if option in ("--start", "--duration", "--max-pixels", "--upscale"):
            told += options[place : place + 2]
        elif option == "--apply-rotation":
            told.append(option)
    return told


def refused(done: Outcome, folder: Path) -> bool:
    """Whether a file was turned away, for no reason that the documents give."""
    kept = any(folder.iterdir())
    return not kept and not done.killed and not any(word in done.line for word in DOCUMENTED)


def _decodes(file: Path) -> bool:
    """In a process of its own: what crashes the command may crash this."""
    return run(lambda: 0 if decodes(file) else 1, limit_s=60).code == 0


def _row(kind: str, result: str, done: Outcome, found: list[str]) -> Row:
    return Row(kind, result, done.seconds, done.peak_mib, found)


def files_of(folders: list[Path], only: str) -> list[Path]:
    """All files that may be videos; one that is named itself always is."""
    found = []
    for folder in folders:
        if folder.is_file():
            found.append(folder)
        found += [
            path
            for path in sorted(folder.rglob(only))
            if path.is_file() and path.suffix.lower() not in NOT_VIDEO
        ]
    return found


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of videos, or videos.")],
    out: Annotated[Path | None, typer.Option(help="Keep the outputs in this new folder.")] = None,
    only: Annotated[str, typer.Option(help="Names to take, such as 'sample*'.")] = "*",
    to: Annotated[str, typer.Option(help="Ending of all outputs, such as .mkv.")] = "",
    jobs: Annotated[int, typer.Option(help="How many files at a time.")] = 1,
    limit: Annotated[float, typer.Option(help="Seconds that one file may take.")] = 600.0,
    verify: Annotated[bool, typer.Option(help="Check the outputs with `deblur verify`.")] = True,
) -> None:
    """Print a line for each file, and end with 1 if there is any fault."""
    files = files_of(folders, only)
    if not files:
        raise typer.BadParameter(f"there is no {only} in {', '.join(map(str, folders))}")
    if out:
        out.mkdir(parents=True)
    plan = Plan(EXTRA or ["--strength", "0"], out and out.absolute(), to, verify, limit)
    counts: Counter[str] = Counter()
    faulty: dict[str, list[str]] = {}
    """Names of files, for the start of what is said of a fault."""
    lost: dict[str, list[str]] = {}
    """The same for what differs."""
    width = min(48, max(len(file.name) for file in files))
    for file, row in side_by_side(partial(try_file, plan=plan), files, jobs):
        counts[row.kind] += 1
        console.print(
            f"{file.name:{width}}  {row.seconds:6.1f} s  {row.peak_mib:5.0f} MiB  {row.result}"
        )
        for fault in row.faults:
            console.print(f"{'':{width}}  FAULT {fault}")
            faulty.setdefault(fault.partition(":")[0], []).append(file.name)
        for difference in row.differences:
            console.print(f"{'':{width}}  {difference}")
            lost.setdefault(difference.partition(":")[0], []).append(file.name)
    console.print()
    console.print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    _count("differences that were told", lost)
    _count("faults", faulty)
    raise typer.Exit(int(bool(faulty)))


def _count(title: str, found: dict[str, list[str]]) -> None:
    console.print(f"{sum(map(len, found.values()))} {title}")
    for kind, names in sorted(found.items(), key=lambda item: -len(item[1])):
        console.print(f"{len(names):4} {kind}: {', '.join(names[:4])}{' ...' * (len(names) > 4)}")


EXTRA: list[str] = []
"""Options of `deblur run`, from behind `--`."""

if __name__ == "__main__":
    sys.argv[1:], EXTRA = own_and_extra(sys.argv[1:])
    typer.run(main)
