"""On a GPU: graphs and fused kernels agree with PyTorch, and nothing waits needlessly."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mssnet
import stream
import weights
from filters import Burst, Coding, Enlarger, Shutter, Upscaler, load_upscaler
from mssnet import PRESETS, Deblurrer, Eager, MSSNet
from mssnet.motion import Neighbor, planes
from stream.compute.cuda import BATCH, Cuda, fused
from stream.compute.models import find_upscaler, load_model
from stream.compute.multi_device import Spread
from stream.frame import Frame
from stream.stages.blur_map import BlurMapper
from stream.stages.motion import Motion
from stream.stages.processor import Processor
from tests.clips import make_clip
from tests.compute.test_engines_cuda import sensible
from tests.filters.test_fusion import noisy, scene

pytestmark = [pytest.mark.needs_cuda, pytest.mark.timeout(900)]
HALVES = [torch.float16, torch.bfloat16]
GPU = torch.device("cuda")


def network(preset: str) -> MSSNet:
    if preset == "lite":
        return mssnet.load(weights.path("lite")).net
    return sensible(PRESETS[preset])


def pictures(count: int, height: int, width: int) -> list[Tensor]:
    return [
        torch.from_numpy(scene(seed, height, width)).permute(2, 0, 1)[None].float().div(255).to(GPU)
        for seed in range(count)
    ]


def told_of(image: Tensor) -> Tensor:
    """What can be told beside an image, on the device that it is on."""
    there = np.full((20, 30, 2), (2, -1), np.float32)
    before, after = Neighbor(image.roll(3, 3), -there), Neighbor(image.flip(2), there)
    return planes(image, [before, after], 0.5)


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean().clamp(min=1e-12)))


def frames(count: int, height: int = 144, width: int = 192) -> list[Frame]:
    """A picture that moves, in 4:2:0."""
    whole = scene(5, height + 8, width + 2 * count)
    made: list[Frame] = []
    for index in range(count):
        seen = noisy(whole[4 : 4 + height, 2 * index : 2 * index + width], 3, index)
        planes = (seen[..., 1].copy(), seen[::2, ::2, 0].copy(), seen[::2, ::2, 2].copy())
        made.append(Frame(planes, Coding(), index, Fraction(1, 25)))
    return made


def restored(processor: Processor, given: list[Frame]) -> list[Frame]:
    made = [each for frame in given for each in processor.push(frame)]
    return made + list(processor.flush())


@contextmanager
def nothing_waits() -> Iterator[None]:
    """Operations of PyTorch that wait for the GPU fail; events may be waited for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it does not know all of them
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def no_warning(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails where something was done without, which a warning would tell."""
    with caplog.at_level(logging.WARNING, logger="stream.compute.cuda"):
        yield
    assert not [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("preset", PRESETS)
def test_graphs_agree_with_pytorch(preset: str, dtype: torch.dtype, no_warning: None) -> None:
    net = network(preset)
    restore = Deblurrer(net, engine=Cuda(GPU, dtype, late=False))
    truth = Deblurrer(network(preset), engine=Eager(GPU))
    for height, width in ((97, 211), (144, 192), (97, 211)):
        (image,) = pictures(1, height, width)
        for told in (None, told_of(image)):
            for exit in (restore.exits[0], restore.exits[-1]):
                expected = truth(image, told, exit=exit)
                # By less than what it changes, however little that is where nothing is known.
                least = max(55.0, psnr(expected, image) + 10)
                assert least < 70, "it does change the picture"
                assert psnr(restore(image, told, exit=exit), expected) >= least


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("preset", ["lite", "wide"])
def test_fused_kernels_agree_with_pytorch(
    preset: str, dtype: torch.dtype, no_warning: None
) -> None:
    if find_spec("triton") is None:
        pytest.skip("Triton, which compiles for the GPU, is not installed")
    net = network(preset)
    engine = Cuda(GPU, dtype, fuse=fused)
    restore = Deblurrer(net, engine=engine)
    truth = Deblurrer(network(preset), engine=Eager(GPU))
    for height, width in ((97, 211), (144, 192)):
        images = pictures(BATCH + 1, height, width)
        told = [told_of(image) for image in images]
        results = [restore.submit(*each) for each in zip(images, told, strict=True)]
        for image, known, result in zip(images, told, results, strict=True):
            assert psnr(result(), truth(image, known)) >= 55
    assert engine.fuses
    assert engine.captures


def test_a_replay_gives_what_the_first_run_gave(no_warning: None) -> None:
    """Whatever other graphs, which share its memory, did in between."""
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16, late=False))
    one, other = pictures(2, 144, 192)
    (small,) = pictures(1, 64, 96)
    first = restore(one).clone()
    for between in (other, small, other):
        restore(between)
        restore(between, exit=restore.exits[0])
        assert torch.equal(restore(one), first)
    assert not torch.equal(restore(other), first)


@pytest.mark.parametrize("size", [(96, 160), (800, 1400)], ids=["together", "alone"])
def test_images_under_way_do_not_mix(size: tuple[int, int]) -> None:
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16))
    truth = Deblurrer(network("lite"), engine=Eager(GPU))
    images = pictures(2 * BATCH + 1, *size)
    # Not of all of them something is known.
    told = [told_of(image) if index % 3 else None for index, image in enumerate(images)]
    results = [restore.submit(*each) for each in zip(images, told, strict=True)]
    # The last first: whatever has been asked for, the others are still what they are.
    made = [result() for result in reversed(results)][::-1]
    for image, known, each in zip(images, told, made, strict=True):
        assert psnr(each, truth(image, known)) >= 55


def test_what_is_not_blurred_stays_as_it_is() -> None:
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16))
    truth = Deblurrer(network("lite"), engine=Eager(GPU))
    (image,) = pictures(1, 192, 256)
    where = np.zeros((24, 32), np.float32)
    where[4:12, 8:20] = 1
    made, whole = restore(image, told_of(image), where), truth(image, told_of(image))
    assert torch.equal(made[..., 112:, :], image[..., 112:, :])
    assert psnr(made[..., 40:88, 72:152], whole[..., 40:88, 72:152]) >= 55
    assert torch.equal(restore(image, None, np.zeros_like(where)), image)


def test_half_precision_is_measured() -> None:
    restore = load_model("lite", device="cuda")
    assert isinstance(restore.engine, Cuda)
    assert restore.dtype == torch.float16


def test_when_memory_runs_out_it_goes_on_in_tiles() -> None:
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16, late=False))
    (image,) = pictures(1, 1080, 1920)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    whole = restore(image)
    needed = torch.cuda.max_memory_reserved() - before
    del restore
    gc.collect()
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 0.4 * needed
    total = torch.cuda.get_device_properties(GPU).total_memory
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16, late=False))
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        tiled = restore(image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert restore.tile is not None
    assert psnr(tiled, whole) > 45


@pytest.mark.parametrize("precision", [torch.float32, torch.float16], ids=str)
def test_frames_are_those_of_the_cpu(precision: torch.dtype) -> None:
    given = frames(12)
    gpu = Deblurrer(network("lite"), engine=Cuda(GPU, precision))
    cpu = Deblurrer(network("lite"))
    ours = restored(Processor(gpu.submit, GPU, in_flight=gpu.engine.in_flight), given)
    theirs = restored(Processor(cpu.submit, torch.device("cpu")), given)
    assert [each.pts for each in ours] == list(range(len(given)))
    for one, other in zip(ours, theirs, strict=True):
        for mine, exact in zip(one.planes, other.planes, strict=True):
            assert mine.dtype == exact.dtype
            assert np.abs(mine.astype(int) - exact).max() <= 1


@pytest.mark.parametrize("ahead", [2, 0], ids=["files", "live"])
def test_frames_that_the_network_is_told_of_are_those_of_the_cpu(ahead: int) -> None:
    given = frames(12)
    gpu = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16, late=bool(ahead)))
    cpu = Deblurrer(network("lite"))
    made = []
    for restore in (gpu, cpu):
        motion = Motion(Shutter(share=0.5), ahead=ahead)
        many = restore.engine.in_flight
        processor = Processor(restore.submit, restore.device, in_flight=many, motion=motion)
        made.append(restored(processor, given))
    alone = restored(Processor(cpu.submit, torch.device("cpu")), given)
    assert [each.pts for each in made[0]] == list(range(len(given)))
    for ours, theirs in zip(*made, strict=True):
        off = [np.abs(a.astype(int) - b) for a, b in zip(ours.planes, theirs.planes, strict=True)]
        # A CPU is told of 8-bit pictures, looked up at 32nds of a pixel.
        assert max(each.max() for each in off) <= 3
        assert max(each.mean() for each in off) < 0.1
    assert not np.array_equal(made[1][5].planes[0], alone[5].planes[0]), "it is told something"


def test_fused_frames_are_those_of_the_cpu() -> None:
    given = frames(12)
    gpu = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16))
    cpu = Deblurrer(network("lite"))
    there = Processor(gpu.submit, GPU, in_flight=gpu.engine.in_flight, fusion=[Burst(3, 3)])
    here = Processor(cpu.submit, torch.device("cpu"), fusion=[Burst(3, 3)])
    ours, theirs = restored(there, given), restored(here, given)
    assert len(ours) == len(theirs) == len(given)
    for one, other in zip(ours, theirs, strict=True):
        # Where pictures are looked up is rounded otherwise on a CPU.
        assert np.abs(one.planes[0].astype(int) - other.planes[0]).mean() < 0.5


@pytest.mark.parametrize("late", [False, True], ids=["live", "files"])
def test_a_frame_waits_for_the_gpu_once(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gauge = BlurMapper()
    given = [each for frame in frames(24) for each in gauge.push(frame)]
    restore = Deblurrer(network("lite"), engine=Cuda(GPU, torch.float16, late=late))
    upscaler = find_upscaler("x3-lite", restore.engine)
    for enlarge in (None, Enlarger((576, 432), upscaler)):
        processor = Processor(
            restore.submit,
            GPU,
            in_flight=restore.engine.in_flight,
            enlarge=enlarge,
        )
        made = [each for frame in given[:12] for each in processor.push(frame)]
        waits: list[int] = []
        plain = torch.cuda.Event.synchronize

        def counted(event: torch.cuda.Event, plain: object = plain) -> None:
            waits.append(1)  # noqa: B023
            plain(event)  # type: ignore[operator]

        with monkeypatch.context() as patched, nothing_waits():
            patched.setattr(torch.cuda.Event, "synchronize", counted)
            later = [each for frame in given[12:] for each in processor.push(frame)]
            later += processor.flush()
        assert len(waits) == len(later)
        assert [each.pts for each in made + later] == list(range(24))


def test_a_whole_file(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=40)
    settings = stream.Settings(device="cuda", overwrite=True)
    report = stream.Job(source, tmp_path / "out.mp4", settings).run()
    assert report.frames == 40
    assert report.conforms


def test_an_upscaler_agrees_with_pytorch(no_warning: None) -> None:
    upscaler = find_upscaler("x3-lite", Cuda(GPU, torch.float16))
    assert isinstance(upscaler, Upscaler)
    plain = load_upscaler(weights.path("x3-lite"), device=GPU)
    for height, width in ((97, 131), (144, 192), (97, 131)):
        (image,) = pictures(1, height, width)
        assert psnr(upscaler(image), plain(image)) >= 55


def test_several_gpus_work_together() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    engine = Spread([Cuda(f"cuda:{index}", torch.float16) for index in range(2)])
    restore = Deblurrer(network("lite"), engine=engine)
    truth = Deblurrer(network("lite"), engine=Eager(GPU))
    images = pictures(4 * BATCH, 144, 192)
    results = [restore.submit(image) for image in images]
    for image, result in zip(images, results, strict=True):
        made = result()
        assert made.device == torch.device("cuda:0")
        assert psnr(made, truth(image)) >= 55
    given = frames(24)
    processor = Processor(restore.submit, restore.device, in_flight=engine.in_flight)
    assert [each.pts for each in restored(processor, given)] == list(range(24))
