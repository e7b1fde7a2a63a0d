"""Frames are steadied along their motion, and nothing is dragged along with them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters import Smoother, Tracker, temporal
from filters.motion import Motion
from filters.scene import Cuts

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

HEIGHT, WIDTH = 144, 192


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """A picture with edges and texture of all sizes."""
    draw = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for size in (64, 32, 16, 8, 4, 2):
        layer = draw.random((height // size + 2, width // size + 2, 3)).astype(np.float32)
        grown = cv2.resize(layer, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)
        picture += (grown[:height, :width] - 0.5) * size**0.5
    picture = 128 + picture * (45 / picture.std())
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def steadied(
    frames: list[Picture], amount: float = 0.8, seen: list[Picture] | None = None
) -> list[Picture]:
    """Frames after the filter; the motion is found in `seen`."""
    tracker, smooth = Tracker(), Smoother(amount)
    state: dict[str, Tensor] = {}
    made = []
    for frame, look in zip(frames, seen or frames, strict=True):
        motion = tracker.push(cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.uint8))
        image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        image, state = smooth(image, state, motion)
        made.append(image[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte().numpy())
    return made


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = np.square(one.astype(float) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def noisy(picture: Picture, sigma: float, seed: int) -> Picture:
    grain = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.asarray(np.clip(picture + grain, 0, 255).round(), np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_flicker_of_a_static_scene_falls_by_more_than_4_db(sigma: float) -> None:
    still = scene(0)
    frames = [noisy(still, sigma, index) for index in range(20)]
    made = steadied(frames)

    def flicker(video: list[Picture]) -> float:
        steps = [b.astype(float) - a for a, b in pairwise(video[9:])]
        return float(np.mean(np.square(steps)))

    assert 10 * np.log10(flicker(frames) / flicker(made)) > 4
    assert psnr(made[-1], still) > psnr(frames[-1], still) + 2


def test_after_a_cut_nothing_is_left_of_the_scene_before() -> None:
    frames = [noisy(scene(1), 3, n) for n in range(5)] + [noisy(scene(2), 3, n) for n in range(5)]
    made = steadied(frames)
    assert np.array_equal(made[5], frames[5])
    assert not np.array_equal(made[6], frames[6])


def moving(step: int, sigma: float) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """An object in front of a still background: frames, the truth, and where the object was."""
    behind, thing = scene(3), 255 - scene(4)
    frames, truth, masks = [], [], []
    for index in range(12):
        x = 20 + step * index
        exact, mask = behind.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (x, 70), 16, 1, -1)
        exact[mask > 0] = thing[mask > 0] // 2
        truth.append(exact)
        masks.append(cv2.dilate(mask, np.ones((9, 9), np.uint8)).astype(np.uint8))
        frames.append(noisy(exact, sigma, index))
    return frames, truth, masks


@pytest.mark.parametrize("step", [2, 6, 12])
def test_a_moving_object_leaves_no_ghost(step: int) -> None:
    frames, truth, masks = moving(step, 4.0)
    made = steadied(frames)
    gains = []
    for index in range(4, 12):
        around = np.maximum(masks[index], masks[index - 1]) > 0
        before, after = (psnr(each[index][around], truth[index][around]) for each in (frames, made))
        gains.append(after - before)
        # A ghost of the object, or what it hid, would be off by far more than the noise is.
        off = np.abs(made[index].astype(int) - truth[index])[around].mean(axis=-1)
        assert np.quantile(off, 0.999) < 16
    assert np.mean(gains) > -0.5


def test_motion_is_followed() -> None:
    wide = scene(5, HEIGHT + 40, WIDTH + 80)
    exact = [wide[2 * n : 2 * n + HEIGHT, 3 * n : 3 * n + WIDTH] for n in range(12)]
    frames = [noisy(np.ascontiguousarray(each), 6, n) for n, each in enumerate(exact)]
    made = steadied(frames)
    inner = (slice(12, -12), slice(12, -12))
    assert psnr(made[-1][inner], exact[-1][inner]) > psnr(frames[-1][inner], exact[-1][inner]) + 2


def test_what_was_sharper_is_kept_and_what_was_blurred_is_not() -> None:
    sharp = scene(6)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 1.5).astype(np.uint8)
    same = [sharp] * 6  # the motion, which is none, is known here
    late = steadied([sharp, sharp, blurred, blurred, blurred, blurred], seen=same)
    assert psnr(late[-1], sharp) > psnr(blurred, sharp) + 2
    early = steadied([blurred, blurred, blurred, sharp, sharp, sharp], seen=same)
    assert psnr(early[3], sharp) > psnr(blurred, sharp) + 6
    assert psnr(early[-1], sharp) > 40


def test_nothing_is_blended_without_motion_or_after_a_change_of_size() -> None:
    image, small = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 20, 30)
    motion = Motion(np.zeros((20, 30, 2), np.float32), np.ones((20, 30), np.float32))
    smooth = Smoother(1.0)
    _, state = smooth(small, {}, None)
    assert torch.equal(smooth(image, state, motion)[0], image)
    assert torch.equal(smooth(small * 0.9, state, None)[0], small * 0.9)
    _, state = smooth(image, {}, None)
    assert not torch.equal(smooth(image * 0.9, state, motion)[0], image * 0.9)
    assert torch.equal(Smoother(0.0)(image * 0.9, state, motion)[0], image * 0.9)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Smoother(1.1)


def test_moving_by_torch_is_moving_by_opencv() -> None:
    draw = np.random.default_rng(0)
    small = draw.normal(0, 1.5, (12, 16, 2)).astype(np.float32)
    flow = cv2.resize(small, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_CUBIC)
    trust = draw.random((HEIGHT // 2, WIDTH // 2)).astype(np.float32)
    past = torch.from_numpy(scene(7)).permute(2, 0, 1)[None].float() / 255
    motion = Motion(np.asarray(flow, np.float32), trust)
    trusts, pictures = zip(
        *(each(past, motion) for each in (temporal._moved, temporal._moved_by_torch)), strict=True
    )
    assert (trusts[0] - trusts[1]).abs().max() < 1e-5
    # OpenCV looks up at multiples of 1/32 pixel.
    difference = (pictures[0] - pictures[1])[..., 8:-8, 8:-8]
    assert difference.square().mean().sqrt() < 0.006


@pytest.mark.needs_cuda
def test_on_a_gpu_the_result_is_that_of_the_cpu() -> None:
    motion = Motion(
        np.full((HEIGHT // 2, WIDTH // 2, 2), 1.25, np.float32),
        np.ones((HEIGHT // 2, WIDTH // 2), np.float32),
    )
    first, second = (torch.from_numpy(noisy(scene(8), 4, n)) for n in range(2))
    made = []
    for device in ("cpu", "cuda"):
        smooth = Smoother()
        images = [
            each.permute(2, 0, 1)[None].float().div(255).to(device) for each in (first, second)
        ]
        _, state = smooth(images[0], {}, None)
        made.append(smooth(images[1], state, motion)[0].cpu())
    assert (made[0] - made[1]).abs().mean() < 2e-3


def test_a_tracker_goes_on_from_its_reference() -> None:
    frames = [noisy(scene(9), 3, n)[..., 1] for n in range(6)]
    one = Tracker()
    motions = [one.push(np.ascontiguousarray(frame)) for frame in frames]
    first = Tracker()
    for frame in frames[:4]:
        first.push(np.ascontiguousarray(frame))
    other = Tracker(first.reference)
    for frame, expected in zip(frames[4:], motions[4:], strict=True):
        motion = other.push(np.ascontiguousarray(frame))
        assert motion is not None
        assert expected is not None
        assert np.array_equal(motion.back, expected.back)
        assert np.array_equal(motion.trust, expected.trust)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (46, 300), (48, 48), (97, 51)])
def test_any_size_is_tracked_or_left_alone(shape: tuple[int, int]) -> None:
    tracker = Tracker()
    luma = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    assert tracker.push(luma) is None
    motion = tracker.push(luma)
    assert (motion is None) == (min(shape) < 48)
    if motion is not None:
        assert np.abs(motion.back).max() < 0.5
        assert motion.trust.min() > 0.5
    assert tracker.push(np.zeros((30, 30), np.uint8)) is None


def test_cuts_are_told_from_motion_flashes_and_fades() -> None:
    wide = cv2.cvtColor(scene(10, 200, 900), cv2.COLOR_RGB2GRAY)
    pan = [wide[:HEIGHT, 14 * n : 14 * n + WIDTH] for n in range(40)]
    flash = [np.clip(pan[0].astype(int) + (90 if n == 5 else 0), 0, 255) for n in range(10)]
    fade = [pan[0] * (1 - n / 30) for n in range(25)]
    other = cv2.cvtColor(scene(11), cv2.COLOR_RGB2GRAY)

    def found(video: Sequence[NDArray[Any]]) -> list[int]:
        cuts = Cuts()
        return [n for n, each in enumerate(video) if cuts.push(np.asarray(each, np.uint8))]

    assert found(pan) == []
    assert found(flash) == []
    assert found(fade) == []
    assert found([*pan[:8], *[other] * 3, *pan[8:12]]) == [8, 11]


def test_cuts_are_the_same_after_going_on() -> None:
    one, other = (cv2.cvtColor(scene(seed), cv2.COLOR_RGB2GRAY) // 2 for seed in (12, 13))
    # Where the picture flickers a change of scene is nothing sudden, and later it is.
    flicker = [one + 90 * (n % 2) for n in range(8)]
    video = [*flicker, *[other] * 12, one, one]
    cuts = Cuts()
    states, found = [], []
    for each in video:
        found.append(cuts.push(each.astype(np.uint8)))
        states.append(cuts.state)
    assert [n for n, cut in enumerate(found) if cut] == [20]
    for done in range(1, len(video)):
        rest = Cuts(states[done - 1])
        assert [rest.push(each.astype(np.uint8)) for each in video[done:]] == found[done:]
