"""What networks are told beside a frame, and what they make of it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mssnet import Config, Deblurrer, MSSNet, from_state_dict, grown, strided, widened
from mssnet.deblurrer import pad_to_multiple
from mssnet.motion import AROUND, PLANES, TAPS, Flow, Neighbor, planes, unknown

TOLD = Config((4, 6, 8), (1, 2, 1), 1, 2, motion=True)
HEIGHT, WIDTH = 72, 96
NEIGHBORS = 2 + 3 * len(TAPS)
BEFORE, AFTER = slice(NEIGHBORS, NEIGHBORS + 3), slice(NEIGHBORS + 3, NEIGHBORS + 6)
INSIDE = slice(20, -20), slice(20, -20)
CODE = 1 / 255


def soft(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(H, W, 3) uint8, without detail."""
    draw = np.random.default_rng(seed).uniform(0.1, 0.9, (height // 12, width // 12, 3))
    grown = cv2.resize(draw.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(np.clip(255 * grown, 0, 255).round().astype(np.uint8))


def as_it_is(picture: Tensor) -> Tensor:
    return picture


def as_image(picture: Tensor) -> Tensor:
    """The same as (1, 3, H, W) in 0..1."""
    return picture.permute(2, 0, 1)[None].float() / 255


Form = Callable[[Tensor], Tensor]
both_forms = pytest.mark.parametrize("form", [as_it_is, as_image])


def field(seed: int, size: float, shape: tuple[int, int] = (HEIGHT // 2, WIDTH // 2)) -> Flow:
    """Motion that is different, but not abruptly so, from place to place."""
    draw = np.random.default_rng(seed).uniform(-size, size, (3, 4, 2)).astype(np.float32)
    return np.asarray(cv2.resize(draw, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def steady(x: float, y: float, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Flow:
    return np.full((*shape, 2), (x, y), np.float32)


def made(config: Config = TOLD) -> MSSNet:
    torch.manual_seed(3)
    return MSSNet(config).eval()


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image without detail, and what can be told beside it."""
    pictures = [soft(seed, height, width) for seed in range(5)]
    shape = (height // 2, width // 2)
    near = [Neighbor(pictures[n], field(n, 6, shape)) for n in range(1, 5)]
    return as_image(pictures[0]), planes(pictures[0], near, 0.8)


@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True)])
def test_both_ways_to_tell_agree(known: tuple[bool, bool]) -> None:
    pictures = [soft(seed) for seed in range(3)]
    found = []
    for form in (as_it_is, as_image):
        frame, *others = map(form, pictures)
        near = [Neighbor(other, field(n, 5)) for n, other in enumerate(others)]
        before, after = (one if each else None for one, each in zip(near, known, strict=True))
        found.append(planes(frame, [before, after], 0.7))
    on_cpu, on_gpu = found
    assert on_cpu.shape == on_gpu.shape == (1, PLANES, HEIGHT, WIDTH)
    assert float(on_cpu[:, :2].abs().mean()) > 0.03, "there is motion"
    # Where its sign changes, so may the way that it is taken.
    sure = (on_gpu[:, :1] > 1e-3) & (on_cpu[:, :1] > 1e-3)
    off = (on_cpu - on_gpu).abs() * sure
    assert float(off[..., :2, 8:-8, 8:-8].max()) < 1e-3
    assert float(off[..., 8:-8, 8:-8].max()) < 2 * CODE


def test_of_what_is_not_known_the_frame_itself_is_told() -> None:
    picture = soft(1)
    image = as_image(picture)
    told = unknown(torch.cat([image, 1 - image]))
    assert told.shape == (2, PLANES, HEIGHT, WIDTH)
    assert not told[:, :2].any()
    for index in range(2, PLANES, 3):
        assert torch.equal(told[0, index : index + 3], image[0]), index
        assert torch.equal(told[1, index : index + 3], 1 - image[0]), index
    for frame in (picture, image):
        assert torch.allclose(planes(frame, [], 1.0).float(), told[:1], atol=3e-4)


@both_forms
def test_with_one_neighbor_motion_is_steady(form: Form) -> None:
    frame, other, there = form(soft(1)), form(soft(2)), field(3, 6)
    before = planes(frame, [Neighbor(other, -there)], 0.5)
    after = planes(frame, [None, Neighbor(other, there)], 0.5)
    assert torch.equal(before[:, :NEIGHBORS], after[:, :NEIGHBORS])
    both = planes(frame, [Neighbor(other, -there), Neighbor(other, there)], 0.5)
    assert torch.allclose(both[:, :NEIGHBORS], before[:, :NEIGHBORS], atol=1e-6)
    # The missing one is the frame itself.
    own = planes(frame, [], 0.5)
    for one, lacks, which in ((before, AFTER, BEFORE), (after, BEFORE, AFTER)):
        assert torch.allclose(one[0, lacks], own[0, lacks], atol=1e-6)
        assert torch.equal(one[0, which], both[0, which])


@both_forms
def test_frames_farther_away_tell_nothing_of_the_motion(form: Form) -> None:
    frame, there = form(soft(1)), field(3, 6)
    others = [Neighbor(form(soft(3 + n)), field(n, 5)) for n in range(4)]
    near = planes(frame, others[:2], 0.5)
    all_of_them = planes(frame, others, 0.5)
    assert torch.equal(all_of_them[:, : NEIGHBORS + 6], near[:, : NEIGHBORS + 6])
    shown = planes(frame, [*others[:2], None, Neighbor(others[0].picture, there)], 0.5)
    assert torch.equal(shown[:, :-3], near[:, :-3]), "what is missing is the frame itself"
    assert not torch.equal(shown[:, -3:], near[:, -3:])


@both_forms
def test_the_frame_two_before_stands_in_for_a_missing_one_after(form: Form) -> None:
    frame, there = form(soft(1)), field(3, 6)
    before, far = Neighbor(form(soft(2)), -there), Neighbor(form(soft(3)), -2 * there)
    without = planes(frame, [before, None, far], 0.5)
    told = planes(frame, [before, None, far], 0.5, stand_in=True)
    others = [n for n in range(PLANES) if n not in range(PLANES)[AFTER]]
    assert torch.equal(told[:, others], without[:, others]), "the motion too"
    assert torch.equal(told[0, AFTER], told[0, NEIGHBORS + 6 : NEIGHBORS + 9])
    both = [before, Neighbor(form(soft(2)), there), far]
    assert torch.equal(planes(frame, both, 0.5, stand_in=True), planes(frame, both, 0.5))


@both_forms
def test_blurs_of_opposite_directions_are_the_same(form: Form) -> None:
    frame, there = form(soft(4)), field(5, 8)
    one, other = (planes(frame, [None, Neighbor(frame, way)], 0.6) for way in (there, -there))
    assert torch.equal(one[:, :NEIGHBORS], other[:, :NEIGHBORS])
    assert float(one[:, 0].min()) >= 0
    assert float(one[:, 1].min()) < 0 < float(one[:, 1].max())


@both_forms
@pytest.mark.parametrize("shift", [(5.0, -3.0), (-8.0, 2.0), (0.0, 6.0)])
def test_neighbors_are_registered(form: Form, shift: tuple[float, float]) -> None:
    frame = soft(6)
    x, y = (int(each) for each in shift)
    there = steady(x / 2, y / 2, (HEIGHT // 2, WIDTH // 2))
    near = [Neighbor(form(frame.roll((k * y, k * x), (0, 1))), k * there) for k in AROUND]
    told = planes(form(frame), near, 0.5)
    own = as_image(frame)[0][:, *INSIDE]
    for one in told[0, NEIGHBORS:].chunk(len(AROUND)):
        assert float((one[:, *INSIDE] - own).abs().max()) <= 1.01 * CODE
    wanted = torch.tensor([x, y]) * (-1 if x < 0 else 1) * 0.5 / 20
    assert torch.allclose(told[0, :2].float(), wanted[:, None, None], atol=3e-4)


@both_forms
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_ramp_is_tapped_along_the_motion(form: Form, share: float) -> None:
    ramp = np.arange(HEIGHT)[:, None] + 2 * np.arange(WIDTH)[None]
    values = np.stack([ramp, 255 - ramp, 0 * ramp], -1)  # beyond 8 bits in a corner alone
    frame = form(torch.from_numpy(np.clip(values, 0, 255).astype(np.uint8)))
    # To the left, and so the taps follow the other way.
    told = planes(frame, [None, Neighbor(frame, steady(-8, 4))], share)
    rise = share * (2 * 8 - 4)
    inside = slice(20, -20), slice(20, 60)
    for tap, found in zip(TAPS, told[0, 2:NEIGHBORS].chunk(len(TAPS)), strict=True):
        wanted = torch.from_numpy(ramp + tap * rise)[inside] * CODE
        assert float((found[0][inside] - wanted).abs().max()) <= CODE, tap
        assert float((found[1][inside] - (1 - wanted)).abs().max()) <= CODE, tap
        assert not found[2].any()


def test_alone_an_image_is_one_of_which_nothing_is_known() -> None:
    net, restore = made(), Deblurrer(made())
    image, told = inputs(64, 96)
    with torch.inference_mode():
        alone = net(image)
        assert torch.allclose(alone, net(torch.cat([image, unknown(image)], 1)), atol=1e-6)
        assert float((alone - net(torch.cat([image, told], 1))).abs().mean()) > 0.1 * CODE
    assert torch.allclose(restore(image), restore(image, unknown(image)), atol=1e-6)
    assert not torch.allclose(restore(image), restore(image, told), atol=0.1 * CODE)


def test_what_is_told_is_cut_into_tiles_as_the_image_is() -> None:
    image, told = inputs(96, 330)
    whole = Deblurrer(made())(image, told)
    off = whole - Deblurrer(made(), tile=256)(image, told)
    blind = whole - Deblurrer(made(), tile=256)(image)
    # With made-up weights, which reach further than trained ones.
    assert float(off.square().mean()) < 10**-4.5
    assert float(blind.square().mean()) > 10 * float(off.square().mean())


@pytest.mark.parametrize("size", [(25, 61), (33, 32), (64, 47), (5, 3)])
def test_what_is_told_is_padded_as_the_image_is(size: tuple[int, int]) -> None:
    image, told = (each[..., : size[0], : size[1]] for each in inputs(72, 72))
    net = made()
    with torch.inference_mode():
        padded = pad_to_multiple(torch.cat([image, told], 1), TOLD.multiple_of)
        wanted = net(padded)[..., : size[0], : size[1]].clamp(0, 1)
    found = Deblurrer(net)(image, told)
    assert found.shape == image.shape
    assert torch.allclose(found, wanted, atol=1e-5)


def test_other_forms_of_a_told_network_compute_the_same() -> None:
    net = made()
    image, told = inputs(64, 96)
    both = torch.cat([image, told], 1)
    with torch.inference_mode():
        wider = grown(net, tuple(width + 3 for width in TOLD.widths))  # type: ignore[arg-type]
        for other in (strided(net), widened(net), strided(widened(net)), wider):
            for given in (both, image):
                for exit in TOLD.exits:
                    change = net.change(given, exit)
                    off = (other.change(given, exit) - change).abs().max()
                    assert float(off) < 1e-5 * float(change.abs().max()) + 1e-7
    again = from_state_dict(net.state_dict())
    assert again.config == TOLD
    with torch.inference_mode():
        assert torch.equal(again(both), net(both))


def test_weights_of_fewer_planes_take_no_notice_of_the_others() -> None:
    net, (image, told) = made(), inputs(64, 64)
    few, less = net.state_dict(), 4 * 6
    for name in few:
        if name.endswith("embed_motion.weight"):
            few[name] = few[name][:, :-less]
    old = from_state_dict(few)
    assert old.config == TOLD
    other = torch.cat([told[:, :-6], 1 - told[:, -6:]], 1)
    with torch.inference_mode():
        both = [old(torch.cat([image, one], 1)) for one in (told, other)]
        assert torch.equal(*both)
        assert not torch.equal(*(net(torch.cat([image, one], 1)) for one in (told, other)))
    del few["scales.1.embed_motion.weight"]
    with pytest.raises(ValueError, match="lack the tensor"):
        from_state_dict(few)


def test_what_a_grown_network_has_more_of_can_learn() -> None:
    net = made()
    fine, middle, coarse = (width + 3 for width in net.config.widths)
    wide, both = grown(net, (fine, middle, coarse)), torch.cat(inputs(64, 64), 1)
    (few,) = torch.autograd.grad(
        wide.change(both).square().sum(),
        [wide.scales[2].tails[0].weight],  # type: ignore[union-attr, index]
    )
    assert (few[:, -3:].abs().amax((0, 2, 3)) > 0).all()
    with pytest.raises(ValueError, match="at least"):
        grown(net, (1, 1, 1))
