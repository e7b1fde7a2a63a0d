"""Engines: all of them make the same of an image, whatever its size."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mssnet
import weights
from benchmarks.presets import made_up
from demo.scene import render
from filters import UPSCALERS, Upscaler, load_upscaler
from filters.motion import follow
from mssnet import PRESETS, Deblurrer, Eager, Engine, MSSNet
from mssnet.motion import AROUND, Neighbor, planes
from stream.compute import openvino
from stream.compute.engines import choose_engine, one_by_one
from stream.compute.models import find_upscaler, load_model
from stream.compute.openvino import OpenVino
from stream.errors import DeviceError, UsageError
from tests.compute.test_mssnet import beside
from tests.filters.test_upscale import untrained

CPU = torch.device("cpu")
ODD = [(97, 131), (33, 50), (65, 350), (1, 7), (96, 64)]
"""Height and width."""
AGREES_DB = 55.0
"""PSNR between what is computed in half precision and in float32."""
pytestmark = pytest.mark.skipif(not openvino.available(), reason="OpenVINO is not installed")


def read(path: Path, every: int, count: int) -> list[Tensor]:
    """Frames of a file, each (1, 3, H, W) in 0..1."""
    with av.open(str(path)) as container:
        frames = [
            frame.to_ndarray(format="rgb24")
            for index, frame in enumerate(container.decode(video=0))
            if index % every == 0 and index < every * count
        ]
    return [torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in frames]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Tensor]:
    """Frames of the demonstration's street, (1, 3, 360, 640)."""
    folder = tmp_path_factory.mktemp("street")
    render(folder / "blurry.mp4", folder / "sharp.mp4", seconds=0.2)
    return read(folder / "blurry.mp4", 2, 3)


def told_of(frames: Sequence[Tensor], index: int) -> Tensor:
    """What is told of a frame whose neighbors are these, as `stream.stages.motion` has it told."""
    codes = [(frame[0] * 255).round().byte().permute(1, 2, 0).contiguous() for frame in frames]
    grays = [np.ascontiguousarray(each[::2, ::2, 1].numpy()) for each in codes]
    neighbors = [
        Neighbor(codes[other], follow(grays[index], grays[other]))
        if 0 <= other < len(frames)
        else None
        for other in (index + step for step in AROUND)
    ]
    return planes(codes[index], neighbors, 0.5)


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10(((one - other) ** 2).mean().clamp(min=1e-20)))


def network(preset: str) -> MSSNet:
    """The shipped weights, or weights that change images as much as trained ones do."""
    return deepcopy(_network(preset))


@cache
def _network(preset: str) -> MSSNet:
    if preset == "lite":
        return mssnet.load(weights.path("lite")).net
    return made_up(preset)


MAKE: dict[str, Callable[[], Engine]] = {
    "float32": lambda: OpenVino(torch.float32),
    "bfloat16": lambda: OpenVino(torch.bfloat16),
    "bfloat16 at once": lambda: OpenVino(torch.bfloat16, late=False),
    "eager bfloat16": lambda: Eager(CPU, torch.bfloat16),
}


LARGE = sorted(PRESETS.keys() - {"lite", "small"})


@pytest.mark.parametrize(
    ("preset", "engine"),
    [
        *product(["lite", "small"], list(MAKE)[:2]),
        *product(["lite"], list(MAKE)[2:]),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in product(LARGE, list(MAKE)[:2])),
    ],
)
def test_engines_agree_on_every_preset_and_odd_sizes(
    preset: str, engine: str, footage: Sequence[Tensor]
) -> None:
    plain = Deblurrer(network(preset))
    fast = Deblurrer(network(preset), engine=MAKE[engine]())
    least = 100.0 if fast.dtype == torch.float32 else AGREES_DB
    told = told_of(footage, 1) if plain.is_told else None
    for height, width in ODD if preset == "lite" else ODD[:2]:
        place = slice(None), slice(None), slice(100, 100 + height), slice(200, 200 + width)
        image, known = footage[1][place], None if told is None else told[place]
        made = fast(image, known)
        assert psnr(made, plain(image, known)) > least, (height, width)
        if known is not None:
            blind = fast(image)
            assert psnr(blind, plain(image)) > least, (height, width)
            assert not torch.equal(blind, made), "it matters what it is told"


