"""Several devices that work on one video together."""

import copy
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from mssnet import Engine, Program, Result


class Spread:
    """Hands image after image to one engine after the other; results come to the first's device."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise ValueError("there must be at least one engine")
        self.engines = tuple(engines)
        # The weights are copied once for each engine, however many exits are made of them.
        self._copies: list[dict[int, Any]] = [{} for _ in self.engines]

    @property
    def name(self) -> str:
        """That of its engines, which are of one kind: how many there are changes no result."""
        return self.engines[0].name

    @property
    def device(self) -> torch.device:
        return self.engines[0].device

    @property
    def dtype(self) -> torch.dtype:
        return self.engines[0].dtype

    @property
    def in_flight(self) -> int:
        return sum(engine.in_flight for engine in self.engines)

    def compile(self, module: nn.Module) -> Program:
        # Each its own copy, as engines move modules to their devices.
        programs = [
            engine.compile(copy.deepcopy(module, copies))
            for engine, copies in zip(self.engines, self._copies, strict=True)
        ]
        turns = cycle(list(zip(self.engines, programs, strict=True)))

        def begin(image: Tensor) -> Result:
            engine, program = next(turns)
            result = program(image.to(engine.device, non_blocking=True))
            return lambda: result().to(self.device, non_blocking=True)

        return begin
