"""Restored frames are also measured as the program steadies them."""

import json
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from typer.testing import CliRunner

from filters import Coding, Smoother, codes_of, to_rgb
from stream.follow import Follow
from stream.frame import Frame
from stream.processor import Processor
from tests.test_evaluate import identity, in_memory, texture, tiny_model, write_folder
from weights.evaluate import PairSet, Restored, evaluate
from weights.evaluate.__main__ import app


def faded(image: Tensor) -> Tensor:
    return image * 0.8 + 0.1


def flickering(seed: int, count: int = 8, height: int = 90, width: int = 120) -> PairSet:
    """A still picture with other noise in each frame, and without."""
    still, draw = texture(height, width, seed), np.random.default_rng(seed)
    frames = [still + draw.normal(0, 6, still.shape) for _ in range(count)]
    return in_memory(
        *[(np.clip(frame, 0, 255).round().astype(np.uint8), still) for frame in frames]
    )


def test_smoothing_lowers_flicker_and_is_measured_beside_the_rest() -> None:
    row, _ = evaluate(identity, [flickering(1)], smooth=0.8)
    steady = row.steadiness
    assert steady is not None
    assert list(steady.e_warp) == ["blurred", "restored", "steadied", "sharp"]
    assert steady.e_warp["steadied"] < 0.5 * steady.e_warp["restored"]
    assert steady.ratio == {"steadied": steady.e_warp["steadied"] / steady.e_warp["restored"]}
    assert list(steady.tof) == ["blurred", "restored", "steadied"]
    assert row.plain.gain["steadied"] > 2
    assert row.plain.gain["restored"] == 0

    without, _ = evaluate(identity, [flickering(1)], smooth=0)
    assert list(without.plain.psnr) == ["blurred", "restored"]
    assert without.plain.psnr["restored"] == row.plain.psnr["restored"]
    assert without.steadiness is not None
    assert without.steadiness.ratio == {}


def test_nothing_is_carried_from_one_sequence_to_the_next() -> None:
    one, other = flickering(1, 3), flickering(1, 4)
    alone, _ = evaluate(identity, [other])
    _, after, _ = evaluate(identity, [one, other])
    assert after == alone


def test_frames_are_steadied_as_the_program_does_it() -> None:
    coding = Coding("bt601", full_range=True, subsampling=(1, 1))
    follow = Follow()
    process = Processor(partial(partial, faded), torch.device("cpu"), temporal=Smoother(0.8))
    ours = Restored(faded, 0.8)
    apart, changed = [], []
    for index, (blurred, _) in enumerate(flickering(2).read()):
        planes = tuple(codes_of(blurred.transpose(2, 0, 1), coding))
        [frame] = follow.push(Frame(planes, coding, index, Fraction(1, 25)))
        [done] = process.push(frame)
        theirs = to_rgb([torch.from_numpy(plane) for plane in done.planes], coding)
        versions = ours(blurred)
        apart.append(float(255 * (versions["steadied"] - theirs).abs().mean()))
        changed.append(float(255 * (versions["restored"] - theirs).abs().mean()))
    assert max(apart) < 0.8, "they differ by what the planes are rounded to"
    assert min(changed[1:]) > 2


def test_what_is_printed_is_what_is_written(tmp_path: Path) -> None:
    folder, out = (
        write_folder(tmp_path / "walk", list(flickering(3, 3).read())),
        tmp_path / "o.json",
    )
    arguments = ["--model", tiny_model(tmp_path), "--pairs", folder, "--json", out]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    [row], plain = json.loads(out.read_text())["sets"], "plain"
    psnr, gain, ssim = (list(row[plain][key].values()) for key in ("psnr", "gain", "ssim"))
    steady = row["steadiness"]
    printed = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("walk")]
    assert printed == [
        [
            "3",
            *(f"{value:.2f}" for value in psnr[:2]),
            *(f"{value:+.2f}" for value in gain),
            *(f"{value:.4f}" for value in ssim),
            f"{row['identity_psnr']:.2f}",
        ],
        [
            "2",
            *(f"{value:.3f}" for value in steady["e_warp"].values()),
            f"{steady['ratio']['steadied']:.2f}",
            *(f"{value:.3f}" for value in steady["tof"].values()),
        ],
    ]
