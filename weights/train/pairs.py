"""Pairs of drawn pictures, to measure a checkpoint with where there are no others."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from weights.geometry import Scene, shaken, write
from weights.train.camera import CameraSettings
from weights.train.data import DataSettings, Samples
from weights.train.procedural import chart
from weights.train.synthesis import BlurSettings

_SIZE = 256
_TURN, _MOVE = 0.02, 0.02
"""Radians and meters from picture to picture of those with depth: several pixels each."""
_CLEAN = CameraSettings(noise=0, h264=0, jpeg=0, subsampled=0)
_MOVING = BlurSettings(bias=0.01, still=0, slight=0, defocus=0, whole=1, short=0, rolling=0)
KINDS = {
    "light": DataSettings(blur=replace(_MOVING, longest=8), camera=_CLEAN),
    "moderate": DataSettings(blur=replace(_MOVING, longest=24), camera=_CLEAN),
    "heavy": DataSettings(blur=replace(_MOVING, longest=60), camera=_CLEAN),
    "noisy": DataSettings(blur=replace(_MOVING, longest=12), camera=replace(_CLEAN, noise=1)),
    "compressed": DataSettings(
        blur=replace(_MOVING, longest=12),
        camera=replace(_CLEAN, h264=1, lowest_crf=28, highest_crf=28),
    ),
}
"""What the sets of pairs are; beside these `charts` holds sharp test charts, and `depth` a sequence
of pictures with depth and poses."""


def write_pairs(out: Path, count: int, images: Path | None, seed: int) -> list[Path]:
    """Write `count` pairs of each kind into folders of their own; returns the folders.

    `images`: photographs to use in place of drawn pictures. Raises `OSError` and `ValueError`.
    """
    folders = []
    for kind, usual in KINDS.items():
        settings = replace(usual, images=images, patch=_SIZE, scenes=count, uses=1, seed=seed)
        shown, sharp = Samples(settings).group(0)
        blurred = (shown[:, :3].float() * 255).round().byte()
        arrays = (t.permute(0, 2, 3, 1).contiguous().numpy() for t in (blurred, sharp))
        folders.append(_write(out / kind, *arrays))
    rng = np.random.default_rng(seed)
    scene = Scene(rng, _SIZE, _SIZE)
    path = shaken(rng, count, angle=_TURN * count, way=_MOVE * count)
    write(out / "depth", map(scene.seen, path))
    folders.append(out / "depth")
    charts = np.stack([np.round(chart(_SIZE, rng) * 255).astype(np.uint8) for _ in range(count)])
    folders.append(_write(out / "charts", charts, charts))
    return folders


def _write(folder: Path, blurred: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> Path:
    for side, pictures in (("blur", blurred), ("sharp", sharp)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(pictures):
            file = folder / side / f"{index:03}.png"
            if not cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
                raise OSError(f"cannot write {file}")
    return folder
