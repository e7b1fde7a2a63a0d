"""Training: the batches, the loss, the recipes, and that an interrupted run goes on exactly."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import mssnet
from mssnet import PRESETS, Config, MSSNet
from mssnet.motion import PLANES
from weights.train.__main__ import app
from weights.train.data import Batches, DataSettings, Samples
from weights.train.deblurring import Deblurring
from weights.train.gradients import LOSSES, Gradients, loss
from weights.train.loop import RunSettings, rate_at
from weights.train.optimizer import Optimizer, orthogonal
from weights.train.photos import PhotoSettings
from weights.train.procedural import picture
from weights.train.recipe import RECIPES, Recipe, RecipeError, find, load, load_enlarging
from weights.train.state import begin_log

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TINY = Config(widths=(4, 4, 4), stages=(1, 1, 1), blocks=1, unshuffle=2, motion=True)


@functools.cache
def samples() -> Samples:
    # Drawing pictures to choose the most detailed from takes long.
    photos = PhotoSettings(detailed=0)
    return Samples(DataSettings(patch=64, scenes=4, uses=2, seed=5, photos=photos))


def batches(step: int, passes: int = 2) -> Iterator[tuple[Tensor, Tensor]]:
    stream = Batches(samples(), 4, CPU, step=step, passes=passes, workers=2)
    try:
        yield from stream
    finally:
        stream.close()


def test_batches_go_on_anywhere() -> None:
    whole, late = (list(islice(batches(step), count)) for step, count in ((0, 7), (3, 4)))
    for (a, b), (c, d) in zip(whole[3:], late, strict=True):
        assert a.shape == (4, 3 + PLANES, 64, 64)
        assert a.dtype == b.dtype == torch.float32
        assert 0 <= b.min() < b.max() <= 1
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    with pytest.raises(ValueError, match="does not divide"):
        Batches(samples(), 5, CPU)


@pytest.mark.parametrize("passes", [1, 3])
def test_each_sample_is_shown_as_often_as_told(passes: int) -> None:
    shown, sharp = samples().group(0)
    targets = {
        one.float().numpy().tobytes(): two / 255 for one, two in zip(shown, sharp, strict=True)
    }
    assert len(targets) == 8
    taken = list(islice(batches(0, passes), 2 * passes))
    seen = [[one.numpy().tobytes() for one in inputs] for inputs, _ in taken]
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert sorted(first + second) == sorted(targets)
    # Beside others each time, and each with its own target.
    assert len({frozenset(each) for each in seen}) == 2 * passes
    for inputs, made in taken:
        for one, target in zip(inputs, made, strict=True):
            assert torch.equal(targets[one.numpy().tobytes()], target)


@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_loss_is_zero_for_the_truth_alone(kind: str) -> None:
    sharp = torch.rand(2, 3, 32, 32)
    half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear", align_corners=True)
    assert LOSSES[kind]([half, sharp, sharp], sharp) < 1e-6
    least = 0.009 if kind == "squared" else 0.09
    assert LOSSES[kind]([half, sharp, sharp + 0.1], sharp) > least
    assert LOSSES[kind]([half + 0.1, sharp, sharp], sharp) > least


def tiny_net() -> MSSNet:
    torch.manual_seed(0)
    net = MSSNet(TINY)
    return net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]


def published(net: MSSNet, shown: Tensor, sharp: Tensor) -> Tensor:
    images = net(shown)
    assert isinstance(images, list)
    return loss(images, sharp)


def blurred(sharp: Tensor) -> Tensor:
    """Something to restore, and be told."""
    generator = torch.Generator().manual_seed(1)
    told = torch.rand(len(sharp), PLANES, *sharp.shape[2:], generator=generator)
    return torch.cat([0.7 * sharp, told], dim=1)


def test_the_first_weights_leave_pictures_as_they_are() -> None:
    """What is flat is no answer to anything yet, neither in the picture nor beside it."""
    task = Deblurring(Recipe(), RunSettings())
    task.start(None)
    net, image = task.net.eval(), torch.rand(1, 3 + PLANES, 64, 64)
    with torch.inference_mode():
        for each in net.images(image):
            same = each.shape == image[:, :3].shape
            assert not same or torch.equal(each, image[:, :3])
        flat = torch.rand(1, 3 + PLANES, 1, 1).expand(-1, -1, 16, 16)
        for scale in net.scales:
            inner = scale.embed_motion(F.pixel_unshuffle(flat[:, 3:], 2))[..., 1:-1, 1:-1]  # type: ignore[operator]
            assert inner.abs().max() < 1e-4


def test_threads_compute_the_gradients_of_the_whole_batch() -> None:
    sharp = torch.rand(5, 3, 64, 64)
    shown = blurred(sharp)
    found = []
    for threads in (1, 2):
        net = tiny_net()
        gradients = Gradients(net.parameters(), threads, CPU)
        value = gradients(partial(published, net), shown, sharp)
        gradients.close()
        found.append((value, [p.grad for p in net.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-3)
    for one, two in zip(found[0][1], found[1][1], strict=True):
        assert one is not None
        assert two is not None
        assert (one - two).norm() <= 0.03 * one.norm() + 1e-6  # bfloat16


@pytest.mark.parametrize("has", [True, False])
def test_half_precision_is_used_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    for module in ("gradients", "optimizer"):
        monkeypatch.setattr(f"weights.train.{module}.has_bfloat16", lambda device: has)
    layer = torch.nn.Linear(4, 4)
    seen: list[torch.dtype] = []

    def loss(shown: Tensor, sharp: Tensor) -> Tensor:
        answer: Tensor = layer(shown)
        seen.append(answer.dtype)
        return (answer.float() - sharp).square().mean()

    gradients = Gradients(layer.parameters(), 1, CPU)
    gradients(loss, torch.rand(2, 4), torch.rand(2, 4))
    assert seen == [torch.bfloat16 if has else torch.float32]
    made = orthogonal(torch.randn(1, 8, 8))
    assert torch.equal(made, made.bfloat16().float()) == has


def test_the_optimizer_trains_every_parameter_and_remembers() -> None:
    net, other = tiny_net(), tiny_net()
    optimizer, gradients = Optimizer(net), Gradients(net.parameters(), 1, CPU)
    rng = np.random.default_rng(2)
    drawn = [cv2.GaussianBlur(picture(64, rng), (0, 0), 1.5) for _ in range(2)]
    sharp = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()
    shown = blurred(sharp)
    first = gradients(partial(published, net), shown, sharp)
    for _ in range(20):
        optimizer.step(1e-2)
        last = gradients(partial(published, net), shown, sharp)
    assert last < 0.8 * first
    for (name, after), before in zip(net.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(after, before), name

    other.load_state_dict(net.state_dict())
    copied = Optimizer(other)
    copied.load_tensors({name: t.clone() for name, t in optimizer.tensors().items()})
    for each, takes in ((net, optimizer), (other, copied)):
        Gradients(each.parameters(), 1, CPU)(partial(published, each), shown, sharp)
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
    recipe = load(file, {"blur.still": "0.2", "minutes": "7"})
    (start, first), (then, second) = recipe.phases
    assert (start, then, recipe.rate, recipe.minutes) == (0.0, 0.5, 0.02, 7.0)
    assert (first.patch, first.blur.longest, first.blur.still) == (128, 20.0, 0.2)
    assert (second.patch, second.batch, second.blur.longest) == (256, 8, 80.0)
    assert second.blur.still == 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patch = 100", "multiple of 32"),
        ("pach = 128", "did you mean patch"),
        ("[blur]\nlongst = 3", "did you mean longest"),
        ("patch = 'big'", "must be a int"),
        ("blur = 3", "cannot be 3"),
        ("batch = 7", "does not divide"),
        ("passes = 0", "at least 1"),
        ("loss = 'cubed'", "unknown loss cubed"),
        ("[camera]\nnoise = 2", "in 0..1"),
        ("[neighbors]\nwrong = 2", "in 0..1"),
        ("preset = 'huge'", "unknown preset huge"),
        ("widths = [32, 48]", "widths must be three"),
        ("widths = [31, 48, 64]", "at least that of lite"),
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
    *("--set", "patch=32", "--set", "batch=2", "--set", "scenes=4", "--set", "photos.detailed=0"),
    *("--steps", 40, "--seed", 3, "--device", "cpu"),
)


def losses(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    done = train("--out", out, *QUICK, "--piece-mib", 2)
    assert done.returncode == 0, done.stderr
    return out


def test_an_interrupted_run_goes_on_to_the_very_same_weights(whole: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    assert [step for step, _ in losses(whole)] == [20, 40]
    for file in ("sheet.png", "weights.safetensors", "state.safetensors"):
        assert (whole / file).stat().st_size > 1000
    restore = mssnet.load(whole / "weights.safetensors")
    assert restore.net.config == PRESETS["lite"]
    image, told = torch.rand(1, 3, 64, 64), torch.rand(1, PLANES, 64, 64)
    assert torch.isfinite(restore(image)).all()
    assert torch.isfinite(restore(image, told)).all()
    assert not torch.equal(restore(image), restore(image, told))

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
    assert len(losses(parts)) < 2

    done = train("--out", parts, *QUICK, "--resume", parts)
    assert done.returncode == 0, done.stderr
    assert losses(parts) == losses(whole)
    one, other = (load_file(out / "state.safetensors") for out in (whole, parts))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_finished_weights_are_a_start_for_new_runs(tmp_path: Path) -> None:
    wider = ["--set", "widths=[36, 56, 72]"]
    words = [*QUICK, "--resume", "lite", "--steps", 1, "--set", "rate=1e-9", *wider]
    done = train("--out", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    made, shipped = (
        mssnet.load(file) for file in (tmp_path / "weights.safetensors", "weights/lite.safetensors")
    )
    assert made.net.config.widths == (36, 56, 72)
    image, told = torch.rand(1, 3, 64, 64), torch.rand(1, PLANES, 64, 64)
    assert torch.allclose(made(image, told), shipped(image, told), atol=1e-3)


@pytest.mark.slow
def test_a_run_goes_on_from_pieces(whole: Path, tmp_path: Path) -> None:
    """Where only small files come back from the machine that trains."""
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    files = sorted(whole.glob("piece-*"))
    assert len(files) > 2
    for file in files:
        assert file.stat().st_size <= 2 * 2**20
        (pieces / file.name).write_bytes(file.read_bytes())
    done = train("--out", pieces, *QUICK, "--steps", 60, "--resume", pieces)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(pieces)] == [60]
    (pieces / "state.safetensors").unlink()
    (pieces / files[1].name).write_bytes(files[1].read_bytes())
    (pieces / files[0].name).unlink()
    done = train("--out", pieces, *QUICK, "--resume", pieces)
    assert done.returncode == 2
    assert "pieces" in done.stderr
    assert done.stderr.count("\n") == 1


def test_samples_can_be_looked_at(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for side in ("blur", "sharp"):
        (pairs / side).mkdir(parents=True)
        cv2.imwrite(str(pairs / side / "0.png"), np.full((50, 90, 3), 70, np.uint8))
    words = ["samples", "--out", tmp_path / "look.png", "--pairs", pairs]
    words += ["--set", "patch=64", "--set", "photos.detailed=0"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    image = cv2.imread(str(tmp_path / "look.png"))
    assert image is not None
    # Blurred, both neighbors and sharp, twice, and the pairs.
    assert image.shape == (8 * 64, 2 * 4 * 64 + 128 + 2 * 8, 3)
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
    given = [word.format(tmp=tmp_path) for word in words]
    done = CliRunner().invoke(app, ["deblur", "--out", str(tmp_path / "out"), *given])
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.needs_cuda
def test_a_gpu_trains(tmp_path: Path) -> None:
    done = train("--out", tmp_path, *QUICK, "--device", "cuda")
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path)) == 2
