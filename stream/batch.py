"""Many files, one after the other, with one model."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stream.choice import choose_model
from stream.errors import CancelledError, DeblurError, NoInputError, UsageError
from stream.job import Job
from stream.live.window import Window
from stream.models import AUTO, find_upscaler, fingerprint, load_model
from stream.place import kept_suffix
from stream.report import Progress, Report
from stream.settings import Settings
from stream.work import folder_of, model_of

State = Literal["done", "differs", "skipped", "stopped", "failed"]

VIDEOS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".m2t"),
        *(".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf"),
        *(".mod", ".tod", ".dv", ".rm", ".rmvb", ".divx", ".nut", ".y4m", ".h264", ".h265"),
        *(".264", ".265", ".hevc", ".insv", ".lrv"),
    )
)
"""Endings of the files that are taken from a folder."""


@dataclass(frozen=True)
class Task:
    """One file of a batch."""

    input: Path
    output: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    task: Task
    state: State
    said: str
    """One line for people."""
    report: Report | None = None


class Batch:
    """Files to restore one after the other. A file that fails does not stop the rest."""

    def __init__(
        self, tasks: Sequence[Task], settings: Settings, *, window: Window | None = None
    ) -> None:
        """In `window` before and after can be looked at."""
        self.tasks = tasks
        self._window = window
        # What was begun is gone on with, as what is finished is not done again.
        self.settings = replace(settings, resume=settings.resume or not settings.overwrite)
        self._job: Job | None = None
        self._stopped = False

    def run(self, progress: Callable[[Task, Progress], None] | None = None) -> Iterator[Outcome]:
        """Restore file after file, and say of each what became of it.

        A model or a device that cannot be used is raised at once, as it is the same for all.
        """
        settings, asked = self.settings, self.settings
        if settings.model == AUTO:
            chosen = choose_model(
                device=settings.device, precision=settings.precision, engine=settings.engine
            )
            settings = replace(settings, model=chosen.model)
        restore = load_model(
            settings.model,
            device=settings.device,
            precision=settings.precision,
            engine=settings.engine,
            tile=settings.tile,
        )
        upscaler = None
        if settings.upscale is not None:
            upscaler = find_upscaler(settings.upscaler, restore.engine)
        tile = restore.tile
        for task in self.tasks:
            if self._stopped:
                return
            if task.output.exists() and not settings.overwrite:
                yield Outcome(task, "skipped", f"{task.output} is there already")
                continue
            restore.tile = tile
            # Work that was begun with what suited another moment is gone on with as it was.
            begun = model_of(folder_of(task.output)) if asked.model == AUTO else None
            same = begun in (None, fingerprint(settings.model))
            self._job = Job(
                task.input, task.output, settings if same else asked, window=self._window
            )
            show = None if progress is None else lambda seen, task=task: progress(task, seen)
            try:
                task.output.parent.mkdir(parents=True, exist_ok=True)
                report = self._job.run(show, restore=restore if same else None, upscaler=upscaler)
            except CancelledError as error:
                yield Outcome(task, "stopped", str(error))
                return
            except DeblurError as error:
                yield Outcome(task, "failed", str(error))
                continue
            except OSError as error:
                yield Outcome(task, "failed", f"cannot write {task.output}: {error.strerror}")
                continue
            yield _outcome(task, report)

    def stop(self) -> None:
        """Finish the frames in hand and end."""
        self._stopped = True
        if self._job is not None:
            self._job.stop()

    def cancel(self) -> None:
        """End at once; what is done of the file at work is kept."""
        self._stopped = True
        if self._job is not None:
            self._job.cancel()


def summary(outcomes: Sequence[Outcome], planned: int) -> str:
    """What became of all files, in one line."""
    counts = Counter(outcome.state for outcome in outcomes)
    words: dict[State, str] = {
        "done": "done",
        "differs": "done with losses",
        "skipped": "done before",
        "stopped": "stopped",
        "failed": "failed",
    }
    said = [f"{counts[state]} {word}" for state, word in words.items() if counts[state]]
    if left := planned - len(outcomes):
        said.append(f"{left} not begun")
    files = "1 file" if planned == 1 else f"{planned} files"
    return f"{files}: {', '.join(said) or 'nothing to do'}"


def tasks_of(paths: Sequence[Path], list_file: Path | None = None) -> list[Task] | None:
    """The files that the arguments of a command name, and their outputs.

    `paths` are files, folders and patterns, and a folder for the outputs at the end; `list_file`
    names inputs, one on a line. None if they name a single file and its output. Raises
    `UsageError` or `NoInputError`.
    """
    if list_file is None and len(paths) <= 2 and not _several(paths[0]):
        into = len(paths) == 2 and paths[1].is_dir()
        return _tasks([(paths[0], Path(paths[0].name))], paths[1]) if into else None
    if list_file is not None:
        if len(paths) != 1:
            raise UsageError("--list takes one more argument, the folder for the outputs")
        inputs, folder = [*_listed(list_file)], paths[0]
    elif len(paths) == 1:
        inputs, folder = [paths[0]], _beside(paths[0])
    else:
        inputs, folder = [*paths[:-1]], paths[-1]
    if folder.is_file() or (len(paths) > 1 and not folder.is_dir() and folder.suffix):
        raise UsageError(f"the outputs of several files need a folder, and {folder} is none")
    found = [pair for path in inputs for pair in _found(path, folder)]
    return _tasks(found, folder)


def _several(path: Path) -> bool:
    return path.is_dir() or (glob.has_magic(str(path)) and not path.exists())


def _beside(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError("a pattern needs a folder for the outputs behind it")
    return path.resolve().with_name(f"{path.resolve().name}.deblurred")


def _listed(file: Path) -> Iterator[Path]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise NoInputError(f"cannot read the list {file}: {reason}") from error
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield file.parent / line.strip()


def _found(path: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Inputs, each with its place in the folder of the outputs."""
    if path.is_dir():
        inside = out.resolve()
        for root, folders, names in os.walk(path):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and (Path(root) / name).resolve() != inside
            )
            for name in sorted(names):
                file = Path(root) / name
                if file.suffix.lower() in VIDEOS and not _ours(file):
                    yield file, file.relative_to(path)
    elif _several(path):
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise NoInputError(f"nothing matches {path}")
        for match in map(Path, matches):
            if match.is_file() and not _ours(match):
                yield match, Path(match.name)
    else:
        yield path, Path(path.name)


