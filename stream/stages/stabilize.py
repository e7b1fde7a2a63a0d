"""The stages that steady the camera: one looks ahead, the other moves the finished pictures."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from filters import STILL, Camera, Path, Similarity, moved
from stream.frame import Frame, Memory
from stream.stages.gyro_path import GyroPath
from stream.stages.measured import Measured

_LUMA, _CUTS, _PATH = (f"stabilize/{name}" for name in ("luma", "cuts", "path"))
"""The names under which a frame's memory holds what the next ones' corrections depend on."""
_HELD = 512 << 20
"""Bytes of the frames that are held while it looks ahead; of large ones it looks less far."""


class LookAhead:
    """Adds to each frame its correction, for which it waits for those that come after it.

    When a job is stopped the frames that wait are lost: their corrections would not be those that
    an uninterrupted run gives.
    """

    def __init__(
        self,
        crop: float,
        aspect: float = 1.0,
        memory: Memory | None = None,
        measured: Measured | None = None,
    ) -> None:
        """`crop` is the share of width and height given up; pixels are `aspect` as wide as high.

        `memory` is that of the last frame of an earlier run, with which it goes on. Where a
        gyroscope measured how the camera turned, corners are not followed.
        """
        memory = memory or {}
        self._measured = measured
        self._gyro: GyroPath | None = None
        self._crop, self._aspect = crop, aspect
        self._camera = Camera(aspect, memory.get(_LUMA), memory.get(_CUTS))
        self._path = Path(memory.get(_PATH))
        self._waiting: deque[Frame] = deque()

    def push(self, frame: Frame) -> Iterator[Frame]:
        if frame.beyond:
            yield from self.flush()
            yield frame
            return
        known = self._known(frame)
        # A damaged frame mostly shows the one before it; the next is compared with that as well.
        motion: Similarity | None = known or STILL
        if not frame.damaged:
            motion = self._camera.push(frame.luma, cut=frame.cut, known=known)
        if motion is None:
            yield from self.flush()
            self._path = Path()
        self._path.add(frame.seconds, motion or STILL)
        self._waiting.append(replace(frame, memory={**frame.memory, **self._memory()}))
        while len(self._waiting) > _most(frame) or self._path.knows(self._oldest):
            yield self._next()

    def flush(self) -> Iterator[Frame]:
        while self._waiting:
            yield self._next()

    @property
    def _oldest(self) -> int:
        """The place of the oldest frame that waits in the path."""
        return len(self._path) - len(self._waiting)

    def _known(self, frame: Frame) -> Similarity | None:
        """How the camera turned since the frame before, where a gyroscope measured it."""
        if self._measured is None:
            return None
        if self._gyro is None:
            self._gyro = GyroPath(self._measured, self._shape(frame))
        if not len(self._path):
            return None
        return self._gyro.motion(float(self._path.steps[-1, 0]), frame.seconds)

    def _shape(self, frame: Frame) -> float:
        return frame.height / (frame.width * self._aspect)

    def _next(self) -> Frame:
        index, frame = self._oldest, self._waiting.popleft()
        stretch = (1.0, 1.0) if self._gyro is None else self._gyro.stretch
        asked = _most(frame), self._crop, self._shape(frame), stretch
        correction = self._path.correction(index, *asked)
        if self._gyro is not None:
            correction = self._gyro.correction(frame.seconds, correction)
        self._path.forget(index, _most(frame))
        return replace(frame, correction=correction)

    def _memory(self) -> Memory:
        luma, cuts = self._camera.luma, self._camera.cuts.state
        found: Memory = {_PATH: self._path.steps}
        if luma is not None and cuts is not None:
            found |= {_LUMA: luma, _CUTS: cuts}
        return found


class StabilizingWarp:
    """Moves finished pictures as their corrections say."""

    def push(self, frame: Frame) -> Iterator[Frame]:
        if frame.correction is not None:
            planes = moved(frame.planes, frame.coding, frame.correction)
            alpha = frame.alpha
            if alpha is not None:
                (alpha,) = moved([alpha], frame.coding, frame.correction)
            frame = replace(frame, planes=planes, alpha=alpha, correction=None)
        yield frame

    def flush(self) -> Iterator[Frame]:
        yield from ()


def _most(frame: Frame) -> int:
    """How many frames like this one may wait."""
    return max(1, _HELD // sum(plane.nbytes for plane in frame.planes))
