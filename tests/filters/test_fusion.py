"""What any frame of a moment has kept is kept, and nothing of one frame shows in another."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters import Burst, Coding, fuse, rgb_of
from filters.color import changes_of
from filters.fusion import Fused
from filters.motion import (
    _difference_by_torch,
    _moved_by_torch,
    differences,
    displaced,
    flow,
    guide,
    halfway,
    interleaved,
    registered,
    room,
    trust,
)
from filters.noise import noise_of

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

HEIGHT, WIDTH = 192, 256
FULL = Coding("bt601", True, 8, (1, 1))


def scene(seed: int, height: int = 144, width: int = 192) -> Picture:
    """A picture with edges and texture of all sizes."""
    return _drawn(seed, height, width, (64, 32, 16, 8, 4, 2), 0)


def shapes(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """One with plain shapes in front of it, as most of what is filmed has them."""
    return _drawn(seed, height, width, (64, 32, 16, 8, 4), 12)


def _drawn(seed: int, height: int, width: int, sizes: Sequence[int], count: int) -> Picture:
    draw = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for size in sizes:
        layer = draw.random((height // size + 2, width // size + 2, 3)).astype(np.float32)
        grown = cv2.resize(layer, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)
        picture += (grown[:height, :width] - 0.5) * size**0.5
    for _ in range(count):
        x, y, w, h = (int(v) for v in draw.integers(8, (width, height, 60, 60)))
        cv2.rectangle(picture, (x, y), (x + w, y + h), draw.normal(0, 12, 3).tolist(), -1)
    picture = 128 + picture * (45 / picture.std())
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def planes(picture: NDArray[Any], coding: Coding = FULL) -> list[Tensor]:
    rgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    return changes_of(rgb, coding)


def picture_of(values: Sequence[Tensor], coding: Coding = FULL) -> Picture:
    rgb = rgb_of(values, coding)[0].permute(1, 2, 0)
    return rgb.mul(255).round().clamp(0, 255).byte().numpy()


def fused(
    frames: Sequence[NDArray[Any]],
    burst: Burst | None = None,
    *,
    coding: Coding = FULL,
    filmed: Sequence[NDArray[Any]] | None = None,
    cuts: Sequence[int] = (),
    damaged: Sequence[int] = (),
) -> list[Picture]:
    """Frames after fusion, as files have it unless told otherwise; `filmed`: before a network."""
    burst = burst or Burst(3, 3)
    values = [planes(frame, coding) for frame in frames]
    made: list[Fused] = []
    for index, value in enumerate(values):
        luma = planes(filmed[index], coding)[0] if filmed is not None else None
        made += burst.push(
            value, coding, filmed=luma, cut=index in cuts, usable=index not in damaged
        )
    made += burst.flush()
    assert len(made) == len(frames)
    return [
        picture_of(
            own if one.changes is None else [a + b for a, b in zip(own, one.changes, strict=True)],
            coding,
        )
        for own, one in zip(values, made, strict=True)
    ]


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    error = np.square(one.astype(float) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def noisy(picture: NDArray[Any], sigma: float, seed: int) -> Picture:
    grain = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.asarray(np.clip(picture + grain, 0, 255).round(), np.uint8)


def shifted(seed: int, places: Sequence[tuple[float, float]]) -> list[Picture]:
    """A scene that moves: where its corner is, x and y, in each frame."""
    large = shapes(seed, HEIGHT + 96, WIDTH + 96)
    frames = []
    for x, y in places:
        where = np.array([[1, 0, -x - 48], [0, 1, -y - 48]], np.float32)
        frames.append(cv2.warpAffine(large, where, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    return [np.asarray(frame, np.uint8) for frame in frames]


def smeared(picture: NDArray[Any], length: int, angle: float) -> Picture:
    """Motion blur of `length` pixels."""
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle, 1)
    turned = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(picture, -1, turned / turned.sum()), np.uint8)


def shaken() -> tuple[list[Picture], list[Picture]]:
    """Sharp frames of a scene that moves, and the same blurred in other directions each."""
    places = [(2 * n + 3 * (n % 2), 1.5 * n - 4 * (n % 3)) for n in range(9)]
    sharp = shifted(5, places)
    return sharp, [smeared(each, 13, 47.0 * n) for n, each in enumerate(sharp)]


def test_what_each_frame_has_kept_is_brought_together() -> None:
    sharp, blurred = shaken()
    made = fused(blurred)
    middle = slice(3, 6)
    gains = [
        psnr(one, truth) - psnr(before, truth)
        for one, before, truth in zip(made[middle], blurred[middle], sharp[middle], strict=True)
    ]
    assert min(gains) > 0.4, gains
    assert sum(gains) / 3 > 1.0, gains


def test_a_blurred_frame_takes_from_sharp_ones_and_these_stay_what_they_are() -> None:
    sharp = shifted(7, [(3 * n, n) for n in range(7)])
    frames = list(sharp)
    frames[3] = smeared(sharp[3], 15, 20)
    made = fused(frames)
    assert psnr(made[3], sharp[3]) > psnr(frames[3], sharp[3]) + 5
    for index in (0, 1, 2, 4, 5, 6):
        assert psnr(made[index], frames[index]) > 44, index


def test_what_was_kept_outweighs_what_a_network_has_guessed() -> None:
    sharp = shifted(7, [(3 * n, n) for n in range(7)])
    filmed = list(sharp)
    filmed[3] = smeared(sharp[3], 15, 20)
    wrong = noisy(np.full_like(sharp[3], 128), 60, 1)
    invented = cv2.GaussianBlur(wrong, (0, 0), 1.5).astype(float) - 128
    restored = list(sharp)
    restored[3] = np.asarray(np.clip(filmed[3] + invented, 0, 255), np.uint8)
    trusting, told = fused(restored)[3], fused(restored, filmed=filmed)[3]
    assert psnr(trusting, sharp[3]) < psnr(fused(filmed)[3], sharp[3]) - 5
    assert psnr(told, sharp[3]) > psnr(trusting, sharp[3]) + 3
    # For another pass it is told as well what became of the luma as filmed; the last makes the same
    # picture without.
    assert np.array_equal(told, fused(restored, Burst(3, 3, last=True), filmed=filmed)[3])


def test_where_a_network_changed_nothing_it_is_as_if_there_were_none() -> None:
    _, blurred = shaken()
    assert all(map(np.array_equal, fused(blurred), fused(blurred, filmed=blurred)))


@pytest.mark.parametrize("sigma", [2.0, 4.0, 6.0])
def test_noise_of_a_still_scene_falls_by_5_db_and_of_a_moving_one_by_4(sigma: float) -> None:
    still = [shapes(3)] * 7
    moving = shifted(4, [(2.7 * n, 1.3 * n) for n in range(7)])
    for clean, least in ((still, 5.0), (moving, 4.0)):
        frames = [noisy(frame, sigma, n) for n, frame in enumerate(clean)]
        made = fused(frames)
        inside = slice(20, -20), slice(20, -20)
        gain = psnr(made[3][inside], clean[3][inside]) - psnr(frames[3][inside], clean[3][inside])
        assert gain > least, (sigma, least, gain)


def test_a_still_clean_scene_stays_bit_for_bit_what_it_was() -> None:
    frames = [shapes(8)] * 5
    for one in fused(frames):
        assert np.array_equal(one, frames[0])


def test_nothing_of_one_scene_is_seen_in_another() -> None:
    one, other = shapes(11), shapes(12)
    # Blurred before the cut, so that what is behind it would be welcome.
    before = [smeared(one, 13, 30)] * 4
    made = fused(before + [other] * 4)
    for index, frame in enumerate(before + [other] * 4):
        assert psnr(made[index], frame) > 60, index
    told = fused(before + [one] * 4, cuts=[4])
    for index in range(4):
        assert np.array_equal(told[index], before[index]), index


def test_a_flash_stays_where_it_is() -> None:
    frames = [shapes(13)] * 7
    flash = np.clip(frames[0].astype(int) + 90, 0, 255).astype(np.uint8)
    made = fused([*frames[:3], flash, *frames[4:]])
    for index in (0, 1, 2, 4, 5, 6):
        assert np.array_equal(made[index], frames[index]), index
    assert psnr(made[3], flash) > 50


def test_a_fade_goes_on_evenly() -> None:
    frames = [np.asarray(shapes(14) * (1 - n / 9), np.uint8) for n in range(8)]
    for index, (one, frame) in enumerate(zip(fused(frames), frames, strict=True)):
        assert psnr(one, frame) > 45, index
        assert abs(one.mean() - frame.mean()) < 0.15, index


def test_a_frame_shown_twice_is_as_good_as_once() -> None:
    sharp, blurred = shaken()
    frames = [*blurred[:5], blurred[4], *blurred[5:]]
    made = fused(frames)
    assert psnr(made[4], made[5]) > 32
    assert psnr(made[4], sharp[4]) > psnr(blurred[4], sharp[4]) + 0.6


@pytest.mark.parametrize("step", [2, 7, 16])
def test_a_moving_object_leaves_no_ghost(step: int) -> None:
    back = shapes(15)
    thing = shapes(16)[:56, :56]
    frames = []
    for n in range(7):
        frame = back.copy()
        left = 40 + n * step
        frame[70:126, left : left + 56] = thing
        frames.append(frame)
    for index, (one, frame) in enumerate(zip(fused(frames), frames, strict=True)):
        off = np.abs(one.astype(int) - frame).mean(-1)
        # Nowhere a patch that is another picture.
        assert cv2.blur(off.astype(np.float32), (9, 9)).max() < 6, (index, step)
        assert psnr(one, frame) > 44, (index, step)


def test_a_result_depends_on_the_window_alone() -> None:
    _, blurred = shaken()
    frames = [noisy(frame, 2, n) for n, frame in enumerate(blurred)]
    whole = fused(frames, Burst(2, 1))
    for first in range(len(frames) - 3):
        part = fused(frames[first : first + 4], Burst(2, 1))
        assert np.array_equal(part[2], whole[first + 2]), first


def test_past_frames_alone_serve_where_no_later_ones_are_waited_for() -> None:
    sharp, blurred = shaken()
    burst = Burst(3, 0)
    for index, frame in enumerate(blurred):
        (one,) = burst.push(planes(frame), FULL)
        if index > 4:
            assert one.changes is not None
            assert 0 < one.share < 1
            own = planes(frame)
            made = picture_of([a + b for a, b in zip(own, one.changes, strict=True)])
            assert psnr(made, sharp[index]) > psnr(frame, sharp[index]) + 0.5
    assert burst.flush() == []


def test_a_damaged_frame_is_nobodys_neighbor() -> None:
    sharp = shifted(7, [(3 * n, n) for n in range(7)])
    frames = [smeared(frame, 15, 20) for frame in sharp]
    frames[3] = sharp[3]
    helped, alone = fused(frames), fused(frames, damaged=[3])
    assert psnr(helped[2], sharp[2]) > psnr(alone[2], sharp[2]) + 2


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_chroma_of_any_size_is_fused_as_luma_is(subsampling: tuple[int, int]) -> None:
    coding = Coding("bt709", False, 8, subsampling)
    sharp, blurred = shaken()
    made = fused(blurred, coding=coding)
    truth = [picture_of(planes(frame, coding), coding) for frame in sharp]
    before = [picture_of(planes(frame, coding), coding) for frame in blurred]
    assert psnr(made[4], truth[4]) > psnr(before[4], truth[4]) + 0.6


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (16, 16), (46, 300), (97, 51), (65, 64)])
@pytest.mark.parametrize("gray", [False, True])
def test_any_size_is_fused_or_left_alone(shape: tuple[int, int], gray: bool) -> None:
    coding = Coding("bt601", True, 8, (2, 2), gray)
    frames = [noisy(np.full((*shape, 3), 128), 20, n) for n in range(4)]
    burst = Burst(1, 1)
    made: list[Fused] = []
    for frame in frames:
        made += burst.push(planes(frame, coding), coding)
    made += burst.flush()
    for one in made:
        for plane, change in zip(planes(frames[0], coding), one.changes or [], strict=False):
            assert plane.shape == change.shape
            assert bool(change.isfinite().all())


def test_a_change_of_size_is_a_cut() -> None:
    burst = Burst(1, 1)
    for size in (100, 100, 60, 60):
        for one in burst.push(planes(shapes(1, size, size)), FULL):
            assert one.share < 1
    assert len(burst.flush()) == 1


def test_texture_is_not_taken_for_noise_and_noise_is_told_by_its_brightness() -> None:
    grass = noisy(np.full((HEIGHT, WIDTH, 3), 110), 40, 1)
    grass[:, 200:] = 110
    own = planes(grass)[0]
    # As registration that is a little off leaves it.
    off = torch.stack([own.roll(1, 0).lerp(own, 0.7), own.roll(1, 1).lerp(own, 0.7)]) - own
    assert noise_of(own, off) is None
    ramp = np.linspace(0, 1, WIDTH, dtype=np.float32)
    level = torch.from_numpy(np.broadcast_to(ramp, (HEIGHT, WIDTH)).copy())
    draw = torch.Generator().manual_seed(2)
    # What a sensor's light makes: noise that grows with the square root of brightness.
    seen = [
        level + 0.03 * level.sqrt() * torch.randn(level.shape, generator=draw) for _ in range(5)
    ]
    found = noise_of(seen[0], torch.stack(seen[1:]) - seen[0])
    assert found is not None
    assert float(found[4]) == pytest.approx(0.03**2 * 0.8, rel=0.5)
    assert float(found[1]) < 0.5 * float(found[4])


def test_frames_that_were_restored_are_followed_by_the_mean_of_both() -> None:
    filmed, other = (planes(frame, FULL) for frame in shifted(9, [(0, 0), (5, 3)]))
    one, neighbor = guide(filmed, FULL), guide(other, FULL)
    way = registered(one, neighbor)
    assert way is not None
    assert registered(one, neighbor) is way, "it is found once"
    restored = (1 - filmed[0]).clamp(0, 1)
    mean = halfway(one, restored)
    assert mean.luma.shape == one.luma.shape
    assert int(np.abs(mean.luma.astype(int) - 128).max()) <= 1
    # What is far off as a picture is not found as the filmed one was.
    assert mean.color is one.color
    assert registered(mean, neighbor) is not way
    same = halfway(one, filmed[0])
    assert int(np.abs(same.luma.astype(int) - one.luma).max()) <= 1


def test_fusing_by_torch_is_fusing_by_opencv() -> None:
    """What frames on a GPU pass through, on the CPU."""
    frames = [interleaved(planes(frame, Coding())) for frame in shifted(9, [(0, 0), (5, 3)])]
    one, other = (guide(frame, Coding()) for frame in frames)
    there = flow(one, other)
    trusted = trust(one, other, there)
    assert trusted is not None
    by_opencv = [each[0] for each in room(frames[0], 1)]
    differences(frames[0], frames[1], there, trusted, by_opencv)
    field, weight = torch.from_numpy(there).permute(2, 0, 1)[None], torch.from_numpy(trusted)
    for own, neighbor, wanted in zip(frames[0], frames[1], by_opencv, strict=True):
        made = torch.empty_like(wanted)
        _difference_by_torch(own, neighbor, field, weight[None, None], made)
        # OpenCV looks up at 32nds of a pixel.
        assert float((made - wanted).abs().mean()) < 0.3 / 255
        assert float(wanted.abs().mean()) > 0
        torch.testing.assert_close(
            _moved_by_torch(own, field), displaced([own], there)[0], atol=0.05, rtol=0
        )


@pytest.mark.needs_cuda
def test_on_a_gpu_the_result_is_that_of_the_cpu() -> None:
    _, blurred = shaken()
    results = []
    for device in ("cpu", "cuda"):
        burst = Burst(3, 3)
        made: list[Fused] = []
        for frame in blurred:
            values = [plane.to(device) for plane in planes(frame)]
            made += burst.push(values, FULL, filmed=values[0] * 0.9)
        made += burst.flush()
        results.append(made)
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert (on_cpu.changes is None) == (on_gpu.changes is None)
        for one, other in zip(on_cpu.changes or (), on_gpu.changes or (), strict=True):
            assert float((one - other.cpu()).abs().mean()) < 0.5 / 255


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        Burst(-1, 0)
    with pytest.raises(ValueError, match="smoothing"):
        Burst(1, 1, smoothing=1.5)


def test_differences_of_nothing_change_nothing() -> None:
    own = planes(shapes(2))
    made = fuse(own, [torch.zeros(2, *plane.shape) for plane in own])
    assert made.changes is not None
    assert all(not change.any() for change in made.changes)
