"""Runs jobs, one after the other, each as a `deblur run` of its own: a crash harms only its job."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from stream.errors import DeblurError, NoInputError, WriteError
from stream.files.tasks import place_of
from stream.serve.folders import Folders
from stream.serve.jobs import MOST_ATTEMPTS, Job, Jobs, State
from stream.serve.options import Options

RUN = "-m", "stream", "run"
_NOTES = 50
"""Lines of a run that are kept."""
_END_S = 10.0
"""How long a run may take to put away what it has done; then it is killed, which loses no more than
two seconds of work."""
_LINE = 1 << 20
"""Bytes of a line that a run says."""


class Worker:
    """Takes jobs from the queue and does them."""

    def __init__(
        self,
        jobs: Jobs,
        folders: Folders,
        words: Sequence[str],
        seen: Callable[[int, dict[str, Any]], None],
    ) -> None:
        """`words` are the options of every job; `seen` is told how far one is."""
        self._jobs, self._folders, self._words, self._seen = jobs, folders, words, seen
        self._process: asyncio.subprocess.Process | None = None
        self._cancelled = False
        self.news = asyncio.Event()
        """Set where a job may be there."""
        self._ended = asyncio.Event()
        self.number: int | None = None
        """Of the job that is at work."""

    async def run(self) -> None:
        """Work until cancelled; the job that is at work stays one that is running."""
        while True:
            self.news.clear()
            job = self._jobs.next()
            if job is None:
                await self.news.wait()
                continue
            self.number, self._cancelled = job.number, False
            self._ended.clear()
            try:
                await self._do(job)
            except DeblurError as error:
                self._end(job, State.FAILED, str(error), error.exit_code)
            except OSError as error:
                code = WriteError.exit_code
                self._end(job, State.FAILED, f"cannot write: {error.strerror or error}", code)
            except sqlite3.Error:
                raise  # nothing can be said of any job
            except Exception as error:  # such as options that this version has no more
                text = f"unexpected {type(error).__name__}: {error}"
                self._end(job, State.FAILED, text, DeblurError.exit_code)
            finally:
                self.number = None
                self._ended.set()

    async def cancel(self) -> None:
        """End the job that is at work; what is done of it is kept."""
        self._cancelled = True
        await self._stop()
        await self._ended.wait()

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            # Twice: at once, and not first a file of what there is.
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            _kill(process.pid)
            await process.wait()

    async def _do(self, job: Job) -> None:
        self._process = None
        whole = whole_of(self._folders, job)
        whole.parent.mkdir(parents=True, exist_ok=True)
        # What cannot be delivered is not begun.
        self._folders.free_name(_place(job))
        if not whole.exists():
            command = [sys.executable, *RUN, *self._options(job), "-o", str(whole)]
            source = input_of(self._folders, job)
            code, said = await self._run([*command, "--", str(source)], job)
            if self._cancelled and not whole.exists():
                self._end(job, State.CANCELLED, "cancelled; resume goes on with what is done", None)
                return
            notes = [self._clean(line.removeprefix("note: "), job) for line in said]
            line = notes[-1].removeprefix("deblur: ") if notes else ""
            job = self._jobs.set(job.number, exit_code=code, notes=notes[:-1], said=line)
            if code not in (0, 1) or not whole.exists():
                self._end(job, State.FAILED, line if code >= 0 else _killed(code, line), code)
                return
        deliver(self._jobs, self._folders, job)

    def _options(self, job: Job) -> list[str]:
        asked = Options.model_validate(job.options).words()
        return [*self._words, *asked, "--progress=json", "--json", "--resume"]

    async def _run(self, command: list[str], job: Job) -> tuple[int, list[str]]:
        """Run a command to its end; its exit code, and the last lines that it said. What it prints
        goes to a file, where it is also when the service ends before."""
        # What the service is opened with is no matter of a job.
        known = {name: value for name, value in os.environ.items() if name != "DEBLUR_TOKEN"}
        with report_of(self._folders, job).open("wb") as out:
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.PIPE,
                env=known,
                limit=_LINE,
                # Ctrl-C is for the service, which decides about its jobs.
                start_new_session=True,
            )
        assert process.stderr is not None
        try:
            if self._cancelled:
                _kill(process.pid)
            said = await self._listen(process.stderr, job)
            return await process.wait(), said
        except asyncio.CancelledError:
            await asyncio.shield(self._stop())
            raise

    async def _listen(self, lines: asyncio.StreamReader, job: Job) -> list[str]:
        said: deque[str] = deque(maxlen=_NOTES)
        while True:
            try:
                raw = await lines.readline()
            except ValueError:  # longer than any that is said
                continue
            if not raw:
                return [*said]
            line = raw.decode(errors="replace").strip()
            if line.startswith('{"progress"'):
                with suppress(ValueError, KeyError):
                    self._seen(job.number, json.loads(line)["progress"])
            elif line:
                said.append(line)

    def _clean(self, line: str, job: Job) -> str:
        """A line without the folders that are nobody's matter."""
        folders = self._folders
        for folder in (folders.work(job.key) / "in", folders.work(job.key) / "out"):
            line = line.replace(f"{folder}{os.sep}", "")
        for folder in (folders.inputs, folders.outputs):
            line = line.replace(f"{folder}{os.sep}", "")
        return line

    def _end(self, job: Job, state: State, said: str, code: int | None) -> None:
        said = " ".join(said.split())
        self._jobs.set(job.number, state=state, said=said, exit_code=code, finished=time.time())


