"""Color: exact numbers in both directions, for each matrix, range and depth."""

import pytest
import torch

from filters import Coding, add_change, to_rgb
from filters.coding import LUMA
from filters.color import to_planes

# 8-bit codes (Y, Cb, Cr) of full-intensity red, green and blue by ITU-R BT.601, BT.709, BT.2020.
EXACT = {
    ("bt601", False): [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
    ("bt709", False): [(63, 102, 240), (173, 42, 26), (32, 240, 118)],
    ("bt2020", False): [(74, 97, 240), (164, 47, 25), (29, 240, 119)],
    ("bt601", True): [(76, 85, 255), (150, 44, 21), (29, 255, 107)],
    ("bt709", True): [(54, 99, 255), (182, 30, 12), (18, 255, 116)],
}
PRIMARIES = torch.eye(3)


@pytest.mark.parametrize(("name", "codes"), EXACT.items(), ids=str)
def test_primaries_have_the_standards_codes(
    name: tuple[str, bool], codes: list[tuple[int, int, int]]
) -> None:
    coding = Coding(name[0], name[1], subsampling=(1, 1))
    for rgb, expected in zip(PRIMARIES, codes, strict=True):
        made = to_planes(rgb.view(1, 3, 1, 1), coding)
        assert tuple(int(plane[0, 0]) for plane in made) == expected


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_there_and_back(matrix: str, full: bool, depth: int) -> None:
    coding = Coding(matrix, full, depth, (1, 1))
    rgb = torch.rand(1, 3, 16, 16)
    back = to_rgb(to_planes(rgb, coding), coding)
    assert (back - rgb).abs().max() < 2.2 / 2**depth
    in_float64 = _reference(to_planes(rgb, coding), coding)
    assert (to_rgb(to_planes(rgb, coding), coding) - in_float64).abs().max() < 1e-5


def _reference(planes: list[torch.Tensor], coding: Coding) -> torch.Tensor:
    """The matrix of H.273 inverted as a matrix, in float64."""
    kr, kb = LUMA[coding.matrix]
    kg = 1 - kr - kb
    forward = torch.tensor(
        [
            [kr, kg, kb],
            [-kr / 2 / (1 - kb), -kg / 2 / (1 - kb), 0.5],
            [0.5, -kg / 2 / (1 - kr), -kb / 2 / (1 - kr)],
        ],
        dtype=torch.float64,
    )
    scale = 2 ** (coding.depth - 8)
    black, span, wide = (0, 255.0, 255.0) if coding.full_range else (16.0 * scale, 219.0, 224.0)
    if coding.full_range:
        span_codes = wide_codes = float(2**coding.depth - 1)
    else:
        span_codes, wide_codes = span * scale, wide * scale
    ycc = torch.stack(
        [
            (planes[0].double() - black) / span_codes,
            (planes[1].double() - 128 * scale) / wide_codes,
            (planes[2].double() - 128 * scale) / wide_codes,
        ]
    )
    return torch.einsum("ij,jhw->ihw", torch.linalg.inv(forward), ycc)[None].float()


@pytest.mark.parametrize("depth", [8, 10])
def test_studio_range_ends_at_black_and_white(depth: int) -> None:
    coding = Coding(depth=depth)
    scale = 2 ** (depth - 8)
    dtype = torch.uint8 if depth == 8 else torch.uint16
    luma = torch.tensor([[16, 235], [126, 16]]).mul(scale).to(dtype)
    chroma = torch.full((1, 1), 128 * scale).to(dtype)
    rgb = to_rgb([luma, chroma, chroma], coding)
    assert rgb[0, :, 0, 0].tolist() == [0, 0, 0]
    assert rgb[0, :, 0, 1].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert (rgb[:, 0] == rgb[:, 1]).all(), "gray stays gray"
    assert (rgb[:, 0] == rgb[:, 2]).all()


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (48, 64)])
@pytest.mark.parametrize("depth", [8, 10])
def test_no_change_leaves_every_code(
    subsampling: tuple[int, int], size: tuple[int, int], depth: int
) -> None:
    coding = Coding(depth=depth, subsampling=subsampling)
    planes = _codes(coding, size)
    kept = add_change(planes, torch.zeros(1, 3, *size), coding)
    for before, after in zip(planes, kept, strict=True):
        assert torch.equal(before, after), "illegal codes included"
        assert before.dtype == after.dtype
    assert to_rgb(planes, coding).shape == (1, 3, *size)


def _codes(coding: Coding, size: tuple[int, int]) -> list[torch.Tensor]:
    dtype = torch.uint8 if coding.depth == 8 else torch.uint16
    across, down = coding.subsampling
    small = (-(-size[0] // down), -(-size[1] // across))
    shapes = [size] if coding.gray else [size, small, small]
    return [torch.randint(0, coding.top + 1, shape).to(dtype) for shape in shapes]


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_a_flat_change_changes_the_codes_by_as_much(subsampling: tuple[int, int]) -> None:
    coding = Coding(subsampling=subsampling)
    gray = to_planes(torch.full((1, 3, 8, 8), 0.5), coding)
    added = torch.tensor([0.2, -0.1, 0.05]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    made = to_rgb(add_change(gray, added, coding), coding)
    assert (made - 0.5 - added).abs().max() < 2 / 255


def test_chroma_lies_on_the_left_sample_and_midway_down() -> None:
    """A horizontal ramp of chroma comes back without a shift, a vertical one too."""
    coding = Coding(full_range=True)
    ramp = torch.linspace(-0.2, 0.2, 32)
    for change in (ramp.view(1, 1, 32), ramp.view(1, 32, 1)):
        rgb = torch.zeros(1, 3, 32, 32)
        rgb[:, 2] = change.expand(1, 32, 32)
        base = to_planes(torch.full((1, 3, 32, 32), 0.5), coding)
        made = to_rgb(add_change(base, rgb, coding), coding) - 0.5
        inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
        assert (made - rgb)[inner].abs().max() < 2.5 / 255


def test_gray_has_luma_alone() -> None:
    coding = Coding(gray=True, subsampling=(1, 1))
    planes = _codes(coding, (6, 10))
    rgb = to_rgb(planes, coding)
    assert rgb.shape == (1, 3, 6, 10)
    assert torch.equal(rgb[:, 0], rgb[:, 2])
    (made,) = add_change(planes, torch.full((1, 3, 6, 10), 0.1), coding)
    expected = (planes[0].float() + 21.9).round().clamp(0, 255)
    assert (made.float() - expected).abs().max() <= 1


@pytest.mark.parametrize(
    "options", [{"matrix": "bt7"}, {"depth": 7}, {"subsampling": (4, 1)}], ids=str
)
def test_odd_codings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Coding(**options)  # type: ignore[arg-type]


@pytest.mark.needs_cuda
@pytest.mark.parametrize("depth", [8, 10])
def test_gpu_gives_the_same_codes(depth: int) -> None:
    coding = Coding(depth=depth)
    planes = _codes(coding, (48, 64))
    change = torch.rand(1, 3, 48, 64) * 0.2
    here = add_change(planes, change, coding)
    there = add_change([plane.cuda() for plane in planes], change.cuda(), coding)
    for a, b in zip(here, there, strict=True):
        assert (a.float() - b.cpu().float()).abs().max() <= 1
