"""Training: the samples, the loss, the recipes, and that an interrupted run goes on exactly."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mssnet
from mssnet import Config, MSSNet
from weights.train import motion
from weights.train.camera import CameraSettings, compress, sensor, subsample
from weights.train.data import Batches, DataSettings, Samples
from weights.train.gradients import Gradients, loss
from weights.train.loop import rate_at
from weights.train.optimizer import Optimizer, orthogonal
from weights.train.photos import Photos, PhotoSettings
from weights.train.procedural import chart, picture
from weights.train.recipe import RECIPES, Recipe, RecipeError, find, load, load_enlarging
from weights.train.response import Response, srgb
from weights.train.state import begin_log
from weights.train.synthesis import BlurSettings, _Layer, _plan, scenes

CPU = torch.device("cpu")
TINY = Config(widths=(4, 4, 4), stages=(1, 1, 1), blocks=1, unshuffle=2)
CLEAN = CameraSettings(noise=0, h264=0, jpeg=0, subsampled=0)


def photos(device: torch.device = CPU) -> Photos:
    return Photos(None, PhotoSettings(), size=80, seed=2, device=device)


def made(
    settings: BlurSettings, *, size: int = 96, seed: int = 0, count: int = 8
) -> tuple[Tensor, Tensor]:
    return scenes(photos(), count, size, settings, [srgb()], np.random.default_rng(seed), CPU)


def smooth(count: int = 4) -> Tensor:
    rng = np.random.default_rng(2)
    drawn = [cv2.GaussianBlur(picture(96, rng), (0, 0), 1.5) for _ in range(count)]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def test_a_still_scene_is_sharp() -> None:
    blurred, sharp = made(BlurSettings(sharp=1.0, defocus=0.0))
    assert blurred.shape == sharp.shape == (8, 3, 96, 96)
    assert (blurred - sharp).abs().max() < 1e-3
    assert sharp.std() > 0.05


def test_longer_paths_blur_more() -> None:
    changes = []
    for longest in (4.0, 80.0):
        settings = BlurSettings(longest=longest, bias=0.1, sharp=0, slight=0, defocus=0)
        blurred, sharp = made(settings)
        assert 0 <= blurred.min() <= blurred.max() <= 1
        changes.append(float((blurred - sharp).abs().mean()))
    assert changes[1] > 2 * changes[0] > 0


def test_light_averages_brighter_than_encoded_values() -> None:
    """As a sensor does it: between black and white lies more than the middle gray."""
    ratios = []
    for encoded in (0.0, 1.0):
        settings = BlurSettings(
            longest=40, bias=0.01, sharp=0, slight=0, defocus=0, objects=0, encoded=encoded
        )
        blurred, sharp = made(settings, count=12)
        ratios.append(float((blurred.mean((1, 2, 3)) / sharp.mean((1, 2, 3))).median()))
    assert ratios[0] > ratios[1] + 0.005
    assert ratios[1] == pytest.approx(1.0, abs=0.03)


def test_uniform_blur_is_a_convolution() -> None:
    """All points of a uniform scene travel alike, those of others do not."""
    spreads = []
    for uniform in (0.0, 1.0):
        settings = BlurSettings(
            longest=30, bias=0.01, sharp=0, slight=0, objects=0, uniform=uniform
        )
        worst = 0.0
        for seed in range(12):
            plan = _plan(96, settings, 1, np.random.default_rng(seed))
            corners = plan.camera @ np.array([[0, 96, 0, 96], [0, 0, 96, 96], [1, 1, 1, 1]])
            moved = corners[:, :2] - corners[plan.count // 2, :2]
            worst = max(worst, float(np.ptp(moved, axis=2).max()))
        spreads.append(worst)
    assert spreads[1] < 1e-9 < 2 < spreads[0]


def test_paths_pass_the_identity_and_are_as_long_as_told() -> None:
    for seed in range(20):
        path = motion.path(40.0, 33, 128, np.random.default_rng(seed))
        assert np.allclose(path[16], np.eye(3))
        middle = (path @ [64, 64, 1])[:, :2]
        assert 6 < np.hypot(*np.ptp(middle, axis=0)) < 60


def test_the_picture_moves_the_way_the_path_says() -> None:
    """A point that goes right during the exposure smears to both sides of where it is midway."""
    path = motion.still(3)
    path[0, 0, 2], path[2, 0, 2] = -5, 5
    dot = torch.zeros(1, 3, 80, 80)
    dot[..., 40, 40] = 1
    layer = _Layer(dot, [path], 64, 8)
    for index, column in enumerate((27, 32, 37)):
        assert layer.at(index, 1)[0, 0].argmax() == 32 * 64 + column
    assert torch.allclose(layer.at(1, 1), layer.middle(), atol=1e-4)


def test_response_curves_turn_around() -> None:
    values = torch.linspace(0, 1, 300)
    for curve in (srgb(), Response(np.linspace(0, 1, 256) ** 3)):
        assert (curve.to_encoded(curve.to_light(values)) - values).abs().max() < 3e-3
    assert float(srgb().to_light(torch.tensor(0.5))) == pytest.approx(0.2140, abs=1e-3)
    with pytest.raises(ValueError, match="rising"):
        Response(np.array([0.0, 1.0, 0.5]))


@pytest.mark.parametrize("way", ["noise", "h264", "jpeg"])
def test_the_camera_degrades_and_tints_nothing(way: str) -> None:
    settings = replace(CLEAN, **{way: 1.0})  # type: ignore[arg-type]
    images = smooth()
    rng = np.random.default_rng(0)
    worse = sensor(images, settings, rng)
    if way in ("h264", "jpeg"):
        arrays = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        done = np.stack([compress(array, settings, rng) for array in arrays])
        worse = torch.from_numpy(done).permute(0, 3, 1, 2) / 255
    assert worse.shape == images.shape
    change = worse - images
    assert change.abs().mean() > 5e-4
    assert change.mean((0, 2, 3)).abs().max() < 0.01


def test_a_clean_camera_changes_nothing() -> None:
    images = smooth()
    rng = np.random.default_rng(0)
    assert torch.equal(sensor(images, CLEAN, rng), images)
    whole = np.zeros((16, 16, 3), np.uint8)
    assert compress(whole, CLEAN, rng) is whole


def test_halving_the_chroma_keeps_brightness_and_tint() -> None:
    images = smooth()
    halved = subsample(images)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert ((halved - images) * weights).sum(1).abs().max() < 1e-5
    assert (halved - images).mean((0, 2, 3)).abs().max() < 2e-3
    gray = images.mean(1, keepdim=True).expand_as(images)
    assert torch.allclose(subsample(gray), gray, atol=1e-5)
    assert (halved - images).abs().max() > 0.01


def test_chroma_is_halved_in_the_target_as_well() -> None:
    clean = replace(CLEAN, subsampled=1.0)
    still = BlurSettings(sharp=1.0, defocus=0.0)
    blurred, sharp = Samples(small(camera=clean, blur=still), CPU).group(0)
    assert (blurred.int() - sharp.int()).abs().max() <= 1


@pytest.mark.parametrize("draw", [picture, chart])
def test_drawn_pictures_have_detail(draw: object) -> None:
    assert callable(draw)
    for seed in range(4):
        image = draw(160, np.random.default_rng(seed))
        assert image.shape == (160, 160, 3)
        assert 0 <= image.min() < image.max() <= 1
        assert sum(np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)) > 0.003


def small(**changes: object) -> DataSettings:
    return replace(DataSettings(patch=64, scenes=6, uses=2, seed=5), **changes)  # type: ignore[arg-type]


def test_a_group_depends_on_seed_and_number_alone() -> None:
    one, other = Samples(small(), CPU), Samples(small(), CPU)
    other.group(3)
    for first, second in zip(one.group(7), other.group(7), strict=True):
        assert first.shape == (12, 3, 64, 64)
        assert first.dtype == torch.uint8
        assert torch.equal(first, second)
    assert not torch.equal(one.group(8)[1], one.group(7)[1])
    assert not torch.equal(Samples(small(seed=6), CPU).group(7)[1], one.group(7)[1])


def test_batches_go_on_anywhere() -> None:
    def batches(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        stream = Batches(Samples(small(), CPU), 4, step=step, workers=2)
        try:
            yield from islice(stream, 5)
        finally:
            stream.close()

    whole, late = list(batches(0)), list(batches(2))
    for (a, b), (c, d) in zip(whole[2:], late, strict=False):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    with pytest.raises(ValueError, match="does not divide"):
        Batches(Samples(small(), CPU), 5)


def test_photographs_are_found_and_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Samples(small(images=tmp_path), CPU)
    (tmp_path / "deep").mkdir()
    red = np.zeros((400, 300, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "deep" / "red.png"), red)
    _, sharp = Samples(small(images=tmp_path, photos=PhotoSettings(drawn=0.0)), CPU).group(0)
    assert (sharp[:, 0] > 30).all()
    assert (sharp[:, 1:] == 0).all()


def test_loss_is_zero_for_the_truth_alone() -> None:
    sharp = torch.rand(2, 3, 32, 32)
    half = torch.nn.functional.interpolate(
        sharp, scale_factor=0.5, mode="bilinear", align_corners=True
    )
    assert loss([half, sharp, sharp], sharp) < 1e-6
    assert loss([half, sharp, sharp + 0.1], sharp) > 0.1
    assert loss([half + 0.1, sharp, sharp], sharp) > 0.1


def tiny_net() -> MSSNet:
    torch.manual_seed(0)
    net = MSSNet(TINY)
    return net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]


def published(net: MSSNet, blurred: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    images = net(blurred)
    assert isinstance(images, list)
    return loss(images, sharp)


def test_threads_compute_the_gradients_of_the_whole_batch() -> None:
    blurred, sharp = torch.rand(5, 3, 64, 64), torch.rand(5, 3, 64, 64)
    found = []
    for threads in (1, 2):
        net = tiny_net()
        gradients = Gradients(net.parameters(), threads, CPU)
        value = gradients(partial(published, net), blurred, sharp)
        gradients.close()
        found.append((value, [p.grad for p in net.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-3)
    for one, two in zip(found[0][1], found[1][1], strict=True):
        assert one is not None
        assert two is not None
        assert (one - two).norm() <= 0.03 * one.norm() + 1e-6  # bfloat16


def test_the_optimizer_trains_every_parameter_and_remembers() -> None:
    net, other = tiny_net(), tiny_net()
    optimizer, gradients = Optimizer(net), Gradients(net.parameters(), 1, CPU)
    sharp = smooth(2)[..., :64, :64]
    blurred = 0.7 * sharp
    first = gradients(partial(published, net), blurred, sharp)
    for _ in range(20):
        optimizer.step(1e-2)
        last = gradients(partial(published, net), blurred, sharp)
    assert last < 0.8 * first
    for (name, after), before in zip(net.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(after, before), name

    other.load_state_dict(net.state_dict())
    copied = Optimizer(other)
    copied.load_tensors({name: t.clone() for name, t in optimizer.tensors().items()})
    for each, takes in ((net, optimizer), (other, copied)):
        Gradients(each.parameters(), 1, CPU)(partial(published, each), blurred, sharp)
        takes.step(1e-3)
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("shape", [(3, 24, 90), (2, 90, 24), (1, 16, 16)])
def test_updates_are_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    made = orthogonal(matrices)
    values = torch.linalg.svdvals(made)
    assert made.shape == shape
    assert ((values > 0.3) & (values < 1.4)).all()
    # The same directions as before.
    assert ((made * matrices).sum((1, 2)) > 0).all()
    assert not orthogonal(torch.zeros(shape)).any()


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(rate=1e-2, warmup=100)
    assert rate_at(0, 0, recipe) < rate_at(0.01, 50, recipe) < rate_at(0.02, 100, recipe)
    assert rate_at(0.5, 1000, recipe) == pytest.approx(5e-3, rel=0.02)
    assert rate_at(1, 2000, recipe) == pytest.approx(1e-4)


def test_the_recipes_that_come_along_can_be_read() -> None:
    files = sorted(RECIPES.glob("*.toml"))
    assert {"lite", "wide"} <= {file.stem for file in files}
    for file in files:
        reads = load_enlarging if file.stem.startswith("x3") else load
        assert reads(file).phases[0][0] == 0
    assert find("lite") == RECIPES / "lite.toml"


def test_later_phases_change_what_they_say_and_keep_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'preset = "lite"\nrate = 0.02\npatch = 128\n[blur]\nlongest = 20\n'
        "[[then]]\nstart = 0.5\npatch = 256\nbatch = 8\n[then.blur]\nlongest = 80\n"
    )
    recipe = load(file, {"blur.sharp": "0.2", "minutes": "7"})
    (start, first), (then, second) = recipe.phases
    assert (start, then, recipe.rate, recipe.minutes) == (0.0, 0.5, 0.02, 7.0)
    assert (first.patch, first.blur.longest, first.blur.sharp) == (128, 20.0, 0.2)
    assert (second.patch, second.batch, second.blur.longest) == (256, 8, 80.0)
    assert second.blur.sharp == 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patch = 100", "multiple of 32"),
        ("pach = 128", "did you mean patch"),
        ("[blur]\nlongst = 3", "did you mean longest"),
        ("patch = 'big'", "must be a int"),
        ("blur = 3", "cannot be 3"),
        ("batch = 7", "does not divide"),
        ("[camera]\nnoise = 2", "in 0..1"),
        ("preset = 'huge'", "unknown preset huge"),
        ("[[then]]\npatch = 64", "needs a start"),
        ("patch = ", "Invalid value"),
    ],
)
def test_bad_recipes_are_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=said):
        load(file)


# The whole command.


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "weights.train", "deblur", *map(str, words)]


def train(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=200)


QUICK = (
    *("--set", "patch=64", "--set", "batch=4", "--set", "scenes=8"),
    *("--steps", 60, "--seed", 3, "--device", "cpu"),
)


def losses(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def test_an_interrupted_run_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = train("--out", whole, *QUICK)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(whole)] == [20, 40, 60]
    for file in ("sheet.png", "weights.safetensors", "state.safetensors"):
        assert (whole / file).stat().st_size > 1000
    restore = mssnet.load(whole / "weights.safetensors")
    assert restore.net.config == mssnet.PRESETS["lite"]
    assert torch.isfinite(restore(torch.rand(1, 3, 64, 64))).all()

    running = subprocess.Popen(
        command("--out", parts, *QUICK), stderr=subprocess.PIPE, text=True, env=os.environ
    )
    log = parts / "log.jsonl"
    while not (log.exists() and log.read_text()):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "--resume" in said
    assert len(losses(parts)) < 3

    done = train("--out", parts, *QUICK, "--resume", parts)
    assert done.returncode == 0, done.stderr
    assert losses(parts) == losses(whole)
    one, other = (load_file(out / "state.safetensors") for out in (whole, parts))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_finished_weights_are_a_start_for_new_runs(tmp_path: Path) -> None:
    done = train("--out", tmp_path, *QUICK, "--resume", "lite", "--steps", 1, "--set", "rate=1e-9")
    assert done.returncode == 0, done.stderr
    made, shipped = (
        load_file(tmp_path / "weights.safetensors"),
        load_file("weights/lite.safetensors"),
    )
    for name, tensor in made.items():
        assert torch.allclose(tensor, shipped[name], atol=1e-5), name


def test_a_run_goes_on_from_pieces(tmp_path: Path) -> None:
    """Where only small files come back from the machine that trains."""
    out, pieces = tmp_path / "out", tmp_path / "pieces"
    done = train("--out", out, *QUICK, "--steps", 20, "--piece-mib", 2)
    assert done.returncode == 0, done.stderr
    pieces.mkdir()
    files = sorted(out.glob("piece-*"))
    assert len(files) > 2
    for file in files:
        assert file.stat().st_size <= 2 * 2**20
        (pieces / file.name).write_bytes(file.read_bytes())
    done = train("--out", pieces, *QUICK, "--steps", 40, "--resume", pieces)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(pieces)] == [40]
    (pieces / "state.safetensors").unlink()
    files[1].rename(pieces / files[1].name)
    (pieces / files[0].name).unlink()
    done = train("--out", pieces, *QUICK, "--resume", pieces)
    assert done.returncode == 2
    assert "pieces" in done.stderr


def test_samples_can_be_looked_at(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for side in ("blur", "sharp"):
        (pairs / side).mkdir(parents=True)
        cv2.imwrite(str(pairs / side / "0.png"), np.full((50, 90, 3), 70, np.uint8))
    command = [sys.executable, "-m", "weights.train", "samples", "--out", tmp_path / "look.png"]
    command += ["--set", "patch=64", "--pairs", pairs]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image = cv2.imread(str(tmp_path / "look.png"))
    assert image is not None
    assert image.shape == (8 * 64, 3 * 128 + 2 * 8, 3)
    assert (image[:50, -128:-78] == 70).all()


def test_lines_of_steps_that_are_done_again_leave_the_log(tmp_path: Path) -> None:
    rows = [json.dumps({"step": step, "loss": 1.0}) for step in (20, 40, 60)]
    (tmp_path / "log.jsonl").write_text("\n".join(rows) + '\n{"step": 80, "lo')
    begin_log(tmp_path, 40)
    assert [step for step, _ in losses(tmp_path)] == [20, 40]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "patch=65"), "multiple of 32"),
        (("--preset", "huge"), "choose one of"),
        (("--recipe", "lit"), "did you mean lite"),
        (("--recipe", "{tmp}/none.toml"), "cannot read the recipe"),
        (("--images", "{tmp}"), "no pictures"),
        (("--resume", "{tmp}"), "no training run"),
        (("--resume", "lit"), "unknown model"),
        (("--resume", "lite", "--preset", "wide"), "weights of a wide network"),
        (("--set", "patch"), "NAME=VALUE"),
        (("--device", "tpu"), "use auto, cpu"),
        (("--response", "{tmp}/none.npy"), "none.npy"),
    ],
)
def test_what_cannot_work_ends_in_one_line_and_code_2(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = train("--out", tmp_path / "out", *(word.format(tmp=tmp_path) for word in words))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.needs_cuda
def test_a_gpu_makes_the_same_scenes() -> None:
    gpu = torch.device("cuda")
    settings = BlurSettings()
    rngs = [np.random.default_rng(1) for _ in range(2)]
    on_cpu = scenes(photos(), 8, 96, settings, [srgb()], rngs[0], CPU)
    on_gpu = scenes(photos(gpu), 8, 96, settings, [srgb().to(gpu)], rngs[1], gpu)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert (one - other.cpu()).abs().mean() < 1e-3


@pytest.mark.needs_cuda
def test_a_gpu_trains(tmp_path: Path) -> None:
    done = train("--out", tmp_path, *QUICK, "--device", "cuda")
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path)) == 3
