"""What surrounds a GPU: padded widths, ways of running, batches, several devices, staging."""

import copy
import logging
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mssnet
import stream
from filters import Coding
from mssnet import PRESETS, Config, Deblurrer, Eager, MSSNet, widened
from mssnet.model import Leaving
from stream.compute.cuda import BATCH, Cuda, Run, fused, through
from stream.compute.engines import choose_engine, one_by_one
from stream.compute.models import choose_devices, load_model
from stream.compute.multi_device import Spread
from stream.compute.precision import closest
from stream.compute.staging import Arrived, DirectStaging
from stream.frame import Frame, Plane
from stream.output.checkpoint import JobCheckpoint
from stream.stages.build import reading_of
from stream.stages.processor import Processor
from tests.compute.test_mssnet import beside, inputs_of
from tests.pictures import begins

TINY = Config(widths=(5, 6, 11), stages=(1, 1, 2), blocks=1)
TOLD = Config(widths=(5, 6, 11), stages=(1, 1, 2), blocks=1, unshuffle=2, motion=True)
"""Of a network that is told the motion."""
CPU = torch.device("cpu")


def sensible(config: Config = TINY) -> MSSNet:
    """A network of random weights that changes pictures about as much as a trained one."""
    torch.manual_seed(3)
    net = MSSNet(config).eval()
    for name, parameter in net.named_parameters():
        if ".tails." in name:
            parameter.data.mul_(0.1)
    return net


def recorded(run: Run, images: Tensor) -> Run:
    """What a CUDA graph is like: always the same memory."""
    given = images.clone()
    made = run(given).clone()
    return through(given, made, lambda: made.copy_(run(given)))


def on_cpu(late: bool = True, capture: Callable[[Run, Tensor], Run] = recorded) -> Cuda:
    return Cuda(CPU, torch.float32, late=late, capture=capture, fuse=lambda module: module)


