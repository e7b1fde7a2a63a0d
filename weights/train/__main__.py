"""`python -m weights.train deblur`: train a checkpoint."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from mssnet import PRESETS
from weights.train.camera import CameraSettings
from weights.train.data import DataSettings
from weights.train.loop import TrainSettings, train
from weights.train.synthesis import BlurSettings

_BLUR, _CAMERA = BlurSettings(), CameraSettings()

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Train the networks of deblur-stream."""


@app.command()
def deblur(
    out: Annotated[Path, typer.Option(help="Folder for the state, the weights and the log.")],
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "lite",
    images: Annotated[
        Path | None, typer.Option(help="Folder of sharp photographs; without one, drawn pictures.")
    ] = None,
    response: Annotated[
        Path | None, typer.Option(help="Measured inverse response curve (.npy, 256 rows).")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long to train, earlier runs included.")] = 60,
    resume: Annotated[Path | None, typer.Option(help="Folder of a run to go on with.")] = None,
    patch: Annotated[int, typer.Option(help="Side of a training patch in pixels.")] = 192,
    batch: Annotated[int, typer.Option(help="Patches per step.")] = 8,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 6e-4,
    longest: Annotated[float, typer.Option(help="Longest blur in pixels.")] = _BLUR.longest,
    bias: Annotated[
        float, typer.Option(help="How much short blur outweighs long blur.")
    ] = _BLUR.bias,
    sharp: Annotated[
        float, typer.Option(help="Share of samples in which nothing moves.")
    ] = _BLUR.sharp,
    encoded: Annotated[
        float, typer.Option(help="Share of samples averaged in encoded values.")
    ] = _BLUR.encoded,
    noise: Annotated[
        float, typer.Option(help="Share of samples with sensor noise.")
    ] = _CAMERA.noise,
    h264: Annotated[
        float, typer.Option(help="Share of samples compressed as H.264.")
    ] = _CAMERA.h264,
    jpeg: Annotated[
        float, typer.Option(help="Share of samples compressed as JPEG.")
    ] = _CAMERA.jpeg,
    workers: Annotated[int, typer.Option(help="Processes that make samples.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 0,
) -> None:
    """Train the deblurring network on blur synthesized from photographs."""
    if preset not in PRESETS:
        raise typer.BadParameter(f"unknown preset {preset}; choose one of {', '.join(PRESETS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("no usable GPU here; use --device cpu")
    multiple = PRESETS[preset].multiple_of
    if patch % multiple:
        raise typer.BadParameter(f"--patch must be a multiple of {multiple} for {preset}")
    data = DataSettings(
        images=images,
        response=response,
        patch=patch,
        seed=seed,
        blur=BlurSettings(longest=longest, bias=bias, sharp=sharp, encoded=encoded),
        camera=CameraSettings(noise=noise, h264=h264, jpeg=jpeg),
    )
    settings = TrainSettings(
        preset=preset,
        minutes=minutes,
        batch=batch,
        rate=rate,
        workers=workers,
        device=device,
        seed=seed,
    )
    train(settings, data, out, resume)


if __name__ == "__main__":
    app()
