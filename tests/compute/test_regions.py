"""Networks work where a frame is blurred, and nowhere else."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mssnet import Deblurrer, Eager
from mssnet.motion import extent
from mssnet.regions import CELL, SIDE, Region, Where, as_pixels, regions
from stream.compute.models import load_model
from stream.compute.openvino import OpenVino
from tests.compute.test_mssnet import TOLD, tiny
from weights.evaluate.quality import psnr

HEIGHT, WIDTH = 360, 640


def blurred(*places: tuple[int, int, int, int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Where:
    """Wholly in rectangles of pixels (top, bottom, left, right), and nowhere else."""
    where = np.zeros([-(-each // CELL) for each in size], np.float32)
    for top, bottom, left, right in places:
        where[top // CELL : -(-bottom // CELL), left // CELL : -(-right // CELL)] = 1
    return where


def image(seed: int = 1) -> Tensor:
    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (129, 1003), (97, 131), (8, 8), (1, 1)])
def test_regions_hold_what_is_changed_and_see_what_lies_around(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    height, width = size
    for share in (0.0, 0.0003, 0.003, 0.05, 1.0):
        where = blurred(size=size)
        where[rng.random(where.shape) < share] = rng.uniform(0.1, 1)
        found = regions(where, *size)
        assert bool(found) == where.any()
        assert SIDE**2 * len(found) <= height * width or len(found) == 1
        held = np.zeros(size, bool)
        for own, seen in found:
            assert 0 <= seen.top <= own.top < own.bottom <= seen.bottom <= height
            assert 0 <= seen.left <= own.left < own.right <= seen.right <= width
            sides = seen.bottom - seen.top, seen.right - seen.left
            assert sides in ((SIDE, SIDE), size)
            inside = own.within(seen)
            assert inside.top >= 16 or seen.top == 0 or seen.bottom == height
            assert sides[0] - inside.bottom >= 16 or seen.bottom == height
            assert sides[1] - inside.right >= 16 or seen.right == width
            held[own.index] = True
        changed = as_pixels(torch.from_numpy(where), torch.zeros(1, 3, *size))[0, 0].numpy() > 0
        assert held[changed].all()


def test_few_regions_take_less_time_than_the_whole_and_many_are_the_whole() -> None:
    corners = regions(blurred((0, 40, 0, 40), (300, 360, 560, 640)), HEIGHT, WIDTH)
    assert [(own.top, own.bottom, own.left, own.right) for own, _ in corners] == [
        *((0, 112, 0, 112), (288, 360, 552, 640))
    ]
    assert len(regions(blurred((100, 140, 100, 140), (100, 140, 150, 170)), HEIGHT, WIDTH)) == 1
    ((own, seen),) = regions(blurred((0, 340, 0, 640)), HEIGHT, WIDTH)
    assert own == seen == Region(0, HEIGHT, 0, WIDTH)


def test_what_is_not_blurred_stays_as_it_is_to_the_bit() -> None:
    restore = Deblurrer(tiny(TOLD))
    picture = image()
    assert torch.equal(restore(picture, None, blurred()), picture)
    made = restore(picture, None, blurred((96, 160, 200, 264)))
    assert torch.equal(made[..., :80, :], picture[..., :80, :])
    assert torch.equal(made[..., 300:], picture[..., 300:])
    assert not torch.equal(made[..., 96:160, 200:264], picture[..., 96:160, 200:264])


def test_a_region_becomes_what_it_becomes_in_the_whole() -> None:
    restore = load_model("lite", device="cpu", engine="eager", precision="float32")
    low = torch.nn.functional.interpolate(image()[..., ::8, ::8], (HEIGHT, WIDTH), mode="bicubic")
    picture, inside = low.clamp(0, 1), (..., slice(104, 184), slice(208, 296))
    whole = restore(picture)[inside]
    part = restore(picture, None, blurred((96, 192, 200, 304)))[inside]
    assert float(psnr(part, whole)) > float(psnr(whole, picture[inside])) + 10
    assert float(psnr(part, whole)) > 50


def test_engines_agree_about_regions() -> None:
    net = tiny(TOLD)
    fast, plain = Deblurrer(net, engine=OpenVino(torch.float32)), Deblurrer(net, engine=Eager())
    for index, right in enumerate((90, 160, 300, 90)):
        where = blurred((64, 150, 10, right), (200, 360, 500, 640))
        given = image(index), None, where
        assert float(psnr(fast(*given), plain(*given))) > 55


def test_blur_is_measured_in_pixels_of_the_frame() -> None:
    still, moved = np.zeros((45, 80, 2), np.float32), np.zeros((45, 80, 2), np.float32)
    assert not extent(still, WIDTH, HEIGHT).any()
    # An eighth of the frame's size: what moves by three eighths of a pixel there is blurred by 3.
    moved[10:20, 30:50] = 0.375, 0.0
    where = extent(moved, WIDTH, HEIGHT)
    assert where.shape == (45, 80)
    assert (where[10:20, 30:50] == 1).all()
    assert not where[:7].any()
    assert not where[:, 60:].any()
    assert not extent(moved / np.float32(3), WIDTH, HEIGHT).any()
