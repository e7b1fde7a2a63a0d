"""`python -m tests.trials.queue`: a queue whose service is killed does every job once.

    python -m tests.trials.queue --jobs 20 --kills 5 --seed 1

Good and bad files are submitted, by path, as uploads and by a watched folder, in an order that is
drawn by lot. The service is killed with SIGKILL at moments that nobody chose, and started again. In
the end every good file must be there once, with all of its frames and never written a second time,
and every bad one must have failed with a line that says why.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from tests.clips import look, make_clip
from tests.rig.service import QUICK, Service

console = Console(highlight=False, soft_wrap=True, markup=False)
_TIMEOUT_S = 900.0
_ENDINGS = ".mp4", ".mkv", ".mov", ".ts", ".webm"


def make(folder: Path, name: str, number: int, rng: np.random.Generator) -> int:
    """A file; how many frames it has, or 0 where it is a bad one."""
    path = folder / name
    kind = number % 5
    frames = int(rng.integers(20, 120))
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    made = make_clip(path, frames=frames, codec=codec)
    if kind == 3:
        path.write_bytes(rng.bytes(20_000))
    elif kind == 4:
        whole = made.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    return frames if kind < 3 else 0


class Trial:
    """One queue."""

    def __init__(self, folder: Path, jobs: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        for name in ("in", "in/drop", "out", "elsewhere"):
            (folder / name).mkdir(parents=True)
        self._folder = folder
        watched = str(folder / "in" / "drop")
        self.service = Service(folder, "--watch", watched, "--settle", "1", *QUICK)
        self.frames: dict[str, int] = {}
        """By the names of the outputs."""
        self._jobs = jobs
        self._written: dict[str, int] = {}
        self.faults: list[str] = []

    def submit(self) -> None:
        """Make and submit the files, by three ways."""
        for number in map(int, self._rng.permutation(self._jobs)):
            name = f"{number:02}{_ENDINGS[number % len(_ENDINGS)]}"
            if number % 5 == 4:
                name = f"{number:02}.mp4"  # half of one cannot be read, and says so
            way = ("path", "upload", "watch")[number // 5 % 3]
            folder = {"path": "in", "upload": "elsewhere", "watch": "in/drop"}[way]
            frames = make(self._folder / folder, name, number, self._rng)
            self.frames[f"drop/{name}" if way == "watch" else name] = frames
            if way == "path":
                assert self.service.submit(name).status == 201
            elif way == "upload":
                data = (self._folder / folder / name).read_bytes()
                assert self.service.upload(name, data).status == 201

    def left(self) -> int:
        """How many jobs have not ended."""
        jobs = self.service.jobs()
        ended = sum(job["state"] not in ("queued", "running") for job in jobs)
        return self._jobs - ended

    def kill(self, number: int, most: int) -> None:
        """Kill the service at some moment after no more than `most` jobs are left."""
        end = time.monotonic() + _TIMEOUT_S
        while self.left() > most:
            assert time.monotonic() < end, self.service.said
            time.sleep(0.2)
        time.sleep(float(self._rng.uniform(0.0, 8.0)))
        states = {job["state"]: job["name"] for job in self.service.jobs()}
        left = self.left()
        self.service.kill()
        self._look()
        console.print(f"kill {number}: {left} left, {states.get('running', 'none')} at work")
        self.service.start()

    def _outputs(self) -> dict[str, Path]:
        out = self.service.outputs
        found = [path for path in out.rglob("*") if path.is_file()]
        names = [path.relative_to(out) for path in found]
        return {
            str(name): path
            for name, path in zip(names, found, strict=True)
            if name.parts[0] != ".deblur-serve"
        }

    def _look(self) -> None:
        for name, path in self._outputs().items():
            changed = path.stat().st_mtime_ns
            if self._written.setdefault(name, changed) != changed:
                self.faults.append(f"{name} was written twice")

    def judge(self) -> None:
        """See what became of all."""
        self._look()
        jobs = self.service.jobs()
        if len(jobs) != self._jobs:
            self.faults.append(f"there are {len(jobs)} jobs")
        good = {name for name, frames in self.frames.items() if frames}
        made = self._outputs()
        for name in sorted(good ^ set(made)):
            self.faults.append(f"{name} is {'missing' if name in good else 'too many'}")
        for name in sorted(good & set(made)):
            if (seen := len(look(made[name]).timestamps)) != self.frames[name]:
                self.faults.append(f"{name} has {seen} frames of {self.frames[name]}")
        for job in jobs:
            wanted = "done" if self.frames[job["path"] or job["name"]] else "failed"
            line = (
                f"{job['number']:2} {job['origin']:6} {job['name']}: {job['state']}: {job['said']}"
            )
            console.print(line)
            if job["state"] != wanted or not job["said"]:
                self.faults.append(line)
        left = (self.service.outputs / ".deblur-serve").rglob("*.part")
        self.faults += [f"{path} is left" for path in left]


def main(
    jobs: Annotated[int, typer.Option(help="How many files.")] = 20,
    kills: Annotated[int, typer.Option(help="How often the service is killed.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the files and the moments.")] = 1,
) -> None:
    """Print what became of each job, and end with 1 unless every one was done once."""
    with tempfile.TemporaryDirectory(prefix="queue-") as name:
        trial = Trial(Path(name), jobs, seed)
        trial.service.start()
        try:
            trial.submit()
            for number in range(kills):
                trial.kill(number + 1, jobs - number * jobs // kills)
            end = time.monotonic() + _TIMEOUT_S
            while trial.left():
                assert time.monotonic() < end, trial.service.said
                time.sleep(0.5)
            trial.judge()
        finally:
            if trial.service.process is not None and trial.service.process.poll() is None:
                trial.service.stop()
    for fault in trial.faults:
        console.print(f"FAULT {fault}")
    good = sum(map(bool, trial.frames.values()))
    console.print(
        f"{good} good files, {jobs - good} bad ones, {kills} kills: {len(trial.faults)} faults"
    )
    raise typer.Exit(int(bool(trial.faults)))


if __name__ == "__main__":
    typer.run(main)
