"""What is done to a frame, in which order. The only place that knows both frames and tensors."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from filters import (
    CELL,
    Burst,
    Flow,
    FlowFrame,
    Fused,
    add_values,
    changes_of,
    displaced,
    guide,
    rgb_of,
    sent,
    to_planes,
    to_rgb,
    values_of,
)
from mssnet.motion import PLANES
from mssnet.regions import Where, as_pixels
from stream.compute.staging import staging_for
from stream.frame import Frame
from stream.stages.motion import Motion, Told

Submit = Callable[[Tensor, Tensor | None, Where | None], Callable[[], Tensor]]
"""Begins with (1, 3, H, W) R'G'B' in 0..1, what `mssnet.motion` makes to be told beside it, and
where it is to be changed; what it returns waits for the same, restored."""
Enlarge = Callable[[Tensor], Tensor]
"""(1, 3, H, W) R'G'B', not necessarily within 0..1, to a larger picture."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame as it came."""

    frame: Frame
    planes: Sequence[Tensor]
    values: Sequence[Tensor] | None
    """The planes as fusion takes them, where they were needed already."""
    image: Tensor | None
    """What the network sees of it, R'G'B' in 0..1; None where there is nothing for it to do."""
    guide: FlowFrame | None = None
    """What it is followed by, where its motion is told."""


@dataclass(frozen=True, eq=False)
class _Pending:
    """A frame whose restoration is under way."""

    seen: _Seen
    restored: Callable[[], Tensor] | None
    lag: Flow | None = None
    """That of `Told`."""


@dataclass(eq=False)
class _Fusing:
    """A frame that is restored and waits for its neighbors."""

    frame: Frame
    planes: Sequence[Tensor]
    values: list[Tensor]
    """Its planes as they are by now."""
    filmed: Tensor
    """Its luma as it would be by now, had no network restored it."""
    changes: list[Tensor] | None = None
    """What has been added to them; None: nothing."""
    lag: Flow | None = None
    """That of `Told`."""
    guide: FlowFrame | None = None
    """What it is followed by, as long as that is known."""
    share: float = 0.0

    def add(self, changes: Sequence[Tensor] | None) -> None:
        if changes is None:
            return
        own = self.changes
        self.values = [value + each for value, each in zip(self.values, changes, strict=True)]
        self.changes = (
            list(changes) if own is None else [a + b for a, b in zip(own, changes, strict=True)]
        )


