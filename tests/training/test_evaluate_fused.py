"""Restored frames are also measured as the program fuses them."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from filters import Coding, Upscaler, codes_of, to_rgb
from mssnet import Deblurrer, Eager
from stream.compute.models import Passthrough
from stream.frame import Frame
from stream.options.exposure import Exposure
from stream.options.settings import Settings
from stream.stages.build import stages_of
from tests.compute.test_mssnet import TOLD, tiny
from tests.filters.test_upscale import untrained
from tests.training.test_evaluate import identity, in_memory, texture, tiny_model, write_folder
from weights.evaluate import Frame as Picture
from weights.evaluate import Pair, PairSet, Restored, evaluate, evaluate_enlarged, sheet
from weights.evaluate.__main__ import app

NONE = Passthrough(Eager("cpu"))


def faded(image: Tensor) -> Tensor:
    return image * 0.8 + 0.1


def flickering(
    seed: int, count: int = 8, height: int = 90, width: int = 120, noise: float = 6
) -> PairSet:
    """A still picture with other noise in each frame, and without."""
    still, draw = texture(height, width, seed), np.random.default_rng(seed)
    frames = [still + draw.normal(0, noise, still.shape) for _ in range(count)]
    return in_memory(
        *[(np.clip(frame, 0, 255).round().astype(np.uint8), still) for frame in frames]
    )


def shaken(count: int = 7, height: int = 128, width: int = 160) -> PairSet:
    """A still picture, its frames blurred across and down in turns."""
    still, sizes = texture(height, width, 5), [(11, 1), (1, 11)]
    return in_memory(
        *[
            (np.asarray(cv2.blur(still, sizes[index % 2]), np.uint8), still)
            for index in range(count)
        ]
    )


def test_fusion_gains_where_neighbors_are_sharper() -> None:
    row, _ = evaluate(NONE, [shaken()])
    assert list(row.plain.psnr) == ["blurred", "fused", "causal"]
    assert row.plain.gain["fused"] > 1.5 * row.plain.gain["causal"] > 0.5
    assert row.identity_psnr is None
    assert row.harm is not None
    assert row.harm.worst == 100
    assert row.harm.lost == pytest.approx(0, abs=0.01)


def test_smoothing_lowers_flicker_and_is_measured_beside_the_rest() -> None:
    row, _ = evaluate(identity, [flickering(1)])
    steady = row.steadiness
    assert steady is not None
    names = ["blurred", "restored", "fused", "causal"]
    assert list(steady.e_warp) == [*names, "sharp"]
    assert steady.e_warp["fused"] < 0.5 * steady.e_warp["restored"]
    assert steady.ratio == {
        name: steady.e_warp[name] / steady.e_warp["restored"] for name in ("fused", "causal")
    }
    assert list(steady.tof) == names
    assert row.plain.gain["fused"] > row.plain.gain["causal"] > 2
    assert row.plain.gain["restored"] == pytest.approx(0, abs=1e-3)

    without, _ = evaluate(identity, [flickering(1)], fuse=0)
    assert list(without.plain.psnr) == ["blurred", "restored"]
    assert without.plain.psnr["restored"] == row.plain.psnr["restored"]
    assert without.harm is None
    assert without.identity_psnr == 100
    assert without.steadiness is not None
    assert without.steadiness.ratio == {}

    less, _ = evaluate(identity, [flickering(1)], smooth=0)
    assert less.plain.gain["fused"] < 0.5 * row.plain.gain["fused"]
    alone, _ = evaluate(NONE, [flickering(1)])
    assert alone.steadiness is not None
    assert alone.steadiness.ratio == pytest.approx(steady.ratio, rel=0.01)


def test_nothing_is_carried_from_one_sequence_to_the_next() -> None:
    one, other = flickering(1, 3), flickering(1, 4)
    alone, _ = evaluate(identity, [other])
    _, after, _ = evaluate(identity, [one, other])
    assert after == alone


@pytest.mark.parametrize(("name", "delay"), [("fused", None), ("causal", 0)])
def test_frames_are_fused_as_the_program_does_it(name: str, delay: int | None) -> None:
    coding = Coding("bt601", full_range=True, subsampling=(1, 1))
    stage = stages_of(Settings(delay=delay), NONE, None, {})["deblur"]
    done: list[Frame] = []
    frames = [pair[0] for pair in flickering(2).read()]
    for index, picture in enumerate(frames):
        planes = tuple(codes_of(picture.transpose(2, 0, 1), coding))
        done.extend(stage.push(Frame(planes, coding, index, Fraction(1, 25))))
    done.extend(stage.flush())
    ours = list(Restored(NONE)(frames))
    assert len(ours) == len(done) == 8
    for versions, frame in zip(ours, done, strict=True):
        theirs = to_rgb([torch.from_numpy(plane) for plane in frame.planes], coding)
        apart = 255 * (versions[name] - theirs).abs().mean()
        assert apart < 0.8, "they differ by what the planes are rounded to"
    changed = [float(255 * (each[name] - each["blurred"]).abs().mean()) for each in ours]
    assert min(changed[1:]) > 2


def test_a_network_is_asked_once_and_its_change_is_fused() -> None:
    asked: list[Tensor] = []

    def spy(image: Tensor) -> Tensor:
        asked.append(image)
        return faded(image)

    blurred = [pair[0] for pair in flickering(3, 5).read()]
    found = list(Restored(spy)(blurred))
    assert len(asked) == 5
    alone = list(Restored(NONE)(blurred))
    for versions, other in zip(found, alone, strict=True):
        assert (versions["restored"] - faded(versions["blurred"])).abs().max() < 1e-4
        # Averages of what is faded are faded averages, but for where they are cut off.
        assert (versions["fused"] - faded(other["fused"])).abs().mean() < 4 / 255


class Counted:
    """Blurred frames, and how many of them were read."""

    def __init__(self, count: int) -> None:
        self._pairs = flickering(1, count)
        self.read = 0

    def __iter__(self) -> Iterator[Picture]:
        for blurred, _ in self._pairs.read():
            self.read += 1
            yield blurred


def test_frames_are_read_no_farther_ahead_than_they_must_be() -> None:
    frames = Counted(12)
    versions = Restored(NONE, exposure=Exposure("180deg"))(frames)
    for index in range(12):
        next(versions)
        assert frames.read == min(index + 1 + 3 + 2 + 1, 12)  # The two passes, and the motion.
    assert next(versions, None) is None
    assert sum(1 for _ in Restored(NONE, 0)(Counted(12))) == 12


def test_frames_that_tell_the_shutter_are_read_first() -> None:
    frames = Counted(60)
    next(Restored(NONE)(frames))
    assert frames.read == 48


def test_what_is_lost_of_sharp_frames_is_not_hidden() -> None:
    def soft(image: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)

    pairs: list[Pair] = [(texture(64, 80, 1), texture(64, 80, 1))] * 3
    pairs.append((texture(64, 80, 2), np.full((64, 80, 3), 90, np.uint8)))
    row, everything = evaluate(soft, [in_memory(*pairs)], smooth=0)
    assert row.harm is not None
    assert row.harm.lost > 20
    assert row.harm.worst < 60 < 70 < row.harm.psnr + 40
    assert row.harm.worst < row.harm.psnr
    assert everything.harm == row.harm


def panning(count: int = 4) -> PairSet:
    """A texture that moves by 15 pixels a frame."""
    wide = texture(180, 300, 4)
    frames = [
        np.ascontiguousarray(wide[:, 15 * index : 15 * index + 240]) for index in range(count)
    ]
    return in_memory(*[(frame, frame) for frame in frames])


def test_a_network_is_told_the_motion_and_the_shutter() -> None:
    restore, upscaler = Deblurrer(tiny(TOLD)), Upscaler(untrained())
    found: dict[str, dict[str, float | None]] = {}
    for said in ("auto", "1/60", "180deg", "36deg"):
        exposure = Exposure(said)
        row, _ = evaluate(restore, [panning()], exposure=exposure)
        enlarged, _ = evaluate_enlarged(restore, upscaler, [panning()], exposure=exposure)
        large = enlarged.plain.psnr
        found[said] = {
            **{name: row.plain.psnr[name] for name in ("restored", "fused", "causal")},
            "of sharp frames": row.identity_psnr,
            **{name: large[name] for name in ("restored, upscaler", "fused, bicubic")},
            "in the sheet": float(sheet(restore, [panning()], exposure).mean()),
        }
    # Seconds are those of 30 frames per second.
    assert found["180deg"] == found["1/60"]
    for other in ("auto", "36deg"):
        same = {name for name, figure in found[other].items() if figure == found["180deg"][name]}
        # Made three times smaller the frames are hardly blurred by such shutters.
        assert same <= {"restored, upscaler", "fused, bicubic"}, other
    open_, short = (
        evaluate_enlarged(restore, upscaler, [panning()], exposure=Exposure(said))[0].plain.psnr
        for said in ("360deg", "36deg")
    )
    assert open_["restored, upscaler"] != short["restored, upscaler"]
    blind, _ = evaluate(restore.__call__, [panning()])
    assert blind.plain.psnr["restored"] not in [each["restored"] for each in found.values()]


@pytest.mark.parametrize("none", [False, True])
def test_what_is_printed_is_what_is_written(tmp_path: Path, none: bool) -> None:
    folder = write_folder(tmp_path / "walk", list(flickering(3, 3).read()))
    out, model = tmp_path / "o.json", "none" if none else tiny_model(tmp_path)
    arguments = ["--model", model, "--pairs", folder, "--json", out]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines()[1:])) <= 100
    facts = json.loads(out.read_text())
    assert (facts["fuse"], facts["smooth"], len(facts["sha256"])) == (3, 0.8, 0 if none else 1)
    [row], plain = facts["sets"], "plain"
    psnr, gain, ssim = (list(row[plain][key].values()) for key in ("psnr", "gain", "ssim"))
    steady, harm = row["steadiness"], row["harm"]
    printed = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("walk")]
    assert printed == [
        [
            "3",
            *(f"{value:.2f}" for value in psnr[: 1 if none else 2]),
            *(f"{value:+.2f}" for value in gain),
            *(f"{value:.4f}" for value in ssim),
        ],
        [
            "2",
            *(f"{value:.3f}" for value in steady["e_warp"].values()),
            f"{steady['ratio']['fused']:.2f}",
            *(f"{value:.3f}" for value in steady["tof"].values()),
        ],
        [
            *([] if none else [f"{row['identity_psnr']:.2f}"]),
            *(f"{harm[key]:.2f}" for key in ("psnr", "worst")),
            *(f"{harm['lost']:+.2f}", "%"),
        ],
    ]