def _ours(file: Path) -> bool:
    """Whether a file was made here, or is being made."""
    return file.name.startswith(".") or file.stem.endswith((".part", ".deblurred"))


def _tasks(found: Iterable[tuple[Path, Path]], folder: Path) -> list[Task]:
    pairs = list(dict.fromkeys(found))
    made = [folder / _place(place) for _, place in pairs]
    if twice := [output for output, count in Counter(made).items() if count > 1]:
        raise UsageError(f"several inputs have the name {twice[0].name}; give them one folder each")
    return [Task(input, output) for (input, _), output in zip(pairs, made, strict=True)]


def _place(place: Path) -> Path:
    """Where in the folder an output goes; what changes its container keeps its old ending too.

    So clip.avi and clip.mkv have outputs of their own, whichever is there first.
    """
    suffix = kept_suffix(place)
    return place if suffix == place.suffix else place.with_name(f"{place.name}{suffix}")


def _outcome(task: Task, report: Report) -> Outcome:
    done = f"{report.frames} frames ({report.fps:.1f} fps) -> {report.output}"
    if report.stopped:
        return Outcome(task, "stopped", f"{done}; the same command goes on", report)
    assert report.conformance is not None
    state: State = "done" if report.conforms else "differs"
    said = done
    if not report.conforms:
        said = f"{done}; {report.conformance.summary.removeprefix('differs: ')}"
    return Outcome(task, state, said, report)
