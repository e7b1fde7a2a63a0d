"""`python -m tests.trials.cluster`: a video restored by a real Ray cluster is that of one run.

    python -m tests.trials.cluster same
    python -m tests.trials.cluster parts
    python -m tests.trials.cluster faults
    python -m tests.trials.cluster sent
    python -m tests.trials.cluster memory
    python -m tests.trials.cluster speed --nodes 1,2,4,8
    python -m tests.trials.cluster costs

Starts a cluster of three nodes on this machine, each with processes of its own. `same` restores
five kinds of input and compares every frame, and the file as `deblur verify` does; `parts` does so
by `--part` and `deblur join`, where Ray cannot be imported. `faults` kills a
worker at work, a node, the driver and the head, and interrupts, and counts the pieces that are done
again. `sent` uses Ray's client, and a node that does not see the files; it needs root, for a
mount namespace. `memory` has longer and larger videos. `speed` replaces restoring by a sleep, so
that a few cores stand for many GPUs; `costs` measures what only one machine can do.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import typer

from stream.cluster.part import parts_of
from stream.files.job import Job
from stream.options.settings import Settings
from stream.verify import Asked, verify
from tests.clips import make_clip
from tests.files import test_pieces
from tests.files.test_resume import hashes
from tests.trials.cluster_speed import costs, speed
from tests.trials.ray_nodes import DEBLUR, Nodes, Run, cluster, left, wait
from tests.trials.runner import console

app = typer.Typer(add_completion=False)
app.command()(speed)
app.command()(costs)
COPIED = ("--model", "none", "--strength", "0", "--device", "cpu")
FUSED = ("--model", "none", "--fuse", "1", "--device", "cpu")
FRAMES = 1000
KINDS = (
    test_pieces.b_frames,
    test_pieces.open_gop,
    test_pieces.variable_rate,
    test_pieces.edit_list,
    test_pieces.interlaced,
)


@app.command()
def same() -> None:
    """The same file as of one run, for five kinds of input."""
    test_pieces.FRAMES = FRAMES
    faults = 0
    with cluster() as nodes:
        for make in KINDS:
            folder, clip = _clip(nodes.folder, make)
            run = Run.begin(folder, clip, "out.mkv", *COPIED)
            code = run.end()
            good, said = _compared(folder, clip)
            used = len({each["node"] for each in run.pieces})
            faults += code != 0 or not good
            console.print(
                f"{make.__name__}: exit {code}, {len(run.pieces)} pieces on {used} nodes, {said}; "
                f"driver {run.driver_mib:.0f} MiB, worker {run.worker_mib:.0f} MiB; left: "
                f"{left(nodes)}"
            )
    console.print(f"{faults} faults")
    raise typer.Exit(int(bool(faults)))


@app.command()
def parts() -> None:
    """The same file as of one run by `--part` and `deblur join`, where there is no Ray."""
    test_pieces.FRAMES = FRAMES
    faults = 0
    with tempfile.TemporaryDirectory(prefix="dc", dir="/tmp") as place:
        (Path(place) / "ray.py").write_text("raise ImportError")
        found = os.pathsep.join([place, os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": found.rstrip(os.pathsep)}
        for make in KINDS:
            folder, clip = _clip(Path(place), make)
            for number in (3, 1, 2):
                command = [DEBLUR, "run", str(clip), "out.mkv", *COPIED, "--part", f"{number}/3"]
                subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
            joined = subprocess.run(
                [DEBLUR, "join", clip, "out.mkv"],
                cwd=folder,
                env=env,
                check=False,
                capture_output=True,
            )
            good, said = _compared(folder, clip)
            faults += joined.returncode != 0 or not good
            over = [each.name for each in folder.iterdir() if each.name.endswith(".parts")]
            console.print(f"{make.__name__}: exit {joined.returncode}, {said}; left: {over}")
    console.print(f"{faults} faults")
    raise typer.Exit(int(bool(faults)))


def _clip(place: Path, make: Callable[[Path], Path]) -> tuple[Path, Path]:
    """A folder with a clip, and with what a single run makes of it."""
    folder = place / make.__name__
    folder.mkdir()
    clip = make(folder)
    clip = clip.rename(clip.with_stem(make.__name__))
    Job(clip, folder / "single.mkv", Settings("none", strength=0, device="cpu")).run()
    return folder, clip


def _compared(folder: Path, clip: Path) -> tuple[bool, str]:
    """Whether what was made is what the single run made, in words as well."""
    equal = hashes(folder / "out.mkv") == hashes(folder / "single.mkv")
    # What an interlaced file was asked to become is told to `deblur verify` as well.
    asked = Asked(deinterlaced=clip.stem == "interlaced")
    found = verify(clip, folder / "out.mkv", asked)
    said = f"frames {'equal' if equal else 'DIFFER'}, verify: {found.summary}"
    return equal and found.conforms, said


@dataclass
class Faults:
    """A video that is restored again and again, while what takes part is killed."""

    nodes: Nodes
    clip: Path
    wanted: list[Any]
    count: int = 0
    """What was not as it should be."""
    last: list[dict[str, Any]] = field(default_factory=list)
    """The pieces of the last command."""

    @classmethod
    def of(cls, nodes: Nodes, frames: int) -> "Faults":
        """With what a single run makes of it."""
        folder = nodes.folder / "in"
        folder.mkdir()
        options = {"bf": "2", "g": "40"}
        clip = make_clip(folder / "faults.mp4", frames=frames, audio=("eng",), options=options)
        Job(clip, folder / "single.mp4", Settings("none", fuse=1, device="cpu")).run()
        return cls(nodes, clip, hashes(folder / "single.mp4"))

    def begin(self, output: str, *words: str, **given: str) -> Run:
        """Start the command."""
        return Run.begin(self.clip.parent, self.clip, output, *FUSED, *words, **given)

    def end(
        self, what: str, run: Run, output: str, code: int = 0, again: int | None = None
    ) -> None:
        """Wait for its end and say how it was; it should be `code`, with at most `again` pieces
        that were done again."""
        found = run.end()
        done, place = run.pieces, parts_of(self.clip.parent / output)
        twice = sum(each["tries"] - 1 for each in done)
        good = found == code and (again is None or twice <= again)
        if code == 0:
            equal = found == 0 and hashes(self.clip.parent / output) == self.wanted
            good &= equal and not place.exists()
            said = f"frames {'equal' if equal else 'DIFFER'}, {len(done)} pieces done, {twice} of "
            said += "them again"
        else:
            said = f"{kept(place)} pieces kept"
            good &= not (self.clip.parent / output).exists()
        over = left(self.nodes)
        good &= over == "0 folders, object store empty"
        self.count += not good
        console.print(f"{'' if good else 'FAULT: '}{what}: exit {found}, {said}; left: {over}")
        for line in run.said.splitlines():
            if line.startswith(("deblur:", "resuming")) or not good:
                console.print(f"    {line}")


def kept(place: Path) -> int:
    """How many pieces are done."""
    return len(list(place.glob("*-of-*/done.json")))


@app.command()
def faults(frames: int = FRAMES, only: str = "") -> None:
    """What becomes of a job when a worker, a node, its driver or the head dies."""
    with cluster() as nodes:
        trial = Faults.of(nodes, frames)
        for each in (_worker, _same_piece, _node, _driver, _interrupted, _head):
            if only in each.__name__:
                each(trial)
    console.print(f"{trial.count} faults")
    raise typer.Exit(int(bool(trial.count)))


def _named(process: psutil.Process) -> str:
    """What Ray calls a worker, by its task."""
    return " ".join(process.cmdline()).strip()


def _worker(trial: Faults) -> None:
    run = trial.begin("worker.mp4")
    victim = run.at_work()
    console.print(f"kill -9 {_named(victim)}")
    victim.kill()
    trial.end("a worker killed", run, "worker.mp4", again=1)


def _same_piece(trial: Faults) -> None:
    """Kills whoever restores one of the pieces, until the job gives up."""
    run, name = trial.begin("thrice.mp4"), ""
    while run.process.poll() is None:
        for each in run.workers():
            try:
                name = name or _named(each)
                if _named(each) == name:
                    each.kill()
            except psutil.Error:
                pass
        time.sleep(0.02)
    trial.end("the workers of one piece killed three times", run, "thrice.mp4", code=70)
    run = trial.begin("thrice.mp4", "--resume")
    trial.end("with --resume", run, "thrice.mp4", again=0)


def _node(trial: Faults) -> None:
    run, nodes = trial.begin("node.mp4"), trial.nodes
    doomed = nodes.workers[-1]
    wait(lambda: bool(run.workers(nodes.of(doomed))))
    at_work = [_named(each) for each in run.workers(nodes.of(doomed))]
    console.print(f"kill -9 of a node's {len(nodes.of(doomed))} processes, with {at_work}")
    nodes.kill()
    trial.end("a node killed", run, "node.mp4", again=1)
    nodes.add()


def _driver(trial: Faults) -> None:
    run, place = trial.begin("driver.mp4"), parts_of(trial.clip.parent / "driver.mp4")
    wait(lambda: kept(place) >= 1)
    run.at_work()
    run.process.kill()
    run.end()
    wait(lambda: not run.workers())
    times = {each: each.stat().st_mtime_ns for each in place.glob("*-of-*/done.json")}
    console.print(f"kill -9 of the driver: {len(times)} pieces are done")
    run = trial.begin("driver.mp4", "--resume")
    seen = dict[Path, int]()
    while run.process.poll() is None:
        for each in times:
            if each.exists():
                seen[each] = each.stat().st_mtime_ns
        run.workers()
        time.sleep(0.02)
    untouched = sum(seen.get(each) == times[each] for each in times)
    trial.count += untouched != len(times)
    console.print(f"{untouched} of these were not touched")
    trial.end("with --resume", run, "driver.mp4", again=0)


def _interrupted(trial: Faults) -> None:
    for count, what in ((1, "interrupted"), (2, "interrupted twice")):
        output = f"stopped{count}.mp4"
        run = trial.begin(output)
        run.at_work()
        for _ in range(count):
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        trial.end(what, run, output, code=130)
        run = trial.begin(output, "--resume")
        trial.end("with --resume", run, output, again=0)


def _head(trial: Faults) -> None:
    """The last, as the cluster is gone with it."""
    run, output = trial.begin("head.mp4"), "head.mp4"
    place = parts_of(trial.clip.parent / output)
    wait(lambda: kept(place) >= 1)
    trial.nodes.kill_head()
    begun = time.monotonic()
    code = run.end()
    console.print(
        f"the head killed: exit {code} after {time.monotonic() - begun:.0f} s, {kept(place)} "
        f"pieces kept"
    )
    for line in run.said.splitlines():
        console.print(f"    {line}")
    trial.count += code != 69


@app.command()
def sent() -> None:
    """A node that does not see the files is sent what it needs, also by Ray's client."""
    with cluster(1) as nodes:
        trial = Faults.of(nodes, FRAMES)
        nodes.add(blind=trial.clip.parent)
        nodes.add(blind=trial.clip.parent)
        client = nodes.client_address()
        for address in ("auto", client):
            name = f"{address[:4]}.mp4"
            run = trial.begin(name, cluster=address)
            trial.end(f"two of three nodes see nothing, {address}", run, name, again=0)
            console.print(f"    {len({each['node'] for each in run.pieces})} nodes took part")
        run = trial.begin("worker.mp4", cluster=client)
        run.at_work().kill()
        trial.end("a worker killed", run, "worker.mp4", again=1)
        run = trial.begin("stopped.mp4", cluster=client)
        run.at_work()
        for _ in range(2):
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        trial.end("interrupted twice", run, "stopped.mp4", code=130)
        run = trial.begin("stopped.mp4", "--resume", cluster=client)
        trial.end("with --resume", run, "stopped.mp4", again=0)
    console.print(f"{trial.count} faults")
    raise typer.Exit(int(bool(trial.count)))


