"""The command `deblur serve`, run as its users do."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.rig.command import DEBLUR, TOKEN, until
from tests.rig.ports import free_port, listens

QUICK = "--", "--model", "none"
"""Options of every job: restoring matters little where the queue is tried."""


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """A service of two folders, that can be killed and started again."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.inputs, self.outputs = folder / "in", folder / "out"
        for each in (self.inputs, self.outputs):
            each.mkdir(exist_ok=True)
        self.log = folder / "said.txt"
        self.port = free_port()
        self._words = words or QUICK
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--in", str(self.inputs), "--out", str(self.outputs), "--port", str(self.port)]
        with self.log.open("ab") as out:
            self.process = process = subprocess.Popen(
                [DEBLUR, "serve", *words, *self._words],
                stdout=out,
                stderr=out,
                env=os.environ | {"DEBLUR_TOKEN": TOKEN},
            )
        until(lambda: process.poll() is not None or listens(self.port), "it does not listen")
        assert process.poll() is None, self.said

    def kill(self) -> None:
        """As the system does where memory is short."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def ask(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Answer:
        """Ask with the token; `body` is bytes, or sent as JSON."""
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            f"{self.address}{path}", data, {k: v for k, v in given.items() if v}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))

    def submit(self, path: str, **options: object) -> Answer:
        return self.ask("/jobs", "POST", {"path": path, "options": options})

    def upload(self, name: str, data: bytes, **options: object) -> Answer:
        query = f"name={quote(name, safe='')}&options={quote(json.dumps(options))}"
        kind = "application/octet-stream"
        return self.ask(f"/uploads?{query}", "POST", data, Content_Type=kind)

    def job(self, number: int) -> dict[str, Any]:
        found = self.ask(f"/jobs/{number}").json
        assert isinstance(found, dict)
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """The oldest first."""
        return list(reversed(self.ask("/jobs?limit=500").json["jobs"]))

    def until_ended(self, number: int, seconds: float = 120) -> dict[str, Any]:
        until(
            lambda: self.job(number)["state"] not in ("queued", "running"),
            f"job {number} does not end",
            seconds,
        )
        return self.job(number)


@contextmanager
def service(folder: Path, *words: str) -> Iterator[Service]:
    """A service that runs, ended at the end."""
    made = Service(folder, *words)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.stop()
