"""Blurred and sharp pairs made from photographs, the way a moving camera makes them.

A scene has layers: a photograph behind, and objects with soft masks, cut from other photographs,
in front. Camera and objects move along paths of their own while the shutter is open; the
sub-frames are averaged as light (or, for a share of the scenes, as encoded values, as data sets
averaged from high-speed video do), and the sharp picture is the sub-frame in the middle.
Uniform kernels, which move everything alike, do not carry over to real footage.

Scenes are made in batches by torch, on the device that trains; what is random is drawn by NumPy on
the CPU, so that a seed gives the same scenes everywhere, up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from weights.train import motion
from weights.train.photos import Photos
from weights.train.response import Response

_MOST_LAYERS = 3
_MOST_FRAMES = 65
# Pixels that a point moves between sub-frames. Light flows without gaps; data sets averaged from
# high-speed video have steps, which show as ghosts, so averages of encoded values get them too.
_STEP_LIGHT = 2.0
_STEP_ENCODED = (1.5, 5.0)


@dataclass(frozen=True)
class BlurSettings:
    """How blurred, and in which ways, the scenes are; lengths in pixels of a 720p frame."""

    longest: float = 60.0
    """The longest path of a point across the picture during one exposure."""
    bias: float = 1.3
    """How much short blur outweighs long blur: a length is `longest * u**bias`, u uniform."""
    sharp: float = 0.06
    """Share of scenes in which nothing moves."""
    slight: float = 0.12
    """Share of scenes blurred by less than 3 pixels."""
    encoded: float = 0.50
    """Share of scenes averaged in encoded values instead of light."""
    defocus: float = 0.10
    """Share of scenes that are also out of focus."""
    objects: float = 1.0
    """Mean number of objects in front; 0 leaves the path of the camera alone."""
    uniform: float = 0.0
    """Share of scenes with a kernel that is the same everywhere: no turning, zoom or objects."""


@dataclass
class _Plan:
    """What was drawn for one scene before anything is rendered."""

    length: float
    count: int
    encoded: bool
    response: int
    gain: float
    highlights: float
    defocus: float
    camera: motion.Maps
    objects: list[motion.Maps] = field(default_factory=list)


def scenes(
    photos: Photos,
    count: int,
    size: int,
    settings: BlurSettings,
    responses: Sequence[Response],
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Make `count` pairs (blurred, sharp), each (count, 3, size, size) encoded RGB in 0..1."""
    # Longest exposure first: scenes still being exposed are then always the first few.
    plans = sorted(
        (_plan(size, settings, len(responses), rng) for _ in range(count)), key=lambda p: -p.count
    )
    margin = int(max(plan.length for plan in plans) / 2) + 8
    side = size + 2 * margin

    def paint(plan: _Plan) -> Tensor:
        crop = photos.crop(side, rng)
        if plan.encoded:
            return crop
        light = responses[plan.response].to_light(crop)
        if plan.highlights:
            light = light + plan.highlights * (light.amin(0, keepdim=True) > 0.93)
        return light * plan.gain

    behind = _Layer(
        torch.stack([paint(plan) for plan in plans]), [plan.camera for plan in plans], size, margin
    )
    fronts = []
    for slot in range(_MOST_LAYERS):
        chosen = [index for index, plan in enumerate(plans) if len(plan.objects) > slot]
        if chosen:
            painted = []
            for index in chosen:
                mask = torch.from_numpy(_blob(side, size, rng))[None].to(device)
                painted.append(torch.cat([paint(plans[index]) * mask, mask]))
            paths = [plans[index].camera @ plans[index].objects[slot] for index in chosen]
            layer = _Layer(torch.stack(painted), paths, size, margin)
            fronts.append((torch.tensor(chosen, device=device), chosen, layer))

    total = torch.zeros((count, 3, size, size), device=device)
    for index in range(plans[0].count):
        exposed = sum(plan.count > index for plan in plans)
        frame = behind.at(index, exposed)
        for where, chosen, layer in fronts:
            if among := sum(one < exposed for one in chosen):
                _cover(frame, where[:among], layer.at(index, among))
        total[:exposed] += frame
    counts = torch.tensor([plan.count for plan in plans], device=device)
    blurred = total / counts[:, None, None, None]

    sharp = behind.middle()
    for where, _, layer in fronts:
        _cover(sharp, where, layer.middle())
    for index, plan in enumerate(plans):
        if plan.defocus:
            blurred[index] = _defocus(blurred[index], plan.defocus)
        if not plan.encoded:
            response = responses[plan.response]
            blurred[index] = response.to_encoded(blurred[index])
            sharp[index] = response.to_encoded(sharp[index])
    return blurred.clamp_(0, 1), sharp.clamp_(0, 1)


