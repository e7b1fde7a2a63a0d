"""Training a network a little more, on what one video shows of itself.

What a video shows best, its frames restored and fused with their neighbors and made smaller, is
taken for sharp, and blurred again by motion as long as the video's own, with its own shutter. Then
the network has seen the very textures, noise and colors that it is to restore. That a network gains
by it where footage is unlike what it was trained on is known as self-supervised or test-time
adaptation (Chi et al., "Test-time fast adaptation for dynamic scene deblurring via meta-auxiliary
learning", CVPR 2021).
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

import mssnet
from filters import Shutter, to_rgb
from stream.errors import SourceError, UsageError
from stream.frame import Frame
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.options.settings import Settings
from stream.stages.build import stages_of
from stream.stages.motion import way
from stream.stages.shutter import guide_of, shutter_of, spots
from weights.train.deblurring import Deblurring
from weights.train.loop import RunSettings, train
from weights.train.photos import PhotoSettings
from weights.train.recipe import Phase, Recipe
from weights.train.state import averaged
from weights.train.synthesis import BlurSettings

USUAL_STEPS = 300
_PLACES, _FRAMES = 12, 7
"""Places of the video that are looked at, and how many frames at each; the middle one is learned
from."""
_LEAST_SIDE = 360
"""Pixels of the shorter side that frames are not made smaller than."""
_RATE = 0.0004
_SHORTEST, _LONGEST = 4.0, 60.0
"""Pixels in a frame interval."""


@dataclass(frozen=True)
class Seen:
    """What was looked at in a video."""

    pictures: int
    """How many frames are learned from."""
    share: float
    """Of the frame interval for which the shutter is open."""
    way: float
    """Pixels: nearly all that is seen moves less in a frame interval."""


def adapt(
    clip: Path,
    preset: str,
    weights: Path,
    restore: mssnet.Deblurrer,
    *,
    steps: int = USUAL_STEPS,
    exposure: Exposure | None = None,
    on_seen: Callable[[Seen], None] = lambda seen: None,
) -> dict[str, torch.Tensor]:
    """Go on training `weights`, those of a network of size `preset`, which `restore` runs.

    Returns the new weights in half precision. Raises `SourceError` for a video that shows nothing
    to learn from, `UsageError` for a network that is not told the motion, and
    `weights.train.loop.StoppedError` after SIGINT or SIGTERM.
    """
    if preset not in mssnet.PRESETS or not mssnet.PRESETS[preset].motion:
        raise UsageError("only networks that are told the motion can be adapted, such as lite")
    with tempfile.TemporaryDirectory(prefix="deblur-adapt-") as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        seen = _look(clip, pictures, restore, exposure or Exposure())
        on_seen(seen)
        blur = BlurSettings(
            longest=seen.way,
            whole=0.8 if seen.share > 0.8 else 0.1,
            short=0.8 if seen.share < 0.3 else 0.1,
        )
        phase = Phase(blur=blur, photos=PhotoSettings(shrink=1.3), passes=2)
        recipe = Recipe(preset=preset, rate=_RATE, warmup=20, average=0.98, phases=((0.0, phase),))
        run = RunSettings(images=pictures, steps=steps, start=weights)
        train(Deblurring(recipe, run), run, Path(folder) / "run")
        return averaged(Path(folder) / "run")


def _look(clip: Path, folder: Path, restore: mssnet.Deblurrer, exposure: Exposure) -> Seen:
    """Write pictures that are as sharp as the video has any to the folder."""
    ways: list[float] = []
    count = 0
    with closing(Source(clip)) as source:
        shutter = shutter_of(source, exposure)
        for frames in spots(source, _PLACES, _FRAMES):
            if len(frames) < 3 or any(frame.cut for frame in frames):
                continue
            middle = len(frames) // 2
            there = way(*map(guide_of, frames[middle : middle + 2]))
            if there is None:
                continue
            scale = source.size[0] / there.shape[1]
            ways.append(scale * float(np.percentile(np.hypot(there[..., 0], there[..., 1]), 90)))
            picture = _made_of(frames, restore, shutter)[middle]
            _write(folder / f"{count:03}.png", picture)
            count += 1
    if not count:
        raise SourceError(f"{clip} shows nothing to learn from: no frames that follow one another")
    longest = float(np.clip(np.percentile(ways, 90), _SHORTEST, _LONGEST))
    return Seen(count, shutter.share, longest)


def _made_of(
    frames: Sequence[Frame], restore: mssnet.Deblurrer, shutter: Shutter
) -> Sequence[Frame]:
    """The frames as `deblur run` makes them."""
    stage = stages_of(Settings(), restore, None, {}, shutter=shutter)["deblur"]
    made = [each for frame in frames for each in stage.push(frame)]
    return [*made, *stage.flush()]


def _write(file: Path, frame: Frame) -> None:
    planes = [torch.from_numpy(plane) for plane in frame.planes]
    rgb = to_rgb(planes, frame.coding)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    factor = max(1.0, min(2.0, min(rgb.shape[:2]) / _LEAST_SIDE))
    codes = cv2.cvtColor(np.asarray(rgb * 255 + 0.5, np.uint8), cv2.COLOR_RGB2BGR)
    small = cv2.resize(codes, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(file), small):
        raise OSError(f"cannot write {file}")
