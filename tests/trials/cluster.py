"""`python -m tests.trials.cluster`: a video restored by a real Ray cluster is that of one run.

    python -m tests.trials.cluster same
    python -m tests.trials.cluster faults
    python -m tests.trials.cluster speed --places 1,2,4,8

Starts a cluster of three nodes on this machine, each with processes of its own. `same` restores
five kinds of input and compares every frame, and the file as `deblur verify` does. `faults` kills a
worker at work, a node and the driver, and interrupts, and counts the pieces that are done again.
`speed` replaces restoring by a sleep, so that a few cores stand for many GPUs.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import typer

from stream.cluster import engine as engines
from stream.cluster.driver import Driver
from stream.cluster.local import free_ports, say_ports, started
from stream.cluster.part import parts_of
from stream.cluster.worker import Order, Result
from stream.files.job import Job
from stream.files.report import Progress
from stream.options.settings import Settings
from stream.verify import verify
from tests.clips import make_clip
from tests.files import test_pieces
from tests.files.test_resume import hashes
from tests.trials.runner import console

app = typer.Typer(add_completion=False)
DEBLUR = str(Path(sys.executable).with_name("deblur"))
COPIED = ("--model", "none", "--strength", "0", "--device", "cpu")
FRAMES = 1000
_PATIENCE_S = 600.0


_NODE = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
address, listen, agent = sys.argv[1:]
at = dict(gcs_address=address, node_ip_address="127.0.0.1", num_cpus=1)
ports = dict(dashboard_agent_listen_port=int(listen), runtime_env_agent_port=int(agent))
worker = dict(min_worker_port=0, max_worker_port=0, include_log_monitor=False)
Node(RayParams(**at, **ports, **worker, object_store_memory=80 << 20), head=False)
time.sleep(1e6)
"""
"""`ray start` wants addresses that other machines reach; this joins on the loopback."""


