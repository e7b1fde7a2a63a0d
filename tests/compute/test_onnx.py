"""ONNX: files of all models, and the engine that runs networks with ONNX Runtime."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import mssnet
import weights
from benchmarks.presets import checkpoint
from filters import UPSCALERS, load_upscaler
from mssnet import PRESETS, Deblurrer
from mssnet.motion import PLANES
from stream.cli import app
from stream.compute import onnx_runtime
from stream.compute.engines import choose_engine, one_by_one
from stream.compute.models import load_model
from stream.errors import DeviceError, UsageError
from stream.options.live import LiveSettings
from tests.clips import make_clip
from tests.compute.test_engines import network, psnr
from tests.compute.test_mssnet import published_names, tiny

onnx = pytest.importorskip("onnx", reason="the extra deblur-stream[onnx] is not installed")
onnxruntime = pytest.importorskip(
    "onnxruntime", reason="the extra deblur-stream[onnx] is not installed"
)

from stream.compute.onnx_runtime import OnnxRuntime, Provider, choose_provider  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
LEAST_DB = 60.0
SIZES = [(32, 64), (32, 32), (64, 32)]
"""Height and width, of which every network takes each."""


def export(model: object, file: Path, *words: str) -> str:
    """Export by the command; what it says."""
    done = CliRunner().invoke(app, ["models", "export", str(model), str(file), *words])
    assert done.exit_code == 0, done.stderr
    return done.stderr


def session_of(file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def made_by(file: Path | Any, image: Tensor, motion: Tensor | None = None) -> Tensor:
    """What ONNX Runtime makes of an image."""
    session = session_of(file) if isinstance(file, Path) else file
    feeds = {"image": image.numpy()} | ({} if motion is None else {"motion": motion.numpy()})
    return torch.from_numpy(session.run(None, feeds)[0])


def shapes(values: Any) -> dict[str, list[str | int]]:
    """Names and shapes of inputs or outputs."""
    return {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in values
    }


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param(each, marks=[] if each in ("lite", "small") else pytest.mark.slow)
        for each in PRESETS
    ],
)
def test_files_of_networks_make_what_pytorch_makes(preset: str, tmp_path: Path) -> None:
    weights_file, file = checkpoint(preset, tmp_path), tmp_path / "net.onnx"
    plain = mssnet.load(weights_file)
    for told in (False, True) if plain.is_told else (False,):
        said = export(weights_file, file, "--overwrite", *(["--motion"] if told else []))
        assert "dB against PyTorch" in said
        model = onnx.load(file)
        onnx.checker.check_model(model)
        axes: list[str | int] = ["height", "width"]
        beside = {"motion": ["batch", PLANES, *axes]} if told else {}
        assert shapes(model.graph.input) == {"image": ["batch", 3, *axes], **beside}
        assert shapes(model.graph.output) == {"restored": ["batch", 3, *axes]}
        assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
        notes = {each.key: each.value for each in model.metadata_props}
        assert int(notes["multiple_of"]) == plain.net.config.multiple_of
        assert len(notes["sha256"]) == 64
        session = session_of(file)
        for height, width in SIZES:
            image = torch.rand(1, 3, height, width)
            motion = torch.rand(1, PLANES, height, width) if told else None
            expected = plain(image, motion)
            assert psnr(expected, image) < 45, "it changes something"
            assert psnr(made_by(session, image, motion), expected) > LEAST_DB, (height, width)


@pytest.mark.parametrize("preset", list(UPSCALERS))
def test_files_of_upscalers_make_what_pytorch_makes(preset: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    assert "any size" in export(preset, file)
    (shape,) = shapes(onnx.load(file).graph.output).items()
    assert shape[0] == "enlarged"
    plain = load_upscaler(weights.path(preset))
    for height, width in [(33, 45), (6, 7), (120, 161)]:
        image = torch.rand(2, 3, height, width)
        made = made_by(file, image)
        assert made.shape == (2, 3, 3 * height, 3 * width)
        assert psnr(made, plain(image)) > LEAST_DB


def test_half_precision_halves_the_file_and_keeps_the_picture(tmp_path: Path) -> None:
    for name in ("lite", "x3-lite"):
        whole, half = tmp_path / f"{name}.onnx", tmp_path / f"{name}.half.onnx"
        export(name, whole)
        export(name, half, "--precision", "float16")
        assert half.stat().st_size < 0.7 * whole.stat().st_size
        image = torch.rand(1, 3, 64, 96)
        assert psnr(made_by(half, image), made_by(whole, image)) > 55


def test_what_was_imported_is_exported(tmp_path: Path) -> None:
    """A checkpoint with the names that the authors' have."""
    net = tiny()
    torch.save({"model_state_dict": published_names(net.state_dict())}, tmp_path / "theirs.pt")
    done = CliRunner().invoke(
        app, ["models", "import", str(tmp_path / "theirs.pt"), "--name", "mine"]
    )
    assert done.exit_code == 0, done.stderr
    export("mine", tmp_path / "mine.onnx")
    image = torch.rand(1, 3, 64, 80)
    assert psnr(made_by(tmp_path / "mine.onnx", image), Deblurrer(net)(image)) > LEAST_DB


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing", "new.onnx"], 78, "unknown model nothing"),
        (["shutter", "new.onnx"], 78, "cannot export the model shutter"),
        (["x3", "new.onnx", "--motion"], 2, "not told the motion"),
        (["lite", "new.onnx", "--precision", "bfloat16"], 2, "float32 or float16"),
        (["lite", "there.onnx"], 73, "--overwrite"),
        (["lite", "nowhere/new.onnx"], 73, "cannot write"),
        (["lite", "folder", "--overwrite"], 73, "cannot write"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(app, ["models", "export", *words])
    assert done.exit_code == code
    (line,) = done.stderr.splitlines()
    assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "there.onnx"]
    assert (tmp_path / "there.onnx").read_text() == "mine"


