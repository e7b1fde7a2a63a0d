"""How planes get to the device they are worked on, and back."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from filters import sent
from stream.frame import Plane

Arrived = Callable[[], tuple[Plane, ...]]
"""Waits for planes that are on their way back."""


class Staging(Protocol):
    """The way there and back."""

    @property
    def overlaps(self) -> bool:
        """Whether frames are under way while others are worked on, so that some shall wait."""
        ...

    def up(self, planes: Sequence[Plane]) -> list[Tensor]:
        """Bring planes to the device."""
        ...

    def down(self, planes: Sequence[Tensor]) -> Arrived:
        """Begin to bring planes back; what is returned may be called once."""
        ...


class DirectStaging:
    """One after the other. Nothing is copied where the device is the CPU."""

    overlaps = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def up(self, planes: Sequence[Plane]) -> list[Tensor]:
        return [sent(plane, self._device) for plane in planes]

    def down(self, planes: Sequence[Tensor]) -> Arrived:
        arrays: tuple[Plane, ...] = tuple(plane.cpu().numpy() for plane in planes)
        return lambda: arrays


class Streams:
    """A GPU copies both ways while it works.

    Frames go up and down on streams of their own, by way of pinned memory, which a GPU can read and
    write itself. Only for what comes down one has to wait.
    """

    overlaps = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._up = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._down = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def up(self, planes: Sequence[Plane]) -> list[Tensor]:
        work = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._up):
            made = [sent(plane, self._device) for plane in planes]
        work.wait_stream(self._up)
        for tensor in made:
            # Its memory belongs to the other stream, which must not use it again before.
            tensor.record_stream(work)
        return made

    def down(self, planes: Sequence[Tensor]) -> Arrived:
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        there = [torch.empty(plane.shape, dtype=plane.dtype, pin_memory=True) for plane in planes]
        with torch.cuda.stream(self._down):
            for pinned, plane in zip(there, planes, strict=True):
                pinned.copy_(plane, non_blocking=True)
                plane.record_stream(self._down)
            # Blocking means that the thread sleeps: decoder and encoder need the cores.
            done = self._down.record_event(torch.cuda.Event(blocking=True))  # type: ignore[no-untyped-call]

        def arrived() -> tuple[Plane, ...]:
            done.synchronize()
            return tuple(pinned.numpy() for pinned in there)

        return arrived


def staging_for(device: torch.device) -> Staging:
    """The way to a device."""
    return Streams(device) if device.type == "cuda" else DirectStaging(device)
