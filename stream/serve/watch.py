"""A folder that is watched: what appears there and has stopped growing becomes a job.

It is looked at again and again. Whether a file still grows cannot be told otherwise, and on network
shares nothing else tells of new files either.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from stream.files.tasks import VIDEOS
from stream.serve.folders import Folders
from stream.serve.jobs import Jobs

LOOK_S = 1.0


class Watch:
    """Takes what appears in a folder."""

    def __init__(
        self, jobs: Jobs, folders: Folders, folder: Path, settle_s: float, news: Callable[[], None]
    ) -> None:
        """`folder` is in that of the inputs, and resolved; a file is taken once it has been the
        same for so long. `news` is called after a job was added."""
        self._jobs, self._folders, self._folder = jobs, folders, folder
        self._settle_s, self._news = settle_s, news
        self._seen: dict[str, tuple[int, int, float]] = {}
        """Of files that are not taken: size, time of change, and since when they are so."""
        self._taken: dict[str, tuple[int, int]] = {}
        """Of those that are, and need not be looked up again."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for name, size, changed in await asyncio.to_thread(self._settled):
                if not self._jobs.was_taken(name, size, changed):
                    self._jobs.add(Path(name).name, "watch", name, size, {}, taken=changed)
                    self._news()
                self._taken[name] = size, changed
            await asyncio.sleep(LOOK_S)

    def _settled(self) -> list[tuple[str, int, int]]:
        """Files that have stopped growing, each with its size and time of change."""
        before, self._seen = self._seen, {}
        now, found = time.monotonic(), []
        for name, size, changed in self._files():
            if self._taken.get(name) == (size, changed):
                continue
            known = before.get(name)
            since = known[2] if known is not None and known[:2] == (size, changed) else now
            self._seen[name] = size, changed, since
            # A file that is begun has no size yet, as some programs first only name it.
            if size and now - since >= self._settle_s:
                found.append((name, size, changed))
        return found

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Videos, by their names in the folder of inputs."""
        for root, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(root) / name
                if (
                    name.startswith(".")
                    or not name.isprintable()
                    or path.suffix.lower() not in VIDEOS
                    or path.is_symlink()
                ):
                    continue
                with suppress(OSError):
                    stat = path.stat()
                    inside = path.relative_to(self._folders.inputs)
                    yield str(inside), stat.st_size, stat.st_mtime_ns