@app.command()
def memory() -> None:
    """How much memory driver and workers need, beside a single run."""
    with cluster(2) as nodes:
        folder = nodes.folder / "in"
        folder.mkdir()
        large = {"qp": "1", "g": "40"}
        for what, frames, size, words in (
            ("no network", 1000, (64, 48), COPIED),
            ("no network", 8000, (64, 48), COPIED),
            ("no network", 600, (640, 360), COPIED),
            ("lite", 100, (640, 360), ("--model", "lite", "--device", "cpu")),
        ):
            name = f"memory-{frames}-{size[0]}-{what.split()[0]}.mp4"
            clip = make_clip(folder / name, frames=frames, size=size, options=large)
            single = Run.begin(folder, clip, "single.mp4", *words, cluster=None)
            codes = [single.end()]
            run = Run.begin(folder, clip, "out.mp4", *words)
            codes.append(run.end())
            console.print(
                f"{frames} frames of {size[0]}x{size[1]}, {clip.stat().st_size >> 20} MiB, {what}: "
                f"exit {codes}; single run {single.driver_mib:.0f} MiB, driver "
                f"{run.driver_mib:.0f} MiB, worker {run.worker_mib:.0f} MiB"
            )
            for each in folder.iterdir():
                each.unlink()


if __name__ == "__main__":
    app()
