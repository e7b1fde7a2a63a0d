"""One network on one engine, timed with one frame under way and with several."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import mssnet
from benchmarks.clip import image
from benchmarks.timing import synchronize
from stream.models import load_model

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
        self._images = [image(index, *size).to(self.device) for index in range(_FRAMES)]
        self._one_s = 0.0

    @torch.inference_mode()
    def restored(self, count: int = 2) -> list[Tensor]:
        """Some restored frames, on the CPU; also the warm-up."""
        made = [self._many(each).cpu() for each in self._images[:count]]
        self._quick(self._images[0])
        return made

    @torch.inference_mode()
    def latency_ms(self, seconds: float) -> float:
        """The median time of a frame, from when it is handed in to when it is done."""
        times: list[float] = []
        if self._one_s < _SLOW_S:
            self._restore(self._images[0])
        ends = time.perf_counter() + seconds
        while not times or time.perf_counter() < ends:
            begun = time.perf_counter()
            self._restore(self._images[len(times) % _FRAMES])
            times.append(time.perf_counter() - begun)
        self._one_s = median(times)
        return 1e3 * self._one_s

    @torch.inference_mode()
    def fps(self, seconds: float) -> float:
        """Frames per second with as many under way as the engine likes."""
        under_way: deque[Callable[[], Tensor]] = deque()

        def turn(index: int) -> None:
            under_way.append(self._many.submit(self._images[index % _FRAMES]))
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

    def _restore(self, frame: Tensor) -> None:
        self._quick(frame)
        synchronize(self.device)
