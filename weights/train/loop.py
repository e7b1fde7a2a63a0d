"""The training loop, the same for every network."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from weights.train.board import Board
from weights.train.data import Batches, Stream
from weights.train.gradients import Gradients
from weights.train.optimizer import Optimizer
from weights.train.recipe import Schedule
from weights.train.state import Progress, append_log, begin_log, restore, save, save_pieces

_CLIP = 5.0
_LOG_STEPS = 20
_SAVE_SECONDS = 45.0
"""With the seconds that saving takes well under the minute that may be lost."""


@dataclass(frozen=True)
class RunSettings:
    """What differs from run to run of the same recipe."""

    images: Path | None = None
    """A folder of sharp photographs; None draws pictures."""
    response: Path | None = None
    """A measured inverse response curve; see `DataSettings.response`."""
    steps: int | None = None
    """The length of the run in place of the recipe's minutes; makes it the same every time."""
    restorer: Path | None = None
    """Weights of the deblurring network that an upscaler is trained to follow."""
    start: Path | None = None
    """Weights to start from instead of random ones."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009, a device never changes
    """Where the network is trained; samples are made on the CPU."""
    threads: int = 1
    """CPU cores to compute gradients with."""
    workers: int = 1
    """Threads that make samples."""
    seed: int = 0
    """Of the first weights, of the samples and of their order."""
    piece_mib: int | None = None
    """Also keep a smaller state in files of this size; see `state.save_pieces`."""
    sheet_seconds: float = 240.0
    """Time between sheets."""


class StoppedError(Exception):
    """The run was told to stop, and did, with its state saved."""


class Task(Protocol):
    """What is trained, on what, and towards what."""

    @property
    def net(self) -> nn.Module: ...

    @property
    def recipe(self) -> Schedule: ...

    def start(self, weights: Mapping[str, Tensor] | None) -> None:
        """Set the first weights: these or random ones; `RuntimeError` if they do not fit."""

    def samples(self, phase: int) -> Stream:
        """The stream of samples of a phase."""

    def loss(self, phase: int) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of a batch, inputs and targets, with gradients towards `net`."""

    def draw(self, mean: Mapping[str, Tensor]) -> tuple[NDArray[np.uint8], float]:
        """What the averaged weights do to samples kept aside, (H, W, 3) RGB, and the gain in dB."""


def train(task: Task, run: RunSettings, out: Path, resume: Path | None = None) -> Progress:
    """Train until the recipe's time is over; `out` then holds state, weights, log and sheet.

    `resume` is the folder of an interrupted run, which goes on exactly where it was. Raises
    `StoppedError` after SIGINT or SIGTERM, `ValueError` where pictures, weights or state do not
    serve.
    """
    torch.manual_seed(run.seed)
    device = run.device
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    net = task.net
    _start(task, run.start)
    net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = Optimizer(net)
    mean = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    window = _Window()
    if resume:
        progress, kept = restore(resume, net, mean, optimizer)
        window.load(kept)
    else:
        progress = Progress()
    out.mkdir(parents=True, exist_ok=True)
    begin_log(out, progress.step)

    with (
        _stop_signals() as stop,
        closing(Gradients(net.parameters(), run.threads, device)) as gradients,
        closing(Board(out, progress.step)) as board,
        _bar() as bar,
    ):
        trainer = _Trainer(task, run, out, mean, optimizer, progress, gradients, board, bar, window)
        while trainer.done() < 1 and not stop:
            trainer.phase(stop)
        trainer.save()
    if stop:
        raise StoppedError
    return progress


def _start(task: Task, file: Path | None) -> None:
    try:
        tensors = {name: t.float() for name, t in load_file(file).items()} if file else None
        task.start(tensors)
    except (RuntimeError, ValueError, SafetensorError) as error:
        preset = task.recipe.preset
        raise ValueError(f"{file} does not hold the weights of a {preset} network") from error


