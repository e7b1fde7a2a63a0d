"""The command `deblur live`, run as its users do."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from stream.cli import main
from tests.rig.ports import free_port

DEBLUR = str(Path(sys.executable).with_name("deblur"))
TOKEN = "token of the tests"
START_S = 180.0
"""How long a test waits for what takes seconds, on a machine that does much else."""


class Live:
    """A running command and what it says."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, http: int) -> None:
        self.process = process
        self.log = log
        self.http = http

    @property
    def said(self) -> str:
        return self.log.read_text()

    def ask(self, path: str) -> tuple[int, str]:
        """GET from its own server."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def figure(self, name: str, role: str) -> float:
        """A figure of a process; 0 where there is none."""
        found = re.search(rf'^deblur_{name}{{.*role="{role}".*}} (\S+)$', self.metrics, re.M)
        return float(found[1]) if found else 0.0

    @property
    def metrics(self) -> str:
        return self.ask("/metrics")[1]

    @property
    def tree(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def worker(self, name: str) -> psutil.Process:
        """One of its processes."""
        for each in self.tree:
            if f"deblur {name}" in " ".join(each.cmdline()):
                return each
        raise LookupError(name)

    def stop(self) -> tuple[int, float]:
        """End it by one signal; its exit code and the seconds it took."""
        begun = time.monotonic()
        self.process.terminate()
        return self.process.wait(30), time.monotonic() - begun


@contextmanager
def live(folder: Path, *words: str, **environment: str) -> Iterator[Live]:
    """The command, ended at the end if it still runs."""
    http, log = free_port(), folder / "said.txt"
    command = [DEBLUR, "live", *words, "--http", str(http)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env=os.environ | {"DEBLUR_TOKEN": TOKEN} | environment,
        )
    found = Live(process, log, http)
    try:
        yield found
    finally:
        # By two signals, so that it clears up its shared memory.
        for _ in range(2 if process.poll() is None else 0):
            process.terminate()
            time.sleep(0.1)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            for each in found.tree:
                each.kill()
            process.wait()


def until(true: Callable[[], object], what: str, seconds: float = START_S) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Commands take signals to themselves, and leave them so for their last breath."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def invoke(*words: object, folder: Path = Path()) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself, in this process: starting another takes seconds."""
    argv, said, out = ["deblur", *map(str, words)], io.StringIO(), io.StringIO()
    with (
        _signals_kept(),
        chdir(folder),
        patch.object(sys, "argv", argv),
        redirect_stdout(out),
        redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), said.getvalue())


def refused(*words: str, **environment: str) -> tuple[int, str]:
    """What a live feed that cannot work ends with and says."""
    return refused_by("live", *words, **environment)


def refused_by(*words: str, **environment: str) -> tuple[int, str]:
    """What a command that cannot work ends with and says."""
    done = subprocess.run(
        [DEBLUR, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert not done.stdout
    return done.returncode, done.stderr