class Negative(nn.Module):
    """Turns images round, and remembers how many it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __deepcopy__(self, memo: object) -> "Negative":
        return self

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(len(image))
        return 1 - image


# Widths


@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (PRESETS["base"], (56, 96, 144)),
        (PRESETS["small"], (24, 64, 104)),
        (TINY, (8, 8, 16)),
        (Config((8, 16, 24), (1, 1, 1), 1, 2), (8, 16, 24)),
        (TOLD, (8, 8, 16)),
    ],
)
def test_a_widened_network_computes_the_same(config: Config, widths: tuple[int, int, int]) -> None:
    net = sensible(config)
    before = copy.deepcopy(net.state_dict())
    wide = widened(net)
    assert wide.config.widths == widths
    again = mssnet.from_state_dict(wide.state_dict())
    assert again.config == wide.config
    with torch.inference_mode():
        for image in inputs_of(config, 32, 64):
            for exit in config.exits:
                change = net.change(image, exit)
                assert change.abs().mean() > 1e-3
                assert (wide.change(image, exit) - change).abs().max() <= 1e-6
    wide.slope.data.zero_()
    wide.scales[0].embed.weight.data.zero_()  # type: ignore[union-attr, operator]
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


def test_a_widened_network_keeps_its_precision() -> None:
    assert widened(sensible().bfloat16(), 16).slope.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="at least 1"):
        widened(sensible(), 0)


# Ways of running


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("config", [TINY, TOLD], ids=["blind", "told"])
def test_results_are_those_of_pytorch(config: Config, late: bool) -> None:
    restore = Deblurrer(sensible(config), engine=on_cpu(late))
    truth = Deblurrer(sensible(config))
    for height, width in ((48, 64), (33, 70), (48, 64)):
        images = [torch.rand(1, 3, height, width) for _ in range(6)]
        # Not of all of them something is known, as at a cut.
        told = [
            None if not config.motion or index in (1, 4) else beside(image, index)[:, 3:]
            for index, image in enumerate(images)
        ]
        for exit in restore.exits:
            results = [restore.submit(*each, exit=exit) for each in zip(images, told, strict=True)]
            for image, known, result in zip(images, told, results, strict=True):
                made = result()
                assert (made - truth(image, known, exit=exit)).abs().max() < 2e-6
                if known is not None:
                    assert (made - truth(image, exit=exit)).abs().max() > 1e-3, (
                        "it matters what it is told"
                    )
    pair = torch.rand(2, 3, 20, 30)
    known = beside(pair)[:, 3:] if config.motion else None
    assert (restore(pair, known) - truth(pair, known)).abs().max() < 2e-6


def test_a_module_is_fused_by_the_compiler() -> None:
    """By another backend than on a GPU, but by the same tracer, for one version of the code."""
    engine = Cuda(CPU, torch.float32, capture=recorded, fuse=partial(fused, backend="eager"))
    net = sensible(Config((4, 4, 4), (1, 1, 1), 1, 2, motion=True))
    restore = Deblurrer(net, engine=engine)
    image = torch.rand(1, 3, 32, 32)
    for told in (None, beside(image)[:, 3:]):
        assert (restore(image, told) - Deblurrer(net)(image, told)).abs().max() < 2e-6
    assert engine.fuses


def broken(*_: object) -> Run:
    raise RuntimeError("no such thing here\nand a page of details")


def wrong(run: Run, images: Tensor | None = None) -> Run:
    return lambda images: run(images) * 1.1


def undefined(run: Run, images: Tensor | None = None) -> Run:
    return lambda images: run(images) * float("nan")


@pytest.mark.parametrize("failure", [broken, wrong, undefined])
@pytest.mark.parametrize("what", ["fused kernels", "CUDA graphs"])
def test_what_fails_is_done_without(
    what: str, failure: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    fails = what == "fused kernels"
    engine = Cuda(
        CPU,
        torch.float32,
        fuse=failure if fails else lambda module: module,
        capture=recorded if fails else failure,
    )
    with caplog.at_level(logging.WARNING):
        restore = Deblurrer(sensible(), engine=engine)
        for size in (32, 48):
            image = torch.rand(1, 3, size, size)
            assert (restore(image) - Deblurrer(sensible())(image)).abs().max() < 2e-6
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"going on without {what}" in line
    assert "\n" not in line
    assert (engine.fuses, engine.captures) == (not fails, fails)


def test_sizes_used_long_ago_are_let_go() -> None:
    captured: list[torch.Size] = []

    def capture(run: Run, images: Tensor) -> Run:
        captured.append(images.shape)
        return recorded(run, images)

    program = on_cpu(False, capture).compile(Negative())
    for size in (*range(16, 32), 31, 30, 16):
        image = torch.rand(1, 3, size, size)
        assert torch.equal(program(image)(), 1 - image)
    assert [shape[2] for shape in captured] == [*range(16, 32), 16]


# Batches


def test_small_images_are_run_together() -> None:
    module = Negative()
    program = on_cpu().compile(module)
    images = [torch.rand(1, 3, 16, 16) for _ in range(2 * BATCH)]
    results = [program(image) for image in images]
    # The first of a size is run to see what is to come out, fused or not and captured.
    assert set(module.seen) == {BATCH}
    before = len(module.seen)
    assert all(torch.equal(r(), 1 - i) for i, r in zip(images, results, strict=True))
    assert len(module.seen) == before


def test_an_image_that_is_wanted_does_not_wait() -> None:
    module = Negative()
    program = on_cpu().compile(module)
    images = [torch.rand(1, 3, 16, 16) for _ in range(3)]
    results = [program(image) for image in images]
    assert not module.seen
    assert torch.equal(results[1](), 1 - images[1])
    assert set(module.seen) == {1}
    # What comes next begins a batch of its own, and so does another size.
    after, other = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8)
    results += [program(after), program(other)]
    expected = [*images, after, other]
    assert all(torch.equal(r(), 1 - i) for i, r in zip(expected, results, strict=True))


def test_the_last_images_need_no_preparation() -> None:
    module = Negative()
    program = on_cpu().compile(module)
    images = [torch.rand(1, 3, 16, 16) for _ in range(BATCH + 2)]
    results = [program(image) for image in images]
    assert all(torch.equal(r(), 1 - i) for i, r in zip(images, results, strict=True))
    assert set(module.seen) == {BATCH}


@pytest.mark.parametrize(("size", "late"), [((1, 3, 720, 1280), True), ((1, 3, 16, 16), False)])
def test_large_images_and_live_ones_are_run_alone(size: tuple[int, ...], late: bool) -> None:
    module = Negative()
    engine = on_cpu(late)
    result = engine.compile(module)(torch.zeros(size))
    assert set(module.seen) == {1}
    assert result().mean() == 1
    assert engine.in_flight == (BATCH + 1 if late else 1)


class Starved(nn.Module):
    """A module that runs out of memory where it is given more than so many pixels."""

    def forward(self, image: Tensor) -> Tensor:
        if image.numel() > 3 * 200 * 200:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1 - image


def test_want_of_memory_is_told_to_every_image_of_a_batch() -> None:
    program = on_cpu().compile(Starved())
    results = [program(torch.zeros(1, 3, 150, 150)) for _ in range(BATCH - 1)]
    with pytest.raises(torch.OutOfMemoryError):
        program(torch.zeros(1, 3, 150, 150))
    for result in results:
        with pytest.raises(torch.OutOfMemoryError):
            result()
    small = torch.rand(1, 3, 64, 64)
    assert torch.equal(program(small)(), 1 - small)


def test_all_images_under_way_halve_the_tile_once() -> None:
    class Hungry(Leaving):
        def forward(self, image: Tensor) -> Tensor:
            if image[:, 0].numel() > 300 * 300:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(image)

    class Engine(Cuda):
        def _placed(self, module: nn.Module) -> nn.Module:
            assert isinstance(module, Leaving)
            return Hungry(module.net, module.exit)

    engine = Engine(CPU, torch.float32, capture=recorded, fuse=lambda module: module)
    restore = Deblurrer(sensible(), engine=engine)
    images = [torch.rand(1, 3, 200, 320) for _ in range(BATCH)]
    results = [restore.submit(image) for image in images]
    truth = Deblurrer(sensible(), tile=160)
    assert all(
        (result() - truth(image)).abs().max() < 2e-6
        for image, result in zip(images, results, strict=True)
    )
    assert restore.tile == 160


# Precision


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["blind", "told"])
def test_float16_is_chosen_unless_it_overflows(config: Config) -> None:
    net = sensible(config)
    assert closest(Leaving(net), CPU) == torch.float16
    # The change is the same, but on the way to it values become too large.
    stage = net.scales[2]
    stage.embed.weight.data.mul_(1e6)  # type: ignore[union-attr, operator]
    stage.tails[-1].weight.data.mul_(1e-6)  # type: ignore[union-attr, index]
    before = copy.deepcopy(net.state_dict())
    assert closest(Leaving(net), CPU) == torch.bfloat16
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert net.slope.dtype == torch.float32

    engine = Cuda(CPU, torch.float16, measure=True, capture=recorded)
    assert Deblurrer(net, engine=engine).dtype == torch.bfloat16
    assert Deblurrer(net, engine=Cuda(CPU, torch.float32)).dtype == torch.float32


def test_where_there_is_no_half_precision_there_is_float32() -> None:
    class Whole(Negative):
        def forward(self, image: Tensor) -> Tensor:
            if next(self.parameters()).dtype != torch.float32:
                raise RuntimeError("not implemented for 'Half'")
            return image

        def __deepcopy__(self, memo: object) -> "Whole":
            copied = Whole()
            copied.weight = nn.Parameter(torch.ones(1))
            return copied

    assert closest(Whole(), CPU, torch.rand(1, 3, 8, 8)) == torch.float32


# Several devices


def test_devices_take_turns_and_results_keep_their_order() -> None:
    class Counting(Eager):
        """Counts what it is given."""

        in_flight = 3
        given = 0

        def compile(self, module: nn.Module) -> mssnet.Program:
            program = super().compile(module)
            self.own = module

            def begin(image: Tensor) -> mssnet.Result:
                self.given += 1
                return program(image)

            return begin

    net = sensible(TOLD)
    engines = Counting(), Counting()
    restore = Deblurrer(net, engine=Spread(engines))
    truth = Deblurrer(copy.deepcopy(net))
    assert restore.engine.in_flight == 6
    assert (restore.engine.name, restore.device, restore.dtype) == ("eager", CPU, torch.float32)
    images = [torch.rand(1, 3, 20, 40) for _ in range(5)]
    told = [beside(image)[:, 3:] for image in images]
    for exit in restore.exits:
        results = [restore.submit(*each, exit=exit) for each in zip(images, told, strict=True)]
        for image, known, result in zip(images, told, results, strict=True):
            assert torch.equal(result(), truth(image, known, exit=exit))
    assert [engine.given for engine in engines] == [
        3 * len(net.config.exits),
        2 * len(net.config.exits),
    ]
    first, second = (engine.own for engine in engines)
    assert isinstance(first, Leaving)
    assert isinstance(second, Leaving)
    assert len({id(net), id(first.net), id(second.net)}) == 3
    with pytest.raises(ValueError, match="at least one"):
        Spread([])


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        ("cuda:0,cpu", stream.UsageError, "only GPUs work together"),
        ("auto,cuda:1", stream.UsageError, "only GPUs work together"),
        ("cuda:0,cuda:2", stream.DeviceError, r"no cuda:2 here \(2 GPUs"),
        ("cuda,cuda:0", stream.UsageError, "names cuda:0 twice"),
        ("cuda:1,", stream.UsageError, "unknown --device"),
        ("cuda:0,gpu", stream.UsageError, "unknown --device gpu"),
        ("xpu:0,xpu:1", stream.UsageError, "unknown --device xpu:0"),
    ],
)
def test_a_wrong_list_of_devices_is_refused(
    names: str, error: type[Exception], said: str, two_gpus: None
) -> None:
    with pytest.raises(error, match=said) as caught:
        choose_devices(names)
    assert "\n" not in str(caught.value)


def test_devices_are_chosen(two_gpus: None) -> None:
    assert choose_devices("cuda:1, cuda") == [torch.device("cuda:1"), torch.device("cuda:0")]
    assert choose_devices("cpu") == [CPU]
    assert choose_devices("auto") == [torch.device("cuda")]
    assert reading_of(stream.Settings(device="cuda:1,cuda:0")).gpu == 1, (
        "it decodes on the first one"
    )
    with pytest.raises(stream.UsageError, match="one by one use one GPU"):
        load_model("lite", device="cuda:0,cuda:1", late=False)


def test_engines_are_chosen(two_gpus: None) -> None:
    gpu = torch.device("cuda:1")
    for name in ("auto", "cuda"):
        engine = choose_engine(name, gpu, torch.float16)
        assert isinstance(engine, Cuda)
        assert (engine.name, engine.device, engine.late) == ("cuda", gpu, True)
        assert engine.fuses == (name == "cuda")
        live = choose_engine(name, gpu, torch.float16, late=False)
        assert isinstance(live, Cuda)
        assert (live.in_flight, live.fuses) == (1, False)
        several = Spread([engine, choose_engine(name, torch.device("cuda:0"), torch.float16)])
        for each in (engine, several):
            alone = one_by_one(each)
            assert (alone.name, alone.device, alone.dtype) == ("cuda", gpu, torch.float16)
            assert alone.in_flight == 1
    assert isinstance(choose_engine("eager", gpu, torch.float16), Eager)
    assert isinstance(choose_engine("auto", torch.device("mps"), torch.float16), Eager)
    with pytest.raises(stream.UsageError, match="--device cuda"):
        choose_engine("cuda", CPU, torch.float32)


# Staging and what is remembered


def frame(index: int) -> Frame:
    luma = np.random.default_rng(index).integers(0, 256, (24, 32), np.uint8)
    return Frame((luma,), Coding(gray=True), index, Fraction(1, 25))


def test_a_cpu_copies_nothing() -> None:
    staging, (plane,) = DirectStaging(CPU), frame(0).planes
    (tensor,) = staging.up([plane])
    (back,) = staging.down([tensor])()
    assert np.shares_memory(back, plane)


@pytest.mark.parametrize(
    ("in_flight", "large", "held"), [(1, False, 0), (3, False, 5), (3, True, 4), (1, True, 0)]
)
def test_frames_are_on_their_way_back_while_others_are_worked_on(
    in_flight: int, large: bool, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    waited: list[int] = []

    class Slow(DirectStaging):
        """Tells in which order what comes back is begun and waited for."""

        overlaps = True

        def down(self, planes: object) -> Arrived:
            assert isinstance(planes, list)
            arrays: tuple[Plane, ...] = tuple(plane.numpy() for plane in planes)
            number = len(begun)
            begun.append(number)

            def arrived() -> tuple[Plane, ...]:
                waited.append(number)
                return arrays

            return arrived

    monkeypatch.setattr("stream.stages.processor.staging_for", Slow)
    if large:
        monkeypatch.setattr("stream.stages.processor._HELD", 12 * 24 * 32)
    unchanged = begins(torch.clone)
    processor = Processor(unchanged, CPU, in_flight=in_flight)
    frames = [frame(index) for index in range(12)]
    made: list[Frame] = []
    for index, each in enumerate(frames):
        made += processor.push(each)
        assert len(made) == len(waited) == max(index + 1 - held, 0)
        assert len(begun) == max(index + 2 - (min(in_flight, 2) if large else in_flight), 0)
    made += processor.flush()
    assert waited == list(range(12))
    for each, given in zip(made, frames, strict=True):
        assert each.pts == given.pts
        assert (each.planes[0] == given.planes[0]).all()


def test_what_is_remembered_may_be_tensors(tmp_path: Path) -> None:
    steady = torch.rand(1, 3, 4, 6).half().contiguous(memory_format=torch.channels_last)
    given = Frame(frame(0).planes, Coding(gray=True), 0, Fraction(1, 25), memory={"a": steady})
    assert given.nbytes == 24 * 32 + 2 * 72
    work = JobCheckpoint.begin(tmp_path / "work", {})
    work.keep(frame(1))
    work.keep(given)
    work.write_kept()
    work.close()
    resumed = JobCheckpoint.resume(tmp_path / "work")
    assert resumed.done == 2
    assert (resumed.memory()["a"] == steady.numpy()).all()
    resumed.close()
