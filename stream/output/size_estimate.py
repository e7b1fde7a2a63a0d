"""The size of video while it is being encoded."""

_LEAST = 8
"""Frames behind the first one of a segment that tell what all of them weigh."""


class SizeEstimate:
    """What video that is encoded in segments weighs, by what came out of the encoder."""

    def __init__(self, segment: int) -> None:
        """`segment`: frames in each; the first frame of one is coded by itself and so is larger."""
        self._segment = segment
        self._first = self._rest = self._packets = 0
        self._whole: tuple[int, int] | None = None

    def add(self, size: int) -> None:
        """Count a packet, one frame, of so many bytes."""
        if self._packets % self._segment == 0:
            self._first = size
            self._rest = 0
        else:
            self._rest += size
        self._packets += 1
        if self._packets % self._segment == 0:
            frames, total = self._whole or (0, 0)
            self._whole = (frames + self._segment, total + self._first + self._rest)

    @property
    def per_frame(self) -> float | None:
        """Bytes of a frame, on average over a segment; None while too little is known."""
        if self._whole is not None:
            return self._whole[1] / self._whole[0]
        rest = self._packets - 1
        if rest < min(_LEAST, self._segment - 1):
            return None
        return (self._first + self._rest / rest * (self._segment - 1)) / self._segment
