"""Where the process that restores begins: torch is loaded in it, and in no other."""

from importlib import import_module

from stream.live.child import Beat, Control
from stream.live.picture import Mailbox
from stream.live.settings import LiveSettings
from stream.live.window import Window


def start(
    control: Control,
    settings: LiveSettings,
    camera: Mailbox,
    restored: Mailbox,
    window: Window | None = None,
) -> None:
    """The work of the process: see `stream.live.model.restore`."""
    for module in ("torch", "stream.live.model"):  # each takes a second or more
        control.beat(lambda latencies: Beat("loading", latencies_ms=latencies), now=True)
        loaded = import_module(module)
    loaded.restore(control, settings, camera, restored, window)
