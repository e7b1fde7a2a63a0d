"""Whether restoring moves things is measured: shifts to a hundredth of a pixel."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

from weights.evaluate.__main__ import app
from weights.evaluate.fidelity import evaluate_fidelity
from weights.evaluate.pairs import PairSet, find_pairs

SHIFT = 0.25
WIDTH, HEIGHT = 160, 128
Picture = Callable[[float], NDArray[np.uint8]]


def blobs(right: float, bent: float = 0.0) -> NDArray[np.uint8]:
    """A texture that has moved to the right, exactly: OpenCV's cubic kernel, with a = -0.75, moves
    what it is to move by 0.25 pixels by 0.297."""
    noise = np.random.default_rng(4).normal(size=(HEIGHT, 2 * WIDTH))
    across, down = np.fft.fftfreq(2 * WIDTH), np.fft.fftfreq(HEIGHT)[:, None]
    spectrum = np.fft.fft2(noise) * np.exp(-2 * (np.pi * 2.0) ** 2 * (across**2 + down**2))
    moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * across * right)).real[:, 80:-80]
    shown = np.clip(np.round(128 + 40 * moved / moved.std()), 0, 255).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=2)


def bars(right: float, bent: float = 0.0) -> NDArray[np.uint8]:
    """Upright bars with soft edges, which wave by so many pixels."""
    y, x = np.indices((HEIGHT, WIDTH), np.float64)
    place = x - right - bent * np.sqrt(2) * np.sin(y / 5)
    shown = 128 + 90 * np.clip(3 * np.sin(2 * np.pi * place / 40), -1, 1)
    return np.repeat(np.round(shown).astype(np.uint8)[..., None], 3, axis=2)


def pairs_of(picture: Picture) -> PairSet:
    """Frames that each lie two pixels farther to the right."""
    frames = [picture(2.0 * index) for index in range(3)]
    softer = [np.asarray(cv2.GaussianBlur(each, (0, 0), 1.5), np.uint8) for each in frames]
    return PairSet("made", 3, True, lambda: iter(zip(softer, frames, strict=True)))


def shown(*pictures: Picture) -> Callable[[Iterable[object]], Iterator[dict[str, Tensor]]]:
    """Versions named after their number, which show no more than these do."""

    def versions(frames: Iterable[object]) -> Iterator[dict[str, Tensor]]:
        for index, _ in enumerate(frames):
            yield {
                str(number): torch.from_numpy(each(2.0 * index)).permute(2, 0, 1)[None] / 255
                for number, each in enumerate(pictures)
            }

    return versions


def test_what_is_moved_is_measured() -> None:
    versions = shown(blobs, lambda right: blobs(right + SHIFT))
    found = evaluate_fidelity(versions, [pairs_of(blobs)])
    same, shifted = found["0"], found["1"]
    assert list(found) == ["0", "1", "sharp"]
    assert same.moved < 0.01
    assert same.found > 0.95
    assert same.imprecise < 0.01
    assert same.epipolar < 0.02
    assert shifted.shifted == pytest.approx(SHIFT, abs=0.02)
    assert shifted.moved == pytest.approx(SHIFT, abs=0.02)
    assert shifted.common == pytest.approx(SHIFT, abs=0.02)


def test_tracks_that_are_off_are_measured() -> None:
    def jumping(right: float) -> NDArray[np.uint8]:
        return np.roll(blobs(right), int(right) // 2 % 2, axis=0)

    found = evaluate_fidelity(shown(jumping), [pairs_of(blobs)])["0"]
    assert found.imprecise == pytest.approx(1, abs=0.02)
    assert found.epipolar > 0.3


def test_edges_that_are_moved_or_bent_are_measured() -> None:
    versions = shown(lambda right: bars(right + SHIFT), lambda right: bars(right, bent=0.5))
    found = evaluate_fidelity(versions, [pairs_of(bars)])
    assert found["sharp"].bent < 0.03
    assert found["sharp"].edges < 1e-6
    assert found["0"].edges == pytest.approx(SHIFT, abs=0.03)
    assert found["0"].bent < 0.03
    assert found["1"].bent == pytest.approx(0.5, abs=0.05)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    for index, sides in enumerate(pairs_of(blobs).read()):
        for side, picture in zip(("blur", "sharp"), sides, strict=True):
            (tmp_path / side).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / side / f"{index}.png"), picture)
    asked = ["--model", "none", "--fuse", "1", "--pairs", str(tmp_path), "--geometry"]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    rows = [line.split(" | ")[0] for line in ended.stdout.splitlines() if line.startswith("|")]
    assert rows[2:] == ["| blurred", "| fused", "| sharp"]
    assert find_pairs(tmp_path)[0].pixel_aligned
    refused = CliRunner().invoke(app, [*asked, "--json", str(tmp_path / "a.json")])
    assert refused.exit_code == 2
    assert "--geometry takes a --model and --pairs" in refused.output
