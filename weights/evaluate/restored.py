"""Frames restored, and steadied along time as `deblur run` does it."""

from collections.abc import Callable, Sequence

from torch import Tensor

from filters import USUAL_SMOOTHING, Smoother, Tracker
from weights.evaluate.measure import Restore, Row, measure
from weights.evaluate.pairs import Frame, PairSet
from weights.evaluate.quality import to_tensor
from weights.evaluate.temporal import gray


class Restored:
    """The versions of the frames of one sequence: `blurred`, `restored` and `steadied`."""

    def __init__(self, restore: Restore, smooth: float) -> None:
        """`smooth`: how much frames are steadied, in 0..1; 0 leaves that version out."""
        self._restore = restore
        self._tracker = Tracker()
        self._smooth = Smoother(smooth)
        self._state: dict[str, Tensor] = {}

    def __call__(self, blurred: Frame) -> dict[str, Tensor]:
        """The next frame's; what is steadied can be beyond 0..1."""
        image = to_tensor(blurred)
        versions = {"blurred": image, "restored": self._restore(image)}
        if self._smooth.amount > 0:
            # As in the program, motion is found in the input, in 8 bits, and what the network
            # says is steadied before it is rounded.
            motion = self._tracker.push(gray(blurred))
            versions["steadied"], self._state = self._smooth(
                versions["restored"], self._state, motion
            )
        return versions


def evaluate(
    restore: Restore,
    pairs: Sequence[PairSet],
    *,
    smooth: float = USUAL_SMOOTHING,
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Measure `restore`, which never sees the sharp frame of what it restores.

    `smooth` is how much restored frames are steadied, each by those before it in its set; with 0
    that is left out. Returns a row for each set, and a last one, `all`, with the means over all
    frames. `on_pair` is called after each pair. Raises `PairsError` for pairs that cannot be read.
    """
    return measure(lambda: Restored(restore, smooth), pairs, identity=restore, on_pair=on_pair)