class _Layer:
    """Pictures with a margin on all sides, and where each of them is in every sub-frame."""

    def __init__(
        self, pictures: Tensor, paths: Sequence[motion.Maps], size: int, margin: int
    ) -> None:
        self.pictures = pictures
        self.size, self.margin = size, margin
        side = pictures.shape[-1]
        most = max(len(path) for path in paths)
        # From a pixel of the sub-frame to the one of the picture that it shows.
        back = np.stack(
            [np.pad(np.linalg.inv(p), ((0, most - len(p)), (0, 0), (0, 0))) for p in paths]
        )
        back[:, :, :2, 2] += margin + 0.5
        back[:, :, :2] *= 2 / side
        back[:, :, :2, 2] -= 1
        self.back = torch.from_numpy(back[:, :, :2].astype(np.float32)).to(pictures.device)
        self.line = torch.arange(size, dtype=torch.float32, device=pictures.device)

    def at(self, index: int, among: int) -> Tensor:
        """The first `among` pictures in sub-frame `index`, (among, C, size, size)."""
        back = self.back[:among, index, :, :, None]
        # An affine map is a sum of a part along the row and a part along the column.
        columns = back[:, :, 0] * self.line + back[:, :, 2]
        rows = back[:, :, 1] * self.line
        grid = torch.empty((among, self.size, self.size, 2), device=columns.device)
        for axis in range(2):
            torch.add(columns[:, axis, None, :], rows[:, axis, :, None], out=grid[..., axis])
        return F.grid_sample(
            self.pictures[:among], grid, padding_mode="border", align_corners=False
        )

    def middle(self) -> Tensor:
        """The pictures in the middle of the exposure, where all paths pass the identity."""
        inside = slice(self.margin, self.margin + self.size)
        return self.pictures[:, :, inside, inside].clone()


def _cover(frame: Tensor, where: Tensor, layer: Tensor) -> None:
    """Put (n, 4, H, W) premultiplied objects over the frames numbered `where`."""
    frame[where] = frame[where] * (1 - layer[:, 3:]) + layer[:, :3]


def _plan(size: int, settings: BlurSettings, responses: int, rng: np.random.Generator) -> _Plan:
    length = _length(settings, rng)
    encoded = bool(rng.random() < settings.encoded)
    step = rng.uniform(*_STEP_ENCODED) if encoded else _STEP_LIGHT
    count = int(np.clip(length / step, 8, _MOST_FRAMES - 1)) | 1 if length else 1
    plan = _Plan(
        length=length,
        count=count,
        encoded=encoded,
        response=int(rng.integers(responses)),
        gain=float(rng.uniform(0.6, 1.1)),
        highlights=float(rng.uniform(0.25, 1.75)) if rng.random() < 0.5 else 0.0,
        defocus=float(rng.uniform(0.5, 3.5)) if rng.random() < settings.defocus else 0.0,
        camera=motion.still(count),
    )
    if rng.random() < settings.uniform:
        plan.camera = motion.path(length, count, size, rng)
        # Turning and zoom gone, what is left moves every point alike.
        plan.camera[:, :2, 2] += (plan.camera[:, :2, :2] - np.eye(2)) @ [size / 2, size / 2]
        plan.camera[:, :2, :2] = np.eye(2)
        return plan
    camera_share, object_share = _who_moves(rng)
    plan.camera = motion.path(length * camera_share, count, size, rng)
    for _ in range(min(_MOST_LAYERS, rng.poisson(settings.objects))):
        extent = length * object_share * rng.random()
        plan.objects.append(motion.path(extent, count, size, rng))
    return plan


def _length(settings: BlurSettings, rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < settings.sharp:
        return 0.0
    if kind < settings.sharp + settings.slight:
        return float(rng.uniform(0.3, 3.0))
    return 2.0 + (settings.longest - 2.0) * float(rng.random() ** settings.bias)


def _who_moves(rng: np.random.Generator) -> tuple[float, float]:
    """Shares of the length that the camera and the objects move by."""
    kind = rng.random()
    if kind < 0.20:
        return 0.05, 1.0  # a tripod, or nearly, and something moving in front
    if kind < 0.60:
        return 1.0, 0.0  # hand-held, a still scene
    return 1.0, 0.8


def _blob(side: int, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A mask in 0..1: a few overlapping shapes with an edge between hard and soft."""
    mask = np.zeros((side, side), np.uint8)
    middle = rng.uniform((side - size) / 2, (side + size) / 2, 2)
    for _ in range(int(rng.integers(1, 5))):
        at = middle + rng.normal(0, size * 0.12, 2)
        axes = rng.uniform(0.03, 0.28, 2) * size
        angle = float(rng.uniform(0, 360))
        box = cv2.boxPoints(((float(at[0]), float(at[1])), (2 * axes[0], 2 * axes[1]), angle))
        if rng.random() < 0.5:
            cv2.fillPoly(mask, [box.astype(np.int32)], 255)
        else:
            center = (int(at[0]), int(at[1]))
            cv2.ellipse(mask, center, (int(axes[0]), int(axes[1])), angle, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.choice([0.6, 0.8, 1.2, 2.5])))
    return soft.astype(np.float32) / np.float32(255)


def _defocus(image: Tensor, radius: float) -> Tensor:
    """(3, H, W) through the disk of a lens out of focus."""
    reach = int(np.ceil(radius))
    away = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    disk = (radius + 0.5 - torch.hypot(away[:, None], away)).clamp(0, 1)
    padded = F.pad(image[:, None], [reach] * 4, mode="reflect")
    return F.conv2d(padded, (disk / disk.sum())[None, None])[:, 0]
