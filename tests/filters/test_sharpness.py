"""Blur is told from sharpness, region by region, and what is sharp is left alone."""

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters import Coding, need
from filters.sharpness import CELL, blur, noise
from mssnet.regions import Where
from stream.frame import Frame
from stream.stages.blur_map import BlurMapper
from stream.stages.processor import Processor
from tests.pictures import begins

_BASE = Fraction(1, 25)


def gray(seed: int = 0) -> NDArray[np.uint8]:
    """Small bright and dark rectangles with sharp edges."""
    rng = np.random.default_rng(seed)
    drawn = np.full((192, 320), 128, np.uint8)
    for _ in range(1500):
        x, y, width, height = rng.integers((0, 0, 2, 2), (320, 192, 24, 24))
        drawn[y : y + height, x : x + width] = rng.integers(30, 226)
    return drawn


def shaken(luma: NDArray[np.uint8], pixels: int, axis: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.blur(luma, (pixels, 1) if axis else (1, pixels)), np.uint8)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_longer_the_blur_the_more_is_found(axis: int) -> None:
    found = [float(blur(shaken(gray(), pixels, axis)).mean()) for pixels in (1, 3, 7, 15)]
    assert found == sorted(found)
    assert found[0] < 0.25
    assert found[2] > found[0] + 0.2


def test_regions_are_told_apart() -> None:
    luma = gray()
    luma[:, 160:] = shaken(luma, 15, 1)[:, 160:]
    wanted = need(luma)
    assert wanted.shape == (192 // CELL, 320 // CELL)
    assert wanted[:, :7].mean() < 0.2
    assert wanted[:, 13:].mean() > 0.8


def test_noise_is_not_taken_for_detail() -> None:
    rng = np.random.default_rng(0)
    quiet = shaken(gray(), 9, 1)
    noisy = np.clip(quiet + rng.normal(0, 3, quiet.shape), 0, 255).astype(np.uint8)
    assert 255 * noise(np.asarray(noisy / 255, np.float32)) == pytest.approx(3, rel=0.25)
    assert need(noisy).mean() > 0.4 * need(quiet).mean()
    assert (need(np.full((64, 64), 99, np.uint8)) == 0).all(), "there is nothing to restore"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 33)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    luma = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    assert need(luma).shape == (-(-size[0] // CELL), -(-size[1] // CELL))


def test_what_is_sharp_is_left_as_it_is() -> None:
    def brighter(image: Tensor) -> Tensor:
        return image + 0.1

    half = gray()
    half[:, 160:] = shaken(half, 15, 1)[:, 160:]
    frame = Frame((half,), Coding(gray=True), 0, _BASE)
    gauged = next(iter(BlurMapper().push(frame)))
    made = next(iter(Processor(begins(brighter), torch.device("cpu")).push(gauged)))
    assert (made.planes[0][:, :64] == half[:, :64]).mean() > 0.9
    assert (made.planes[0][:, 224:] > half[:, 224:]).mean() > 0.9


def test_a_sharp_picture_does_not_go_through_the_network() -> None:
    def fails(image: Tensor, told: Tensor | None, where: Where | None) -> Callable[[], Tensor]:
        raise AssertionError("nothing is to be restored")

    frame = Frame((np.full((64, 64), 99, np.uint8),), Coding(gray=True), 0, _BASE)
    gauged = next(iter(BlurMapper().push(frame)))
    made = next(iter(Processor(fails, torch.device("cpu")).push(gauged)))
    assert (made.planes[0] == frame.planes[0]).all()
