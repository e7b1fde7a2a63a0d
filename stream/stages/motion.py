"""What a network is told of frames beside them: how they move, and what their neighbors show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from filters.motion import Flow, FlowFrame, flow, guide, trust
from filters.shutter import Shutter
from mssnet.motion import Neighbor, planes, steady
from stream.frame import Frame
from stream.options.restore import TOLD_BEFORE
from stream.stages.measured import Measured

_Around: TypeAlias = tuple[Flow | None, Flow | None]
"""The ways from a frame to those before and after it; None: there is none that shows the same."""
_WATCHED = 5
"""One in so many frames is asked for how long the shutter is open."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame of a sequence."""

    picture: Tensor
    """As `mssnet.motion` takes it."""
    luma: NDArray[np.uint8]
    guide: FlowFrame
    cut: bool
    """Whether it is the first of its scene."""
    usable: bool
    """Whether it may be anybody's neighbor."""
    wanted: bool
    """Whether anything is to be told of it."""
    frame: Frame | None = None
    """As it came, where its motion was measured."""


class Motion:
    """Tells networks of the frames of a sequence, in order.

    What is told of a frame depends on those beside it and on nothing else, but for the shutter
    where that is still being found out.
    """

    def __init__(
        self,
        shutter: Shutter,
        *,
        ahead: bool,
        earlier: bool = False,
        measured: Measured | None = None,
    ) -> None:
        """With `ahead` each frame waits for the one after it, to be told of that as well; with
        `earlier` the frame two before is shown where there is none after."""
        self._shutter, self._ahead, self._measured = shutter, ahead, measured
        self._earlier = earlier
        self._frames: list[_Shown] = []
        self._count = 0

    def push(
        self, frame: Frame, values: Sequence[Tensor], image: Tensor, *, wanted: bool = True
    ) -> Iterator[Tensor | None]:
        """Take the next frame: its planes as `filters.color.values_of` has them, and as RGB,
        (1, 3, H, W) in 0..1, on the device that the network is on.

        Yields what is told of the next frame that nothing was told of, (1, PLANES, H, W); None
        where it is not `wanted`.
        """
        shown = _Shown(
            _picture(image),
            frame.luma,
            guide(values, frame.coding),
            frame.cut,
            not frame.damaged,
            wanted,
            frame if self._measured is not None else None,
        )
        self._frames = [*self._frames, shown][-2 - TOLD_BEFORE :]
        self._count += 1
        middle = None
        if not self._shutter.known and self._count % _WATCHED == 0 and len(self._frames) > 2:
            middle = self._around(len(self._frames) - 2)
            before, after = middle
            if before is not None and after is not None:
                self._shutter.watch(self._frames[-2].luma, before, after)
        if not self._ahead:
            yield self._tell(len(self._frames) - 1)
        elif len(self._frames) > 1:
            yield self._tell(len(self._frames) - 2, middle)

    def flush(self) -> Iterator[Tensor | None]:
        """The end of the sequence: what is told of the frame that waits."""
        if self._ahead and self._frames:
            yield self._tell(len(self._frames) - 1)
        self._frames = []

    def _tell(self, index: int, around: _Around | None = None) -> Tensor | None:
        """What is told of a frame; `around` is what `_around` says of it, where that is known."""
        now = self._frames[index]
        if not now.wanted:
            return None
        back, ahead = around or self._around(index)
        shown = self._earlier and back is not None and ahead is None
        far = self._far(index) if shown else None
        before, after, earlier = (
            None if there is None else Neighbor(self._frames[index + step].picture, there)
            for step, there in ((-1, back), (1, ahead), (-TOLD_BEFORE, far))
        )
        share, blur = self._shutter.share, self._blur(index, back, ahead)
        return planes(now.picture, before, after, share, earlier=earlier, blur=blur)

    def _blur(self, index: int, back: Flow | None, ahead: Flow | None) -> Flow | None:
        """The way of each point while the shutter was open, where it was measured."""
        frame = self._frames[index].frame
        other = self._frames[index - 1 if index else min(1, len(self._frames) - 1)].frame
        if self._measured is None or frame is None or other is None or other is frame:
            return None
        step_s = abs(frame.seconds - other.seconds)
        return self._measured.blur(frame, self._shutter.share, step_s, steady(back, ahead))

    def _around(self, index: int) -> _Around:
        """The ways to the frames before and after one, where they show the same."""
        now = self._frames[index]
        before = self._frames[index - 1] if index and not now.cut else None
        after = self._frames[index + 1] if index + 1 < len(self._frames) else None
        if after is not None and after.cut:
            after = None
        back, ahead = (None if each is None else _way(now, each) for each in (before, after))
        return back, ahead

    def _far(self, index: int) -> Flow | None:
        """The way from a frame, that has one before it, to the one before that."""
        if index < TOLD_BEFORE or self._frames[index - 1].cut:
            return None
        return _way(self._frames[index], self._frames[index - TOLD_BEFORE])


def _way(now: _Shown, other: _Shown) -> Flow | None:
    return way(now.guide, other.guide) if other.usable else None


def way(now: FlowFrame, other: FlowFrame) -> Flow | None:
    """The motion from one frame to another, in pixels of what is followed; None where nearly
    nothing is found again."""
    there = flow(now, other)
    return None if trust(now, other, there) is None else there


def _picture(image: Tensor) -> Tensor:
    if image.device.type != "cpu":
        return image
    codes = (image[0] * 255).round_().clamp_(0, 255).byte()
    return codes.permute(1, 2, 0).contiguous()