@dataclass
class Nodes:
    """A cluster of nodes on this machine."""

    folder: Path
    address: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self) -> None:
        """One node more, with one CPU. They come one after the other, as their sockets do."""
        count = alive()
        node = secrets.token_hex(28)
        session = next(self.folder.glob("deblur-ray-*/session_2*")).resolve()
        say_ports(session, node)
        command = [sys.executable, "-c", _NODE, self.address, *map(str, free_ports(2))]
        self.workers.append(
            subprocess.Popen(
                command,
                env={**os.environ, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        wait(lambda: alive() > count)

    def kill(self) -> None:
        """Kill the last node, and all its processes with it."""
        process = self.workers.pop()
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.Error, ProcessLookupError):
                each.kill()
        process.wait()


@contextmanager
def three_nodes() -> Iterator[Nodes]:
    """A cluster that this process watches."""
    folder = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        with started(1) as address:
            ray = loaded()
            nodes = Nodes(folder, address)
            os.environ["RAY_ADDRESS"] = address
            ray.init(address=address, log_to_driver=False)
            try:
                for _ in range(2):
                    nodes.add()
                yield nodes
            finally:
                ray.shutdown()
                while nodes.workers:
                    nodes.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def loaded() -> Any:
    """Ray, which reads the environment when it is loaded: after `started`."""
    return import_module("ray")


def alive() -> int:
    return sum(bool(each["Alive"]) for each in loaded().nodes())


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


@dataclass
class Run:
    """A command at work on the cluster."""

    process: "subprocess.Popen[str]"
    name: str
    driver_mib: float = 0.0
    worker_mib: float = 0.0
    printed: str = ""
    said: str = ""

    @classmethod
    def begin(cls, folder: Path, clip: Path, output: str, *words: str) -> "Run":
        command = [DEBLUR, "run", str(clip), output, "--cluster", "auto", "--json", *words]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return cls(process, clip.name)

    def workers(self) -> list[psutil.Process]:
        """Those that restore a piece of it just now."""
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                if " ".join(each.cmdline()).startswith(f"ray::{self.name}"):
                    self.worker_mib = max(self.worker_mib, each.memory_info().rss / 2**20)
                    found.append(each)
        with suppress(psutil.Error):
            rss = psutil.Process(self.process.pid).memory_info().rss
            self.driver_mib = max(self.driver_mib, rss / 2**20)
        return found

    def at_work(self) -> psutil.Process:
        """Waits for a worker that is at a piece."""
        wait(lambda: bool(self.workers()))
        return (self.workers() or [psutil.Process()])[0]

    def end(self) -> int:
        """Wait for its end, and watch how much memory it takes."""
        while self.process.poll() is None:
            self.workers()
            time.sleep(0.5)
        self.printed, self.said = self.process.communicate()
        return self.process.returncode


def pieces(run: Run) -> list[dict[str, Any]]:
    return list(json.loads(run.printed)["pieces"])


def left(nodes: Nodes) -> str:
    """What is left of pieces in temporary folders, and of bytes in the object store."""
    ray = loaded()
    folders = [each.name for each in nodes.folder.rglob("deblur-piece-*")]

    def empty() -> bool:
        free, total = ray.available_resources(), ray.cluster_resources()
        return bool(free.get("object_store_memory") == total.get("object_store_memory"))

    with suppress(TimeoutError):
        wait(empty)
    return f"{len(folders)} folders, object store {'empty' if empty() else 'NOT empty'}"


@app.command()
def same() -> None:
    """The same file as of one run, for five kinds of input."""
    test_pieces.FRAMES = FRAMES
    faults = 0
    with three_nodes() as nodes:
        for make in (
            test_pieces.b_frames,
            test_pieces.open_gop,
            test_pieces.variable_rate,
            test_pieces.edit_list,
            test_pieces.interlaced,
        ):
            folder = nodes.folder / make.__name__
            folder.mkdir()
            clip = make(folder)
            Job(clip, folder / "single.mkv", Settings("none", strength=0, device="cpu")).run()
            run = Run.begin(folder, clip, "out.mkv", *COPIED)
            code, where = run.end(), pieces(run)
            equal = hashes(folder / "out.mkv") == hashes(folder / "single.mkv")
            alike = verify(clip, folder / "out.mkv").summary
            wanted = verify(clip, folder / "single.mkv").summary
            used = len({each["node"] for each in where})
            faults += not equal or alike != wanted
            console.print(
                f"{make.__name__}: exit {code}, {len(where)} pieces on {used} nodes, frames "
                f"{'equal' if equal else 'DIFFER'}, verify: {alike}; driver "
                f"{run.driver_mib:.0f} MiB, worker {run.worker_mib:.0f} MiB; left: {left(nodes)}"
            )
    console.print(f"{faults} faults")
    raise typer.Exit(int(bool(faults)))


@app.command()
def faults(frames: int = FRAMES) -> None:
    """What becomes of a job when a worker, a node or its driver dies."""
    with three_nodes() as nodes:
        folder = nodes.folder / "in"
        folder.mkdir()
        options = {"bf": "2", "g": "40"}
        clip = make_clip(folder / "in.mp4", frames=frames, audio=("eng",), options=options)
        Job(clip, folder / "single.mp4", Settings("none", strength=0, device="cpu")).run()
        wanted = hashes(folder / "single.mp4")

        def told(what: str, run: Run, output: str) -> None:
            code = run.end()
            equal = code == 0 and hashes(folder / output) == wanted
            where = pieces(run) if run.printed.startswith("{") else []
            again = sum(each["tries"] - 1 for each in where)
            console.print(
                f"{what}: exit {code}, frames {'equal' if equal else 'DIFFER'}, {len(where)} "
                f"pieces done, {again} of them again; left: {left(nodes)}"
            )
            if not where:
                console.print(f"    {run.printed[:1000]}")
            for line in run.said.splitlines():
                if code not in (0, 130) or "resuming" in line or line.startswith("deblur:"):
                    console.print(f"    {line}")

        run = Run.begin(folder, clip, "worker.mp4", *COPIED)
        victim = run.at_work()
        console.print(f"kill -9 {' '.join(victim.cmdline())}")
        victim.kill()
        told("a worker killed", run, "worker.mp4")

        run = Run.begin(folder, clip, "node.mp4", *COPIED)
        wait(lambda: len(run.workers()) >= 2)
        nodes.kill()
        told("a node killed", run, "node.mp4")
        nodes.add()

        run = Run.begin(folder, clip, "driver.mp4", *COPIED)
        place = parts_of(folder / "driver.mp4")
        wait(lambda: len(list(place.glob("*-of-*/done.json"))) >= 1)
        run.at_work()
        run.process.kill()
        run.end()
        kept = len(list(place.glob("*-of-*/done.json")))
        console.print(f"the driver killed: {kept} pieces are done")
        wait(lambda: not run.workers())
        told(
            "with --resume",
            Run.begin(folder, clip, "driver.mp4", "--resume", *COPIED),
            "driver.mp4",
        )

        run = Run.begin(folder, clip, "stopped.mp4", *COPIED)
        run.at_work()
        run.process.send_signal(signal.SIGINT)
        time.sleep(1)
        run.process.send_signal(signal.SIGINT)
        told("interrupted twice", run, "stopped.mp4")


@app.command()
def speed(
    places: str = "1,2,4,8", frames: int = 15000, piece_s: float = 5.0, pieces: int = 32
) -> None:
    """How much faster more places are, with a sleep in the place of restoring.

    Pieces are restored once beforehand, and copied to where a node puts them when it has slept.
    """
    settings = Settings("none", strength=0, device="cpu")
    folder = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    counts = [int(each) for each in places.split(",")]
    usual = Driver._count
    try:
        clip = make_clip(folder / "in.mp4", frames=frames, options={"bf": "2", "g": "40"})
        Driver._count = lambda self, source, index: pieces  # type: ignore[method-assign]
        with started(max(counts)) as address:
            ray = loaded()
            ray.init(address=address, log_to_driver=False)
            kept = folder / "kept"
            engine = _Sleeps(ray, kept, 0, max(counts))
            begun = time.monotonic()
            Driver(clip, folder / "restored.mp4", settings, engine).run()
            console.print(f"restored and kept: {time.monotonic() - begun:.1f} s")
            engine.piece_s, took = piece_s, []
            for count in counts:
                engine.count, begun = count, time.monotonic()
                phases: dict[str, float] = {}

                def seen(now: Progress, phases: dict[str, float] = phases) -> None:
                    phases.setdefault(now.phase, time.monotonic())

                report = Driver(clip, folder / f"{count}.mp4", settings, engine).run(seen)
                took.append(time.monotonic() - begun)
                console.print(
                    f"{count} places: {took[-1]:.1f} s, of which {pieces * piece_s / count:.1f} s "
                    f"asleep; {counts[0] * took[0] / took[-1]:.2f} times as fast as one; "
                    f"{report.frames} frames, conforms: {report.conforms}; planned in "
                    f"{phases['restoring'] - begun:.1f} s, joined in "
                    f"{phases['verifying'] - phases['writing']:.1f} s, verified in "
                    f"{begun + took[-1] - phases['verifying']:.1f} s"
                )
            ray.shutdown()
    finally:
        Driver._count = usual  # type: ignore[method-assign]
        shutil.rmtree(folder, ignore_errors=True)


class _Sleeps(engines.Engine):
    """A cluster of which some places are used, and whose nodes sleep once pieces are kept."""

    def __init__(self, ray: Any, kept: Path, piece_s: float, count: int) -> None:
        super().__init__(ray, 1)
        self.kept, self.piece_s, self.count = kept, piece_s, count

    @property
    def places(self) -> int:
        return self.count

    def submit(self, order: Order, attempt: str, name: str) -> Any:
        task = self._ray.remote(num_cpus=1, max_retries=0)(_asleep).options(name=name)
        return task.remote(order, attempt, self._told, self.kept, self.piece_s)


def _asleep(order: Order, attempt: str, told: Any, kept: Path, piece_s: float) -> Result:
    name = order.piece.name
    if not piece_s:
        result = engines._task(order, attempt, told)
        shutil.copytree(order.parts / name, kept / name)
        return result
    told.put.remote(attempt, 0)
    time.sleep(piece_s)
    shutil.copytree(kept / name, order.parts / f"{name}.{attempt}")
    (order.parts / f"{name}.{attempt}").rename(order.parts / name)
    return Result("", "", piece_s, 0, None)


if __name__ == "__main__":
    app()