def test_the_engine_agrees_on_odd_sizes() -> None:
    engine = OnnxRuntime(Provider())
    assert (engine.name, engine.dtype, engine.in_flight) == ("onnx:CPU", torch.float32, 1)
    for net in (network("lite"), tiny()):
        plain, fast = Deblurrer(deepcopy(net)), Deblurrer(net, engine=engine)
        for height, width in [(33, 50), (1, 7), (64, 32), (64, 33)]:
            image = torch.rand(1, 3, height, width)
            told = torch.rand(1, PLANES, height, width) if plain.is_told else None
            assert psnr(fast(image, told), plain(image, told)) > 100, (height, width)


def test_the_engine_leaves_networks_early_and_enlarges() -> None:
    engine = OnnxRuntime(Provider())
    plain, fast = Deblurrer(network("lite")), Deblurrer(network("lite"), engine=engine)
    image = torch.rand(1, 3, 32, 64)
    for exit in plain.exits:
        assert psnr(fast(image, exit=exit), plain(image, exit=exit)) > 100
    file = weights.path("x3-lite")
    assert psnr(load_upscaler(file, engine=engine)(image), load_upscaler(file)(image)) > 100
    half = Deblurrer(network("lite"), engine=OnnxRuntime(Provider(), torch.float16))
    assert psnr(half(image), Deblurrer(network("lite"))(image)) > 55


def test_images_under_way_do_not_mix() -> None:
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no provider that leaves all of a network to the CPU")
    engine = OnnxRuntime(Provider("Azure"))
    restore, plain = Deblurrer(network("lite"), engine=engine), Deblurrer(network("lite"))
    assert restore.engine.in_flight == 2
    assert one_by_one(restore.engine).in_flight == 1
    images = [torch.rand(1, 3, 40 + 30 * (index % 2), 50) for index in range(6)]
    begun = [restore.submit(image) for image in images]
    for result, image in reversed(list(zip(begun, images, strict=True))):
        assert psnr(result(), plain(image)) > 100
    for _ in range(5):
        restore.submit(images[0])  # nobody asks for it


class Halves(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1, ::2] * 0.5


def test_any_module_and_number_of_planes_is_compiled() -> None:
    program = OnnxRuntime(Provider()).compile(Halves())
    for planes, height in ((2, 4), (3, 10), (2, 7), (5, 12), (2, 20), (2, 4)):
        image = torch.rand(2, planes, height, 5)
        assert torch.allclose(program(image)(), image[:, :1, ::2] * 0.5)


def test_full_memory_means_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ONNX Runtime tells it; a device that is full cannot be had in a test."""
    restore, plain = Deblurrer(network("lite"), engine=OnnxRuntime(Provider())), network("lite")
    run = onnx_runtime._run

    def full(session: Any, feeds: dict[str, Any]) -> Tensor:
        if feeds["image"].shape[3] > 256:
            raise onnx_runtime._told(RuntimeError("Failed to allocate memory for requested buffer"))
        return run(session, feeds)

    monkeypatch.setattr(onnx_runtime, "_run", full)
    image = torch.rand(1, 3, 96, 400)
    assert psnr(restore(image), Deblurrer(plain)(image)) > 60
    assert restore.tile == 200


def test_a_failing_provider_is_told_in_one_line() -> None:
    program = OnnxRuntime(Provider()).compile(Halves())
    program(torch.rand(1, 3, 8, 8))()
    with pytest.raises(DeviceError, match="ONNX Runtime failed: ") as told:
        onnx_runtime.run_once(b"no model", {})
    assert "\n" not in str(told.value)


def test_which_provider_is_taken() -> None:
    assert choose_provider() == Provider(choose_provider().name)
    for name in ("CPU", "cpu", "CPUExecutionProvider"):
        assert choose_provider(name).full_name == "CPUExecutionProvider"
    with pytest.raises(DeviceError, match=r"no Nothing, only .*CPU"):
        choose_provider("Nothing")
    with pytest.raises(DeviceError, match="no Azure"):
        choose_provider("Azure")  # it would send the pictures elsewhere
    with pytest.raises(UsageError, match="device_id=1"):
        choose_provider("CPU:device")
    there = choose_engine("onnx", CPU, torch.bfloat16, measure=True)
    assert (there.name, there.dtype) == ("onnx:CPU", torch.float32)
    with pytest.raises(UsageError, match="float32 or float16"):
        choose_engine("onnx:CPU", CPU, torch.bfloat16)
    with pytest.raises(UsageError, match="--device cpu"):
        choose_engine("onnx", torch.device("meta"), torch.float32)
    for name in ("onnxx", "eager:CPU"):
        with pytest.raises(UsageError, match=f"unknown --engine {name}"):
            choose_engine(name, CPU, torch.float32)
        with pytest.raises(UsageError, match=f"unknown --engine {name}"):
            LiveSettings(engine=name)
    assert LiveSettings(engine="onnx:CoreML").engine == "onnx:CoreML"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"deblur-stream\[onnx\]"):
        load_model("lite", engine="onnx")
    done = CliRunner().invoke(app, ["models", "export", "lite", "lite.onnx"])
    assert done.exit_code == 69
    assert "deblur-stream[onnx]" in done.stderr


def test_a_file_is_restored_by_the_command(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=4)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stream", "run", str(clip), str(tmp_path / "out.mkv")),
            *("--engine", "onnx:CPU", "--model", "lite", "--upscale", "3", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 4
