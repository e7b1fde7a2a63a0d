"""`python -m tests.trials.mutate FOLDER...`: damaged files do no damage.

    python -m tests.trials.mutate ../shared/data/media --count 500
    python -m tests.trials.mutate ../shared/data/media --only 137 --keep DIR

Each file is damaged by chance, the same for one number and one set of files, and goes through
`deblur run --strength 0`. It may succeed or be refused; the program may not crash, hang, fill the
memory, or leave anything behind that it does not tell of.
"""

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import av
import av.error
import numpy as np
import typer

from stream.input.container.opening import main_video
from tests.trials.corpus import files_of, output_for
from tests.trials.damage import damage
from tests.trials.runner import Outcome, console, deblur, faults, misbehavior, run, side_by_side

OTHERS_FAULT = {2: "the options", 66: "that it cannot read", 74: "the disk", 78: "the model"}
"""What an error may not be put on, by exit code, as the input alone is damaged."""


@dataclass(frozen=True)
class Plan:
    """What all the damaged files have in common."""

    files: list[Path]
    seed: int
    memory_mib: float
    limit_s: float
    keep: Path | None
    """Where a damaged file and all that came of it stay."""

    @property
    def deadly_mib(self) -> float:
        """Memory at which a run is killed, to save the machine; its peak is judged later."""
        return 2 * self.memory_mib


@dataclass(frozen=True)
class Row:
    """What came of one damaged file."""

    name: str
    ways: str
    done: Outcome
    checked: Outcome | None
    """Of `deblur verify`, where there was an output."""
    faults: list[str] = field(default_factory=list)


def damaged(plan: Plan, number: int) -> tuple[Path, bytes, str]:
    """The file that was damaged, what became of it, and how."""
    rng = np.random.default_rng([plan.seed, number])
    file, other = (plan.files[int(place)] for place in rng.integers(0, len(plan.files), 2))
    data, ways = damage(file.read_bytes(), other.read_bytes(), rng)
    return file, data, ways


def try_number(number: int, *, plan: Plan) -> Row:
    """Damage a file and run the command on it."""
    file, data, ways = damaged(plan, number)
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folder = plan.keep / str(number) if plan.keep else Path(name)
        (folder / "out").mkdir(parents=True, exist_ok=True)
        source = folder / file.name
        source.write_bytes(data)
        output = output_for(file, folder / "out", "")
        done = _run(source, output, plan.limit_s, plan)
        if "not done" in done.killed:
            # Perhaps there is much in it: it may take longer by what the sound file takes.
            sound = _run(file, output, 60.0, plan)
            done = _run(source, output, plan.limit_s + 3 * sound.seconds, plan)
        found = faults(done, output)
        if done.code in OTHERS_FAULT:
            found.append(f"blames {OTHERS_FAULT[done.code]}: {done.line}")
        if done.peak_mib > plan.memory_mib:
            found.append(f"{done.peak_mib:.0f} MiB of memory")
        checked = None
        if done.code in (0, 1):
            # Whether they conform is no question here; that it copes with both files is, and that
            # what has the output's name holds every frame that FFmpeg finds.
            work = deblur("verify", source, output)
            checked = run(work, limit_s=60.0, memory_mib=plan.deadly_mib)
            found += [f"verify: {fault}" for fault in misbehavior(checked)]
            if done.code == 0 and (lost := decoded(source) - decoded(output)) > 0:
                found.append(f"{lost} frames are lost without a word")
            if checked.peak_mib > plan.memory_mib:
                found.append(f"verify: {checked.peak_mib:.0f} MiB of memory")
        if plan.keep:
            (folder / "stderr").write_text(done.said)
        return Row(file.name, ways, done, checked, found)


def decoded(path: Path) -> int:
    """How many frames of a video decode up to where FFmpeg first stops, by FFmpeg alone."""
    frames = 0
    with (
        suppress(av.error.FFmpegError, IndexError),
        av.open(str(path), metadata_errors="replace") as container,
    ):
        for packet in container.demux(main_video(container)):
            with suppress(av.error.FFmpegError):
                frames += len(packet.decode())
    return frames


def _run(source: Path, output: Path, limit_s: float, plan: Plan) -> Outcome:
    shutil.rmtree(output.parent)
    output.parent.mkdir()
    work = deblur("run", source, output, "--model", "none", "--strength", 0, "--overwrite")
    return run(work, watch=output.parent, limit_s=limit_s, memory_mib=plan.deadly_mib)


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of videos to damage.")],
    count: Annotated[int, typer.Option(help="How many files to damage.")] = 500,
    seed: Annotated[int, typer.Option(help="Another one gives other damage.")] = 1,
    memory: Annotated[float, typer.Option(help="MiB that a run may need.")] = 1500.0,
    limit: Annotated[float, typer.Option(help="Seconds that a run may take.")] = 10.0,
    largest: Annotated[int, typer.Option(help="Larger files, in kB, are not taken.")] = 600,
    jobs: Annotated[int, typer.Option(help="How many at a time.")] = 2,
    only: Annotated[int | None, typer.Option(help="This number alone.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep files and outputs here.")] = None,
) -> None:
    """Print the totals and every fault with its number; end with 1 if there is any."""
    files = [file for file in files_of(folders, "*") if file.stat().st_size <= largest * 1000]
    if not files:
        raise typer.BadParameter(f"there is no file of up to {largest} kB")
    plan = Plan(files, seed, memory, limit, keep and keep.absolute())
    numbers = [only] if only is not None else list(range(count))
    codes: Counter[int] = Counter()
    verdicts: Counter[int] = Counter()
    rows: dict[int, Row] = {}
    for number, row in side_by_side(partial(try_number, plan=plan), numbers, jobs):
        rows[number] = row
        codes[row.done.code] += 1
        if row.checked:
            verdicts[row.checked.code] += 1
        if only is not None:
            said = row.done.said + (row.checked.said if row.checked else "")
            console.print(f"{said.strip()}\nended with {row.done.code}")
        for fault in row.faults:
            console.print(f"FAULT {number}: {row.name}, {row.ways}: {fault}")
    console.print(f"{len(rows)} damaged files of {len(files)} sound ones, seed {seed}")
    console.print(f"exit codes of run: {_told(codes)}; of verify: {_told(verdicts)}")
    hungry = max(rows, key=lambda number: rows[number].done.peak_mib)
    slow = max(rows, key=lambda number: rows[number].done.seconds)
    console.print(f"most memory: {rows[hungry].done.peak_mib:.0f} MiB, number {hungry}")
    console.print(f"slowest: {rows[slow].done.seconds:.1f} s, number {slow}")
    faulty = [number for number, row in rows.items() if row.faults]
    console.print(f"{len(faulty)} with faults: {', '.join(map(str, faulty)) or 'none'}")
    raise typer.Exit(int(bool(faulty)))


def _told(codes: Counter[int]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in sorted(codes.items()))


if __name__ == "__main__":
    typer.run(main)
