"""An output that is none, for measuring and for trying a source."""

from dataclasses import dataclass

from stream.ipc.child import Control
from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.output.writer import PlainTarget


@dataclass(frozen=True)
class Null(PlainTarget):
    """Takes everything and does nothing with it."""

    name = "null:"
    readers = refused = 0
    resizes = True
    repeats = False

    def takes(self, sound: SoundFormat) -> bool:
        """There is no sound in it."""
        return True

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> "Null":
        """There is nothing to open."""
        return self

    def push(self, picture: Picture) -> None:
        """Take one picture."""

    def sound(self, sound: Sound) -> None:
        """Take one packet of sound."""

    def close(self) -> None:
        """There is nothing to close."""
