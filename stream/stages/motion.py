"""What is told of frames beside them: how they move, and what their neighbors show."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from filters.motion import Flow, FlowFrame, joined, registered
from filters.shutter import Shutter
from mssnet.motion import AROUND, Neighbor, extent, lag, planes, steady
from mssnet.regions import Where
from stream.frame import Frame
from stream.options.restore import TOLD
from stream.stages.measured import Measured

_WATCHED = 5
"""One in so many frames is asked for how long the shutter is open."""


@dataclass(frozen=True, eq=False)
class Told:
    """What is told of a frame."""

    planes: Tensor | None
    """What a network is given, (1, PLANES, H, W); None where there is none."""
    where: Where | None
    """Where the frame is blurred, as far as that is known; None: it may be everywhere."""
    lag: Flow | None
    """How far what it shows lies from where it was in the middle of the exposure, in pixels of what
    is followed; None where that is not known."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame of a sequence."""

    number: int
    picture: Tensor | None
    """As `mssnet.motion` takes it, for a network."""
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
    """Tells of the frames of a sequence, in order.

    What is told of a frame depends on those beside it and on nothing else, but for the shutter
    where that is still being found out.
    """

    def __init__(
        self,
        shutter: Shutter,
        *,
        ahead: int,
        stand_in: bool = False,
        measured: Measured | None = None,
    ) -> None:
        """Each frame waits for as many as `ahead` after it, up to 2, to be told of these too;
        `stand_in` is that of `mssnet.motion.planes`."""
        self._shutter, self._ahead, self._measured = shutter, ahead, measured
        self._stand_in = stand_in
        self._frames: list[_Shown] = []
        self._count = 0

    def push(
        self, frame: Frame, guide: FlowFrame, image: Tensor | None, *, wanted: bool = True
    ) -> Iterator[Told | None]:
        """Take the next frame, what it is followed by, and for a network as RGB, (1, 3, H, W) in
        0..1, on the device that it is on.

        Yields what is told of the next frame that nothing was told of; None where it is not
        `wanted`, or not blurred.
        """
        shown = _Shown(
            self._count,
            None if image is None else _picture(image),
            frame.luma,
            guide,
            frame.cut,
            not frame.damaged,
            wanted,
            frame if self._measured is not None else None,
        )
        self._frames = [*self._frames, shown][-1 - TOLD - self._ahead :]
        self._count += 1
        index = len(self._frames) - 1 - self._ahead
        if not self._shutter.known and self._count % _WATCHED == 0:
            # The frame that is told of, where there is one after it.
            middle = index if self._ahead else index - 1
            if middle > 0:
                before, after = self._around(middle)
                if before is not None and after is not None:
                    self._shutter.watch(self._frames[middle].luma, before, after)
        if index >= 0:
            yield self._tell(index)

    def flush(self) -> Iterator[Told | None]:
        """The end of the sequence: what is told of the frames that wait."""
        for index in range(max(len(self._frames) - self._ahead, 0), len(self._frames)):
            yield self._tell(index)
        self._frames = []

    def _tell(self, index: int) -> Told | None:
        """What is told of a frame."""
        now = self._frames[index]
        if not now.wanted:
            return None
        back, ahead = self._around(index)
        blur, where = self._blur(index, back, ahead), None
        if blur is not None:
            where = extent(blur, now.luma.shape[1], now.luma.shape[0])
            if not where.any():
                return None
        share = self._shutter.share
        late = lag(back, ahead, share, now.guide.scale)
        if late is not None and where is not None:
            late *= cv2.resize(where, late.shape[1::-1])[..., None]
        # Most frames are where they should be, and need not be resampled to stay there.
        late = late if late is not None and late.any() else None
        return Told(self._planes(index, back, ahead, blur), where, late)

    def _planes(
        self, index: int, back: Flow | None, ahead: Flow | None, blur: Flow | None
    ) -> Tensor | None:
        """What a network is given of a frame."""
        picture = self._frames[index].picture
        if picture is None:
            return None
        farther = (self._farther(index, near, way) for near, way in ((-1, back), (1, ahead)))
        neighbors = []
        for step, there in zip(AROUND, (back, ahead, *farther), strict=True):
            shown = None if there is None else self._frames[index + step].picture
            neighbors.append(None if shown is None or there is None else Neighbor(shown, there))
        share = self._shutter.share
        return planes(picture, neighbors, share, stand_in=self._stand_in, blur=blur)

    def _blur(self, index: int, back: Flow | None, ahead: Flow | None) -> Flow | None:
        """The way of each point while the shutter was open: as it was measured, or as long as the
        flow says; None where neither is known."""
        motion, share = steady(back, ahead), self._shutter.share
        frame = self._frames[index].frame
        other = self._frames[index - 1 if index else min(1, len(self._frames) - 1)].frame
        if self._measured and frame is not None and other is not None and other is not frame:
            step_s = abs(frame.seconds - other.seconds)
            measured = self._measured.blur(frame, share, step_s, motion)
            if measured is not None:
                return measured
        return None if motion is None else np.asarray(motion * np.float32(share), np.float32)

    def _around(self, index: int) -> tuple[Flow | None, Flow | None]:
        """The ways to the frames before and after one."""
        return self._way(index, -1), self._way(index, 1)

    def _way(self, index: int, step: int) -> Flow | None:
        """The way from a frame to the one before (-1) or after (1); None where that is not of the
        same scene, or shows nearly nothing of it."""
        if not 0 <= index + step < len(self._frames):
            return None
        now, other = self._frames[index], self._frames[index + step]
        same = other.usable and not max(now, other, key=lambda each: each.number).cut
        return way(now.guide, other.guide) if same else None

    def _farther(self, index: int, step: int, near: Flow | None) -> Flow | None:
        """The way from a frame to the one beyond that which is `near`. Of both steps: at this size
        what that costs in accuracy does not show in what a network makes of it."""
        on = None if near is None else self._way(index + step, step)
        return None if near is None or on is None else joined(near, on)


def way(now: FlowFrame, other: FlowFrame) -> Flow | None:
    """The motion from one frame to another, in pixels of what is followed; None where nearly
    nothing is found again."""
    found = registered(now, other)
    return None if found is None else found.flow


def _picture(image: Tensor) -> Tensor:
    if image.device.type != "cpu":
        return image
    codes = (image[0] * 255).round_().clamp_(0, 255).byte()
    return codes.permute(1, 2, 0).contiguous()
