"""The training loop of the deblurring network."""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from mssnet import PRESETS, MSSNet
from weights.train.data import DataSettings, Samples

_BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to train."""

    preset: str = "lite"
    minutes: float = 60.0
    batch: int = 8
    rate: float = 6e-4
    """The highest learning rate; it falls along a cosine to `rate / 300` as the minutes pass."""
    warmup: int = 300
    """Iterations over which the rate rises from 0."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is shipped."""
    workers: int = 1
    device: str = "cpu"
    seed: int = 0


def loss(images: list[Tensor], sharp: Tensor) -> Tensor:
    """The published loss: L1 plus 0.1 times L1 of the 2-D Fourier transform, on every stage.

    MSSNet (Kim et al., ECCVW 2022), section 3.3. `images` as the network returns them in
    training, `sharp` (N, 3, H, W); the half-size images are compared with a half-size target.
    """
    total = torch.zeros((), device=sharp.device)
    half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear", align_corners=True)
    for image in images:
        target = sharp if image.shape == sharp.shape else half
        difference = image.float() - target
        spectrum = torch.view_as_real(torch.fft.rfft2(difference))
        total = total + difference.abs().mean() + 0.1 * spectrum.abs().mean()
    return total


def train(settings: TrainSettings, data: DataSettings, out: Path, resume: Path | None) -> None:
    """Train until the minutes are over; `out/state.pt` and `out/weights.safetensors` each minute.

    `resume` is the folder of an earlier run; its weights, optimizer and clock go on.
    """
    torch.manual_seed(settings.seed)
    device = torch.device(settings.device)
    net = MSSNet(PRESETS[settings.preset])
    net = net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, betas=_BETAS, weight_decay=1e-4)
    mean = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    step, spent = 0, 0.0
    if resume:
        state = torch.load(resume / "state.pt", map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        for group in optimizer.param_groups:
            group["betas"] = _BETAS  # the state holds those it was saved with
        mean, step, spent = state["mean"], state["step"], state["spent_s"]

    out.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        Samples(data),
        batch_size=settings.batch,
        num_workers=settings.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=8 if settings.workers else None,
        worker_init_fn=_calm,
    )
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    waited = losses = norms = 0.0
    started = saved = logged = time.monotonic()
    logged_step = step
    batches = iter(loader)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("first batch", total=None)
        while True:
            clock = time.monotonic()
            done = (spent + clock - started) / (60 * settings.minutes)
            if done >= 1:
                break
            blurred, sharp = next(batches)
            waited += time.monotonic() - clock
            layout = {"memory_format": torch.channels_last, "non_blocking": True}
            blurred, sharp = blurred.to(device, **layout), sharp.to(device, **layout)
            for group in optimizer.param_groups:
                group["lr"] = rate_at(done, step, settings)
            with torch.autocast(device.type, torch.bfloat16):
                images = net(blurred)
            value = loss(images, sharp)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            step += 1
            decay = min(settings.average, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, tensor in net.state_dict().items():
                    mean[name].lerp_(tensor, 1 - decay)
            losses += float(value.detach())
            norms += float(norm)

            now = time.monotonic()
            if now - logged > 10:
                steps = step - logged_step
                row = {
                    "step": step,
                    "minutes": round((spent + now - started) / 60, 2),
                    "loss": round(losses / steps, 5),
                    "norm": round(norms / steps, 3),
                    "rate": optimizer.param_groups[0]["lr"],
                    "seconds_per_step": round((now - logged) / steps, 4),
                    "waited": round(waited / (now - logged), 3),
                }
                with (out / "log.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
                text = f"step {step}  loss {row['loss']}  {row['seconds_per_step']} s/step"
                progress.update(bar, description=f"{100 * done:.1f} %  {text}")
                waited = losses = norms = 0.0
                logged, logged_step = now, step
            if now - saved > 60:
                _save(out, net, optimizer, mean, step, spent + now - started)
                saved = now
    _save(out, net, optimizer, mean, step, spent + time.monotonic() - started)


def rate_at(done: float, step: int, settings: TrainSettings) -> float:
    """The learning rate after a share `done` (0..1) of the minutes, at `step`."""
    lowest = settings.rate / 300
    rate = lowest + (settings.rate - lowest) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return rate * min(1.0, (step + 1) / settings.warmup)


def _calm(worker: int) -> None:
    torch.set_num_threads(1)


def _save(
    out: Path,
    net: MSSNet,
    optimizer: torch.optim.Optimizer,
    mean: dict[str, Tensor],
    step: int,
    spent_s: float,
) -> None:
    """Write the state to go on from and the averaged weights, each whole or not at all."""
    state: dict[str, Any] = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "mean": mean,
        "step": step,
        "spent_s": spent_s,
    }
    torch.save(state, out / "state.pt.part")
    os.replace(out / "state.pt.part", out / "state.pt")
    half = {name: tensor.half().contiguous().cpu() for name, tensor in mean.items()}
    save_file(half, out / "weights.safetensors.part")
    os.replace(out / "weights.safetensors.part", out / "weights.safetensors")
