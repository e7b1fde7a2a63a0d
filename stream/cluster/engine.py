"""Ray, as a driver needs it: places to restore pieces at, and what comes of them."""

import importlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from stream.cluster.local import started
from stream.cluster.told import Told
from stream.cluster.worker import Order, Place, Result, restore
from stream.errors import DeviceError, UsageError

_LOOK_S = 2.0
"""How often it is asked which nodes there are."""


class Engine:
    """A cluster that is connected."""

    def __init__(self, ray: Any, cpus: int | None = None) -> None:
        """A piece takes as many of a node's CPUs, None: as many as the smallest node has; and
        with a GPU one."""
        self._ray = ray
        self._told = ray.remote(num_cpus=0, max_restarts=-1)(Told).remote()
        self._known: dict[str, int] = {}
        self._asked: Any = None
        self._looked = -_LOOK_S
        self._nodes: list[dict[str, Any]] = []
        self._look()
        self.gpus = any(each["Resources"].get("GPU", 0) >= 1 for each in self._nodes)
        """Whether pieces are restored on GPUs."""
        counts = [int(each["Resources"].get("CPU", 0)) for each in self._nodes]
        self._cpus = cpus or min((each for each in counts if each), default=1)

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
        options = {"num_cpus": 1 if self.gpus else self._cpus, "num_gpus": int(self.gpus)}
        task = self._ray.remote(max_retries=0, scheduling_strategy="SPREAD", **options)(_task)
        return task.options(name=name).remote(order, attempt, self._told)

    def ready(self, references: Sequence[Any]) -> list[Any]:
        """Those that have ended; waits for half a second at most."""
        if not references:
            time.sleep(0.1)
            return []
        done, _ = self._ray.wait(list(references), num_returns=1, timeout=0.5)
        return list(done)

    def result(self, reference: Any) -> Result:
        """What came of a task. Raises what it raised, or what became of its node."""
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        assert isinstance(found, Result)
        return found

    def end(self, references: Sequence[Any]) -> None:
        """Have tasks end at once."""
        for reference in references:
            with suppress(Exception):
                # Not by force: a task that is interrupted removes its own folder.
                self._ray.cancel(reference, force=False)
        if references:
            self._ray.wait(list(references), num_returns=len(references), timeout=5)

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
        if time.monotonic() - self._looked >= _LOOK_S:
            self._looked = time.monotonic()
            self._nodes = [each for each in self._ray.nodes() if each["Alive"]]


@contextmanager
def connected(address: str) -> Iterator[Engine]:
    """The cluster at `auto`, `ray://HOST:PORT` or `local:N`; left when the work with it is done.

    Raises `UsageError` and `DeviceError`.
    """
    local = re.fullmatch(r"local:([1-9]\d{0,2})", address)
    if not (local or address == "auto" or re.fullmatch(r"ray://[^/]+:\d+", address)):
        raise UsageError(f"--cluster takes auto, ray://HOST:PORT or local:N, got {address}")
    # Nothing is to be told to anybody. This is read when Ray is loaded.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if importlib.util.find_spec("ray") is None:
        raise DeviceError(
            "--cluster needs Ray; install it with: pip install 'deblur-stream[cluster]'"
        )
    with ExitStack() as held:
        where = held.enter_context(started(int(local[1]))) if local else address
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
            yield Engine(ray, 1 if local else None)
        except ray.exceptions.RayError as error:
            raise DeviceError(
                f"the cluster was lost: {_line(error)}; what is done is kept, go on with --resume"
            ) from error


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
