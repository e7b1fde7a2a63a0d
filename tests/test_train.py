"""Training: the samples, the loss, a short run and going on with it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mssnet
from weights.train.camera import CameraSettings, degrade
from weights.train.data import DataSettings, Samples
from weights.train.loop import TrainSettings, loss, rate_at
from weights.train.procedural import picture
from weights.train.synthesis import BlurSettings, Image, Response, scene, srgb


def photo() -> Image:
    return picture(256, np.random.default_rng(2))


def test_a_still_scene_is_sharp() -> None:
    still = BlurSettings(sharp=1.0, defocus=0.0)
    for seed in range(8):
        blurred, sharp = scene(photo, 96, still, [srgb()], np.random.default_rng(seed))
        assert blurred.shape == sharp.shape == (96, 96, 3)
        assert np.array_equal(blurred, sharp)


def test_longer_paths_blur_more() -> None:
    means = []
    for longest in (4.0, 80.0):
        moving = BlurSettings(longest=longest, bias=0.1, sharp=0, slight=0, defocus=0)
        differences = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            blurred, sharp = scene(photo, 128, moving, [srgb()], rng)
            assert 0 <= blurred.min() <= blurred.max() <= 1
            differences.append(float(np.abs(blurred - sharp).mean()))
        means.append(np.mean(differences))
    assert means[1] > 2 * means[0] > 0


def test_light_averages_brighter_than_encoded_values() -> None:
    """As a sensor does it: between black and white lies more than the middle gray."""
    stripes = np.zeros((400, 400, 3), np.float32)
    stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = stripes[:, 3::8] = 0.9
    means = {}
    for encoded in (0.0, 1.0):
        settings = BlurSettings(
            longest=60, bias=0.01, sharp=0, slight=0, defocus=0, objects=0, encoded=encoded
        )
        made = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            blurred, sharp = scene(lambda: stripes, 128, settings, [srgb()], rng)
            made.append(float(blurred.mean() / sharp.mean()))
        means[encoded] = float(np.median(made))
    assert means[0.0] > 1.05
    assert means[1.0] == pytest.approx(1.0, abs=0.03)


def test_response_curves_turn_around() -> None:
    values = np.linspace(0, 1, 300, dtype=np.float32).reshape(10, 10, 3)
    for curve in (srgb(), Response(np.linspace(0, 1, 256) ** 3)):
        assert np.abs(curve.to_encoded(curve.to_light(values)) - values).max() < 3e-3
    assert srgb().to_light(np.full((1, 1, 3), 0.5, np.float32))[0, 0, 0] == pytest.approx(
        0.2140, abs=1e-3
    )
    with pytest.raises(ValueError, match="rising"):
        Response(np.array([0.0, 1.0, 0.5]))


@pytest.mark.parametrize(
    "settings",
    [CameraSettings(1, 0, 0), CameraSettings(0, 1, 0), CameraSettings(0, 0, 1)],
    ids=["noise", "h264", "jpeg"],
)
def test_the_camera_degrades_and_tints_nothing(settings: CameraSettings) -> None:
    image = cv2.GaussianBlur(photo(), (0, 0), 1.5).astype(np.float32)
    changes = []
    for seed in range(6):
        worse = degrade(image, settings, np.random.default_rng(seed))
        assert worse.shape == image.shape
        assert worse.dtype == np.float32
        changes.append(worse - image)
    assert np.abs(changes).mean() > 1e-3
    assert np.abs(np.mean(changes, axis=(0, 1, 2))).max() < 0.01


def test_samples_are_the_same_for_the_same_seed() -> None:
    settings = DataSettings(patch=64, seed=5)
    first, second = iter(Samples(settings)), iter(Samples(settings))
    for _ in range(4):
        (a, b), (c, d) = next(first), next(second)
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert a.shape == (3, 64, 64)


def test_loss_is_zero_for_the_truth_alone() -> None:
    sharp = torch.rand(2, 3, 32, 32)
    half = torch.nn.functional.interpolate(
        sharp, scale_factor=0.5, mode="bilinear", align_corners=True
    )
    assert loss([half, sharp, sharp], sharp) < 1e-6
    assert loss([half, sharp, sharp + 0.1], sharp) > 0.1
    assert loss([half + 0.1, sharp, sharp], sharp) > 0.1


def test_the_rate_rises_and_falls() -> None:
    settings = TrainSettings(rate=1e-3, warmup=100)
    assert rate_at(0, 0, settings) < rate_at(0.01, 50, settings) < rate_at(0.02, 100, settings)
    assert rate_at(0.5, 1000, settings) == pytest.approx(5e-4, rel=0.02)
    assert rate_at(1, 2000, settings) == pytest.approx(1e-3 / 300)


def train(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weights.train", "deblur", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_run_trains_and_another_goes_on_with_it(tmp_path: Path) -> None:
    common = ("--out", tmp_path, "--patch", 64, "--batch", 2, "--workers", 0)
    done = train(*common, "--minutes", 0.2)
    assert done.returncode == 0, done.stderr
    steps = torch.load(tmp_path / "state.pt", weights_only=True)["step"]
    assert steps > 3
    restore = mssnet.load(tmp_path / "weights.safetensors")
    assert restore.net.config == mssnet.PRESETS["lite"]
    image = torch.rand(1, 3, 64, 64)
    assert torch.isfinite(restore(image)).all()

    done = train(*common, "--minutes", 0.3, "--resume", tmp_path)
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] > steps
    assert 0.3 * 60 <= state["spent_s"] < 0.3 * 60 + 15
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        assert json.loads(line)["loss"] < 10


def test_bad_settings_are_said_in_a_line(tmp_path: Path) -> None:
    assert "multiple of 32" in train("--out", tmp_path, "--patch", 65).stderr
    assert "lite" in train("--out", tmp_path, "--preset", "huge").stderr
