"""Samples and loss to train the upscaler with.

A sample is a picture's luma and the same a third of its size, made smaller as published figures
assume; for a share of them the small picture was blurred, filmed and restored by a deblurring
network before, which is what the upscaler gets in a video.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import mssnet
from filters import UPSCALERS, luma
from filters.resize import resampled
from filters.sampling import FACTOR, PHASES, third
from filters.upscale import UpscalerNet
from mssnet.motion import AROUND, Neighbor, planes
from weights.train.camera import codes, compress, sensor
from weights.train.loop import RunSettings
from weights.train.photos import Photos
from weights.train.recipe import Enlarging, EnlargingPhase
from weights.train.response import srgb
from weights.train.sheet import KEPT_ASIDE, SCENES, side_by_side
from weights.train.synthesis import NOW, Scene, share

_EDGE = 2
"""Low-resolution pixels at a patch's edge that do not count: what is around them is unknown."""
_DOUBT_UNIT = 64.0
_MOST_DOUBT = 8.0
_LONG, _SHORT = 0.8, 0.45
"""Standard deviations of the first kernels in pixels."""


@dataclass(frozen=True)
class EnlargingSettings:
    """Where the samples come from and what is done to them."""

    images: Path | None = None
    """A folder of sharp photographs, searched through; None draws pictures."""
    restorer: Path | None = None
    """Weights of the deblurring network; without them no sample is blurred."""
    seed: int = 0
    phase: EnlargingPhase = field(default_factory=EnlargingPhase)


