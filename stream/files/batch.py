"""Many files, one after the other, with one model."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from stream import provenance
from stream.compute.models import find_upscaler, load_for
from stream.errors import CancelledError, DeblurError
from stream.files.job import Job
from stream.files.report import Progress, Report
from stream.files.several import JobSequence
from stream.files.tasks import Task
from stream.ipc.window import Window
from stream.options.settings import Settings
from stream.output.fingerprint import asked_for
from stream.paths import check_input, target_of


class State(StrEnum):
    """What became of a file of several."""

    DONE = "done"
    DIFFERS = "differs"
    SKIPPED = "skipped"
    OUTDATED = "outdated"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    task: Task
    state: State
    said: str
    """One line for people."""
    report: Report | None = None

    def to_json(self) -> dict[str, Any]:
        """What `deblur run --json` prints of one of several files."""
        said = {"input": str(self.task.input), "state": self.state, "said": self.said}
        report = self.report.to_json() if self.report is not None else {}
        return {**said, "output": str(self.task.output), **report}


class Batch(JobSequence):
    """Files to restore one after the other. A file that fails does not stop the rest."""

    def __init__(
        self, tasks: Sequence[Task], settings: Settings, *, window: Window | None = None
    ) -> None:
        """In `window` before and after can be looked at."""
        super().__init__()
        self.tasks = tasks
        self._window = window
        # What was begun is gone on with, as what is finished is not done again.
        self.settings = replace(settings, resume=settings.resume or not settings.overwrite)

    def run(self, progress: Callable[[Task, Progress], None] | None = None) -> Iterator[Outcome]:
        """Restore file after file, and say of each what became of it.

        A model or a device that cannot be used is raised at once, as it is the same for all.
        """
        restored = self._restorer()
        for task in self.tasks:
            if self._stopped:
                return
            if (found := self._found(task)) is not None:
                yield found
                continue
            show = None if progress is None else lambda seen, task=task: progress(task, seen)
            try:
                task.output.parent.mkdir(parents=True, exist_ok=True)
                report = restored(task, show)
            except CancelledError as error:
                yield Outcome(task, State.STOPPED, str(error))
                return
            except DeblurError as error:
                yield Outcome(task, State.FAILED, str(error))
                continue
            except OSError as error:
                yield Outcome(task, State.FAILED, f"cannot write {task.output}: {error.strerror}")
                continue
            yield _outcome(task, report)

    def _restorer(self) -> Callable[[Task, Callable[[Progress], None] | None], Report]:
        """What restores one file, with that which all of them share."""
        settings = self.settings.settled()
        restore = load_for(settings)
        upscaler = None
        if settings.upscale is not None:
            upscaler = find_upscaler(settings.upscaler, restore.engine)
        tile = restore.tile

        def restored(task: Task, show: Callable[[Progress], None] | None) -> Report:
            restore.tile = tile
            job = Job(task.input, task.output, settings, window=self._window, asked=self.settings)
            self._job = job
            return job.run(show, restore=restore, upscaler=upscaler)

        return restored

    def _found(self, task: Task) -> Outcome | None:
        """What is to be said of an output that is there, where it stays."""
        output = target_of(task.output)
        try:
            if self.settings.overwrite or not output.exists():
                return None
            check_input(task.input)
            asked = asked_for(task.input, self.settings)
        except DeblurError as error:
            return Outcome(task, State.FAILED, str(error))
        except OSError as error:
            return Outcome(task, State.FAILED, f"cannot read {error.filename}: {error.strerror}")
        known = provenance.of(output)
        other = [f"--{key}" for key in asked if known and known.get(key, asked[key]) != asked[key]]
        if not other:
            return Outcome(task, State.SKIPPED, f"{output} is there already")
        if "--input" in other:
            why = f"{task.input.name} was another file then"
        else:
            why = f"it was made with another {', '.join(other)}"
        said = f"{output} is out of date, {why}; make it again with --overwrite, or remove it"
        return Outcome(task, State.OUTDATED, said)


def summary(outcomes: Sequence[Outcome], planned: int) -> str:
    """What became of all files, in one line."""
    counts = Counter(outcome.state for outcome in outcomes)
    words = {
        State.DONE: "done",
        State.DIFFERS: "done with losses",
        State.SKIPPED: "done before",
        State.OUTDATED: "out of date",
        State.STOPPED: "stopped",
        State.FAILED: "failed",
    }
    said = [f"{counts[state]} {word}" for state, word in words.items() if counts[state]]
    if left := planned - len(outcomes):
        said.append(f"{left} not begun")
    files = "1 file" if planned == 1 else f"{planned} files"
    return f"{files}: {', '.join(said) or 'nothing to do'}"


def _outcome(task: Task, report: Report) -> Outcome:
    done = f"{report.frames} frames ({report.fps:.1f} fps) -> {report.output}"
    if report.conformance is None:
        return Outcome(task, State.STOPPED, f"{done}; the same command goes on", report)
    state = State.DONE if report.conforms else State.DIFFERS
    said = done
    if not report.conforms:
        said = f"{done}; {report.conformance.summary.removeprefix('differs: ')}"
    return Outcome(task, state, said, report)