@dataclass
class _Trainer:
    task: Task
    run: RunSettings
    out: Path
    mean: dict[str, Tensor]
    optimizer: Optimizer
    progress: Progress
    gradients: Gradients
    board: Board
    bar: "_Line"
    window: "_Window"

    def done(self) -> float:
        """The share of the run that is over."""
        if self.run.steps is not None:
            return self.progress.step / self.run.steps
        return self.progress.seconds / (60 * self.task.recipe.minutes)

    def phase(self, stop: list[int]) -> None:
        """Train until the phase that holds now is over."""
        progress, phases = self.progress, self.task.recipe.phases
        now = max(index for index, (start, _) in enumerate(phases) if start <= self.done())
        if now != progress.phase:
            progress.phase, progress.phase_step = now, 0
        end = phases[now + 1][0] if now + 1 < len(phases) else 1.0
        loss = self.task.loss(now)
        samples, settings = self.task.samples(now), phases[now][1]
        batches = Batches(
            samples,
            settings.batch,
            self.run.device,
            step=progress.phase_step,
            passes=settings.passes,
            workers=self.run.workers,
        )
        saved = sheeted = clock = time.monotonic()
        with closing(batches):
            for inputs, targets in batches:
                self.window.waited += time.monotonic() - clock
                self.window.add(*self._step(loss, inputs, targets))
                now_s = time.monotonic()
                progress.seconds += now_s - clock
                self.window.seconds += now_s - clock
                clock = now_s
                if progress.step % _LOG_STEPS == 0:
                    self._log()
                if now_s - saved > _SAVE_SECONDS:
                    self.save()
                    saved = clock = time.monotonic()
                over = self.done() >= end or stop
                if now_s - sheeted > self.run.sheet_seconds or (over and not stop):
                    picture, gain = self.task.draw(self.mean)
                    cv2.imwrite(
                        str(self.out / "sheet.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
                    )
                    self.board.image("sheet", picture, progress.step)
                    self.board.scalar("gain_db", gain, progress.step)
                    append_log(self.out, {"step": progress.step, "gain_db": round(gain, 3)})
                    sheeted = clock = time.monotonic()
                if over:
                    break

    def save(self) -> None:
        # What is on disk stays fit to go on from.
        self.window.check(self.progress.step)
        if self.run.piece_mib:
            save_pieces(self.out, self.task.net, self.mean, self.progress, self.run.piece_mib)
        save(
            self.out, self.task.net, self.mean, self.optimizer, self.window.tensors(), self.progress
        )

    def _step(
        self, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        targets = targets.contiguous(memory_format=torch.channels_last)
        value = self.gradients(loss, inputs, targets)
        norm = torch.nn.utils.clip_grad_norm_(self.task.net.parameters(), _CLIP)
        rate = rate_at(self.done(), self.progress.step, self.task.recipe)
        self.optimizer.step(rate)
        self.progress.step += 1
        self.progress.phase_step += 1
        decay = min(self.task.recipe.average, (1 + self.progress.step) / (10 + self.progress.step))
        names = self.task.net.state_dict()
        torch._foreach_lerp_([self.mean[name] for name in names], list(names.values()), 1 - decay)
        return value, norm, rate

    def _log(self) -> None:
        row = self.window.row(self.progress)
        self.window = _Window()
        append_log(self.out, row)
        for name in ("loss", "norm", "rate", "seconds_per_step", "waited"):
            self.board.scalar(name, row[name], self.progress.step)
        self.bar.show(self.done(), row)


class _Window:
    """The steps since the last line of the log."""

    def __init__(self) -> None:
        self.seconds = self.waited = self.rate = 0.0
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, value: Tensor, norm: Tensor, rate: float) -> None:
        # As tensors: reading them would make the CPU wait for the GPU at every step.
        self._losses.append(value)
        self._norms.append(norm)
        self.rate = rate

    def tensors(self) -> dict[str, Tensor]:
        """What a run must keep for its log to go on as if it had never been interrupted."""
        if not self._losses:
            return {}
        return {"losses": torch.stack(self._losses), "norms": torch.stack(self._norms)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        if tensors:
            self._losses = list(tensors["losses"])
            self._norms = list(tensors["norms"])

    def check(self, step: int) -> None:
        """Raise `ValueError` if the network no longer computes numbers."""
        if self._losses and not torch.stack(self._losses).isfinite().all():
            raise ValueError(
                f"the loss is no number any more (step {step}); go on with --resume and a "
                "lower rate, such as --set rate=0.005"
            )

    def row(self, progress: Progress) -> dict[str, float]:
        steps = len(self._losses)
        self.check(progress.step)
        loss, norm = (float(torch.stack(t).mean()) for t in (self._losses, self._norms))
        return {
            "step": progress.step,
            "phase": progress.phase,
            "minutes": round(progress.seconds / 60, 2),
            "loss": round(loss, 6),
            "norm": round(norm, 4),
            "rate": round(self.rate, 7),
            "seconds_per_step": round(self.seconds / steps, 4),
            "waited": round(self.waited / max(self.seconds, 1e-9), 4),
        }


def rate_at(done: float, step: int, recipe: Schedule) -> float:
    """The learning rate after a share `done` (0..1) of the run, at `step`."""
    lowest = recipe.rate / 100
    rate = lowest + (recipe.rate - lowest) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return rate * min(1.0, (step + 1) / recipe.warmup)


class _Line:
    """The progress bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("first samples", total=1.0)

    def show(self, done: float, row: Mapping[str, float]) -> None:
        text = f"step {row['step']}  loss {row['loss']:.4f}  {row['seconds_per_step']:.2f} s/step"
        self._bar.update(self._task, completed=done, description=text)


@contextmanager
def _bar() -> Iterator[_Line]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.percentage:>5.1f} %"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        yield _Line(bar)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM arrives; a second one ends the program."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
