"""Before and after of a job that is done: the page that `deblur compare` writes, made when somebody
asks for it."""

import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

from stream.errors import DeblurError
from stream.serve.folders import Folders
from stream.serve.jobs import Job, Jobs
from stream.serve.worker import input_of

_WORDS = "--as=page", "--moments=3", "--frames=1", "--overwrite"
_TIMEOUT_S = 600.0


class Pairs:
    """Makes pages, one at a time."""

    def __init__(self, jobs: Jobs, folders: Folders) -> None:
        self._jobs, self._folders = jobs, folders
        self._turn = asyncio.Lock()

    async def page(self, job: Job) -> Path:
        """The page of a job. Raises an `HTTPException`."""
        made = self._folders.work(job.key) / "compare.html"
        async with self._turn:
            if not made.exists():
                await self._make(job, made)
        return made

    async def _make(self, job: Job, made: Path) -> None:
        output = self._folders.output(job.whole) if job.whole else None
        if output is None:
            raise web.HTTPNotFound(text="there is no output to compare with\n")
        try:
            before = input_of(self._folders, job)
        except DeblurError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from None
        command = [sys.executable, "-m", "stream", "compare", str(before), str(output)]
        process = await asyncio.create_subprocess_exec(
            *command,
            f"--to={made}",
            *_WORDS,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "DEBLUR_TOKEN"},
            start_new_session=True,
        )
        try:
            _, said = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or not made.exists():
            line = (said.decode(errors="replace").strip().splitlines() or ["it failed"])[-1]
            line = line.removeprefix("deblur: ").replace(str(before), job.name)
            raise web.HTTPConflict(text=f"{line.replace(str(output), output.name)}\n")