class Processor:
    """Deblurs frames on a device, fuses them with their neighbors, and enlarges them."""

    def __init__(
        self,
        submit: Submit | None,
        device: torch.device,
        *,
        in_flight: int = 1,
        strength: float = 1.0,
        motion: Motion | None = None,
        fusion: Sequence[Burst] = (),
        enlarge: Enlarge | None = None,
    ) -> None:
        """Up to `in_flight` frames are under way at once; with 1 each one is handed on at once,
        or as soon as those are there that it is fused with.

        From a GPU as many more are on their way back, so that it always has something to do.
        Without `submit` no network restores frames; `motion` is what is told beside them. They
        pass through all of `fusion`, one after the other. `strength` is the share of all changes
        that is made, but for what `fusion` makes where it is 0.
        """
        self._submit = submit if strength > 0 else None
        self._motion = motion
        self._unready: deque[_Seen] = deque()
        """Frames of which nothing was told yet."""
        self._device = device
        self._staging = staging_for(device)
        self._in_flight = in_flight
        self._returning = in_flight if self._staging.overlaps and in_flight > 1 else 0
        self._begun: deque[_Pending] = deque()
        self._made: deque[Callable[[], Frame]] = deque()
        self._strength = strength
        self._fusion = [(burst, deque[_Fusing]()) for burst in fusion]
        self._enlarge = enlarge

    def push(self, frame: Frame) -> Iterator[Frame]:
        if frame.beyond and not self._fusion and self._motion is None:
            return
        if self._submit is None and self._enlarge is None and not self._fusion:
            yield frame
            return
        seen = self._see(frame)
        self._unready.append(seen)
        yield from self._go_on(self._told(seen))

    def flush(self) -> Iterator[Frame]:
        yield from self._go_on(self._told_last())
        while self._begun:
            self._finish(self._begun.popleft())
            yield from self._returned(self._returning)
        self._end()
        yield from self._returned(0)

    def _go_on(self, told: Iterable[Told | None]) -> Iterator[Frame]:
        """Begin with the oldest frames that are not begun, of which this is told."""
        for each in told:
            seen = self._unready.popleft()
            self._begun.append(self._begin(seen, each))
            while len(self._begun) >= self._most(seen.frame):
                self._finish(self._begun.popleft())
                yield from self._returned(self._returning)

    def _returned(self, left: int) -> Iterator[Frame]:
        """Frames that are done, the oldest ones, but for as many as may be on their way."""
        while len(self._made) > left:
            yield self._made.popleft()()

    def _most(self, frame: Frame) -> int:
        """How many frames like this one may be begun at once: there is no room for many of 8K."""
        least = 2 if self._staging.overlaps else 1
        # As it is seen, and all that the network takes, in float32.
        each = (12 if self._motion is None else 24 + 6 * PLANES) * frame.width * frame.height
        return min(self._in_flight, max(_HELD // each, least))

    @torch.inference_mode()
    def _see(self, frame: Frame) -> _Seen:
        """What can be done of a frame without those around it."""
        planes = self._staging.up(frame.planes)
        if self._motion is None and (self._submit is None or not _wanted(frame)):
            return _Seen(frame, planes, None, None)
        values = values_of(planes, frame.coding)
        image = None if self._submit is None else rgb_of(values, frame.coding).clamp_(0, 1)
        followed = None if self._motion is None else guide(values, frame.coding)
        return _Seen(frame, planes, values, image, followed)

    @torch.inference_mode()
    def _told(self, seen: _Seen) -> list[Told | None]:
        """What is told of the oldest frames that are not begun."""
        if self._motion is None or seen.guide is None:
            return [None]
        frame = seen.frame
        # At once: what is lazy would be made outside of the inference mode.
        wanted = self._restores(frame)
        return list(self._motion.push(frame, seen.guide, seen.image, wanted=wanted))

    @torch.inference_mode()
    def _told_last(self) -> list[Told | None]:
        return [] if self._motion is None else list(self._motion.flush())

    def _restores(self, frame: Frame) -> bool:
        """Whether the network has anything to do; a frame may be there to be told of alone."""
        return _wanted(frame) and (bool(self._fusion) or not frame.beyond)

    @torch.inference_mode()
    def _begin(self, seen: _Seen, told: Told | None) -> _Pending:
        if not self._restores(seen.frame) or (told is None and self._motion is not None):
            return _Pending(seen, None)
        lag, need = None if told is None else told.lag, seen.frame.need
        if lag is not None and need is not None:
            lag = lag * cv2.resize(need.astype(np.float32), lag.shape[1::-1])[..., None]
        if self._submit is None or seen.image is None:
            return _Pending(seen, None, lag)
        planes, where = (None, None) if told is None else (told.planes, told.where)
        return _Pending(seen, self._submit(seen.image, planes, where), lag)

    @torch.inference_mode()
    def _finish(self, begun: _Pending) -> None:
        """Do the rest of a frame, or have it wait for those that it is fused with."""
        seen = begun.seen
        frame, planes = seen.frame, seen.planes
        change = None
        if begun.restored is not None and seen.image is not None:
            change = begun.restored() - seen.image
            if frame.need is not None:
                change = change * as_pixels(sent(frame.need, self._device), change, CELL)
        if self._fusion:
            values = seen.values or values_of(planes, frame.coding)
            fusing = _Fusing(
                frame, planes, list(values), values[0], lag=begun.lag, guide=seen.guide
            )
            fusing.add(None if change is None else changes_of(change, frame.coding))
            self._fuse([fusing], 0)
            return
        if frame.beyond:
            return
        if change is not None:
            change = change * self._strength
        if self._enlarge is not None:
            # What is brighter than white stays so, as below.
            whole = to_rgb(planes, frame.coding)
            whole = whole if change is None else whole.add_(change)
            if begun.lag is not None:
                whole = torch.stack(displaced(list(whole[0]), begun.lag * self._strength))[None]
            self._hand_on(frame, to_planes(self._enlarge(whole), frame.coding))
        else:
            changes = None if change is None else changes_of(change, frame.coding)
            changes = self._displaced(planes, changes, begun.lag, frame)
            self._add(frame, planes, changes)

    def _displaced(
        self, planes: Sequence[Tensor], changes: list[Tensor] | None, lag: Flow | None, frame: Frame
    ) -> list[Tensor] | None:
        """Changes that also bring a frame to where everything was in the middle of the exposure."""
        if lag is None:
            return changes
        values = values_of(planes, frame.coding)
        whole = values
        if changes is not None:
            whole = [value + each for value, each in zip(values, changes, strict=True)]
        there = displaced(whole, lag * np.float32(self._strength))
        return [a - b for a, b in zip(there, values, strict=True)]

    def _fuse(self, frames: Iterable[_Fusing], index: int) -> None:
        """Pass frames through fusion from number `index` on."""
        for fusing in frames:
            if index == len(self._fusion):
                self._fused(fusing)
                continue
            burst, waiting = self._fusion[index]
            waiting.append(fusing)
            frame = fusing.frame
            # What a damaged frame shows is nobody's help.
            made = burst.push(
                fusing.values,
                frame.coding,
                filmed=None if fusing.filmed is fusing.values[0] else fusing.filmed,
                followed=fusing.guide,
                cut=frame.cut,
                usable=not frame.damaged,
            )
            self._fuse(_taken(waiting, made), index + 1)

    @torch.inference_mode()
    def _end(self) -> None:
        for index, (burst, waiting) in enumerate(self._fusion):
            self._fuse(_taken(waiting, burst.flush()), index + 1)

    def _fused(self, fusing: _Fusing) -> None:
        frame, changes = fusing.frame, fusing.changes
        if frame.beyond:
            return
        frame = replace(frame, from_neighbors=fusing.share)
        if changes is not None and 0 < self._strength < 1:
            changes = [each * self._strength for each in changes]
        changes = self._displaced(fusing.planes, changes, fusing.lag, frame)
        if self._enlarge is not None:
            values = values_of(fusing.planes, frame.coding)
            if changes is not None:
                values = [a + b for a, b in zip(values, changes, strict=True)]
            self._hand_on(
                frame, to_planes(self._enlarge(rgb_of(values, frame.coding)), frame.coding)
            )
        else:
            self._add(frame, fusing.planes, changes)

    def _add(
        self, frame: Frame, planes: Sequence[Tensor], changes: Sequence[Tensor] | None
    ) -> None:
        """Hand a frame on with these changes; None: as it came, to the bit."""
        if changes is not None:
            planes = add_values(planes, changes, frame.coding)
        self._hand_on(frame, planes)

    def _hand_on(self, frame: Frame, planes: Sequence[Tensor]) -> None:
        arrived = self._staging.down(planes)
        alpha, (height, width) = frame.alpha, planes[0].shape
        if alpha is not None and alpha.shape != (height, width):
            larger: Any = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_CUBIC)
            alpha = np.minimum(larger, frame.coding.top).astype(alpha.dtype)
        self._made.append(lambda: replace(frame, planes=arrived(), alpha=alpha, need=None))


def _wanted(frame: Frame) -> bool:
    """Whether there is anything for a network to do."""
    return frame.need is None or bool(frame.need.any())


def _taken(waiting: deque[_Fusing], made: Iterable[Fused]) -> Iterator[_Fusing]:
    """The frames that have been fused, with what was made of them."""
    for fused in made:
        fusing = waiting.popleft()
        restored = fusing.filmed is not fusing.values[0]
        fusing.add(fused.changes)
        if fused.filmed is not None:
            fusing.filmed = fusing.filmed + fused.filmed
        elif not restored:
            fusing.filmed = fusing.values[0]
        fusing.share = max(fusing.share, fused.share)
        # What has been fused is sharper, and followed anew.
        fusing.guide = None
        yield fusing


_HELD = 1 << 30
"""Bytes that frames under way, and what is told of them, may have."""
