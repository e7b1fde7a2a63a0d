"""`deblur join`, and what `deblur run` does in pieces."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import Argument
from stream.cli.terminal import clock, concluded, handle_signals, reported, say
from stream.cli.terminal.progress import bar

if TYPE_CHECKING:
    from stream.files.report import Progress, Report
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
