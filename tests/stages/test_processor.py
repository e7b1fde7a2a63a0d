"""A network's guesses weigh less than what other frames have kept, in every pass of fusion."""

from collections.abc import Callable
from fractions import Fraction
from itertools import chain

import cv2
import numpy as np
import torch
from torch import Tensor

from filters import Burst, to_planes, values_of
from stream.frame import Frame
from stream.stages.processor import Processor
from tests.filters.test_fusion import (
    FULL,
    Picture,
    noisy,
    picture_of,
    psnr,
    shifted,
    smeared,
)


class Guesses:
    """Restores what it gets fourth by inventing detail, and leaves the rest alone."""

    def __init__(self, invented: Tensor) -> None:
        self._invented = invented
        self._count = 0

    def __call__(self, image: Tensor, told: Tensor | None) -> Callable[[], Tensor]:
        self._count += 1
        made = image + self._invented if self._count == 4 else image
        return lambda: made


def test_passes_of_fusion_know_what_was_filmed() -> None:
    sharp = shifted(7, [(3 * n, n) for n in range(7)])
    filmed = list(sharp)
    filmed[3] = smeared(sharp[3], 15, 20)
    grain = noisy(np.full_like(sharp[3], 128), 60, 1).astype(np.float32)
    invented = cv2.GaussianBlur(grain, (0, 0), 1.5) / 255 - 128 / 255
    guess = torch.from_numpy(invented).permute(2, 0, 1)[None]
    once, twice, alone = (
        processed(filmed, Processor(network, torch.device("cpu"), fusion=fusion))[3]
        for network, fusion in (
            (Guesses(guess), [Burst(3, 3)]),
            (Guesses(guess), [Burst(3, 3), Burst(3, 3)]),
            (None, [Burst(3, 3), Burst(3, 3)]),
        )
    )
    guessed = np.clip(filmed[3] + 255 * invented, 0, 255).astype(np.uint8)
    assert psnr(once, sharp[3]) > psnr(guessed, sharp[3]) + 3
    assert psnr(twice, sharp[3]) > psnr(once, sharp[3])
    assert psnr(alone, sharp[3]) > psnr(twice, sharp[3])


def processed(frames: list[Picture], processor: Processor) -> list[Picture]:
    given = [
        Frame(
            tuple(plane.numpy() for plane in to_planes(image_of(frame), FULL)),
            FULL,
            number,
            Fraction(1, 25),
        )
        for number, frame in enumerate(frames)
    ]
    made = [*chain.from_iterable(map(processor.push, given)), *processor.flush()]
    assert len(made) == len(frames)
    return [picture_of(values_of(list(map(torch.from_numpy, one.planes)), FULL)) for one in made]


def image_of(picture: Picture) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
