"""MSSNet, a coarse-to-fine network of U-Net stages for single-image deblurring.

Kim, Lee, Cho: "MSSNet: Multi-Scale-Stage Network for Single Image Deblurring", ECCV Workshops
2022 (arXiv 2202.09652). Three scales look at the image at a quarter, a half and the whole of the
working size. Each scale is a chain of U-Nets; features pass from every U-Net to the next one and
from every scale to the next one, and every stage can turn its features into an image.
"""

from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssnet.config import Config, Exit
from mssnet.motion import PLANES, unknown


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class View(NamedTuple):
    """What a scale looks at."""

    image: Tensor
    told: Tensor | None
    """What `mssnet.motion` tells, at twice the size that the scale works at; None: nothing."""


class Features(NamedTuple):
    """What one U-Net hands to the next: three levels each, finest first."""

    encoder: list[Tensor]
    decoder: list[Tensor]


_MOTION = 2
"""Pixel-unshuffle factor of what is told of the motion."""


def _unshuffled(embed: nn.Conv2d, image: Tensor, factor: int) -> Tensor:
    if embed.stride == (1, 1):  # else it takes the steps itself, see mssnet.stride
        image = F.pixel_unshuffle(image, factor)
    made: Tensor = embed(image.to(embed.weight.dtype))
    return made


class Block(nn.Module):
    """Two 3x3 convolutions around a PReLU whose slope the whole network shares."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width, 3)
        self.conv2 = _conv(width, width, 3)

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        y: Tensor = x + self.conv2(F.prelu(self.conv1(x), slope))
        return y


class Blocks(nn.ModuleList):
    """Residual blocks in a row, at one level."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__(Block(width) for _ in range(count))

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        for block in self:
            x = block(x, slope)
        return x


