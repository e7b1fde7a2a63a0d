"""Networks work where frames are blurred; their guesses weigh less than what others have kept."""

from collections.abc import Callable
from fractions import Fraction
from itertools import chain

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from filters import Burst, Shutter, to_planes, values_of
from mssnet.regions import Where
from stream.compute.models import load_model
from stream.frame import Frame
from stream.stages.motion import Motion
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

    def __call__(
        self, image: Tensor, told: Tensor | None, where: Where | None
    ) -> Callable[[], Tensor]:
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


def test_frames_that_are_not_blurred_cost_nothing_and_stay() -> None:
    def fails(image: Tensor, told: Tensor | None, where: Where | None) -> Callable[[], Tensor]:
        raise AssertionError("nothing is to be restored")

    for frames in (shifted(5, [(0, 0)] * 5), shifted(5, [(0.5 * n, 0) for n in range(5)])):
        motion = Motion(Shutter(share=0.5), ahead=2)
        made = processed(frames, Processor(fails, torch.device("cpu"), motion=motion))
        kept = processed(frames, Processor(None, torch.device("cpu")))
        assert all(np.array_equal(one, other) for one, other in zip(made, kept, strict=True))


def test_what_does_not_move_stays_beside_what_does() -> None:
    frames = shifted(5, [(0, 0)] * 5)
    others = shifted(6, [(6 * n, 0) for n in range(5)])
    height, width = frames[0].shape[:2]
    for frame, other in zip(frames, others, strict=True):
        frame[:, : width // 3] = smeared(other, 7, 0)[:, : width // 3]
    restore = load_model("lite", device="cpu", precision="float32")
    motion = Motion(Shutter(share=1.0), ahead=2)
    made = processed(frames, Processor(restore.submit, torch.device("cpu"), motion=motion))[2]
    still, moved = np.s_[:, 2 * width // 3 :], np.s_[height // 4 : -height // 4, : width // 4]
    kept = processed(frames, Processor(None, torch.device("cpu")))[2]
    assert np.array_equal(made[still], kept[still])
    assert psnr(made[moved], kept[moved]) < 45


def turning(time: float) -> tuple[float, float]:
    """A camera that is shaken: 3 frames to the right, then back, and up and down."""
    return 16 * np.sin(time * 1.3), 10 * np.cos(time * 1.1)


@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)])
def test_what_turns_is_brought_to_where_it_was_in_the_middle_of_the_exposure(on: str) -> None:
    sharp = shifted(5, [turning(n) for n in range(7)])
    instants = [n + share for n in range(7) for share in np.linspace(-0.5, 0.5, 21)]
    several = np.array(shifted(5, [turning(time) for time in instants]), np.float32)
    filmed = [each.mean(0).round().astype(np.uint8) for each in np.split(several, 7)]
    # The second as `--model none` has it.
    for submit, fusion in ((unchanged, []), (None, [Burst(3, 3)])):
        away = []
        # An exposure that is told to be short is brought nowhere.
        for shutter in (Shutter(share=1.0), Shutter(share=0.2)):
            motion = Motion(shutter, ahead=2)
            device = torch.device(on)
            made = processed(filmed, Processor(submit, device, motion=motion, fusion=fusion))
            away.append([apart(made[n], sharp[n]) for n in range(1, 6)])
        # 0.17 and 0.69 pixels, fused 0.29 and 0.60.
        assert np.mean(away[0]) < 0.6 * np.mean(away[1])


def unchanged(image: Tensor, told: Tensor | None, where: Where | None) -> Callable[[], Tensor]:
    return lambda: image


def apart(one: Picture, other: Picture) -> float:
    """By how many pixels one picture lies from another."""
    found = np.eye(2, 3, dtype=np.float32)
    soft = [cv2.GaussianBlur(each.mean(-1).astype(np.float32), (0, 0), 3) for each in (one, other)]
    cv2.findTransformECC(soft[0], soft[1], found, cv2.MOTION_TRANSLATION)
    return float(np.hypot(*found[:, 2]))


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
