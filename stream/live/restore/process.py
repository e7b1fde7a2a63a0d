"""Where the process that restores begins: torch is loaded in it, and in no other."""

from importlib import import_module

from stream.ipc.child import Control, Heartbeat
from stream.ipc.mailbox import Mailbox
from stream.ipc.window import Window
from stream.options.live import LiveSettings


def start(
    control: Control,
    settings: LiveSettings,
    camera: Mailbox,
    restored: Mailbox,
    window: Window | None = None,
) -> None:
    """The work of the process: see `stream.live.restore.restorer.restore`."""
    for module in ("torch", "stream.live.restore.restorer"):  # each takes a second or more
        control.heartbeat(lambda latencies: Heartbeat("loading", latencies_ms=latencies), now=True)
        loaded = import_module(module)
    loaded.restore(control, settings, camera, restored, window)
