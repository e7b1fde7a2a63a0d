"""The network: what it computes, how its sizes are read, and images of any size."""

import json
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import mssnet
from mssnet import PRESETS, Config, Deblurrer, Exit, MSSNet, strided
from mssnet.deblurrer import pad_to_multiple, smaller_tile, spans, tile_within
from mssnet.motion import PLANES
from mssnet.state import from_published_names

TINY = Config(widths=(4, 6, 8), stages=(1, 2, 3), blocks=1)
TOLD = Config((4, 6, 8), (1, 2, 2), 1, 2, motion=True)
"""Of a network that is told the motion."""
SIZES = [TINY, Config((8, 4, 4), (1, 1, 1), 2, 2), Config((4, 4, 6), (2, 1, 2), 3, 1), TOLD]


def tiny(config: Config = TINY) -> MSSNet:
    torch.manual_seed(3)
    return MSSNet(config).eval()


def beside(image: Tensor, seed: int = 1) -> Tensor:
    """An image, (N, 3, H, W), with something that a network can be told beside it: blur of up to
    20 pixels, and other pictures."""
    draw = np.random.default_rng(seed)
    count, _, height, width = image.shape
    told = torch.from_numpy(draw.random((count, PLANES, height, width), np.float32))
    told[:, 1] = 2 * told[:, 1] - 1
    return torch.cat([image, told.to(image)], dim=1)


def inputs_of(config: Config, height: int, width: int) -> list[Tensor]:
    """All kinds of input that a network takes: an image, and where it is told one that is."""
    image = torch.rand(1, 3, height, width)
    return [image, beside(image)] if config.motion else [image]


