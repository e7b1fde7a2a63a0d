"""`deblur join`, and what `deblur run` does in pieces."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import Argument
from stream.cli.terminal import clock, concluded, handle_signals, reported, say
from stream.cli.terminal.progress import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.cluster.driver import Driver
    from stream.cluster.engine import Engine
    from stream.files.batch import Batch
    from stream.files.job import Job
    from stream.files.report import Progress, Report
    from stream.files.tasks import Task
    from stream.ipc.window import Window
    from stream.options.settings import Settings


def join(
    input: Annotated[Path, Argument(help="The video file.", show_default=False)],
    output: Annotated[
        Path,
        Argument(help="The file that the pieces were made for.", show_default=False),
    ],
    parts: Annotated[
        list[Path] | None,
        Argument(
            help="The pieces' folders, where they do not lie in OUTPUT.parts.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was done as JSON on stdout.")
    ] = False,
) -> None:
    """Make the file of all pieces that `deblur run --part` has restored."""
    with reported():
        from stream.cluster.whole import Whole

        report = Whole(input, output, parts=parts or (), overwrite=overwrite).join()
        told(report, as_json, f"{report.frames} frames joined in {clock(report.seconds)}")


def told(report: "Report", as_json: bool, done: str) -> None:
    """Say what became of a file that was joined. Raises `typer.Exit` where it differs."""
    for warning in report.warnings:
        say(f"note: {warning}")
    say(f"{done} -> {report.output}")
    concluded(report, as_json)


def run_part(
    input: Path, output: Path | None, settings: "Settings", part: str, progress: str
) -> None:
    """Restore one piece. Raises a `DeblurError`."""
    import stream
    from stream.cluster.part import Part
    from stream.paths import default_output

    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", part)
    if match is None:
        raise stream.UsageError(f"--part takes such as 2/5, got {part}")
    job = Part(input, output or default_output(input), settings, int(match[1]), int(match[2]))
    name = f"{input.name} {part}"
    with bar(name, progress) as show:
        handle_signals(job)

        def seen(now: "Progress") -> None:
            if show is not None:
                show(name, now)

        report = job.run(seen, say=say)
    done = f"{report.frames} frames in {clock(report.seconds)} ({report.fps:.1f} fps)"
    say(f"{part}: {done} -> {report.output}; when all are done: deblur join {input} {job.output}")


@contextmanager
def cluster_of(address: str | None) -> Iterator["Engine | None"]:
    """The cluster to restore on, if one was named. Raises `UsageError` and `DeviceError`."""
    if address is None:
        yield None
        return
    from stream.cluster.engine import connected

    if address.startswith("local:"):
        say("starting Ray on this machine ...")
    with connected(address) as engine:
        yield engine


def job_of(
    engine: "Engine | None",
    input: Path,
    output: Path | None,
    settings: "Settings",
    window: "Window | None",
) -> "Job | Driver":
    """What restores one file: on a cluster, or here."""
    if engine is None:
        from stream.files.job import Job

        return Job(input, output, settings, window=window)
    from stream.cluster.driver import Driver

    return Driver(input, output, settings, engine)


def batch_of(
    engine: "Engine | None",
    tasks: "Sequence[Task]",
    settings: "Settings",
    window: "Window | None",
) -> "Batch":
    """What restores many files: on a cluster, or here."""
    if engine is None:
        from stream.files.batch import Batch

        return Batch(tasks, settings, window=window)
    from stream.cluster.driver import ClusterBatch

    return ClusterBatch(tasks, settings, engine)
