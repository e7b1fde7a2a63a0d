"""What sinks of encoded video have in common."""

from dataclasses import dataclass

import av

from filters import Coding
from stream.colors import ColorTags
from stream.frame import Frame
from stream.input.deinterlace import FieldMarker
from stream.media.convert import recoded, to_av


class FrameCoder:
    """Makes of frames what an encoder takes."""

    def __init__(
        self, pix_fmt: str, coding: Coding, tags: ColorTags, top_first: bool | None
    ) -> None:
        """`top_first`: the order of fields that frames are marked with, if they are."""
        self.pix_fmt = pix_fmt
        self._coding, self._tags = coding, tags
        self._marker = None if top_first is None else FieldMarker(top_first)

    def made(self, frame: Frame) -> av.VideoFrame:
        """A frame as it is encoded, at its own time."""
        coded = frame if frame.coding == self._coding else recoded(frame, self._coding)
        made = to_av(coded, self._tags, self.pix_fmt)
        return made if self._marker is None else self._marker.mark(made)


@dataclass
class Mean:
    """Of the values that were added."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Take one more."""
        self.total, self.count = self.total + value, self.count + 1

    @property
    def value(self) -> float:
        """0 where there are none."""
        return self.total / max(self.count, 1)
