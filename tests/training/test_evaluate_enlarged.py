"""Enlarged pictures and videos are measured as published figures are."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from filters import load_upscaler
from filters.upscale import UpscalerConfig, UpscalerNet
from tests.training.test_evaluate import (
    identity,
    in_memory,
    shifted_pair,
    texture,
    tiny_model,
    write_folder,
)
from tests.training.test_evaluate_fused import flickering
from weights.evaluate import (
    Enlarge,
    Frame,
    PairsError,
    PictureSet,
    UpscaleFigures,
    evaluate_enlarged,
    evaluate_upscaler,
    find_pictures,
)
from weights.evaluate.__main__ import app

STUDIO = 219 / 255
"""How much of a step of gray is left in luma of 16..235."""


def nearest(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=3, mode="nearest")


def pictures(*pairs: tuple[Frame, Frame]) -> PictureSet:
    return PictureSet("memory", len(pairs), lambda: iter(pairs))


def flat(height: int, width: int, value: int) -> Frame:
    return np.full((height, width, 3), value, np.uint8)


def measured(enlarge: Enlarge, small: Frame, large: Frame) -> dict[str, UpscaleFigures]:
    row, everything = evaluate_upscaler(enlarge, [pictures((small, large))])
    assert everything.methods == row.methods
    return row.methods


def write(file: Path, picture: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def test_figures_of_a_picture_that_is_too_bright() -> None:
    small, large = flat(12, 14, 100), flat(36, 42, 100)
    found = measured(lambda image: nearest(image) + 10 / 255, small, large)["upscaler"]
    expected = 20 * math.log10(255 / (10 * STUDIO))
    assert found.psnr == pytest.approx(expected, abs=1e-3)
    assert found.consistency == pytest.approx(expected, abs=1e-3)
    assert found.overshoot == 100
    assert found.phases == pytest.approx([10 * STUDIO] * 9, abs=1e-3)


def test_nearest_neighbors_leave_a_pattern_and_never_overshoot() -> None:
    line = np.arange(180, dtype=np.uint8)
    large = np.repeat(line[None, :, None], 72, axis=0).repeat(3, axis=2)
    small = np.ascontiguousarray(large[1::3, 1::3])
    found, step = measured(nearest, small, large), STUDIO
    assert found["upscaler"].phases == pytest.approx([step, 0, -step] * 3, abs=0.06)
    assert found["upscaler"].phase_bias == max(map(abs, found["upscaler"].phases))
    assert found["upscaler"].overshoot == 0
    assert found["bicubic"].phase_bias == 0
    turned = measured(
        nearest, *(np.ascontiguousarray(x.transpose(1, 0, 2)) for x in (small, large))
    )
    assert turned["upscaler"].phases[::3] == pytest.approx([step, 0, -step], abs=0.06)


def test_lanczos_overshoots_more_than_bicubic() -> None:
    bars = np.where(np.arange(40) // 5 % 2, 200, 60).astype(np.uint8)
    small = np.repeat(bars[None, :, None], 40, axis=0).repeat(3, axis=2)
    found = measured(nearest, small, small.repeat(3, axis=0).repeat(3, axis=1))
    assert found["lanczos"].overshoot > found["bicubic"].overshoot > 0
    assert found["upscaler"].psnr == 100


def test_the_truth_is_perfect_and_its_small_picture_is_found_again(tmp_path: Path) -> None:
    write(tmp_path / "one.png", texture(62, 79))
    [one] = find_pictures(tmp_path)
    [(small, large)] = one.read()
    assert (small.shape, large.shape) == ((20, 26, 3), (60, 78, 3))
    truth = torch.from_numpy(large).permute(2, 0, 1)[None] / 255
    found = measured(lambda image: truth, small, large)["upscaler"]
    assert found.psnr == 100
    assert found.ssim == pytest.approx(1, abs=1e-5)
    assert found.consistency > 55, "the small picture is rounded to 8 bits and nothing else"


def test_phases_average_over_pictures_before_the_largest_is_taken() -> None:
    small, large = flat(12, 12, 100), flat(36, 36, 100)
    changes = iter((0.04, -0.04, 0.0))
    rows = evaluate_upscaler(
        lambda image: nearest(image) + next(changes),
        [pictures((small, large), (small, large)), pictures((small, large))],
    )
    assert [row.name for row in rows] == ["memory", "memory", "all"]
    assert [row.pictures for row in rows] == [2, 1, 3]
    assert rows[0].methods["upscaler"].phase_bias == pytest.approx(0, abs=1e-4)


def test_published_figures_are_found_again(shared: Path) -> None:
    row, _ = evaluate_upscaler(nearest, find_pictures(shared / "data" / "eval" / "sr_x3" / "Set5"))
    assert row.methods["bicubic"].psnr == pytest.approx(30.39, abs=0.03)
    assert row.methods["bicubic"].ssim == pytest.approx(0.8682, abs=0.001)


def test_every_folder_with_pictures_is_a_set(tmp_path: Path) -> None:
    for name in ("a/1_HR", "a/2_HR"):
        write(tmp_path / f"{name}.png", texture(36, 36))
        write(tmp_path / f"{name.replace('HR', 'LR')}.png", flat(12, 12, 0))
    write(tmp_path / "b" / "CHRIS.jpg", texture(36, 40))
    paired, alone = find_pictures(tmp_path)
    assert [(one.name, one.pictures) for one in (paired, alone)] == [("a", 2), ("b", 1)]
    assert [small.max() for small, _ in paired.read()] == [0, 0], (
        "the small picture is the one there"
    )
    [(small, large)] = alone.read()
    assert small.shape == (12, 13, 3)
    assert large.shape == (36, 39, 3)


def test_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="no pictures"):
        find_pictures(tmp_path)
    write(tmp_path / "1_HR.png", texture(36, 36))
    write(tmp_path / "1_LR.png", texture(18, 18))
    with pytest.raises(PairsError, match=r"1_LR\.png is not a third of the size of 1_HR\.png"):
        evaluate_upscaler(nearest, find_pictures(tmp_path))
    write(tmp_path / "2_LR.png", texture(12, 12))
    with pytest.raises(PairsError, match=r"2_LR\.png is not there as both"):
        find_pictures(tmp_path)
    write(tmp_path / "tiny" / "one.png", texture(17, 40))
    with pytest.raises(PairsError, match="smaller than 18 px"):
        evaluate_upscaler(nearest, find_pictures(tmp_path / "tiny"))
    (tmp_path / "noise" / "one.png").parent.mkdir()
    (tmp_path / "noise" / "one.png").write_bytes(b"no picture")
    with pytest.raises(PairsError, match="cannot read the picture"):
        evaluate_upscaler(nearest, find_pictures(tmp_path / "noise"))


def test_frames_are_made_smaller_restored_fused_and_enlarged() -> None:
    seen = []

    def spy(image: Tensor) -> Tensor:
        codes = image * 255
        assert (codes - codes.round()).abs().max() < 0.02, "8 bits, as a video has them"
        seen.append(image.shape)
        return image

    blurred, sharp = flat(64, 80, 151), flat(64, 80, 100)
    row, _ = evaluate_enlarged(spy, nearest, [in_memory((blurred, sharp))])
    assert seen == [(1, 3, 21, 26)]
    assert list(row.plain.psnr) == [
        "bicubic",
        "restored, bicubic",
        "restored, upscaler",
        "fused, bicubic",
        "fused, upscaler",
        "causal, bicubic",
        "causal, upscaler",
    ]
    expected = 20 * math.log10(255 / 51)
    assert list(row.plain.psnr.values()) == pytest.approx([expected] * 7, abs=1e-3)
    assert row.identity_psnr is None


def test_what_restores_and_what_enlarges_are_told_apart() -> None:
    bars = np.where(np.arange(32) // 4 % 2, 200, 60).astype(np.uint8)
    blocks = np.repeat(bars[None, :, None], 24, axis=0).repeat(3, axis=2)
    sharp = blocks.repeat(3, axis=0).repeat(3, axis=1)
    dark = sharp // 2
    row, _ = evaluate_enlarged(lambda x: x * 2, nearest, [in_memory((dark, sharp))], fuse=0)
    psnr = row.plain.psnr
    assert list(psnr) == ["bicubic", "restored, bicubic", "restored, upscaler"]
    assert psnr["bicubic"] + 3 < psnr["restored, bicubic"] < psnr["restored, upscaler"] - 1


def test_smoothing_lowers_the_flicker_of_enlarged_frames() -> None:
    row, _ = evaluate_enlarged(identity, nearest, [flickering(1, 6, 288, 384, noise=24)])
    steady = row.steadiness
    assert steady is not None
    assert list(steady.ratio) == [
        *("fused, bicubic", "fused, upscaler", "causal, bicubic", "causal, upscaler")
    ]
    assert max(steady.ratio.values()) < 0.7
    restored = steady.e_warp["restored, bicubic"]
    assert restored == pytest.approx(steady.e_warp["bicubic"], rel=1e-3)


def test_pairs_that_lie_apart_are_aligned_at_full_size() -> None:
    pairs = in_memory(*(shifted_pair(seed=seed) for seed in range(2)), pixel_aligned=False)
    row, everything = evaluate_enlarged(identity, nearest, [pairs])
    assert row.unaligned == 0
    assert row.aligned is not None
    assert row.aligned.psnr["bicubic"] > row.plain.psnr["bicubic"] + 1
    assert everything.aligned == row.aligned


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_command_measures_an_upscaler_alone(tmp_path: Path, precision: str) -> None:
    write(tmp_path / "mine" / "one.png", texture(40, 50))
    upscaler, out = tiny_upscaler(tmp_path), tmp_path / "out.json"
    arguments = ["--upscaler", upscaler, "--images", tmp_path / "mine", "--precision", precision]
    lines, facts = command(*arguments, "--json", out)
    enlarge = load_upscaler(upscaler, dtype=getattr(torch, precision))
    row, _ = evaluate_upscaler(enlarge, find_pictures(tmp_path / "mine"))
    assert facts["sets"] == [json.loads(json.dumps(asdict(row)))]
    assert facts["smooth"] is None
    for name, figures in facts["sets"][0]["methods"].items():
        [line] = [line for line in lines[:-3] if name in line]
        psnr, ssim, consistency, overshoot, percent, bias = line.split()[-6:]
        assert psnr == f"{figures['psnr']:.2f}"
        assert ssim == f"{figures['ssim']:.4f}"
        assert consistency == f"{figures['consistency']:.2f}"
        assert [overshoot, percent] == [f"{figures['overshoot']:.2f}", "%"]
        assert bias == f"{figures['phase_bias']:.3f}"
    assert facts["all"]["pictures"] == 1


def test_the_command_measures_both_together(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "walk", list(flickering(3, 3).read()))
    out = tmp_path / "out.json"
    networks = ["--model", tiny_model(tmp_path), "--upscaler", tiny_upscaler(tmp_path)]
    lines, facts = command(*networks, "--pairs", folder, "--json", out)
    assert max(map(len, lines[1:])) <= 100
    [row] = facts["sets"]
    assert len(facts["sha256"]) == 2
    for name, psnr in row["plain"]["psnr"].items():
        # That of the set is above that of all of them.
        line = next(line for line in lines if name in line)
        ratio = row["steadiness"]["ratio"].get(name)
        cells = line.split(name)[1].split()
        assert f"{psnr:.2f}" in cells
        assert f"{row['plain']['ssim'][name]:.4f}" in cells
        assert f"{row['steadiness']['e_warp'][name]:.3f}" in cells
        assert f"{row['steadiness']['tof'][name]:.3f}" in cells
        assert ratio is None or f"{ratio:.2f}" in cells


def command(*arguments: object) -> tuple[list[str], dict[str, Any]]:
    """The lines that the command prints, and what it writes to the file named last."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines(), json.loads(Path(str(arguments[-1])).read_text())


def tiny_upscaler(folder: Path) -> Path:
    torch.manual_seed(0)
    net = UpscalerNet(UpscalerConfig(width=4, blocks=1))
    file = folder / "larger.safetensors"
    save_file(net.state_dict(), file)
    return file
