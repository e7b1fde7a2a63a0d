"""A server in a process of its own, told what to do over its standard input.

What is tested may hold Python's lock for long while it waits for the network: a thread beside it
that plays the other end would hang with it.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.rig.ports import free_port

ROOT = Path(__file__).parents[2]


class Aside:
    """Runs `python -m MODULE --port PORT WORDS` and talks to it in lines of JSON."""

    def __init__(self, module: str, *words: object) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", str(self.port), *map(str, words)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **wanted: float) -> dict[str, int]:
        """Change these settings, or do these things; returns the counts so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process ended with {self._process.wait()}")
        counts: dict[str, int] = json.loads(answer)
        return counts


async def obey(do: Callable[[dict[str, float]], Any], counts: Callable[[], dict[str, int]]) -> None:
    """The other side of `Aside.ask`; returns when whoever asks is gone."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        await do(json.loads(line))
        sys.stdout.write(json.dumps(counts()) + "\n")
        sys.stdout.flush()