@pytest.mark.parametrize("engine", list(MAKE))
def test_lite_agrees_on_whole_frames(engine: str, footage: Sequence[Tensor]) -> None:
    plain, fast = Deblurrer(network("lite")), Deblurrer(network("lite"), engine=MAKE[engine]())
    for index, image in enumerate(footage):
        told = told_of(footage, index)
        expected = plain(image, told)
        assert psnr(expected, image) < 50, "it changes something"
        assert psnr(fast(image, told), expected) > AGREES_DB


def test_lite_agrees_on_footage(shared: Path) -> None:
    plain = Deblurrer(network("lite"))
    fast = Deblurrer(network("lite"), engine=OpenVino(torch.bfloat16))
    for file in sorted((shared / "data" / "videos").glob("*.mp4")):
        crops = [image[:, :, -301:, -451:] for image in read(file, 1, 3)]
        told = told_of(crops, 1)
        assert psnr(fast(crops[1], told), plain(crops[1], told)) > AGREES_DB, file.name
        assert psnr(fast(crops[0]), plain(crops[0])) > AGREES_DB, file.name


def test_early_exits_agree(footage: Sequence[Tensor]) -> None:
    plain = Deblurrer(network("wide"))
    fast = Deblurrer(network("wide"), engine=OpenVino(torch.bfloat16))
    image, told = footage[1][:, :, :96, :160], told_of(footage, 1)[:, :, :96, :160]
    made = []
    for exit in plain.exits:
        made.append(fast(image, told, exit=exit))
        assert psnr(made[-1], plain(image, told, exit=exit)) > AGREES_DB
    assert all(not torch.equal(made[-1], each) for each in made[:-1])


@pytest.mark.parametrize("late", [True, False])
def test_images_under_way_do_not_mix(footage: Sequence[Tensor], late: bool) -> None:
    engine = OpenVino(torch.bfloat16, threads=2, late=late)
    assert engine.in_flight == (4 if late else 1)
    restore = Deblurrer(network("lite"), engine=engine)
    images = [
        frame[:, :, :96, 32 * index : 32 * index + 160] for index, frame in enumerate(footage)
    ]
    images += [image.flip(3) for image in images] + [footage[0][:, :, :40, :50]]
    # Not of all of them something is known.
    told = [beside(image)[:, 3:] if index % 3 else None for index, image in enumerate(images)]
    begun = [restore.submit(*each) for each in zip(images, told, strict=True)]
    together = [result() for result in reversed(begun)][::-1]
    for image, known, made in zip(images, told, together, strict=True):
        assert torch.equal(restore(image, known), made)


def test_a_result_may_be_left_where_it_is(footage: Sequence[Tensor]) -> None:
    """As a job does that is stopped."""
    restore = Deblurrer(network("lite"), engine=OpenVino(torch.bfloat16))
    image = footage[0][:, :, :96, :160]
    expected = restore(image)
    for _ in range(20):
        restore.submit(torch.rand_like(image))
    assert torch.equal(restore(image), expected)


def test_precision_is_that_of_the_image() -> None:
    """A network that changes nothing must return the very image, whatever it computes in."""
    net = network("lite")
    for tail in net.scales[2].tails:  # type: ignore[union-attr]
        tail.weight.data.zero_()
    image = torch.rand(1, 3, 50, 70)
    restore = Deblurrer(net, engine=OpenVino(torch.bfloat16))
    for told in (None, beside(image)[:, 3:]):
        assert torch.equal(restore(image, told), image)


@pytest.mark.parametrize("preset", list(UPSCALERS))
@pytest.mark.parametrize("size", [(33, 45), (1, 1), (120, 160)])
def test_upscalers_agree(preset: str, size: tuple[int, int], footage: Sequence[Tensor]) -> None:
    file = weights.path(preset)
    image = footage[1][:, :, 100 : 100 + size[0], 150 : 150 + size[1]]
    plain, fast = load_upscaler(file), load_upscaler(file, engine=OpenVino(torch.bfloat16))
    assert (fast.device, fast.dtype) == (CPU, torch.bfloat16)
    assert psnr(fast(image), plain(image)) > AGREES_DB
    exact = load_upscaler(file, engine=OpenVino(torch.float32))
    assert psnr(exact(image), plain(image)) > 100