def made_up(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights that anyone can make again from the names and shapes alone."""
    state = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            state[name] = torch.full(shape, 0.25)
            continue
        noise = np.random.default_rng([33, zlib.crc32(name.encode())]).standard_normal(
            shape, dtype=np.float32
        )
        state[name] = torch.from_numpy(
            noise * np.float32((0.25 / (shape[1] * shape[2] * shape[3])) ** 0.5)
        )
    return state


@pytest.mark.parametrize("preset", ["small", "base", "large"])
def test_equals_the_published_network(preset: str, shared: Path) -> None:
    folder = shared / "fixtures" / "mssnet_parity"
    net = mssnet.from_state_dict(made_up(json.loads((folder / f"{preset}_keys.json").read_text())))
    assert net.config == PRESETS[preset]
    truth = np.load(folder / f"{preset}.npz")
    image = torch.from_numpy(truth["input"])
    with torch.inference_mode():
        for stage in (1, 2, 3):
            result = net(image, Exit(3, stage)).numpy()
            assert np.abs(result - truth[f"out{stage + 2}"]).max() < 1e-5
        assert np.abs(net(image).numpy() - truth["out5"]).max() < 1e-5
        images = net.train()(image)
    for index, result in enumerate(images):
        assert np.abs(result.numpy() - truth[f"out{index}"]).max() < 1e-5


GOLDEN = Path(__file__).parents[1] / "golden" / "mssnet.json"


BLIND_LITE = replace(PRESETS["lite"], motion=False)


def of_golden(config: Config) -> MSSNet:
    shapes = {name: list(tensor.shape) for name, tensor in MSSNet(config).state_dict().items()}
    for name, shape in shapes.items():
        if name.endswith(".embed_motion.weight"):
            shape[1] = 4 * 20  # it was told of fewer neighbors then
    return mssnet.from_state_dict(made_up(shapes)).train()


def image_of_golden() -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).random((1, 3, 64, 64), np.float32))


def same_as_golden(images: list[Tensor], name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    assert len(images) == len(golden)
    for result, numbers in zip(images, golden, strict=True):
        np.testing.assert_allclose(result[0, :, ::17, ::13].flatten().numpy(), numbers, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "config"), [("small", PRESETS["small"]), ("blind lite", BLIND_LITE)]
)
def test_still_computes_what_it_did(name: str, config: Config) -> None:
    """Numbers computed when the network agreed with the published one."""
    with torch.inference_mode():
        same_as_golden(of_golden(config)(image_of_golden()), name)


def test_what_is_told_is_added_to_what_a_blind_network_computes() -> None:
    net, image = of_golden(PRESETS["lite"]), image_of_golden()
    with torch.inference_mode():
        # Computed when it was first told the motion; the blind rest has not changed.
        same_as_golden(net(beside(image)), "lite")
        for name, parameter in net.named_parameters():
            if name.endswith(".embed_motion.weight"):
                parameter.zero_()
        same_as_golden(net(beside(image)), "blind lite")


def test_the_published_networks_are_blind_and_ours_are_told() -> None:
    for preset, config in PRESETS.items():
        names = {name.split(".")[2] for name in MSSNet(config).state_dict() if "scales" in name}
        assert ("embed_motion" in names) == config.motion == (preset in ("lite", "wide"))
        assert config.inputs == (3 + PLANES if config.motion else 3)


@pytest.mark.parametrize("config", SIZES)
def test_sizes_are_read_off_the_tensors(config: Config, tmp_path: Path) -> None:
    net = tiny(config)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    loaded = mssnet.load(tmp_path / "net.safetensors")
    assert loaded.net.config == config
    for image in inputs_of(config, 64, 64):
        with torch.inference_mode():
            assert torch.allclose(loaded.net(image), net(image), atol=1e-6)


def test_a_told_network_lacks_nothing_that_it_is_told_with() -> None:
    state = tiny(TOLD).state_dict()
    del state["scales.0.embed_motion.weight"]
    with pytest.raises(ValueError, match=r"lack the tensor scales\.0\.embed_motion\.weight"):
        mssnet.from_state_dict(state)
    # It is the last scale's that says whether there are any.
    state = tiny(TOLD).state_dict()
    del state["scales.2.embed_motion.weight"]
    with pytest.raises(ValueError, match=r"2 tensors too many.*embed_motion"):
        mssnet.from_state_dict(state)


def test_names_of_the_authors_are_understood() -> None:
    state = tiny().state_dict()
    theirs = published_names(state)
    assert len(theirs) > len(state), "every block has an alias of the shared activation"
    renamed = from_published_names(theirs)
    assert renamed.keys() == state.keys()
    loaded = mssnet.from_state_dict({f"module.{name}": t for name, t in theirs.items()})
    assert loaded.config == TINY
    assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in state)


def published_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names to those of the authors' checkpoints, aliases included."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "slope":
            continue
        parts = name.split(".")
        scale = int(parts[1]) + 1
        if parts[2] == "embed":
            theirs[f"shallow_feat{scale}.0.weight"] = tensor
            continue
        if parts[2] == "lift":
            theirs[f"up_scale{scale - 1}_feat.scaleUp.1.weight"] = tensor
            continue
        if parts[2] == "fuse":
            theirs[f"fusion{scale - 1}{scale}.weight"] = tensor
            continue
        if parts[2] == "tails":
            tail = "" if scale == 3 else ".tail"
            theirs[f"tail{scale}_{int(parts[3]) + 1}{tail}.weight"] = tensor
            continue
        if parts[2] == "embed_block":
            block = f"shallow_feat{scale}.1"
        else:
            stage = f"{scale}_{int(parts[3]) + 1}"
            kind, level = parts[4], int(parts[5]) + 1
            if kind in ("encoder", "decoder"):
                block = f"{kind[0].upper()}{stage}.{kind}_level{level}.{parts[6]}"
            elif kind == "skip":
                block = f"D{stage}.skip_attn{level}"
            else:
                place = {
                    "down": f"E{stage}.down{level}{level + 1}.down.1",
                    "up": f"D{stage}.up{level + 1}{level}.up.1",
                    "from_encoder": f"E{stage}.csff_enc{level}",
                    "from_decoder": f"E{stage}.csff_dec{level}",
                }[kind]
                theirs[f"{place}.weight"] = tensor
                continue
        theirs[f"{block}.body.{0 if parts[-2] == 'conv1' else 2}.weight"] = tensor
        theirs[f"{block}.body.1.weight"] = state["slope"]
    return theirs


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("scales.2.fuse.weight"), "lack"),
        (lambda s: s.update(more=torch.zeros(1)), "too many"),
        (lambda s: s["scales.0.embed.weight"].fill_(float("nan")), "finite"),
        (lambda s: s.update({"scales.1.lift.weight": torch.zeros(2, 2, 1, 1)}), "shape"),
        (lambda s: s.clear(), "not the weights of an MSSNet"),
    ],
)
def test_unfit_weights_are_refused(damage: object, message: str) -> None:
    state = tiny().state_dict()
    assert callable(damage)
    damage(state)
    with pytest.raises(ValueError, match=message):
        mssnet.from_state_dict(state)


@pytest.mark.parametrize("config", SIZES)
def test_early_exits_are_the_stages_of_a_training_call(config: Config) -> None:
    net = tiny(config)
    side = config.multiple_of
    with torch.inference_mode():
        for image in inputs_of(config, side, 2 * side):
            every = net.images(image)
            full = [each for each in every if each.shape == (1, 3, side, 2 * side)]
            assert len(every) - len(full) == config.stages[0], "the first scale's have half of it"
            assert len(full) == len(config.exits)
            for exit, expected in zip(config.exits, full, strict=True):
                assert torch.equal(net(image, exit), expected)
            assert torch.equal(net(image), full[-1])
        for wrong in (Exit(1, 1), Exit(3, config.stages[2] + 1), Exit(3, 0)):
            with pytest.raises(ValueError, match=r"exit must be one of Exit\(scale=2, stage=1\)"):
                net(image, wrong)


def test_nothing_beyond_the_exit_is_computed() -> None:
    net = tiny()
    asked: list[str] = []
    for name, module in net.named_modules():
        if name.count(".") == 3 and ".stages." in name:
            module.register_forward_hook(lambda *_, name=name: asked.append(name))
    restore = Deblurrer(net)
    assert restore.exits == (Exit(2, 1), Exit(2, 2), Exit(3, 1), Exit(3, 2), Exit(3, 3))
    for count, exit in enumerate(restore.exits, 2):
        asked.clear()
        restore(torch.rand(1, 3, 20, 30), exit=exit)
        assert len(asked) == count, "one stage of the first scale and those up to the exit"


@pytest.mark.parametrize("config", [*SIZES, Config((8, 4, 4), (1, 1, 1), 1, 3)])
def test_a_strided_network_computes_the_same(config: Config) -> None:
    net = tiny(config)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    steps = strided(net)
    with torch.inference_mode():
        for image in inputs_of(config, config.multiple_of, 2 * config.multiple_of):
            for exit in config.exits:
                change = net.change(image, exit)
                assert (steps.change(image, exit) - change).abs().max() <= 1e-6 * change.abs().max()
    unshuffled = [scale.unshuffle for scale in net.scales]
    assert [scale.embed.stride[0] for scale in steps.scales] == unshuffled  # type: ignore[index]
    if config.motion:
        assert all(scale.embed_motion.stride == (2, 2) for scale in steps.scales)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert strided(net.bfloat16()).scales[0].embed.weight.dtype == torch.bfloat16  # type: ignore[union-attr]


def test_a_deblurrer_can_be_left_early_at_any_time() -> None:
    restore = Deblurrer(tiny(), tile=128)
    image = torch.rand(1, 3, 100, 250)
    whole = restore(image)
    early = restore(image, exit=restore.exits[0])
    assert early.shape == image.shape
    assert not torch.equal(early, whole)
    assert torch.equal(restore(image), whole)
    assert torch.equal(restore(image, exit=restore.exits[-1]), whole)


def test_image_of_wrong_shape_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16, got 30x32.*mssnet.load"):
        tiny()(torch.rand(1, 3, 30, 32))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got \(1, 1, 32, 32\)"):
        tiny()(torch.rand(1, 1, 32, 32))
    with pytest.raises(ValueError, match=rf"\(N, 3, H, W\), got \(1, {3 + PLANES}, 32, 32\)"):
        tiny()(beside(torch.rand(1, 3, 32, 32)))
    with pytest.raises(
        ValueError, match=r"\(N, 3, H, W\) or \(N, 29, H, W\), got \(1, 28, 32, 32\)"
    ):
        tiny(TOLD)(beside(torch.rand(1, 3, 32, 32))[:, :28])


@pytest.mark.parametrize("config", [TINY, SIZES[1], TOLD])
def test_any_size_comes_back_with_its_size(config: Config) -> None:
    restore = Deblurrer(tiny(config))
    for height in (1, 2, 3, 15, 16, 17, 31, 40):
        for width in (1, 5, 16, 33):
            image = torch.rand(2, 3, height, width)
            result = restore(image, beside(image)[:, 3:] if config.motion else None)
            assert result.shape == (2, 3, height, width)
            assert result.min() >= 0
            assert result.max() <= 1


def test_a_multiple_is_not_padded() -> None:
    net = tiny()
    image = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.allclose(Deblurrer(net)(image), net(image).clamp(0, 1), atol=1e-6)


def test_padding_mirrors() -> None:
    image = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    assert pad_to_multiple(image, 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert pad_to_multiple(image, 8).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("size", [(300, 520), (129, 700), (512, 256)])
def test_tiles_leave_no_seam(size: tuple[int, int]) -> None:
    restore = Deblurrer(tiny())
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), size, mode="bicubic")
    whole = restore(smooth.clamp(0, 1))
    tiled = Deblurrer(tiny(), tile=256)(smooth.clamp(0, 1))
    # With made-up weights, which reach further than trained ones (over 90 dB).
    assert -10 * torch.log10(((whole - tiled) ** 2).mean()) > 45


@pytest.mark.parametrize("tile", [128, 200, 256, 1000])
@pytest.mark.parametrize("size", [1, 127, 128, 129, 500, 1919])
def test_spans_cover_all_and_overlap(size: int, tile: int) -> None:
    found = spans(size, tile, 32)
    assert found[0][0] == 0
    assert found[-1][1] == size
    assert all(end - start <= tile and start % 32 == 0 for start, end in found)
    for (_, end), (start, _) in pairwise(found):
        assert end - start >= 32


def test_the_tile_follows_the_memory() -> None:
    lite, base = MSSNet(PRESETS["lite"]), MSSNet(PRESETS["base"])
    assert tile_within(lite, 8 << 30) > 2 * tile_within(base, 8 << 30) > 1000
    assert tile_within(lite.to(torch.bfloat16), 8 << 30) > 4096, "8K in two pieces with 8 GB"
    assert tile_within(base, 1) == 128


class Starved(MSSNet):
    """A network that has memory for so many pixels and no more."""

    room = 200 * 200
    error: type[RuntimeError] = torch.OutOfMemoryError

    def change(self, image: Tensor, exit: Exit | None = None) -> Tensor:
        if image.shape[2] * image.shape[3] > self.room:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        return super().change(image, exit)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_tile_and_goes_on(error: type[RuntimeError]) -> None:
    net = Starved(TINY).eval()
    net.error = error
    restore = Deblurrer(net)
    image = torch.rand(1, 3, 300, 640)
    result = restore(image)
    assert restore.tile == 160
    assert result.shape == image.shape
    net.room = 10**9
    assert torch.equal(result, restore(image)), "the tile is remembered"


def test_out_of_memory_is_told_when_no_tile_helps() -> None:
    net = Starved(TINY).eval()
    net.room = 10
    with pytest.raises(torch.OutOfMemoryError):
        Deblurrer(net)(torch.rand(1, 3, 300, 640))
    assert smaller_tile(None, 300, 640) == 320
    assert smaller_tile(250, 300, 640) is None


def test_another_error_is_not_taken_for_memory() -> None:
    net = Starved(TINY).eval()
    net.room = 10
    net.error = type("Odd", (RuntimeError,), {"__str__": lambda self: "odd"})
    with pytest.raises(RuntimeError, match="odd"):
        Deblurrer(net)(torch.rand(1, 3, 300, 640))


def test_bfloat16_keeps_the_images_precision() -> None:
    """A network that changes nothing must return the very image, whatever it computes in."""
    net = tiny()
    for scale in net.scales:
        for tail in scale.tails:  # type: ignore[union-attr]
            tail.weight.data.zero_()
    image = torch.rand(1, 3, 48, 64)
    assert torch.equal(Deblurrer(net.to(torch.bfloat16))(image), image)


def test_config_is_checked() -> None:
    with pytest.raises(ValueError, match="widths"):
        Config(widths=(1, 2, 0))
    with pytest.raises(ValueError, match="unshuffle"):
        Config(unshuffle=0)
    with pytest.raises(ValueError, match="told the motion has an unshuffle of 2"):
        Config(motion=True)
    assert PRESETS["wide"].multiple_of == 32


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gpu_equals_cpu(dtype: torch.dtype) -> None:
    net = tiny(PRESETS["lite"])
    image = torch.rand(1, 3, 130, 250)
    for told in (None, beside(image)[:, 3:]):
        there = Deblurrer(tiny(PRESETS["lite"]).to("cuda", dtype))(image, told).cpu()
        error = ((there - Deblurrer(net)(image, told)) ** 2).mean()
        assert -10 * torch.log10(error) > 55
