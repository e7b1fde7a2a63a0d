"""How far a job is: a bar on a terminal, or lines of JSON."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from stream.cli.terminal import clock, err, rate, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.files.report import Progress as JobProgress

_TOLD_S = 0.5
"""How often a line tells of progress."""


def told() -> "Callable[[str, JobProgress], None]":
    """Says how far a job is, in lines of JSON."""
    from stream.files.estimate import RateEstimate

    pace, last = RateEstimate(), ("", -_TOLD_S)

    def show(name: str, progress: "JobProgress") -> None:
        nonlocal last
        pace.see(progress)
        if progress.phase == last[0] and time.monotonic() < last[1] + _TOLD_S:
            return
        last = progress.phase, time.monotonic()
        left_s = pace.left_s(progress.expected_frames)
        facts = {
            "input": name,
            "phase": progress.phase,
            "frames": progress.frames,
            "earlier": progress.earlier,
            "expected_frames": progress.expected_frames,
            "fps": round(pace.fps, 3) if pace.fps is not None else None,
            "left_s": round(left_s, 1) if left_s is not None else None,
            "bottleneck": progress.bottleneck,
            "runs_on": progress.runs_on,
        }
        say(json.dumps({"progress": facts}))

    return show


@contextmanager
def bar(
    name: str = "", kind: str = "auto"
) -> Iterator["Callable[[str, JobProgress], None] | None"]:
    """A progress bar on a terminal, and nothing elsewhere; or lines of JSON, or nothing, where
    `kind` is "json" or "off"."""
    if kind == "json":
        yield told()
        return
    if kind == "off" or not err.is_terminal:
        yield None
        return
    from stream.files.estimate import RateEstimate

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(name, total=None, state="starting")
        pace = RateEstimate()

        def show(name: str, progress: "JobProgress") -> None:
            total = progress.expected_frames
            pace.see(progress)
            if progress.phase != "restoring":
                shown.update(
                    task,
                    description=name,
                    completed=progress.frames,
                    state=f"{progress.phase} the file",
                )
                return
            speed = f"{rate(pace.fps)} fps" if pace.fps else "starting"
            left_s = pace.left_s(total)
            left = "" if left_s is None else f", {clock(left_s)} left"
            share = progress.busy[progress.bottleneck]
            shown.update(
                task,
                description=name,
                completed=progress.frames,
                total=max(total, progress.frames) if total else None,
                state=f"{speed}{left}, bottleneck {progress.bottleneck} ({share:.0%} busy)",
            )

        yield show


@contextmanager
def counter(name: str) -> Iterator["Callable[[int, int], None]"]:
    """Shows on a terminal how many frames of how many are done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            shown.update(task, completed=done, total=max(done, total))

        yield show
