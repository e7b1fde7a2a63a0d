"""Pictures are enlarged, and nothing is made up."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

import weights
from filters import UPSCALERS, Upscaler, load_upscaler, luma, upscale
from filters.sampling import FACTOR, downscale, interpolate, rough, spread, third
from filters.upscale import UpscalerConfig, UpscalerNet, upscaler_from_state_dict
from tests.filters.test_fusion import scene


def untrained(config: UpscalerConfig | None = None, scale: float = 1.0) -> UpscalerNet:
    torch.manual_seed(0)
    net = UpscalerNet(config or UpscalerConfig(width=8, blocks=1))
    with torch.no_grad():
        net.tail.weight.mul_(scale)
        net.kernels.normal_(0, 2)
    return net.eval()


def picture(seed: int = 0, height: int = 60, width: int = 80) -> Tensor:
    return torch.from_numpy(scene(seed, height, width)).permute(2, 0, 1)[None].float() / 255


def outside(large: Tensor, small: Tensor) -> Tensor:
    """How far each new pixel is beyond the nine around it."""
    padded = F.pad(small, (1, 1, 1, 1), mode="replicate")
    most = F.interpolate(F.max_pool2d(padded, 3, 1), scale_factor=FACTOR)
    least = F.interpolate(-F.max_pool2d(-padded, 3, 1), scale_factor=FACTOR)
    return torch.maximum(large - most, least - large)


def test_a_third_is_what_the_antialiased_bicubic_filter_makes() -> None:
    image = torch.rand(1, 2, 96, 63)
    by_torch = F.interpolate(image, (32, 21), mode="bicubic", antialias=True)
    ours = third(image)
    assert ours.shape == (1, 2, 32, 21)
    # The two differ in what they do at the edges alone.
    assert (ours - by_torch)[..., 2:-2, 2:-2].abs().max() < 1e-5


def test_a_spread_difference_is_the_difference_again() -> None:
    difference = torch.randn(1, 2, 24, 30)
    again = downscale(spread(difference))
    assert (again - difference)[..., 4:-4, 4:-4].square().mean().sqrt() < 0.012
    flat = spread(torch.ones(1, 1, 12, 12))[..., 4:-4, 4:-4]
    assert (flat - 1).abs().max() < 1e-5, "a constant leaves no pattern"


def test_training_works_after_a_picture_was_enlarged() -> None:
    with torch.inference_mode():
        spread(torch.zeros(1, 5, 8, 8))
    image = torch.rand(1, 5, 8, 8, requires_grad=True)
    spread(image).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None


def test_interpolation_is_exact_and_keeps_ramps() -> None:
    low = picture(1)
    folded = interpolate(low, torch.float32) + low.repeat_interleave(9, 1)
    assert (downscale(folded) - low)[..., 7:-7, 7:-7].square().mean().sqrt() < 2e-3
    ramp = torch.arange(40).float().expand(1, 1, 40, 40) / 40
    large = F.pixel_shuffle(interpolate(ramp, torch.float32) + ramp, FACTOR)
    steps = large[..., 40, 30:90].diff() * 120
    assert (steps - 1).abs().max() < 0.01
    assert (rough(ramp)[..., 5:-5, 5:-5]).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_whatever_the_network_says_the_picture_stays_true_to_the_input(scale: float) -> None:
    net = untrained(scale=scale)
    small = picture(2)
    large = Upscaler(net)(small)
    assert large.shape == (1, 3, 180, 240)
    padded = F.pad(luma(small), (1, 1, 1, 1), mode="replicate")
    wide = F.max_pool2d(padded, 3, 1) + F.max_pool2d(-padded, 3, 1)
    half = F.interpolate(wide / 2, scale_factor=FACTOR)
    assert (outside(luma(large), luma(small)) - half).max() < 2.01 / 255
    error = (third(luma(large)) - luma(small))[..., 4:-4, 4:-4]
    assert error.square().mean().sqrt() < 0.02
    # Detail without bounds cannot be brought back by one step; what the network was trained to
    # say can (test_shipped_upscalers).


def test_a_flat_picture_stays_flat() -> None:
    for value in (0.0, 0.31, 1.0):
        large = Upscaler(untrained(scale=100))(torch.full((1, 3, 17, 23), value))
        assert (large - value).abs().max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (3, 40), (41, 7)])
def test_any_size_is_enlarged(height: int, width: int) -> None:
    large = Upscaler(untrained())(torch.rand(2, 3, height, width))
    assert large.shape == (2, 3, 3 * height, 3 * width)
    assert large.isfinite().all()
    assert 0 <= large.min() <= large.max() <= 1


def test_strips_make_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarge, small = Upscaler(untrained()), picture(3, 90, 70)
    whole = enlarge(small)
    monkeypatch.setattr(upscale, "_STRIP", 82 * 11)
    assert (enlarge(small) - whole).abs().max() < 1e-5


def test_what_is_not_a_picture_is_refused() -> None:
    enlarge = Upscaler(untrained())
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        enlarge(torch.rand(3, 10, 10))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        enlarge(torch.zeros(1, 3, 10, 10, dtype=torch.uint8))


def test_sizes_are_read_off_the_weights(tmp_path: Path) -> None:
    config = UpscalerConfig(width=12, blocks=3, kernels=2, taps=7)
    net = untrained(config)
    file = tmp_path / "net.safetensors"
    save_file(net.state_dict(), file)
    loaded = load_upscaler(file)
    assert loaded.net.config == config
    assert torch.equal(loaded(picture(4)), Upscaler(net)(picture(4)))

    state = net.state_dict()
    with pytest.raises(ValueError, match="not the weights of an upscaler"):
        upscaler_from_state_dict({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="not the weights of an upscaler"):
        upscaler_from_state_dict({**state, "more": torch.zeros(1)})
    with pytest.raises(ValueError, match="finite"):
        upscaler_from_state_dict({**state, "bias": state["bias"] * torch.nan})
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="whole safetensors"):
        load_upscaler(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("name", UPSCALERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_shipped_upscalers(name: str, dtype: torch.dtype) -> None:
    enlarge = load_upscaler(weights.path(name), dtype=dtype)
    gains, errors, beyond, phases = [], [], [], []
    for seed in range(4):
        large = picture(20 + seed, 180, 240)
        small = (third(large).clamp(0, 1) * 255).round() / 255
        made = enlarge(small)
        plain = F.interpolate(small, scale_factor=FACTOR, mode="bicubic", antialias=True)
        inner = (..., slice(6, -6), slice(6, -6))
        before, after = (
            (luma(each) - luma(large))[inner].square().mean().log10() for each in (plain, made)
        )
        gains.append(float(10 * (before - after)))
        errors.append(float((third(luma(made)) - luma(small))[inner].square().mean()))
        beyond.append(float((outside(luma(made), luma(small)) > 2.5 / 255).float().mean()))
        phases.append(F.pixel_unshuffle(luma(made) - luma(plain), FACTOR).mean((0, 2, 3)))
    assert np.mean(gains) > 0.3
    assert -10 * np.log10(np.mean(errors)) > 45
    assert max(beyond) < 0.002
    assert torch.stack(phases).mean(0).abs().max() < 0.3 / 255


@pytest.mark.needs_cuda
def test_on_a_gpu_the_result_is_that_of_the_cpu() -> None:
    net = untrained()
    small = picture(5)
    there = Upscaler(net.to("cuda"))(small.to("cuda")).cpu()
    assert (there - Upscaler(net.to("cpu"))(small)).abs().max() < 1e-3