class Stage(nn.Module):
    """One U-Net of three levels, fed with the features of the U-Net before it if there is one."""

    def __init__(self, config: Config, *, first: bool) -> None:
        super().__init__()
        widths = config.widths
        self.encoder = nn.ModuleList(Blocks(width, config.blocks) for width in widths)
        self.down = nn.ModuleList(_conv(fine, coarse, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(Blocks(width, config.blocks) for width in widths)
        self.skip = nn.ModuleList(Block(width) for width in widths[:2])
        self.up = nn.ModuleList(_conv(coarse, fine, 1) for fine, coarse in pairwise(widths))
        previous = () if first else widths
        self.from_encoder = nn.ModuleList(_conv(width, width, 1) for width in previous)
        self.from_decoder = nn.ModuleList(_conv(width, width, 1) for width in previous)

    def forward(self, x: Tensor, before: Features | None, slope: Tensor) -> Features:
        encoded = []
        for level in range(3):
            if level:
                x = self.down[level - 1](_resize(x, 0.5))
            x = self.encoder[level](x, slope)
            if before is not None:
                passed = self.from_encoder[level](before.encoder[level])
                passed = passed + self.from_decoder[level](before.decoder[level])
                if passed.shape[-1] != x.shape[-1]:
                    # From the scale below. A 1x1 convolution and bilinear resizing commute, so
                    # the convolution runs on the smaller side.
                    passed = _resize(passed, 2)
                x = x + passed
            encoded.append(x)

        x = self.decoder[2](x, slope)
        decoded = [x]
        for level in (1, 0):
            x = _resize(self.up[level](x), 2) + self.skip[level](encoded[level], slope)
            x = self.decoder[level](x, slope)
            decoded.append(x)
        return Features(encoded, decoded[::-1])


class Scale(nn.Module):
    """The chain of stages at one scale, with the way in from the image and the ways out to it."""

    def __init__(self, config: Config, stages: int, unshuffle: int, *, first: bool) -> None:
        super().__init__()
        width = config.widths[0]
        channels = 3 * unshuffle**2
        self.unshuffle = unshuffle
        self.embed = _conv(channels, width, 3)
        if config.motion:
            self.embed_motion = _conv(PLANES * _MOTION**2, width, 3)
        self.embed_block = Block(width)
        if not first:
            self.lift = _conv(width, width, 1)
            self.fuse = _conv(2 * width, width, 3)
        self.stages = nn.ModuleList(
            Stage(config, first=first and index == 0) for index in range(stages)
        )
        self.tails = nn.ModuleList(_conv(width, channels, 3) for _ in range(stages))

    def forward(
        self, view: "View", before: Features | None, slope: Tensor, last_stage: int
    ) -> list[Features]:
        x = _unshuffled(self.embed, view.image, self.unshuffle)
        if view.told is not None:
            x = x + _unshuffled(self.embed_motion, view.told, _MOTION)
        x = self.embed_block(x, slope)
        if before is not None:
            x = self.fuse(torch.cat([x, _resize(self.lift(before.decoder[0]), 2)], dim=1))
        features = []
        for stage in list(self.stages)[:last_stage]:
            before = stage(x, before, slope)
            x = before.decoder[0]
            features.append(before)
        return features

    def change(self, features: Features, stage: int) -> Tensor:
        """Turn the features of one stage (counted from 0) into what is to be added to the image."""
        change: Tensor = self.tails[stage](features.decoder[0])
        return F.pixel_shuffle(change, self.unshuffle)


class MSSNet(nn.Module):
    """A network that deblurs one image; see the module's docstring for its source.

    `net(image)` takes `(N, 3, H, W)` in 0..1, RGB, H and W multiples of
    `net.config.multiple_of`, and returns the sharp image, same shape, not clamped. A network that
    is told the motion takes `(N, net.config.inputs, H, W)`: the image and what `mssnet.motion`
    makes to be told beside it; with the image alone it is a blind network.
    `net(image, exit)` leaves early, at one of `net.config.exits`: every stage's image is trained,
    so that is a valid, cheaper answer, and nothing beyond it is computed. The image keeps its own
    dtype: a float32 image through a bfloat16 network loses precision in the change alone. In
    training mode a call without `exit` returns the images of all stages, coarsest first; those of
    the first scale have half the height and width.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        factors = (2 * config.unshuffle, 2 * config.unshuffle, config.unshuffle)
        self.scales = nn.ModuleList(
            Scale(config, stages, unshuffle, first=index == 0)
            for index, (stages, unshuffle) in enumerate(zip(config.stages, factors, strict=True))
        )

    def forward(self, image: Tensor, exit: Exit | None = None) -> Tensor | list[Tensor]:
        if self.training and exit is None:
            return self.images(image)
        return image[:, :3] + self.change(image, exit).to(image.dtype)

    def change(self, image: Tensor, exit: Exit | None = None) -> Tensor:
        """What is to be added to the image: (N, 3, H, W) in the network's dtype.

        Apart from the image because bfloat16 cannot tell 8-bit values apart; a change it can.
        """
        exits = self.config.exits
        if exit is None:
            exit = exits[-1]
        if exit not in exits:
            raise ValueError(f"exit must be one of {', '.join(map(str, exits))}, got {exit}")
        self._check(image)
        scales = cast(list[Scale], list(self.scales))[: exit.scale]
        counts = *self.config.stages[: exit.scale - 1], exit.stage
        before: Features | None = None
        for scale, view, count in zip(scales, self._views(image), counts, strict=False):
            before = scale(view, before, self.slope, count)[-1]
        assert before is not None
        return scales[-1].change(before, exit.stage - 1)

    def images(self, image: Tensor, scales: int = 3) -> list[Tensor]:
        """The images of all stages of the first `scales` scales, coarsest first.

        Those of the first scale have half the height and width. Two scales cost a quarter of all
        three, and their last image has the full size already.
        """
        self._check(image)
        images = []
        before: Features | None = None
        for module, view, count in zip(
            self.scales, self._views(image), self.config.stages, strict=True
        ):
            scale = cast(Scale, module)
            features = scale(view, before, self.slope, count)
            before = features[-1]
            changes = [scale.change(each, stage) for stage, each in enumerate(features)]
            images += [view.image + change.to(view.image.dtype) for change in changes]
            scales -= 1
            if not scales:
                break
        return images

    def _views(self, image: Tensor) -> tuple[View, View, View]:
        """What each scale looks at."""
        told = None
        if self.config.motion:
            told = image[:, 3:] if image.shape[1] > 3 else unknown(image)
            image = image[:, :3]
        # The published weights were trained with corners aligned here, and only here.
        half = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=True)
        if told is None:
            return View(half, None), View(image, None), View(image, None)
        less = F.avg_pool2d(told, 2)
        return View(half, F.avg_pool2d(less, 2)), View(image, less), View(image, told)

    def _check(self, image: Tensor) -> None:
        inputs = self.config.inputs
        if image.ndim != 4 or image.shape[1] not in (3, inputs):
            or_told = f" or (N, {inputs}, H, W)" if inputs > 3 else ""
            raise ValueError(
                f"image must have shape (N, 3, H, W){or_told}, got {tuple(image.shape)}"
            )
        multiple = self.config.multiple_of
        if image.shape[2] % multiple or image.shape[3] % multiple or not image.numel():
            raise ValueError(
                f"height and width must be multiples of {multiple}, got "
                f"{image.shape[2]}x{image.shape[3]}; mssnet.load() pads to any size"
            )


class Leaving(nn.Module):
    """A network as far as one exit: what it takes to (N, 3, H, W) to be added to the image."""

    def __init__(self, net: MSSNet, exit: Exit | None = None) -> None:
        super().__init__()
        self.net = net
        self.exit = exit

    def forward(self, image: Tensor) -> Tensor:
        return self.net.change(image, self.exit)
