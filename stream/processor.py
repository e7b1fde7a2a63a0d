"""What is done to a frame, in which order. The only place that knows both frames and tensors."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from filters import CELL, Motion, add_change, sent, to_planes, to_rgb
from stream.frame import Frame, Memory
from stream.staging import staging_for

Submit = Callable[[Tensor], Callable[[], Tensor]]
"""Begins with (1, 3, H, W) R'G'B' in 0..1; what it returns waits for the same, restored."""
State = Mapping[str, Tensor]
"""What a temporal filter remembers, by name; empty at the beginning."""
Temporal = Callable[[Tensor, State, Motion | None], tuple[Tensor, State]]
"""A restored frame, (1, 3, H, W) R'G'B', what is remembered, and the motion since the frame before
to the filtered frame and what is remembered after it."""
Enlarge = Callable[[Tensor], Tensor]
"""(1, 3, H, W) R'G'B', not necessarily within 0..1, to a larger picture."""


@dataclass(frozen=True, eq=False)
class _Begun:
    """A frame whose restoration is under way."""

    frame: Frame
    planes: Sequence[Tensor]
    whole: Tensor
    """R'G'B', not necessarily within 0..1."""
    seen: Tensor
    """What the network sees of it."""
    restored: Callable[[], Tensor] | None
    """None where it is not restored at all."""


class Processor:
    """Deblurs frames on a device, filters them along time, and enlarges them."""

    def __init__(
        self,
        submit: Submit,
        device: torch.device,
        *,
        in_flight: int = 1,
        strength: float = 1.0,
        temporal: Temporal | None = None,
        enlarge: Enlarge | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Up to `in_flight` frames are under way at once; with 1 each one is handed on at once.

        From a GPU as many more are on their way back, so that it always has something to do.
        `memory` is that of the last frame of an earlier run, with which it goes on.
        """
        self._submit = submit
        self._device = device
        self._staging = staging_for(device)
        self._in_flight = in_flight
        self._returning = in_flight if self._staging.overlaps and in_flight > 1 else 0
        self._begun: deque[_Begun | Frame] = deque()
        self._made: deque[Callable[[], Frame]] = deque()
        self._strength = strength
        self._temporal = temporal
        self._enlarge = enlarge
        self._state: State = {
            name.removeprefix(_OURS): torch.as_tensor(value).to(device)
            for name, value in (memory or {}).items()
            if name.startswith(_OURS)
        }

    def push(self, frame: Frame) -> Iterator[Frame]:
        self._begun.append(self._begin(frame))
        while len(self._begun) >= self._most(frame):
            self._made.append(self._finish(self._begun.popleft()))
            yield from self._returned(self._returning)

    def flush(self) -> Iterator[Frame]:
        while self._begun:
            self._made.append(self._finish(self._begun.popleft()))
            yield from self._returned(self._returning)
        yield from self._returned(0)

    def _returned(self, left: int) -> Iterator[Frame]:
        """Frames that are done, the oldest ones, but for as many as may be on their way."""
        while len(self._made) > left:
            yield self._made.popleft()()

    def _most(self, frame: Frame) -> int:
        """How many frames like this one may be begun at once: there is no room for many of 8K."""
        held = _HELD if self._staging.overlaps else _HELD_ON_CPU
        return min(self._in_flight, max(held // (12 * frame.width * frame.height), 2))

    @torch.inference_mode()
    def _begin(self, frame: Frame) -> _Begun | Frame:
        """What can be done of a frame without the one before it."""
        if self._strength == 0 and self._temporal is None and self._enlarge is None:
            return frame
        planes = self._staging.up(frame.planes)
        whole = to_rgb(planes, frame.coding)
        seen = whole.clamp_(0, 1) if self._enlarge is None else whole.clamp(0, 1)
        restored = None
        if self._strength > 0 and (frame.need is None or frame.need.any()):
            restored = self._submit(seen)
        return _Begun(frame, planes, whole, seen, restored)

    @torch.inference_mode()
    def _finish(self, begun: _Begun | Frame) -> Callable[[], Frame]:
        """Do the rest of a frame; what is returned waits until it is back."""
        if isinstance(begun, Frame):
            return lambda: begun
        frame, seen = begun.frame, begun.seen
        picture = seen if begun.restored is None else begun.restored()
        if begun.restored is not None and self._strength != 1:
            picture = torch.lerp(seen, picture, self._strength)
        memory = frame.memory
        if self._temporal is not None:
            # What a damaged frame shows is not carried on.
            if not frame.damaged:
                picture, self._state = self._temporal(picture, self._state, frame.motion)
            kept = self._staging.kept
            ours = {_OURS + name: kept(value) for name, value in self._state.items()}
            memory = {**memory, **ours}
        change = picture - seen
        if frame.need is not None:
            change = change * self._spread(frame.need, change.shape)
        if self._enlarge is not None:
            # What is brighter than white stays so, as below.
            made = to_planes(self._enlarge(begun.whole.add_(change)), frame.coding)
        else:
            made = add_change(begun.planes, change, frame.coding)
        arrived = self._staging.down(made)
        return lambda: replace(frame, planes=arrived(), motion=None, need=None, memory=memory)

    def _spread(self, need: NDArray[np.float32], shape: torch.Size) -> Tensor:
        """From one value for each region to one for each pixel, (1, 1, H, W)."""
        regions = sent(need, self._device)[None, None]
        pixels = F.interpolate(regions, scale_factor=CELL, mode="bilinear")
        return pixels[:, :, : shape[2], : shape[3]]


_HELD = 1 << 30
"""Bytes of R'G'B' that frames under way may have on a GPU ..."""
_HELD_ON_CPU = 1 << 27
"""... and on a CPU, which large ones keep busy one by one."""
_OURS = "filter/"
"""What the names of the filters' own memory begin with."""
