"""The network that tells for how long the shutter was open: its training, and what is shipped."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

import weights
from filters import Coding, Shutter, ShutterNet
from filters.shutter import INPUTS, SHARES
from stream.frame import Frame
from stream.stages.shutter import share_of, spots_among
from weights.evaluate.pairs import find_pairs
from weights.train.camera import CameraSettings, codes
from weights.train.data import DataSettings
from weights.train.photos import Photos, PhotoSettings
from weights.train.response import srgb
from weights.train.shutter import train_shutter
from weights.train.synthesis import NOW, BlurSettings, Clip, Scene

# All go nearly the longest way.
FAST = BlurSettings(
    longest=30, bias=0.01, still=0, slight=0, rolling=0, encoded=0, defocus=0, objects=0
)
PHOTOS = PhotoSettings(detailed=0)
CLEAN = CameraSettings(noise=0, h264=0, jpeg=0, subsampled=0)


def filmed(shares: list[float], count: int, seed: int) -> list[list[Clip]]:
    """Scenes filmed with each of the shares."""
    photos = Photos(None, PHOTOS, size=64, seed=2)
    rng = np.random.default_rng(seed)
    return [Scene(photos, 128, FAST, [srgb()], rng).film(shares) for _ in range(count)]


def luma(clip: Clip) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(codes(clip.frames[NOW]), cv2.COLOR_RGB2GRAY)
    return np.asarray(gray, np.uint8)


def told(net: ShutterNet, seed: int) -> tuple[float, float]:
    """What shares of 0.05 and 1.0 are told to be, by a few clips of each."""
    short, long = Shutter(net, kept=1.0), Shutter(net, kept=1.0)
    for one, other in filmed([0.05, 1.0], count=10, seed=seed):
        short.watch(luma(one), *one.flows[:2])
        long.watch(luma(other), *other.flows[:2])
    return short.share, long.share


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shipped_network_tells_short_shutters_from_long_ones(seed: int) -> None:
    short, long = told(ShutterNet.load(weights.path("shutter")), seed)
    assert short < 0.2 < 0.6 < long


@pytest.mark.parametrize("first", [0, 10, 30])
def test_a_hand_that_trembles_does_not_hide_the_shutter(shared: Path, first: int) -> None:
    (clip,) = find_pairs(shared / "data" / "eval" / "davide" / "farm03.mp4")
    pairs = list(islice(clip.read(), first, first + 30))
    for side, least, most in ((0, 0.33, 1.0), (1, 0.0, 0.1)):
        views = [cv2.cvtColor(pair[side], cv2.COLOR_RGB2GRAY) for pair in pairs]
        frames = [
            Frame((np.asarray(view, np.uint8),), Coding(gray=True), index, Fraction(1, 25))
            for index, view in enumerate(views)
        ]
        assert least < share_of(spots_among(frames, count=10)) < most


def test_a_few_clips_teach_short_from_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weights.train.shutter._BATCH", 128)  # more steps of so few clips
    file = tmp_path / "new" / "shutter.safetensors"
    blur = replace(FAST, uniform=1, whole=0.5, short=0.5)
    settings = DataSettings(seed=3, photos=PHOTOS, blur=blur, camera=CLEAN)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        facts = train_shutter(settings, 64, file)
    finally:
        torch.set_num_threads(before)
    assert 0 <= facts["error"] < 1
    assert 0 < facts["within"] <= 1
    # How common each share was among the clips; the longest was half of them.
    common = np.exp(load_file(file)["prior"])
    assert common.sum() == pytest.approx(1, abs=0.01)
    assert common[-1] == pytest.approx(0.5, abs=0.2)
    net = ShutterNet.load(file)
    seen = np.random.default_rng(0).normal(size=(7, INPUTS)).astype(np.float32)
    assert net.evidence(seen).shape == (len(SHARES),)
    assert np.isfinite(net.evidence(seen)).all()
    short, long = told(net, 0)
    assert 0.02 < short < 0.15
    assert 2 * short < long <= 1


def test_other_weights_are_none_of_a_shutter_network() -> None:
    with pytest.raises(ValueError, match="shutter network"):
        ShutterNet.load(weights.path("lite"))


def test_where_nothing_moves_nothing_is_told() -> None:
    shutter = Shutter(ShutterNet.load(weights.path("shutter")))
    before = shutter.share
    photos = Photos(None, PHOTOS, size=64, seed=2)
    still = replace(FAST, still=1)
    scene = Scene(photos, 128, still, [srgb()], np.random.default_rng(0))
    for clip in scene.film([0.05, 1.0]):
        shutter.watch(luma(clip), *clip.flows[:2])
    assert shutter.share == before
