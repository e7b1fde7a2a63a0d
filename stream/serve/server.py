"""The service as a whole: queue, workers, watched folder and site."""

import asyncio
import socket
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.errors import UsageError, WriteError
from stream.preview.access import Access, Guard
from stream.preview.site import runner_of
from stream.serve.folders import Folders
from stream.serve.jobs import Job, Jobs, State
from stream.serve.site import Service
from stream.serve.watch import Watch
from stream.serve.worker import Worker, recover
from stream.web.admission import LimitedListener


@dataclass(frozen=True)
class Serving:
    """How the service is started."""

    access: Access
    folders: Folders
    workers: Sequence[Sequence[str]]
    """For each worker the options of its jobs."""
    max_upload: int
    watch: Path | None = None
    settle_s: float = 5.0


class Server:
    """Serves until stopped; all is called in one asyncio loop."""

    def __init__(self, serving: Serving, say: Callable[[str], None]) -> None:
        """Listens from now on; `say` is told what becomes of jobs, a line each.

        Raises `SinkError`, or `UsageError` of a folder to watch.
        """
        folders = serving.folders
        self._say = say
        self._jobs = Jobs(folders.own / "jobs.sqlite3")
        self._jobs.tell(self._told)
        self._workers = [
            # There is no site yet.
            Worker(self._jobs, folders, words, lambda *told: self._site.seen(*told))  # noqa: PLW0108
            for words in serving.workers
        ]
        self._watch: Watch | None = None
        if serving.watch is not None:
            watched = serving.watch.resolve()
            if not watched.is_dir() or not watched.is_relative_to(folders.inputs):
                raise UsageError(f"--watch {serving.watch} must be a folder in that of --in")
            self._watch = Watch(self._jobs, folders, watched, serving.settle_s, self._work)
        # Whoever was killed may have left the port a moment ago; the queue tells that it is gone.
        self._socket: socket.socket = serving.access.listen()
        self.port: int = self._socket.getsockname()[1]
        self._site = Service(
            Guard(serving.access, self.port),
            self._jobs,
            folders,
            max_upload=serving.max_upload,
            work=self._work,
            cancel=self._cancel,
        )
        recover(self._jobs, folders)
        self.waiting = self._jobs.counts()[State.QUEUED]
        """Jobs that wait from before."""

    async def run(self) -> None:
        """Serve until cancelled. Raises `WriteError` where the queue cannot be kept."""
        runner = runner_of(self._site)
        await runner.setup()
        listener = self._site.listener = LimitedListener(runner)
        await listener.listen(self._socket)
        beside: list[Coroutine[Any, Any, None]] = [each.run() for each in self._workers]
        if self._watch is not None:
            beside.append(self._watch.run())
        tasks = [asyncio.create_task(each) for each in beside]
        try:
            await asyncio.gather(*tasks)
        except sqlite3.Error as error:
            raise WriteError(f"the queue cannot be written: {error}") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await listener.close()
            self._jobs.close()

    def _told(self, job: Job | int) -> None:
        if isinstance(job, Job) and job.state in (State.DONE, State.FAILED, State.CANCELLED):
            self._say(f"job {job.number}, {job.name}: {job.state}: {job.said}")

    def _work(self) -> None:
        for worker in self._workers:
            worker.news.set()

    async def _cancel(self, number: int) -> None:
        for worker in self._workers:
            if worker.number == number:
                # To its end, also where whoever asked for it goes away.
                await asyncio.shield(worker.cancel())
