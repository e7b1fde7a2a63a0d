"""The upscaler's training: its samples, its loss, and a short run of the command."""

import functools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import weights
from filters import UPSCALERS, load_upscaler, luma
from filters.sampling import third
from filters.upscale import UpscalerConfig, UpscalerNet
from weights.train.camera import CameraSettings
from weights.train.enlarging import EnlargingSamples, EnlargingSettings, initialize, loss
from weights.train.photos import PhotoSettings
from weights.train.recipe import EnlargingPhase, RecipeError, load_enlarging
from weights.train.synthesis import BlurSettings

pytestmark = pytest.mark.usefixtures("one_thread")

# Drawing pictures to choose the most detailed from takes long.
PHASE = EnlargingPhase(patch=96, batch=4, scenes=8, photos=PhotoSettings(detailed=0, crisp=True))


def samples(seed: int = 0) -> EnlargingSamples:
    return EnlargingSamples(EnlargingSettings(seed=seed, phase=PHASE), torch.device("cpu"))


@functools.cache
def first() -> tuple[Tensor, Tensor]:
    """The first group."""
    return samples().group(0)


def test_a_group_depends_on_the_seed_and_its_number_alone() -> None:
    small, large = samples().group(3)
    assert small.shape == (8, 1, 32, 32)
    assert large.shape == (8, 1, 96, 96)
    again = samples().group(3)
    assert torch.equal(small, again[0])
    assert torch.equal(large, again[1])
    assert not torch.equal(large, samples().group(4)[1])
    assert not torch.equal(large, samples(1).group(3)[1])


def test_small_pictures_are_the_large_ones_made_smaller() -> None:
    small, large = first()
    made = third(large.float() / 255).clamp(0, 1)
    assert (made - small.float() / 255).abs().max() <= 0.51 / 255


def test_some_were_blurred_and_restored_before() -> None:
    fast = BlurSettings(longest=16, bias=0.01, still=0, slight=0, defocus=0, short=1, uniform=1)
    camera = CameraSettings(noise=0, h264=0, jpeg=0)
    phase = replace(PHASE, restored=0.5, blur=replace(fast, whole=0), camera=camera)
    settings = EnlargingSettings(restorer=weights.path("lite"), phase=phase)
    small, large = EnlargingSamples(settings, torch.device("cpu")).group(0)
    assert small.shape == (8, 1, 32, 32)
    assert large.shape == (8, 1, 96, 96)

    def off(down: int, across: int) -> Tensor:
        moved = third(large.float().roll((down, across), (2, 3)) / 255).clamp(0, 1)
        return (moved - small.float() / 255).abs()[..., 3:-3, 3:-3]

    restored = off(0, 0).amax((1, 2, 3)) > 0.51 / 255
    assert restored.sum() == 4
    # Of the same moment all the same.
    away = [off(*by).mean((1, 2, 3)) for by in ((6, 0), (-6, 0), (0, 6), (0, -6))]
    assert (off(0, 0).mean((1, 2, 3)) < 0.5 * torch.stack(away).amin(0))[restored].sum() >= 3


def test_what_the_first_weights_make_is_a_soft_enlargement() -> None:
    torch.manual_seed(0)
    net = UpscalerNet(UPSCALERS["x3-lite"])
    initialize(net)
    small, large = first()
    flat = torch.full((1, 1, 32, 32), 0.3)
    with torch.inference_mode():
        assert net.enlarge(flat, net(flat))[..., 6:-6, 6:-6].abs().max() < 1e-5
        answer = net(small.float() / 255)
        assert (answer.detail == 0).all()
        change = net.enlarge(small.float() / 255, answer)
    wanted = (F.pixel_unshuffle(large.float(), 3) - small) / 255
    inside = (..., slice(6, -6), slice(6, -6))
    assert (change - wanted)[inside].abs().mean() < 0.95 * wanted[inside].abs().mean()


def test_the_loss_falls_and_doubt_is_learned() -> None:
    torch.manual_seed(0)
    net = UpscalerNet(UpscalerConfig(width=8, blocks=1))
    initialize(net)
    small, large = (each.float() / 255 for each in first())
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(net, small, large, squared=False)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.97 * values[0]
    assert net.bias[0] != 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patch = 100", "multiple of 96"),
        ("preset = 'lite'", "unknown preset lite"),
        ("restored = 2", "in 0..1"),
        ("batch = 7", "does not divide"),
    ],
)
def test_bad_recipes_are_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=said):
        load_enlarging(file)


def test_a_short_run_leaves_weights_that_enlarge(tmp_path: Path) -> None:
    quick = ["--steps", "2", "--set", "photos.detailed=0"]
    quick += ["--set", "patch=96", "--set", "batch=4", "--set", "scenes=8"]
    command = [sys.executable, "-m", "weights.train", "upscale", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *quick, "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("gain_db" in row for row in rows)
    enlarge = load_upscaler(tmp_path / "run" / "weights.safetensors")
    image = torch.rand(1, 3, 20, 24)
    large = enlarge(image)
    assert large.shape == (1, 3, 60, 72)
    assert (third(luma(large)) - luma(image)).square().mean().sqrt() < 0.1
