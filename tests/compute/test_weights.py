"""Checkpoints: found, checked, imported, and never unpickled into code."""

import ast
import pickle
from pathlib import Path

import pytest
import torch

import filters
import mssnet
import weights
from mssnet import MSSNet
from stream import ModelError
from stream.compute.models import import_checkpoint, load_model
from tests.compute.test_mssnet import TINY, published_names, tiny


def test_the_shipped_checkpoints_are_whole() -> None:
    shipped = [checkpoint for checkpoint in weights.checkpoints() if checkpoint.shipped]
    assert "lite" in [checkpoint.name for checkpoint in shipped]
    for checkpoint in shipped:
        file = weights.path(checkpoint.name)
        if checkpoint.preset in filters.UPSCALERS:
            assert filters.load_upscaler(file).net.config == filters.UPSCALERS[checkpoint.preset]
        elif checkpoint.preset == "shutter":
            assert len(filters.ShutterNet.load(file).layers) == 3
        else:
            assert mssnet.load(file).net.config == mssnet.PRESETS[checkpoint.preset]


def test_the_issues_example_works() -> None:
    restore = mssnet.load(weights.path("lite"), device="cpu", dtype=torch.float32)
    image = torch.rand(1, 3, 37, 53)
    result = restore(image)
    assert result.shape == image.shape
    assert 0 <= result.min() <= result.max() <= 1


def imported(tmp_path: Path, name: str = "mine") -> weights.Checkpoint:
    file = tmp_path / "model_00001E.pt"
    torch.save({"model_state_dict": published_names(tiny().state_dict())}, file)
    return import_checkpoint(file, name)


def test_a_checkpoint_of_the_authors_is_imported(tmp_path: Path) -> None:
    checkpoint = imported(tmp_path)
    assert weights.path("mine") == checkpoint.file
    assert checkpoint.file.is_relative_to(weights.folder())
    restore = load_model("mine", device="cpu", precision="float32")
    assert restore.net.config == TINY
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(restore(image), tiny()(image).clamp(0, 1), atol=1e-6)


def test_a_bare_state_dict_is_imported_too(tmp_path: Path) -> None:
    torch.save(MSSNet(TINY).state_dict(), tmp_path / "bare.pth")
    assert import_checkpoint(tmp_path / "bare.pth", "bare").preset == "4/6/8"


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "was_run"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(marker),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"model_state_dict": Evil()}))
    torch.save({"model_state_dict": Evil()}, tmp_path / "evil2.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}, protocol=0))
    for name in ("evil.pt", "evil2.pt", "plain.pt"):
        with pytest.raises(ModelError, match=rf"{name} is no checkpoint$"):
            import_checkpoint(tmp_path / name, "evil")
    assert not marker.exists()
    assert not list(weights.folder().glob("evil*"))


@pytest.mark.parametrize(
    "content",
    [{}, {"model_state_dict": {}}, {"a": torch.zeros(3)}, {"model_state_dict": {"a": "text"}}, 7],
    ids=str,
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=r"odd\.pt is no checkpoint"):
        import_checkpoint(tmp_path / "odd.pt", "odd")


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = MSSNet(TINY).state_dict()
    state["slope"] = torch.tensor([float("inf")])
    torch.save(state, tmp_path / "inf.pt")
    with pytest.raises(ModelError, match="finite"):
        import_checkpoint(tmp_path / "inf.pt", "inf")


def test_every_kind_of_damage_is_noticed(tmp_path: Path) -> None:
    file = imported(tmp_path).file
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(weights.WeightsError, match="damaged"):
        weights.path("mine")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(weights.WeightsError, match="SHA-256"):
        weights.path("mine")
    file.unlink()
    with pytest.raises(weights.WeightsError, match=r"cannot read.*import the model again"):
        weights.path("mine")
    with pytest.raises(ModelError):
        load_model("mine")


def test_a_name_that_is_nearly_right_gets_a_hint() -> None:
    with pytest.raises(weights.WeightsError, match="did you mean lite"):
        weights.path("light")
    with pytest.raises(weights.WeightsError, match="unknown model"):
        weights.path("../../etc/passwd")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 65, "a.safetensors", "lite"])
def test_names_that_cannot_be_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError):
        imported(tmp_path, name)


def test_nothing_is_unpickled_without_weights_only() -> None:
    root = Path(__file__).parents[2]
    loads = 0
    for file in root.glob("*/**/*.py"):
        # The environments of `make setup` and `make dist` are other people's code.
        if {".venv", "build"} & set(file.relative_to(root).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                loads += 1
                said = {key.arg: ast.unparse(key.value) for key in node.keywords}
                assert said.get("weights_only") == "True", f"{file}:{node.lineno}"
    assert loads
