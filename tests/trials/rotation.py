"""`python -m tests.trials.rotation`: what a network gains by motion that a gyroscope measured.

    python -m tests.trials.rotation --images PHOTOGRAPHS --clips 6

Each clip is a camera that turns before a photograph far away (or a drawn picture, without
`--images`), by sines about three axes; a frame is the mean of what it sees while the shutter is
open, half of the frame interval, in linear light. The model restores it, alone, without fusion,
told of the motion by optical flow, by the gyroscope and flow (`--motion auto`) and by the gyroscope
alone. Gains are in dB of PSNR against the middle of the exposure; the first frame and the last do
not count. Ends with 0 where the gyroscope gains no less than flow.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table

import mssnet
import weights
from filters import Coding, Shutter, codes_of, to_rgb
from stream.frame import Frame
from stream.options.lens import Lens
from stream.options.settings import Settings
from stream.stages.build import stages_of
from stream.stages.measured import Measured
from stream.telemetry.record import Series
from stream.telemetry.turning import CameraRotation, Optics
from tests.trials.runner import console
from weights.evaluate.quality import psnr, to_tensor
from weights.pictures import find_images, read_rgb
from weights.train.procedural import picture

CODING = Coding("bt601", full_range=True, depth=16, subsampling=(1, 1))
LENS = Lens(70.0, "pinhole")
SIZE = 288, 192
FPS, FRAMES, SHARE = 30, 5, 0.5
RATE = 4800
"""Steps a second in which the camera is turned, and readings of its gyroscope."""
SEEN = 25
"""Moments of an exposure that are averaged."""
LARGE = 700
"""Pixels that the longer side of a scene has at least: what is beyond it is mirrored."""

Floats = NDArray[np.float64]


def turning(rng: np.random.Generator, fast: float) -> Floats:
    """Rates about a camera's axes, radians per second, (n, 3), so many times as usual."""
    times = np.arange(round((FRAMES + 2) / FPS * RATE)) / RATE
    rates = np.zeros((len(times), 3))
    for axis, most in enumerate((1.2, 1.2, 2.5)):
        for _ in range(2):
            wave = np.sin(2 * np.pi * (rng.uniform(1, 5) * times + rng.uniform()))
            rates[:, axis] += fast * most * rng.uniform(0.3, 1) * wave
    return rates


def clip(scene: NDArray[np.float32], rates: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Blurred and sharp frames, (H, W, 3) each in 0..1, of a scene in linear light."""
    turns = [np.eye(3)]
    for rate in (rates[1:] + rates[:-1]) / 2:
        turns.append(cv2.Rodrigues(-rate / RATE)[0] @ turns[-1])
    optics = Optics(LENS, *SIZE)
    height, width = scene.shape[:2]

    def seen(turn: Floats) -> Floats:
        at = optics.seen(optics.rays @ turn) + np.array([width - 1, height - 1]) / 2
        x, y = (np.ascontiguousarray(at[..., axis], np.float32) for axis in (0, 1))
        return np.asarray(
            cv2.remap(scene, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.float64
        )

    middle = len(turns) // (FRAMES + 2)
    for frame in range(1, FRAMES + 1):
        open_steps = SHARE * RATE / FPS
        moments = frame * middle + np.linspace(-0.5, 0.5, SEEN) * open_steps
        views = [seen(turns[round(moment)]) for moment in moments]
        blurred = np.asarray(np.mean(views, axis=0), np.float64)
        yield blurred ** (1 / 2.2), views[SEEN // 2] ** (1 / 2.2)


def restored(
    network: mssnet.Deblurrer, frames: list[Frame], measured: Measured | None
) -> list[torch.Tensor]:
    settings = Settings(fuse=0, device="cpu")
    shutter = Shutter(share=SHARE)
    stage = stages_of(settings, network, None, {}, shutter=shutter, measured=measured)["deblur"]
    done = [out for frame in frames for out in stage.push(frame)] + list(stage.flush())
    return [_rgb(frame).clamp(0, 1) for frame in done]


def _frame(picture: Floats, index: int) -> Frame:
    exact = picture.transpose(2, 0, 1).astype(np.float32) * np.float32(CODING.top)
    return Frame(tuple(codes_of(exact, CODING)), CODING, index, Fraction(1, FPS))


def _rgb(frame: Frame) -> torch.Tensor:
    return to_rgb([torch.from_numpy(plane) for plane in frame.planes], frame.coding)


def _scenes(
    images: Path | None, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    files = find_images(images) if images is not None else []
    for index in range(count):
        shown = picture(LARGE, rng)
        if files:
            photo = read_rgb(files[index * len(files) // count]).astype(np.float32) / 255
            large = LARGE / max(photo.shape[:2])
            small = cv2.resize(photo, None, fx=large, fy=large, interpolation=cv2.INTER_AREA)
            shown = np.asarray(small, np.float32)
        yield np.asarray(np.clip(shown, 0, 1) ** 2.2, np.float32)


def main(
    images: Annotated[Path | None, typer.Option(help="Folder of sharp pictures.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 4,
    model: Annotated[str, typer.Option(help="A checkpoint.")] = "lite",
    fast: Annotated[float, typer.Option(help="How fast it turns.")] = 1.0,
    noise: Annotated[float, typer.Option(help="Of the sensor, in codes of 255.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the ways that the camera turns.")] = 1,
) -> None:
    """Print what the model gains by each kind of motion."""
    network = mssnet.load(weights.path(model), device=torch.device("cpu"), dtype=torch.float32)
    rng = np.random.default_rng(seed)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("clip", "way px", "blurred dB", "flow", "auto", "gyro"):
        table.add_column(column)
    rows: list[list[float]] = []
    for index, scene in enumerate(_scenes(images, clips, rng)):
        rates = turning(rng, fast)
        pairs = list(clip(scene, rates))
        frames = [
            _frame(np.clip(blurred + rng.normal(0, noise / 255, blurred.shape), 0, 1), number)
            for number, (blurred, _) in enumerate(pairs)
        ]
        # The first frame is taken one interval after the readings begin.
        times = np.arange(len(rates)) / RATE - 1 / FPS
        camera = CameraRotation(Series(times, rates), LENS)
        told = (None, *(Measured(camera, 0.0, alone=alone) for alone in (False, True)))
        sharp = [to_tensor((255 * each).astype(np.float32)) for _, each in pairs[1:-1]]
        found = [restored(network, frames, each)[1:-1] for each in told]
        found.insert(0, [_rgb(frame) for frame in frames[1:-1]])
        scores = [
            float(np.mean([psnr(one, true) for one, true in zip(some, sharp, strict=True)]))
            for some in found
        ]
        optics = Optics(LENS, *SIZE)
        ways = [camera.blur(optics, n / FPS, SHARE / FPS) for n in range(1, FRAMES - 1)]
        way = float(np.linalg.norm(ways, axis=-1).mean())
        rows.append([way, scores[0], *(score - scores[0] for score in scores[1:])])
        table.add_row(str(index), *(f"{value:+.2f}" for value in rows[-1]))
    mean = np.mean(rows, axis=0)
    table.add_row("mean", *(f"{value:+.2f}" for value in mean))
    console.print(table)
    raise typer.Exit(int(mean[4] < mean[2]))


if __name__ == "__main__":
    typer.run(main)
