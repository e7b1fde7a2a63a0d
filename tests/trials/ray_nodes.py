"""A real Ray cluster of several nodes on this machine, and commands that work on it."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from stream.cluster.local import free_ports, say_ports, started

DEBLUR = str(Path(sys.executable).with_name("deblur"))
_PATIENCE_S = 600.0

_NODE = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
address, listen, agent = sys.argv[1:]
at = dict(gcs_address=address, node_ip_address="127.0.0.1", num_cpus=1)
ports = dict(dashboard_agent_listen_port=int(listen), runtime_env_agent_port=int(agent))
worker = dict(min_worker_port=0, max_worker_port=0, include_log_monitor=False)
Node(RayParams(**at, **ports, **worker, object_store_memory=80 << 20), head=False)
time.sleep(1e6)
"""
"""`ray start` wants addresses that other machines reach; this joins on the loopback."""
_BLIND = 'mount -t tmpfs none "$0" && exec "$@"'
"""Hides a folder from a process and its children, in a mount namespace of their own."""


@dataclass
class Nodes:
    """A cluster of nodes on this machine."""

    folder: Path
    address: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, blind: Path | None = None) -> None:
        """One node more, with one CPU, which does not see what is in the folder `blind`.

        They come one after the other, as their sockets do.
        """
        count = alive()
        node = secrets.token_hex(28)
        say_ports(self._session(), node)
        command = [sys.executable, "-c", _NODE, self.address, *map(str, free_ports(2))]
        if blind is not None:
            command = ["unshare", "--mount", "sh", "-c", _BLIND, str(blind), *command]
        self.workers.append(
            subprocess.Popen(
                command,
                env={**os.environ, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        wait(lambda: alive() > count)

    def kill(self) -> None:
        """Kill the last node, and all its processes with it."""
        process = self.workers.pop()
        for each in [*self.of(process), psutil.Process(process.pid)]:
            with suppress(psutil.Error):
                each.kill()
        process.wait()

    def of(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The processes of a node."""
        return list(psutil.Process(process.pid).children(recursive=True))

    def kill_head(self) -> None:
        """Kill what the head of the cluster is made of."""
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                words = " ".join(each.cmdline())
                if each.name() == "gcs_server" and str(self._session().parent) in words:
                    each.kill()

    def client_address(self) -> str:
        """Where Ray's client finds the head."""
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                words = each.cmdline()
                for word in words:
                    name, _, port = word.partition("=")
                    if name == "--ray-client-server-port" and str(self.folder) in " ".join(words):
                        return f"ray://127.0.0.1:{port}"
        raise LookupError

    def _session(self) -> Path:
        return next(self.folder.glob("deblur-ray-*/session_2*")).resolve()


@contextmanager
def cluster(count: int = 3) -> Iterator[Nodes]:
    """A cluster that this process watches."""
    folder = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        with started(1) as address:
            # This process and the nodes outlive a head that is killed, and see what comes of it.
            os.environ.update(RAY_gcs_rpc_server_reconnect_timeout_s="600")
            ray = loaded()
            nodes = Nodes(folder, address)
            os.environ["RAY_ADDRESS"] = address
            ray.init(address=address, log_to_driver=False)
            try:
                for _ in range(count - 1):
                    nodes.add()
                yield nodes
            finally:
                ray.shutdown()
                while nodes.workers:
                    nodes.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def loaded() -> Any:
    """Ray, which reads the environment when it is loaded: after `started`."""
    return import_module("ray")


def alive() -> int:
    """How many nodes there are."""
    return sum(bool(each["Alive"]) for each in loaded().nodes())


def wait(done: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
    """Wait for something to become true. Raises `TimeoutError`."""
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


@dataclass
class Run:
    """A command at work on the cluster."""

    process: "subprocess.Popen[str]"
    name: str
    driver_mib: float = 0.0
    worker_mib: float = 0.0
    printed: str = ""
    said: str = ""

    @classmethod
    def begin(
        cls, folder: Path, clip: Path, output: str, *words: str, cluster: str | None = "auto"
    ) -> "Run":
        """Start `deblur run` in a folder; without a `cluster` on its own."""
        where = ["--cluster", cluster] if cluster is not None else []
        command = [DEBLUR, "run", str(clip), output, *where, "--json", *words]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return cls(process, clip.name)

    def workers(self, among: Sequence[psutil.Process] | None = None) -> list[psutil.Process]:
        """Those that restore a piece of it just now."""
        found = []
        for each in psutil.process_iter() if among is None else among:
            with suppress(psutil.Error, OSError):
                if " ".join(each.cmdline()).startswith(f"ray::{self.name}"):
                    self.worker_mib = max(self.worker_mib, peak_mib(each.pid))
                    found.append(each)
        with suppress(OSError):
            self.driver_mib = max(self.driver_mib, peak_mib(self.process.pid))
        return found

    def at_work(self) -> psutil.Process:
        """Waits for a worker that is at a piece."""
        while True:
            assert self.process.poll() is None, self.process.communicate()
            if found := self.workers():
                return found[0]
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for its end, and watch how much memory it takes."""
        while self.process.poll() is None:
            self.workers()
            time.sleep(0.1)
        self.printed, self.said = self.process.communicate()
        return self.process.returncode

    @property
    def pieces(self) -> list[dict[str, Any]]:
        """What it says of each piece that it had done."""
        return list(json.loads(self.printed)["pieces"]) if self.printed.startswith("{") else []


def peak_mib(pid: int) -> float:
    """The most memory that a process had so far. Raises `OSError` where it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def left(nodes: Nodes) -> str:
    """What is left of pieces in temporary folders, and of bytes in the object store."""
    ray = loaded()
    folders = [each.name for each in nodes.folder.rglob("deblur-piece-*")]

    def empty() -> bool:
        free, total = ray.available_resources(), ray.cluster_resources()
        return bool(free.get("object_store_memory") == total.get("object_store_memory"))

    with suppress(TimeoutError):
        wait(empty, 60)
    return f"{len(folders)} folders, object store {'empty' if empty() else 'NOT empty'}"
