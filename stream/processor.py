"""What is done to a frame, in which order. The only place that knows both frames and tensors."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from filters import add_change, to_rgb
from stream.frame import Frame, Item

Restorer = Callable[[Tensor], Tensor]
"""(1, 3, H, W) R'G'B' in 0..1 to the same, restored."""


class Processor:
    """Deblurs frames on a device; packets of other streams pass in their place."""

    def __init__(self, restore: Restorer, device: torch.device, *, strength: float = 1.0) -> None:
        self._restore = restore
        self._device = device
        self._strength = strength

    def push(self, item: Item) -> Iterator[Item]:
        yield self._frame(item) if isinstance(item, Frame) else item

    def flush(self) -> Iterator[Item]:
        yield from ()

    @torch.inference_mode()
    def _frame(self, frame: Frame) -> Frame:
        if self._strength == 0:
            return frame
        planes = [torch.from_numpy(plane).to(self._device) for plane in frame.planes]
        seen = to_rgb(planes, frame.coding).clamp_(0, 1)
        change = (self._restore(seen) - seen) * self._strength
        made = [plane.cpu().numpy() for plane in add_change(planes, change, frame.coding)]
        return Frame(tuple(made), frame.coding, frame.pts, frame.time_base, frame.cut)
