"""One network on one engine, timed with one frame under way and with several."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import mssnet
from benchmarks.clip import image, told
from benchmarks.timing import synchronize
from stream.compute.models import load_model

_FRAMES = 4
"""Different pictures, taken one after the other."""
_SLOW_S = 0.5
"""Frames that take longer need not be repeated for caches that another program's turn emptied."""


class Runner:
    """Restores frames of one size, again and again."""

    def __init__(
        self,
        file: Path,
        device: str,
        engine: str,
        precision: str,
        size: tuple[int, int],
    ) -> None:
        def load(late: bool) -> mssnet.Deblurrer:
            return load_model(
                str(file), device=device, engine=engine, precision=precision, late=late
            )

        self._quick = load(late=False)
        self.device = self._quick.device
        many = load(late=True)
        self.in_flight = many.engine.in_flight
        self._many = many if self.in_flight > 1 else self._quick
        # From 1 on, as the first one has none before it.
        numbers = range(1, 1 + _FRAMES)
        self._images = [image(index, *size).to(self.device) for index in numbers]
        self._told = [
            told(index, *size).to(self.device) if self._quick.is_told else None for index in numbers
        ]
        self._one_s = 0.0

    @torch.inference_mode()
    def restored(self, count: int = 2) -> list[Tensor]:
        """Some restored frames, on the CPU; also the warm-up."""
        made = [self._many(*self._given(index)).cpu() for index in range(count)]
        self._restore(0)
        return made

    @torch.inference_mode()
    def latency_ms(self, seconds: float) -> float:
        """The median time of a frame, from when it is handed in to when it is done."""
        times: list[float] = []
        if self._one_s < _SLOW_S:
            self._restore(0)
        ends = time.perf_counter() + seconds
        while not times or time.perf_counter() < ends:
            begun = time.perf_counter()
            self._restore(len(times))
            times.append(time.perf_counter() - begun)
        self._one_s = median(times)
        return 1e3 * self._one_s

    @torch.inference_mode()
    def fps(self, seconds: float) -> float:
        """Frames per second with as many under way as the engine likes."""
        under_way: deque[Callable[[], Tensor]] = deque()

        def turn(index: int) -> None:
            under_way.append(self._many.submit(*self._given(index)))
            while len(under_way) >= self.in_flight:
                under_way.popleft()()

        for index in range(self.in_flight):
            turn(index)
        done, begun = 0, time.perf_counter()
        while done < max(2, self.in_flight) or time.perf_counter() < begun + seconds:
            turn(done)
            done += 1
        synchronize(self.device)
        took = time.perf_counter() - begun
        while under_way:
            under_way.popleft()()
        return done / took

    def _given(self, index: int) -> tuple[Tensor, Tensor | None]:
        return self._images[index % _FRAMES], self._told[index % _FRAMES]

    def _restore(self, index: int) -> None:
        self._quick(*self._given(index))
        synchronize(self.device)
