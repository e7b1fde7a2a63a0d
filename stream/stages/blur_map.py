"""The stage that finds out which regions need restoring, beside the network's work."""

from collections.abc import Iterator
from dataclasses import replace

from filters import need
from stream.frame import Frame


class BlurMapper:
    """Adds to each frame how much of restoration its regions need."""

    def push(self, frame: Frame) -> Iterator[Frame]:
        yield replace(frame, need=need(frame.luma))

    def flush(self) -> Iterator[Frame]:
        yield from ()