def test_strips_of_an_engine_make_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OpenVino(torch.float32)
    enlarge, image = Upscaler(untrained(), engine), torch.rand(1, 3, 150, 60)
    whole = enlarge(image)
    monkeypatch.setattr("filters.upscale._LARGE_STRIP", 40 * 72)
    assert (enlarge(image) - whole).abs().max() < 1e-6


def test_what_runs_where() -> None:
    assert choose_engine("auto", CPU, torch.bfloat16).name == "openvino"
    assert choose_engine("auto", CPU, torch.float32).name == "openvino"
    assert choose_engine("auto", CPU, torch.float16).name == "eager"
    assert choose_engine("eager", CPU, torch.bfloat16).name == "eager"
    assert choose_engine("auto", CPU, torch.bfloat16, late=False).in_flight == 1
    late = OpenVino(torch.bfloat16, threads=8)
    assert (late.streams, late.in_flight) == (4, 6)
    shapes = [torch.Size([1, 3, *size]) for size in ((384, 640), (1088, 1920), (2176, 3840))]
    assert [late.options(shape)["NUM_STREAMS"] for shape in shapes] == [4, 1, 1]
    assert one_by_one(late).in_flight == 1
    plain = Eager()
    assert one_by_one(plain) is plain
    with pytest.raises(UsageError, match="unknown --engine fast"):
        choose_engine("fast", CPU, torch.float32)
    with pytest.raises(UsageError, match="--precision float32 or bfloat16"):
        choose_engine("openvino", CPU, torch.float16)
    with pytest.raises(UsageError, match="runs on the CPU"):
        choose_engine("openvino", torch.device("meta"), torch.float32)


INTERRUPTED = """
import signal, torch
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder as Decoder
from stream.compute.models import load_model

asked, calls = Decoder.get_op_type, []

def interrupted(self):
    calls.append(self)
    if len(calls) == 5:
        signal.raise_signal(signal.SIGINT)
    return asked(self)

Decoder.get_op_type = interrupted
restore = load_model("lite", device="cpu", engine="openvino")
try:
    restore(torch.rand(1, 3, 96, 96))
except KeyboardInterrupt:
    print("interrupted")
print(*restore(torch.rand(1, 3, 96, 96)).shape)
"""


def test_ctrl_c_is_not_lost_while_a_network_is_converted() -> None:
    """OpenVINO calls Python, and takes what is raised there for operations it does not know."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n1 3 96 96\n"), done.stderr


def test_without_openvino_pytorch_runs_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    restore = load_model("lite", device="cpu")
    assert restore.engine.name == "eager"
    assert isinstance(find_upscaler("x3-lite", restore.engine), Upscaler)
    with pytest.raises(DeviceError, match="OpenVINO is not installed"):
        load_model("lite", device="cpu", engine="openvino")


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_nobody_is_told_that_the_program_runs(engine: str, tmp_path: Path) -> None:
    """Both note their use and tell their makers, unless they are kept from it."""
    if engine == "onnx":
        pytest.importorskip("onnxruntime", reason="it comes with an extra")
    code = f"""
import sys, torch
from stream.compute.models import load_model
load_model("lite", device="cpu", engine="{engine}")(torch.rand(1, 3, 80, 80))
print([name for name, module in sys.modules.items() if module and "telemetry" in name])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert "openvino_telemetry" not in done.stdout, done.stderr
    assert done.stdout.startswith("["), done.stderr
    assert not list(tmp_path.iterdir())


class Halves(nn.Module):
    """A module that needs no weights."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1, ::2] * 0.5


def test_any_module_from_images_to_images_is_compiled() -> None:
    program = OpenVino(torch.float32).compile(Halves())
    for height in (4, 10, 7, 12, 20, 4):
        image = torch.rand(2, 3, height, 5)
        assert np.allclose(program(image)(), image[:, :1, ::2] * 0.5)
