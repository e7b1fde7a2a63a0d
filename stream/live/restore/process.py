"""Where the process that restores begins: torch is loaded in it, and in no other."""

from importlib import import_module
from typing import Any

from stream.ipc.child import Control
from stream.ipc.messages import Heartbeat, State


def start(control: Control, *given: Any) -> None:
    """The work of the process: see `stream.live.restore.restorer.restore`, which gets the same."""
    for module in ("torch", "stream.live.restore.restorer"):  # each takes a second or more
        control.heartbeat(
            lambda latencies: Heartbeat(State.LOADING, latencies_ms=latencies), now=True
        )
        loaded = import_module(module)
    loaded.restore(control, *given)
