import json
import math
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from mssnet import Config, MSSNet
from weights.evaluate import (
    Frame,
    Pair,
    PairsError,
    PairSet,
    Video,
    align,
    evaluate,
    find_pairs,
    sheet,
)
from weights.evaluate.__main__ import app


def texture(height: int, width: int, seed: int = 0) -> Frame:
    """Soft blobs in color, 0..254 and even, so that halves are whole numbers."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5))
    spread = (soft - soft.min()) / (soft.max() - soft.min())
    return np.asarray((spread * 127).round() * 2, np.uint8)


def write_folder(folder: Path, pairs: list[Pair]) -> Path:
    for side in (0, 1):
        (folder / ("blur", "sharp")[side]).mkdir(parents=True)
        for index, pair in enumerate(pairs):
            file = folder / ("blur", "sharp")[side] / f"{index:03}.png"
            cv2.imwrite(str(file), cv2.cvtColor(pair[side], cv2.COLOR_RGB2BGR))
    return folder


def write_clip(file: Path, pairs: list[Pair]) -> Path:
    """A triptych of blurred, black and sharp frame, as good as lossless."""
    with av.open(str(file), "w") as container:
        height, width = pairs[0][0].shape[:2]
        stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 3 * width, height, "yuv444p"
        for blurred, sharp in pairs:
            wide = np.concatenate((blurred, np.zeros_like(blurred), sharp), axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide, format="rgb24")))
        container.mux(stream.encode())
    return file


def shifted_pair(height: int = 64, width: int = 96, seed: int = 0) -> Pair:
    """A sharp frame that lies 1 px to the right of the blurred one, and no blur at all."""
    wide = texture(height, width + 1, seed)
    return wide[:, 1:], wide[:, :-1]


def identity(image: Tensor) -> Tensor:
    return image


def double(image: Tensor) -> Tensor:
    return (image * 2).clamp(0, 1)


def in_memory(*pairs: Pair, pixel_aligned: bool = True, name: str = "memory") -> PairSet:
    return PairSet(name, len(pairs), pixel_aligned, lambda: iter(pairs))


def test_identity_gains_exactly_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "walk", [(texture(40, 50, 1), texture(40, 50, 2))] * 2)
    clip = write_clip(tmp_path / "toy.mp4", [shifted_pair()])
    rows = evaluate(identity, [*find_pairs(folder), *find_pairs(clip)])
    assert [row.name for row in rows] == ["walk", "toy", "all"]
    for row in rows:
        for figures in (row.plain, row.aligned):
            if figures:
                # But for what the stages' 16 bits round.
                assert figures.gain["restored"] == pytest.approx(0, abs=1e-3)
                assert figures.ssim["restored"] == pytest.approx(figures.ssim["blurred"], abs=1e-5)
        assert row.identity_psnr == 100


def test_figures_of_known_pairs() -> None:
    gray = np.full((32, 32, 3), 100, np.uint8)
    row, _ = evaluate(identity, [in_memory((gray + 51, gray))])
    assert row.plain.psnr["blurred"] == pytest.approx(20 * math.log10(255 / 51), abs=1e-3)
    row, _ = evaluate(identity, [in_memory((texture(32, 32), texture(32, 32)))])
    assert row.plain.psnr["blurred"] == 100
    assert row.plain.ssim["blurred"] == pytest.approx(1, abs=1e-5)


def test_a_restorer_that_undoes_the_damage_gains(tmp_path: Path) -> None:
    frames = [texture(48, 48, seed) for seed in range(2)]
    folder = write_folder(tmp_path / "dark", [(frame // 2, frame) for frame in frames])
    row, _ = evaluate(double, find_pairs(folder))
    assert row.plain.gain["restored"] > 30
    assert row.plain.ssim["restored"] > row.plain.ssim["blurred"]
    assert row.identity_psnr is not None
    assert row.identity_psnr < 20  # what it does to sharp frames is not hidden
    assert row.aligned is None


def test_the_restorer_never_sees_the_sharp_frame_beside_its_input() -> None:
    blurred, sharp = texture(32, 40, 1), texture(32, 40, 2)
    seen = []

    def spy(image: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        seen.append(image.mul(255).round().byte()[0].permute(1, 2, 0).numpy())
        return image

    evaluate(spy, [in_memory((blurred, sharp))])
    assert [np.array_equal(x, y) for x, y in zip(seen, (blurred, sharp), strict=True)] == [True] * 2


def test_flicker_is_measured_and_motion_is_not_flicker() -> None:
    wide = texture(96, 140)
    still = np.ascontiguousarray(wide[:, :120])
    video = Video()
    for change in (0, 10, 0):
        flickering = np.clip(still.astype(int) + change, 0, 255).astype(np.uint8)
        video.add(still, still, {"blurred": still, "restored": flickering})
    steady = video.result()
    assert steady is not None
    assert steady.pairs == 2
    assert steady.e_warp["blurred"] == steady.e_warp["sharp"] == 0
    # Not exactly, because of what is clipped at 255.
    assert steady.e_warp["restored"] == pytest.approx(1e3 * (10 / 255) ** 2, rel=0.1)
    assert steady.tof["blurred"] == 0

    video = Video()
    for shift in (0, 3, 6):
        frame = np.ascontiguousarray(wide[:, shift : shift + 120])
        video.add(frame, frame, {"blurred": frame, "restored": still})
    steady = video.result()
    assert steady is not None
    assert steady.e_warp["blurred"] < 1
    assert steady.tof["restored"] == pytest.approx(3, abs=0.6)  # still, where all else moves on


def test_unrelated_pictures_are_no_sequence() -> None:
    video = Video()
    for seed in range(3):
        frame = texture(96, 120, seed)
        video.add(frame, frame, {"restored": frame})
    assert video.result() is None


def test_all_averages_over_frames_and_not_over_sets() -> None:
    near, far = np.full((32, 32, 3), 110, np.uint8), np.full((32, 32, 3), 150, np.uint8)
    gray = np.full((32, 32, 3), 100, np.uint8)
    one, three, everything = evaluate(
        identity, [in_memory((near, gray)), in_memory(*[(far, gray)] * 3)]
    )
    expected = (one.plain.psnr["blurred"] + 3 * three.plain.psnr["blurred"]) / 4
    assert everything.plain.pairs == 4
    assert everything.plain.psnr["blurred"] == pytest.approx(expected)


def test_alignment_recovers_a_known_shift(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "toy.mp4", [shifted_pair(seed=seed) for seed in range(3)])
    row, everything = evaluate(identity, find_pairs(clip))
    assert row.aligned is not None
    assert row.plain.pairs == row.aligned.pairs == 3
    assert row.unaligned == 0
    assert row.aligned.psnr["blurred"] > row.plain.psnr["blurred"] + 12
    assert row.aligned.ssim["blurred"] > 0.99
    assert everything.aligned == row.aligned


@pytest.mark.parametrize("turned", [False, True])
def test_align_shifts_the_sharp_frame_the_right_way(turned: bool) -> None:
    blurred, sharp = shifted_pair()
    if turned:
        blurred, sharp = (
            np.ascontiguousarray(x[::-1].transpose(1, 0, 2)) for x in (blurred, sharp)
        )
    moved, converged = align(sharp, blurred)
    assert converged
    difference = np.abs(moved - blurred)[4:-4, 4:-4]
    assert difference.mean() < 1


def test_pairs_that_cannot_be_aligned_are_counted_and_used_as_they_are() -> None:
    flat = np.full((32, 32, 3), 90, np.uint8)
    far = texture(64, 100)
    pairs = in_memory((flat, texture(32, 32)), (far[:, 6:], far[:, :-6]), pixel_aligned=False)
    row, _ = evaluate(identity, [pairs])
    assert row.unaligned == 2
    assert row.aligned is not None
    assert row.aligned.pairs == 2


def test_a_folder_of_clips_is_a_set_for_each(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_clip(tmp_path / f"{name}.mp4", [shifted_pair()] * 2)
    assert [(one.name, one.pairs) for one in find_pairs(tmp_path)] == [("a", 2), ("b", 2)]


def test_the_sheet_shows_the_place_that_differs_most_in_the_middle_frame() -> None:
    same = np.full((300, 320, 3), 60, np.uint8)
    damaged = same.copy()
    damaged[250:290, 260:300] = 90
    image = sheet(double, [in_memory((same, same), (damaged, same), (same, same))])
    assert image.shape == (436, 1216, 3)
    row = image[28:-8]
    assert (row[:, :400] == 90).all(axis=2).sum() == 4 * 40 * 40
    assert (row[:, 408:808] == 180).all(axis=2).sum() == 4 * 40 * 40
    assert (row[:, 816:] == 60).all()


def test_the_sheet_takes_frames_smaller_than_a_crop() -> None:
    image = sheet(identity, [in_memory((texture(40, 300), texture(40, 300, 1)))] * 2)
    assert image.shape == (2 * 436, 1216, 3)


def test_unequal_names_and_sizes_and_damaged_clips_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "names", [(texture(32, 32), texture(32, 32))])
    (folder / "blur" / "000.png").rename(folder / "blur" / "1.png")
    with pytest.raises(PairsError, match="not both in blur and in sharp"):
        find_pairs(folder)
    folder = write_folder(tmp_path / "sizes", [(texture(32, 32), texture(32, 33))])
    with pytest.raises(PairsError, match="differ in size"):
        evaluate(identity, find_pairs(folder))
    clip = tmp_path / "noise.mp4"
    clip.write_bytes(b"no video at all" * 100)
    with pytest.raises(PairsError, match="cannot read the clip"):
        find_pairs(clip)
    with pytest.raises(PairsError, match="smaller than"):
        find_pairs(write_clip(tmp_path / "tiny.mp4", [shifted_pair(12, 12)]))


def test_a_width_that_is_no_multiple_of_three_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "plain.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(texture(48, 64), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(PairsError, match="not a multiple of 3"):
        find_pairs(clip)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pairs", "{tmp}/missing"],
        ["--pairs", "{tmp}/empty"],
        ["--pairs", "{tmp}/text.txt"],
        ["--pairs", "{tmp}/good", "--json", "{tmp}/missing/out.json"],
        ["--pairs", "{tmp}/good", "--sheet", "{tmp}/out.jpg"],
        ["--pairs", "{tmp}/good", "--device", "nonsense"],
        ["--pairs", "{tmp}/good", "--model", "{tmp}/missing.safetensors"],
        ["--pairs", "{tmp}/good", "--model", "x3-lite"],
        ["--pairs", "{tmp}/good", "--exit", "3"],
        ["--pairs", "{tmp}/good", "--smooth", "1.1"],
        ["--pairs", "{tmp}/good", "--smooth", "nan"],
        ["--pairs", "{tmp}/good", "--fuse", "6"],
        ["--pairs", "{tmp}/good", "--shutter", "nonsense"],
        ["--pairs", "{tmp}/good", "--model", "none", "--exit", "1"],
        ["--pairs", "{tmp}/good", "--model", "none", "--fuse", "-1"],
        ["--pairs", "{tmp}/good", "--upscaler", "lite"],
        ["--pairs", "{tmp}/good", "--upscaler", "x3-lite", "--sheet", "{tmp}/out.png"],
        ["--pairs", "{tmp}/good", "--upscaler", "x3-lite", "--images", "{tmp}/good"],
        ["--images", "{tmp}/good"],
        ["--upscaler", "x3-lite", "--images", "{tmp}/good"],
        ["--upscaler", "x3-lite"],
        [],
    ],
)
def test_what_cannot_work_ends_in_one_line_and_code_2(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no pairs")
    write_folder(tmp_path / "good", [(texture(32, 32), texture(32, 32))])
    model = tiny_model(tmp_path)
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["--model", str(model), *given])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_command_prints_a_table_and_writes_both_files(tmp_path: Path, precision: str) -> None:
    folder = write_folder(tmp_path / "walk", [(texture(40, 50, 1), texture(40, 50, 2))])
    clip = write_clip(tmp_path / "toy.mp4", [shifted_pair()])
    out, crops = tmp_path / "out.json", tmp_path / "out.png"
    model = tiny_model(tmp_path)
    arguments = ["--model", model, "--pairs", folder, "--pairs", clip, "--precision", precision]
    arguments += ["--json", out, "--sheet", crops]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    for word in ("walk", "toy", "all", "aligned", precision):
        assert word in result.stdout
    facts = json.loads(out.read_text())
    assert facts["model"] == str(model)
    assert facts["precision"] == precision
    assert facts["shutter"] == "auto"
    assert facts["torch"] == torch.__version__
    assert [one["name"] for one in facts["sets"]] == ["walk", "toy"]
    assert facts["sets"][0]["aligned"] is None
    assert facts["all"]["plain"]["pairs"] == 2
    assert facts["all"]["aligned"]["pairs"] == 1
    assert max(map(len, result.stdout.splitlines()[1:])) <= 100
    image = cv2.imread(str(crops))
    assert image is not None
    assert image.shape == (2 * 436, 1216, 3)


def test_a_network_is_measured_where_it_is_left(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "walk", [(texture(40, 50, 1), texture(40, 50, 2))])
    model, found = tiny_model(tmp_path, stages=(1, 1, 2)), []
    for arguments in ([], ["--exit", "1"], ["--exit", "3"]):
        out = tmp_path / "out.json"
        given = ["--model", str(model), "--pairs", str(folder), "--json", str(out), *arguments]
        assert CliRunner().invoke(app, given).exit_code == 0
        found.append(json.loads(out.read_text())["sets"])
    assert found[0] == found[2], "the third exit is the end"
    assert found[0] != found[1]


def tiny_model(folder: Path, stages: tuple[int, int, int] = (1, 1, 1)) -> Path:
    torch.manual_seed(0)
    net = MSSNet(Config(widths=(4, 4, 4), stages=stages, blocks=1, unshuffle=2))
    file = folder / "tiny.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, file)
    return file
