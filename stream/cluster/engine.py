"""Ray, as a driver needs it: places to restore pieces at, and what comes of them."""

import importlib
import importlib.util
import logging
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from stream.cluster.folders import sweep
from stream.cluster.local import started
from stream.cluster.told import Told
from stream.cluster.worker import Order, Place, Result, restore
from stream.errors import DeviceError, UsageError

_LOOK_S = 2.0
"""How often it is asked which nodes there are."""
_HEAD_S = 30.0
"""How long a head may be away: one that is started again by itself needs some seconds."""
_END_S = 20.0
"""How long tasks that are ended may take to put away what they have; they look ten times a second,
and then finish the frame in hand."""


class Engine:
    """A cluster that is connected."""

    def __init__(self, ray: Any, cpus: int | None = None) -> None:
        """A piece takes as many of a node's CPUs, None: as many as the smallest node has; and
        with a GPU one."""
        self._ray = ray
        self._head = _head(ray)
        self._heard = time.monotonic()
        self._told = ray.remote(num_cpus=0, max_restarts=-1)(Told).remote()
        self._known: dict[str, int] = {}
        self._ended: list[Any] = []
        self._untidy = self._lost = False
        self._asked: Any = None
        self._looked = -_LOOK_S
        self._nodes: list[dict[str, Any]] = []
        self._look()
        self.gpus = any(each["Resources"].get("GPU", 0) >= 1 for each in self._nodes)
        """Whether pieces are restored on GPUs."""
        counts = [int(each["Resources"].get("CPU", 0)) for each in self._nodes]
        self._cpus = cpus or min((each for each in counts if each), default=1)
        options = {"num_cpus": 1 if self.gpus else self._cpus, "num_gpus": int(self.gpus)}
        # Once: it is sent to the head, which may be away later.
        self._task = ray.remote(max_retries=0, scheduling_strategy="SPREAD", **options)(_task)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        self._look()
        return len(self._nodes)

    @property
    def places(self) -> int:
        """How many pieces can be restored at once."""
        self._look()
        kind, each = ("GPU", 1) if self.gpus else ("CPU", self._cpus)
        return sum(int(node["Resources"].get(kind, 0)) // each for node in self._nodes)

    def put(self, data: bytes) -> Any:
        """Put bytes where all nodes get them, once each."""
        return self._ray.put(data)

    def fetch(self, reference: Any) -> bytes:
        """What a reference stands for."""
        return bytes(self._ray.get(reference))

    def weights(self, model: str) -> Any:
        """A reference to a model that is a file here; None for one that nodes have themselves."""
        file = Path(model)
        if model.endswith(".safetensors") and file.exists():
            return self.put(file.read_bytes())
        return None

    def submit(self, order: Order, attempt: str, name: str) -> Any:
        """Have a piece restored, by a task of this name."""
        return self._task.options(name=name).remote(order, attempt, self._told)

    def ready(self, references: Sequence[Any]) -> list[Any]:
        """Those that have ended; waits for half a second at most."""
        if not references:
            time.sleep(0.1)
            return []
        given = list(references)
        if not self._ray.wait(given, num_returns=1, timeout=0.5)[0]:
            return []
        # Nodes that are alike end together.
        return list(self._ray.wait(given, num_returns=len(given), timeout=0)[0])

    def result(self, reference: Any) -> Result:
        """What came of a task. Raises what it raised, or what became of its node."""
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except self._ray.exceptions.RayError:
            self._untidy = True
            raise
        assert isinstance(found, Result)
        return found

    def end(self, references: Sequence[Any]) -> None:
        """Have tasks end at once."""
        for reference in references:
            with suppress(Exception):
                # Not by force: a task that is interrupted removes its own folder.
                self._ray.cancel(reference, force=False)
        self._ended += references
        self._untidy = self._untidy or bool(references)

    def close(self) -> None:
        """Wait for tasks that were told to end; what any leaves that was killed is removed."""
        if not self._untidy or self._lost:
            return
        with suppress(Exception):
            if self._ended:
                wait = {"num_returns": len(self._ended), "timeout": _END_S}
                for late in self._ray.wait(self._ended, **wait)[1]:
                    self._ray.cancel(late, force=True)
            at = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            task = self._ray.remote(num_cpus=0, max_retries=0)(sweep)
            tidied = [
                task.options(scheduling_strategy=at(each["NodeID"], soft=False)).remote()
                for each in self._nodes
            ]
            self._ray.wait(tidied, num_returns=len(tidied), timeout=_END_S)
        self._ended, self._untidy = [], False

    def told(self) -> dict[str, int]:
        """How many frames are done of the attempts that have begun, about."""
        if self._asked is None:
            self._asked = self._told.get.remote()
        elif self._ray.wait([self._asked], timeout=0)[0]:
            with suppress(Exception):
                self._known = self._ray.get(self._asked)
            self._asked = None
        return self._known

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        if self._answers():
            self._heard = now
            self._nodes = [each for each in self._ray.nodes() if each["Alive"]]
        elif now - self._heard > _HEAD_S:
            self._lost = True
            raise DeviceError("the cluster was lost: its head is gone")

    def _answers(self) -> bool:
        """Whether the head is there; one that is not would be waited for."""
        if self._head is None:
            return True
        try:
            socket.create_connection(self._head, timeout=_LOOK_S).close()
        except OSError:
            return False
        return True


def checked(address: str) -> int:
    """How many pieces are to be restored at once on this machine alone; 0: on a cluster that is
    there. Raises `UsageError` for what is no address, and `DeviceError` without Ray."""
    local = re.fullmatch(r"local:([1-9]\d{0,2})", address)
    if not (local or address == "auto" or re.fullmatch(r"ray://[^/]+:\d+", address)):
        raise UsageError(f"--cluster takes auto, ray://HOST:PORT or local:N, got {address}")
    if importlib.util.find_spec("ray") is None:
        raise DeviceError(
            "--cluster needs Ray; install it with: pip install 'deblur-stream[cluster]'"
        )
    return int(local[1]) if local else 0


@contextmanager
def connected(address: str) -> Iterator[Engine]:
    """The cluster at `auto`, `ray://HOST:PORT` or `local:N`; left when the work with it is done.

    Raises `UsageError` and `DeviceError`.
    """
    count = checked(address)
    # Nothing is to be told to anybody. This is read when Ray is loaded.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # It would end this process without a word a minute after the head is gone.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "600")
    with ExitStack() as held:
        where = held.enter_context(started(count)) if count else address
        import ray

        # It would print what befalls nodes to stdout, which is for results.
        private: Any = importlib.import_module("ray._private.worker")
        private.listen_error_messages = lambda *given: None
        try:
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise DeviceError(f"there is no cluster at {address}: {_line(error)}") from error
        held.callback(ray.shutdown)
        try:
            yield Engine(ray, 1 if count else None)
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise DeviceError(
                f"the cluster was lost: {_line(error)}; what is done is kept, go on with --resume"
            ) from error


def _head(ray: Any) -> tuple[str, int] | None:
    """Where the head listens; None where Ray's client is between, which tells by itself."""
    if ray.util.client.ray.is_connected():
        return None
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    return host.strip("[]"), int(port)


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _task(order: Order, attempt: str, told: Any) -> Result:
    import ray

    place = Place(
        str(ray.get_runtime_context().get_node_id()),
        ray.put,
        lambda reference: bytes(ray.get(reference)),
        lambda frames: told.put.remote(attempt, frames),
    )
    return restore(order, attempt, place)