def input_of(folders: Folders, job: Job) -> Path:
    """The file that a job restores. Raises `NoInputError`."""
    if job.path is not None:
        return folders.input(job.path)
    file = folders.upload(job.key, job.name)
    if not file.is_file():
        raise NoInputError(f"the upload of {job.name} is not there any more")
    return file


def whole_of(folders: Folders, job: Job) -> Path:
    """Where a job's output is until it gets its name."""
    return folders.work(job.key) / "out" / place_of(Path(job.name)).name


def report_of(folders: Folders, job: Job) -> Path:
    """What the run of a job printed."""
    return folders.work(job.key) / "report.json"


def _place(job: Job) -> Path:
    """Where in the folder of outputs a job's goes, if nothing is there."""
    return place_of(Path(job.path or job.name))


def deliver(jobs: Jobs, folders: Folders, job: Job) -> Job:
    """Give what is whole its name in the folder of outputs; goes on where a crash ended it.

    Raises `SinkError` or `OSError`.
    """
    whole = whole_of(folders, job)
    place = _place(job)
    while whole.exists():
        output = job.output
        if output is None:
            output = str(folders.free_name(place).relative_to(folders.outputs))
            job = jobs.set(job.number, output=output)
        try:
            folders.publish(whole, folders.outputs / output)
        except FileExistsError:
            job = jobs.set(job.number, output=None)
    shutil.rmtree(whole.parent, ignore_errors=True)
    report = _report(report_of(folders, job))
    summary = report["conformance"]["summary"] if report is not None else ""
    said = job.said or summary or "done; the service was not there to hear how"
    return jobs.set(job.number, state=State.DONE, report=report, said=said, finished=time.time())


def recover(jobs: Jobs, folders: Folders) -> None:
    """Put right what was at work when the service was killed: all that is whole is done, and all
    else waits again."""
    end_orphans(folders)
    for job in jobs.all(State.RUNNING, limit=-1):
        # A name is chosen for what is whole alone.
        if job.output is not None or whole_of(folders, job).exists():
            try:
                deliver(jobs, folders, job)
            except (DeblurError, OSError) as error:
                jobs.set(job.number, state=State.FAILED, said=str(error), finished=time.time())
        elif job.attempts >= MOST_ATTEMPTS:
            said = f"the service ended {job.attempts} times while this was at work"
            jobs.set(job.number, state=State.FAILED, said=said, finished=time.time())
        else:
            jobs.set(job.number, state=State.QUEUED)
    folders.clear(jobs.keys())


def end_orphans(folders: Folders) -> None:
    """End the runs of a service that was killed: they would be in the way of their jobs."""
    own = f"{folders.own}{os.sep}"
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if tuple(words[1:4]) == RUN and any(word.startswith(own) for word in words[4:]):
                psutil.wait_procs(_kill(process.pid), _END_S)


def _kill(pid: int) -> list[psutil.Process]:
    """Kill a process and all that it started; these."""
    every = []
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        every = [*process.children(recursive=True), process]
    for each in every:
        with suppress(psutil.Error):
            each.kill()
    return every


def _killed(code: int, line: str) -> str:
    """What to say of a run that a signal ended."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    more = "; is there enough memory?" if name == "SIGKILL" else ""
    return f"the run was ended by {name}{more}{f'; it said: {line}' if line else ''}"


def _report(file: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_bytes())
        str(found["conformance"]["summary"])
        # The name that it had is nobody's matter.
        return {key: value for key, value in found.items() if key != "output"}
    return None
