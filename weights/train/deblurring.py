"""Training the deblurring network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Conv2d

from mssnet import PRESETS, MSSNet, from_state_dict, grown
from mssnet.model import Scale
from weights.train.data import DataSettings, Samples
from weights.train.gradients import LOSSES
from weights.train.loop import RunSettings
from weights.train.recipe import Phase, Recipe
from weights.train.sheet import Sheet

_CONTRAST = 4.0
"""How much larger brightness is than contrast, which takes its place, in a photograph."""


class Deblurring:
    """A `Task`: MSSNet, on clips synthesized from photographs."""

    def __init__(self, recipe: Recipe, run: RunSettings) -> None:
        self.recipe, self._run = recipe, run
        torch.manual_seed(run.seed)  # for the first weights
        config = PRESETS[recipe.preset]
        if recipe.widths:
            fine, middle, coarse = recipe.widths
            config = replace(config, widths=(fine, middle, coarse))
        self.net = MSSNet(config)
        self._sheet: Sheet | None = None

    def start(self, weights: Mapping[str, Tensor] | None) -> None:
        if weights is None:
            _initialize(self.net)
        else:
            net = from_state_dict(weights)
            if self.recipe.widths:
                net = grown(net, self.net.config.widths)
            self.net.load_state_dict(net.state_dict())

    def samples(self, phase: int) -> Samples:
        samples = Samples(data_of(self.recipe.phases[phase][1], self._run, phase))
        self._sheet = Sheet(samples, self._run.device)
        return samples

    def loss(self, phase: int) -> Callable[[Tensor, Tensor], Tensor]:
        of_images = LOSSES[self.recipe.phases[phase][1].loss]
        return lambda blurred, sharp: of_images(self.net(blurred), sharp)

    def draw(self, mean: Mapping[str, Tensor]) -> tuple[NDArray[np.uint8], float]:
        assert self._sheet
        return self._sheet.draw(self.net, mean)


@torch.no_grad()
def _initialize(net: MSSNet) -> None:
    """Make torch's random weights a better start for a network without bias or normalization.

    A flat area's brightness would drown its contrast in every feature, and with it the sign that
    the activations turn on; so the first convolutions start without an answer to flat areas. And
    a network whose activations hardly bend (PReLU's slope of 0.25) is slow to learn that blur has
    a direction: with both, it learned to remove blur of unknown direction twice as fast. Tails of
    zero, so that the first image is the input, speed it up again by half.
    """
    net.slope.zero_()
    for scale in net.scales:
        assert isinstance(scale, Scale)
        for tail in scale.tails:
            cast(Conv2d, tail).weight.zero_()
        kernels = scale.embed.weight.view(len(scale.embed.weight), 3, -1, 3, 3)
        kernels -= kernels.mean((2, 3, 4), keepdim=True)
        kernels *= _CONTRAST
        if net.config.motion:
            told = scale.embed_motion.weight
            told -= told.mean((2, 3), keepdim=True)


def data_of(phase: Phase, run: RunSettings, number: int) -> DataSettings:
    """The stream of samples of a run's phase `number`."""
    return DataSettings(
        images=run.images,
        response=run.response,
        photos=phase.photos,
        patch=phase.patch,
        scenes=phase.scenes,
        uses=phase.uses,
        seed=1000 * run.seed + number,
        blur=phase.blur,
        camera=phase.camera,
        neighbors=phase.neighbors,
    )
