"""A sequence of frames, of which each is fused with those around it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from filters.coding import Coding
from filters.defaults import USUAL_SMOOTHING
from filters.fusion import Filmed, Fused, fuse
from filters.motion import FlowFrame, differences, guide, halfway, interleaved, registered, room
from filters.noise import noise_of
from filters.sharpness import noise

_ASKED = 4
"""So many neighbors are asked, unless there is noise to be averaged away."""
_SHARPER = 1.02
"""Neighbors with so many times the detail of a region can help it ..."""
_NEARLY = 0.9
"""... if it is no less than so many times that of the one that has most."""
_CLEAN = 0.6 / 255
"""Standard deviation of what could be noise, in a single frame, that is none."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame of a sequence."""

    planes: Sequence[Tensor]
    guide: FlowFrame
    noisy: bool
    """Whether there could be noise to average away, told by the frame alone: fine texture that
    fills the picture is taken for it as well."""
    scene: int
    """Frames of one scene have the same number."""
    usable: bool
    """Whether it may be anybody's neighbor."""
    filmed: Tensor
    """The luma by which it is told what it has kept."""


class Burst:
    """Fuses every frame of a sequence with those around it, in order.

    A frame's result depends on `before` frames before it and `after` frames after it, and on
    nothing else: a sequence may begin anywhere. As many as that are held: their planes, and while
    one is fused its neighbors' differences from it.
    """

    def __init__(
        self,
        before: int,
        after: int,
        *,
        smoothing: float = USUAL_SMOOTHING,
        sharpen: bool = True,
        last: bool = False,
    ) -> None:
        """`smoothing`: how much noise is averaged away, from 0 to 1. Without `sharpen` that is all
        that is done. What the `last` of several makes is not fused again. Raises `ValueError` for
        counts below 0 and a smoothing outside of 0..1."""
        if min(before, after) < 0:
            raise ValueError(f"there cannot be {before} frames before and {after} after")
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in 0..1, got {smoothing}")
        self.before, self.after = before, after
        self._smoothing = 4 * smoothing * smoothing
        self._sharpen, self._last = sharpen, last
        self._frames: dict[int, _Shown] = {}
        self._count = self._fused = self._scene = 0

    @torch.inference_mode()
    def push(
        self,
        planes: Sequence[Tensor],
        coding: Coding,
        *,
        filmed: Tensor | None = None,
        followed: FlowFrame | None = None,
        cut: bool = False,
        usable: bool = True,
    ) -> list[Fused]:
        """Take the next frame; returns what is made of the one that is `after` frames older.

        `planes`, each (h, w) float32 on one device, are in the units of `color.values_of`, luma
        first, and must stay as they are until then. `filmed` is the luma before a network restored
        it, which tells what each frame has kept; None: no network did. `followed` is what
        `motion.guide` made of the frame as it was filmed; None: it is followed as it is now alone.
        No frame from before a `cut` is a neighbor of one from then on, and one that is not
        `usable`, as it is damaged, is nobody's.
        """
        last = self._frames.get(self._count - 1)
        other = last is not None and last.planes[0].shape != planes[0].shape
        self._scene += cut or other
        planes = interleaved(planes)
        seen, noisy = followed or guide(planes, coding), False
        if followed is not None and filmed is not None:
            seen = halfway(followed, planes[0])
        if self._smoothing:
            # A corner is enough where it has to leave a GPU.
            part = planes[0] if planes[0].device.type == "cpu" else planes[0][:512, :512].cpu()
            noisy = noise(part.numpy()) > _CLEAN
        luma = planes[0]
        if filmed is not None and self.after:
            # With frames of the past alone it does not pay: GoPro's gain 0.05 dB less by it.
            luma = filmed.contiguous()
        self._frames[self._count] = _Shown(planes, seen, noisy, self._scene, usable, luma)
        self._count += 1
        return [self._fuse()] if self._count - self._fused > self.after else []

    @torch.inference_mode()
    def flush(self) -> list[Fused]:
        """The end of the sequence: what is made of all frames that wait."""
        return [self._fuse() for _ in range(self._fused, self._count)]

    def _fuse(self) -> Fused:
        """What is made of the oldest frame that waits."""
        now = self._fused
        frame = self._frames[now]
        others = [
            self._frames[index]
            for index in range(now - self.before, now + self.after + 1)
            if index != now and index in self._frames
        ]
        others = [each for each in others if each.usable and each.scene == frame.scene]
        self._fused += 1
        for index in [each for each in self._frames if each < self._fused - self.before]:
            del self._frames[index]
        found = []
        for other in self._helpful(frame, others):
            way = registered(frame.guide, other.guide)
            if way is not None:
                found.append((other, way))
        if not found:
            return Fused(None, 0.0)
        apart = room(frame.planes, len(found))
        for index, (other, way) in enumerate(found):
            made = [each[index] for each in apart]
            differences(frame.planes, other.planes, way.flow, way.trusted, made)
        filmed = None
        if self._sharpen and any(
            each.filmed is not each.planes[0] for each in (frame, *(each[0] for each in found))
        ):
            apart_filmed = room([frame.filmed], len(found))[0]
            filmed = Filmed(frame.filmed, apart_filmed, fused=not self._last)
            for each, (other, way) in zip(apart_filmed, found, strict=True):
                differences([frame.filmed], [other.filmed], way.flow, way.trusted, [each])
        found_noise = noise_of(frame.planes[0], apart[0]) if frame.noisy else None
        if found_noise is None and not self._sharpen:
            return Fused(None, 0.0)
        return fuse(
            frame.planes,
            apart,
            filmed=filmed,
            noise=found_noise,
            smoothing=self._smoothing,
            sharpen=self._sharpen,
        )

    def _helpful(self, frame: _Shown, others: Sequence[_Shown]) -> Sequence[_Shown]:
        """The neighbors from which there is something to be had."""
        if frame.noisy:
            return others
        if not self._sharpen or not others:
            return ()
        # By how much each is sharper than the frame, where it is the sharpest of all.
        detail = np.stack([each.guide.detail for each in others])
        gain = detail / (frame.guide.detail + 1e-6) - _SHARPER
        gain[detail < _NEARLY * detail.max(0)] = 0
        use = np.maximum(gain, 0).sum((1, 2))
        best = sorted(np.argsort(-use, kind="stable")[:_ASKED].tolist())
        return [others[index] for index in best if use[index] > 0]
