"""An output that is none, for measuring and for trying a source."""

from dataclasses import dataclass

from stream.live.child import Control
from stream.live.picture import Picture, Size
from stream.live.sound import Sound, SoundFormat
from stream.live.writer import Feed, Writer


@dataclass(frozen=True)
class Null:
    """Takes everything and does nothing with it."""

    name = "null:"
    readers = 0
    resizes = True
    repeats = False

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> "Null":
        """There is nothing to open."""
        return self

    def push(self, picture: Picture) -> None:
        """Take one picture."""

    def sound(self, sound: Sound) -> None:
        """Take one packet of sound."""

    def close(self) -> None:
        """There is nothing to close."""

    def run(self, control: Control, feed: Feed, size: Size | None) -> None:
        """The work of the output's process."""
        Writer(control, feed, self, size).run()