class EnlargingSamples:
    """The stream of samples of one seed; a group depends on the seed and its number alone."""

    def __init__(self, settings: EnlargingSettings, device: torch.device) -> None:
        """`device` runs the deblurring network.

        Raises `ValueError` or `OSError` where pictures or weights cannot be used.
        """
        phase = settings.phase
        self.settings, self._device = settings, device
        self._photos = Photos(settings.images, phase.photos, size=phase.patch, seed=settings.seed)
        self._blurred = round(phase.restored * phase.scenes) if settings.restorer else 0
        if self._blurred and settings.restorer:
            dtype = torch.bfloat16 if mssnet.has_bfloat16(device) else torch.float32
            self._restore = mssnet.load(settings.restorer, device=device, dtype=dtype)

    @property
    def size(self) -> int:
        """Samples in a group."""
        return self.settings.phase.scenes

    def group(self, number: int) -> tuple[Tensor, Tensor]:
        """Luma small and large of group `number`, uint8.

        That is (group, 1, patch / 3, patch / 3) and (group, 1, patch, patch).
        """
        phase = self.settings.phase
        rng = np.random.default_rng([self.settings.seed, number, 3])
        pairs = [self._sharp(rng) for _ in range(phase.scenes - self._blurred)]
        pairs += [self._restored(rng) for _ in range(self._blurred)]
        order = torch.from_numpy(rng.permutation(phase.scenes))
        small, large = (torch.cat(each) for each in zip(*pairs, strict=True))
        return small[order], large[order]

    def _sharp(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        square = self._photos.crop(self.settings.phase.patch, rng).square
        large = _codes(luma(_tensor(np.asarray(square / 255, np.float32))))
        return _codes(third(large.float() / 255)), large

    def _restored(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A clip filmed small, of which the network restores the middle."""
        phase = self.settings.phase
        scene = Scene(self._photos, phase.patch, phase.blur, [srgb()], rng)
        clip = scene.film([share(phase.blur, rng)])[0]
        small = [_array(third(_tensor(frame)).clamp(0, 1)) for frame in clip.frames]
        frames = [codes(frame) for frame in sensor(small, phase.camera, rng)]
        coded = [torch.from_numpy(each) for each in compress(frames, phase.camera, rng)]
        now, near = coded[NOW], zip(AROUND, clip.flows, strict=True)
        told = planes(now, [Neighbor(coded[NOW + step], flow) for step, flow in near], clip.share)
        with torch.inference_mode():
            restored = self._restore(now.permute(2, 0, 1)[None].float() / 255, told).cpu()
        return _codes(luma(restored)), _codes(luma(_tensor(clip.sharp)))


class EnlargingTask:
    """A `Task`: the upscaler."""

    def __init__(self, recipe: Enlarging, run: RunSettings) -> None:
        self.recipe, self._run = recipe, run
        torch.manual_seed(run.seed)  # for the first weights
        self.net = UpscalerNet(UPSCALERS[recipe.preset])
        self._kept: tuple[Tensor, Tensor] | None = None

    def start(self, weights: Mapping[str, Tensor] | None) -> None:
        if weights is None:
            initialize(self.net)
        else:
            self.net.load_state_dict(dict(weights))

    def samples(self, phase: int) -> EnlargingSamples:
        settings = EnlargingSettings(
            images=self._run.images,
            restorer=self._run.restorer,
            seed=1000 * self._run.seed + phase,
            phase=self.recipe.phases[phase][1],
        )
        samples = EnlargingSamples(settings, self._run.device)
        small, large = samples.group(KEPT_ASIDE)
        device = self._run.device
        self._kept = small[:SCENES].to(device), large[:SCENES].to(device)
        return samples

    def loss(self, phase: int) -> Callable[[Tensor, Tensor], Tensor]:
        squared = self.recipe.phases[phase][1].squared
        return lambda small, large: loss(self.net, small, large, squared=squared)

    @torch.inference_mode()
    def draw(self, mean: Mapping[str, Tensor]) -> tuple[NDArray[np.uint8], float]:
        """Samples kept aside: bicubic, the upscaler's, the truth; the gain is over bicubic."""
        assert self._kept
        net = UpscalerNet(self.net.config).to(self._run.device).eval()
        net.load_state_dict(dict(mean))
        small, large = (each.float() / 255 for each in self._kept)
        plain = resampled(small, (large.shape[3], large.shape[2])).clamp(0, 1)
        change = net.enlarge(small, net(small))
        made = F.pixel_shuffle(small.repeat_interleave(PHASES, 1) + change, FACTOR).clamp(0, 1)
        return side_by_side(*(each.expand(-1, 3, -1, -1) for each in (plain, made, large)))


@torch.no_grad()
def initialize(net: UpscalerNet) -> None:
    """Make torch's random weights a better start.

    The kernels are Gaussians drawn out in evenly spread directions, around the middle of each
    phase. A tail of zero makes the first picture the base.
    """
    config = net.config
    net.tail.weight.zero_()
    reach = config.taps // 2
    offsets = torch.arange(-reach, reach + 1).float()
    for index in range(config.kernels):
        angle = torch.tensor(torch.pi * index / config.kernels)
        for phase in range(PHASES):
            down = offsets[:, None] - (phase // FACTOR - 1) / FACTOR
            across = offsets[None, :] - (phase % FACTOR - 1) / FACTOR
            along = across * angle.cos() + down * angle.sin()
            beside = down * angle.cos() - across * angle.sin()
            log = -0.5 * ((along / _LONG).square() + (beside / _SHORT).square())
            net.kernels[index, phase] = log.flatten()


def loss(net: UpscalerNet, small: Tensor, large: Tensor, *, squared: bool) -> Tensor:
    """How far the picture, the base alone and the network's doubts are off.

    `small` (N, 1, H, W) and `large` (N, 1, 3H, 3W), luma in 0..1. The doubt is trained as in
    FeatSharp: exp(-s) times the squared error, plus s, both halved, where s is its logarithm.
    """
    answer = net(small)
    base = net.base(small, answer.mix)
    change = net.enlarge(small, answer)
    wanted = (F.pixel_unshuffle(large, FACTOR) - small)[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
    base, change, detail, doubt = (
        each.float()[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
        for each in (base, change, answer.detail, answer.doubt)
    )
    error = (change - wanted).square() if squared else (change - wanted).abs()
    doubt = doubt.clamp(-_MOST_DOUBT, _MOST_DOUBT)
    off = (_DOUBT_UNIT * (detail - (wanted - base.detach()))).square()
    doubts = 0.5 * (off * torch.exp(-doubt) + doubt)
    scale = 30.0 if squared else 1.0
    return scale * error.mean() + 0.1 * (base - wanted).abs().mean() + 0.001 * doubts.mean()


def _codes(image: Tensor) -> Tensor:
    return (image * 255).round().clamp(0, 255).byte()


def _tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()


def _array(image: Tensor) -> NDArray[np.float32]:
    return image[0].permute(1, 2, 0).contiguous().numpy()
