"""The clips that networks learn from: pictures, ways, light, scenes, cameras, samples."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from filters.motion import look_up
from mssnet.motion import AROUND, PLANES
from weights.train import motion
from weights.train.camera import CameraSettings, codes, compress, sensor, subsample
from weights.train.data import DataSettings, NeighborSettings, Samples
from weights.train.photos import Photos, PhotoSettings, symmetric
from weights.train.procedural import chart, picture
from weights.train.response import Response, srgb
from weights.train.synthesis import NOW, BlurSettings, Clip, Scene, share

CLEAN = CameraSettings(noise=0, h264=0, jpeg=0, subsampled=0)
WHOLE = NeighborSettings(0, 0, 0, 0, 0, 0, 0)
STILL = BlurSettings(still=1, defocus=0)
# All go nearly the longest way.
FAST = BlurSettings(longest=16, bias=0.01, still=0, slight=0, rolling=0, encoded=0, defocus=0)
INSIDE = np.s_[40:-40, 40:-40]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@functools.cache
def drawn() -> Photos:
    return Photos(None, PhotoSettings(), size=80, seed=2)


def scenes(
    settings: BlurSettings, *, size: int = 112, seed: int = 0, count: int = 6
) -> Iterator[Scene]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield Scene(drawn(), size, settings, [srgb()], rng)


def filmed(settings: BlurSettings, share: float = 0.02, *, size: int = 112) -> Iterator[Clip]:
    for scene in scenes(settings, size=size):
        yield from scene.film([share])


def off(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The mean absolute difference."""
    return float(np.abs(one - other).mean())


# Scenes.


def test_a_still_scene_is_sharp_and_stays_where_it_is() -> None:
    for scene in scenes(STILL):
        for clip in scene.film([0.05, 1.0]):
            assert clip.sharp.shape == (112, 112, 3)
            assert clip.sharp.std() > 0.05
            for frame in clip.frames:
                assert np.abs(frame - clip.sharp).max() < 1e-3
            for flow in clip.flows:
                assert np.abs(flow).max() < 0.05


def test_longer_ways_and_longer_exposures_blur_more() -> None:
    shares = [0.02, 0.3, 1.0]
    changes = []
    for longest in (4.0, 16.0, 60.0):
        clips = [scene.film(shares) for scene in scenes(replace(FAST, longest=longest))]
        for short in (clip for clip, _, _ in clips):
            assert np.abs(short.frames[NOW] - short.sharp).max() < 0.01
            assert off(short.frames[NOW - 1], short.sharp) > 0.005
        for clip in (clip for each in clips for clip in each):
            assert all(0 <= frame.min() <= frame.max() <= 1 for frame in clip.frames)
        each = [[off(clip.frames[NOW], clip.sharp) for clip in scene] for scene in clips]
        changes.append(np.mean(each, axis=0))
    table = np.array(changes)
    assert (np.diff(table[:, 1:], axis=0) > 0).all()
    assert (table[:, 2] > 1.3 * table[:, 1]).all()
    assert (table[:, 1] > 20 * table[:, 0]).all()


def test_light_averages_brighter_than_encoded_values() -> None:
    """As a sensor does it: between black and white lies more than the middle gray."""
    ratios = []
    for encoded in (0.0, 1.0):
        settings = replace(FAST, longest=40, objects=0, encoded=encoded)
        clips = filmed(settings, 1.0)
        ratios.append(np.median([clip.frames[NOW].mean() / clip.sharp.mean() for clip in clips]))
    assert ratios[0] > ratios[1] + 0.02
    assert ratios[1] == pytest.approx(1.0, abs=0.02)


def test_flows_lead_to_the_neighbors() -> None:
    left, lengths, sums = [], [], []
    for scene in scenes(replace(FAST, uniform=1), size=128):
        (clip,) = scene.film([0.02])
        now = clip.frames[NOW]
        for step, flow in zip(AROUND, clip.flows, strict=True):
            frame = clip.frames[NOW + step]
            there = look_up(frame, flow)
            left.append(off(there[INSIDE], now[INSIDE]) / off(frame[INSIDE], now[INSIDE]))
            away = scene.speed * abs(step)
            lengths.append(np.hypot(*np.median(flow[INSIDE], axis=(0, 1))) / away)
        sums.append(np.hypot(*np.median(clip.flows[0] + clip.flows[1], axis=(0, 1))))
    assert np.median(left) < 0.25
    # A stripe may be taken for the next one.
    assert np.median(lengths) == pytest.approx(1, abs=0.1)
    assert np.median(sums) < 1.0


def test_in_a_uniform_scene_all_moves_alike() -> None:
    spreads = []
    for uniform in (0.0, 1.0):
        settings = replace(FAST, longest=30, objects=3, uniform=uniform)
        flows = [clip.flows[1][INSIDE].reshape(-1, 2) for clip in filmed(settings, size=192)]
        ends = [np.percentile(flow, [10, 90], axis=0) for flow in flows]
        spreads.append(np.median([np.ptp(end, axis=0).max() for end in ends]))
    assert spreads[1] < 1 < 3 < spreads[0]


def test_rows_of_a_rolling_shutter_are_sharp_where_each_of_them_is() -> None:
    rolled, at_once = [], []
    for scene in scenes(replace(FAST, longest=40, rolling=1), count=10):
        (clip,) = scene.film([0.02])
        rolled.append(off(clip.frames[NOW], clip.sharp))
        moment = scene._finished(scene._at(scene._full, 0.0))
        at_once.append(off(moment, clip.sharp))
    assert np.median(rolled) < 0.01
    assert np.median(rolled) < 0.25 * np.median(at_once)


def test_out_of_focus_the_frames_alone_are_soft() -> None:
    for clip in filmed(replace(STILL, defocus=1)):
        detail = [np.abs(np.diff(each, axis=1)).mean() for each in (*clip.frames, clip.sharp)]
        assert max(detail[:-1]) < 0.95 * detail[-1]


def test_shutters_are_open_as_long_as_told() -> None:
    rng = np.random.default_rng(0)

    def drawn_shares(whole: float, short: float) -> NDArray[np.float64]:
        settings = BlurSettings(whole=whole, short=short)
        return np.array([share(settings, rng) for _ in range(400)])

    assert (drawn_shares(1, 0) == 1).all()
    short, other = drawn_shares(0, 1), drawn_shares(0, 0)
    assert 0.02 <= short.min() < np.median(short) < 0.1 < short.max() <= 0.3
    assert 0.3 <= other.min() < 0.35 < 0.95 < other.max() <= 1
    mixed = drawn_shares(0.5, 0.25)
    assert np.mean(mixed == 1) == pytest.approx(0.5, abs=0.1)
    assert np.mean(mixed < 0.3) == pytest.approx(0.25, abs=0.1)


# Ways.


def test_ways_begin_at_the_identity_and_are_as_long_as_told() -> None:
    lengths, bends = [], []
    for seed in range(40):
        path = motion.Path(40.0, 128, np.random.default_rng(seed))
        assert np.allclose(path.at(np.array(0.0)), np.eye(3), atol=1e-9)
        maps = path.at(np.array([[-0.5, 0.0, 0.5]]))
        assert maps.shape == (1, 3, 3, 3)
        assert np.allclose(maps @ motion.inverse(maps), np.eye(3), atol=1e-9)
        first, middle, last = (maps[0] @ [63.5, 63.5, 1])[:, :2]
        lengths.append(np.hypot(*(last - first)))
        bends.append(np.hypot(*(first + last - 2 * middle)))
    assert 30 < np.median(lengths) < 60
    assert 15 < min(lengths) < max(lengths) < 160
    assert 1 < np.median(bends) < 17
    still = motion.Path(0.0, 128, np.random.default_rng(0))
    assert np.allclose(still.at(np.linspace(-1, 1, 5)), np.eye(3))


def test_planes_before_a_held_camera_move_as_their_points_do() -> None:
    rng = np.random.default_rng(8)
    for _ in range(4):
        camera = motion.Handheld(12.0, 128, rng)
        near, far = camera.before(1.0, rng), camera.before(4.0, rng)
        assert near.at(np.zeros(())) == pytest.approx(np.eye(3), abs=1e-9)
        # A point of the plane in space, seen from where the camera is a frame later.
        pixel, time = np.array([100.0, 20.0, 1.0]), np.array(1.0)
        lens, normal = camera._lens, near._plane
        ray = np.linalg.inv(lens) @ pixel
        point = ray / (normal @ ray)
        turn = cv2.Rodrigues(camera._turn.at(time))[0]
        seen = lens @ (turn @ point + camera._move.at(time))
        mapped = near.at(time) @ pixel
        assert mapped[:2] / mapped[2] == pytest.approx(seen[:2] / seen[2], abs=1e-6)
        # What the camera turns moves all alike; what it moves, the near four times as far.
        turned = lens @ turn @ ray
        apart = [
            np.linalg.norm(
                (way.at(time) @ pixel)[:2] / (way.at(time) @ pixel)[2] - turned[:2] / turned[2]
            )
            for way in (near, far)
        ]
        assert 2.5 < apart[0] / apart[1] < 6.5


def test_scenes_with_depth_are_filmed_and_followed() -> None:
    left, rolled = [], []
    for clip in filmed(replace(FAST, depth=1.0, objects=0), size=128):
        before, now = clip.frames[NOW - 1][INSIDE], clip.frames[NOW][INSIDE]
        there = look_up(clip.frames[NOW - 1], clip.flows[0])[INSIDE]
        left.append(off(there, now) / off(before, now))
    for clip in filmed(replace(FAST, depth=1.0, rolling=1.0, longest=40)):
        rolled.append(off(clip.frames[NOW], clip.sharp))
    assert np.median(left) < 0.4
    assert np.median(rolled) < 0.01


def test_uniform_ways_move_all_points_alike_and_straight_ahead() -> None:
    corners = np.array([[0, 96, 0, 96], [0, 0, 96, 96], [1, 1, 1, 1]])
    spreads, bends = [], []
    for uniform in (False, True):
        spread, bend = [], []
        for seed in range(12):
            path = motion.Path(30.0, 96, np.random.default_rng(seed), uniform=uniform)
            moved = (path.at(np.array([-1.0, 0.0, 1.0])) @ corners - corners)[:, :2]
            spread.append(np.ptp(moved, axis=2).max())
            bend.append(np.abs(moved[0] + moved[2]).max())
            if uniform:
                assert np.hypot(*moved[2, :, 0]) == pytest.approx(30)
        spreads.append(max(spread))
        bends.append(max(bend))
    assert spreads[1] < 1e-9 < 2 < spreads[0]
    assert bends[1] < 1e-9 < 2 < bends[0]


# Light.


def test_response_curves_turn_around() -> None:
    values = np.linspace(0, 1, 300)
    for curve in (srgb(), Response(np.linspace(0, 1, 256) ** 3)):
        light = curve.to_light(values)
        assert light.dtype == np.float32
        assert np.abs(curve.to_encoded(light) - values).max() < 3e-3
    assert float(srgb().to_light(np.array(0.5))) == pytest.approx(0.2140, abs=1e-3)
    assert srgb().to_light(np.array([-1.0, 2.0])).tolist() == [0, 1]
    assert srgb().to_encoded(np.array([-1.0, 2.0])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="rising"):
        Response(np.array([0.0, 1.0, 0.5]))


# Pictures.


@pytest.mark.parametrize("draw", [picture, chart])
def test_drawn_pictures_have_detail(draw: object) -> None:
    assert callable(draw)
    for seed in range(4):
        image = draw(160, np.random.default_rng(seed))
        assert image.shape == (160, 160, 3)
        assert 0 <= image.min() < image.max() <= 1
        assert sum(np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)) > 0.003


def soft_photo(folder: Path) -> Photos:
    """One photograph, higher than wide, without fine detail."""
    image = codes(picture(640, np.random.default_rng(1)))[:, :430]
    cv2.imwrite(str(folder / "soft.png"), cv2.GaussianBlur(image, (0, 0), 8))
    return Photos(folder, PhotoSettings(drawn=0), size=80, seed=0)


@pytest.mark.parametrize("factor", [3, 5])
def test_around_a_crop_is_the_same_middle(tmp_path: Path, factor: int) -> None:
    photos, side = soft_photo(tmp_path), 120 // factor
    ways = set()
    for seed in range(30):
        crop = photos.crop(120, np.random.default_rng(seed))
        assert crop.square.shape == (120, 120, 3)
        ways.add(crop._way)
        size = (side, side)
        same = cv2.resize(crop.square, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        around = crop.around(side, factor).astype(np.float32)
        shifted = [np.roll(around, by, axis) for by in (-1, 1) for axis in (0, 1)]
        inner = np.s_[1:-1, 1:-1]
        nearest = min(off(each[inner], same[inner]) for each in shifted)
        assert off(around[inner], same[inner]) < 0.25 * nearest
        half = side // 2
        wider = crop.around(2 * side, factor)[half:-half, half:-half]
        assert off(wider.astype(np.float32), around) < 0.1
    assert len(ways) == 8


def test_the_eight_ways_to_turn_a_picture_differ() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    turned = [symmetric(image, way) for way in range(8)]
    assert np.array_equal(turned[0], image)
    assert len({(each.shape, each.tobytes()) for each in turned}) == 8
    assert all(each.flags.c_contiguous for each in turned)


def test_photographs_are_found_and_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Samples(small(images=tmp_path))
    (tmp_path / "deep").mkdir()
    red = np.zeros((400, 300, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "deep" / "red.png"), red)
    settings = small(images=tmp_path, photos=PhotoSettings(drawn=0), camera=CLEAN)
    shown, sharp = Samples(settings).group(0)
    for image in (shown[:, :3] * 255, sharp):
        assert (image[:, 0] > 30).all()
        assert (image[:, 1:] == 0).all()


# Cameras.


def three(size: int = 96) -> list[NDArray[np.float32]]:
    """Three frames of something that moves by two pixels from each to the next."""
    rng = np.random.default_rng(2)
    wide = cv2.GaussianBlur(picture(size + 4, rng), (0, 0), 1.5)
    return [np.ascontiguousarray(wide[:size, start : start + size]) for start in (4, 2, 0)]


@pytest.mark.parametrize("way", ["noise", "h264", "jpeg"])
def test_the_camera_degrades_and_tints_nothing(way: str) -> None:
    settings = replace(CLEAN, **{way: 1.0})  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for _ in range(6):
        frames = three()
        kept = [frame.copy() for frame in frames]
        filmed = sensor(frames, settings, rng)
        coded = compress([codes(frame) for frame in filmed], settings, rng)
        worse = [np.asarray(each / 255, np.float32) for each in coded]
        for index, (frame, same) in enumerate(zip(frames, kept, strict=True)):
            assert np.array_equal(frame, same)
            assert worse[index].shape == frame.shape
            assert off(worse[index], frame) > 5e-4
            assert np.abs((worse[index] - frame).mean((0, 1))).max() < 0.003
            # Each frame is still itself.
            assert all(
                off(worse[index], frame) < 0.7 * off(worse[other], frame)
                for other in range(3)
                if other != index
            )


def test_h264_of_more_compression_is_worse() -> None:
    losses = []
    for crf in (10, 36):
        settings = replace(CLEAN, h264=1.0, lowest_crf=crf, highest_crf=crf)
        frames = [codes(frame) for frame in three()]
        coded = compress(frames, settings, np.random.default_rng(0))
        losses.append(cv2.absdiff(np.stack(coded), np.stack(frames)).mean())
    assert losses[1] > 1.5 * losses[0]


def test_noise_is_new_in_every_frame() -> None:
    frame = three()[0]
    first, second, _ = sensor([frame] * 3, replace(CLEAN, noise=1), np.random.default_rng(0))
    one, other = (first - frame).ravel(), (second - frame).ravel()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_a_clean_camera_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    frames = three()
    pictures = [codes(frame) for frame in frames]
    assert np.array_equal(sensor(frames, CLEAN, rng), frames)
    assert np.array_equal(compress(pictures, CLEAN, rng), pictures)


def test_halving_the_chroma_keeps_brightness_and_tint() -> None:
    for image in three():
        halved = subsample(image)
        assert np.abs((halved - image) @ LUMA).max() < 1e-3
        assert np.abs((halved - image).mean((0, 1))).max() < 2e-3
        assert np.abs(halved - image).max() > 0.01
        gray = np.repeat(image.mean(2, keepdims=True), 3, axis=2)
        assert np.allclose(subsample(gray), gray, atol=1e-4)


# Samples.


def small(**changes: object) -> DataSettings:
    # Drawing pictures to choose the most detailed from takes long.
    photos = PhotoSettings(detailed=0)
    settings = DataSettings(patch=64, scenes=4, uses=2, seed=5, photos=photos)
    return replace(settings, **changes)  # type: ignore[arg-type]


@functools.cache
def plain() -> Samples:
    return Samples(small())


def group(**changes: object) -> tuple[Tensor, Tensor]:
    """Samples with other settings, in single precision and 0..1."""
    shown, sharp = plain().with_settings(small(**changes)).group(0)
    return shown.float(), sharp.float() / 255


def test_a_group_depends_on_seed_and_number_alone() -> None:
    one, other = Samples(small()), Samples(small())
    other.group(3)
    shown, sharp = one.group(7)
    assert (shown.shape, shown.dtype) == ((8, 3 + PLANES, 64, 64), torch.float16)
    assert (sharp.shape, sharp.dtype) == ((8, 3, 64, 64), torch.uint8)
    assert shown.isfinite().all()
    for first, second in zip((shown, sharp), other.group(7), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.group(8)[1], sharp)
    assert not torch.equal(one.with_settings(small(seed=6)).group(7)[1], sharp)


def test_chroma_is_halved_in_the_target_as_well() -> None:
    camera = replace(CLEAN, subsampled=1.0)
    shown, sharp = group(camera=camera, blur=STILL)
    assert (shown[:, :3] - sharp).abs().max() <= 1.5 / 255
    assert (sharp - group(camera=CLEAN, blur=STILL)[1]).abs().max() > 5 / 255


def test_the_told_blur_is_as_long_as_the_shutter_is_open() -> None:
    lengths = []
    for whole in (0.0, 1.0):
        blur = replace(FAST, uniform=1, whole=whole, short=1 - whole)
        shown, _ = group(camera=CLEAN, neighbors=WHOLE, blur=blur, scenes=8)
        assert (shown[:, 3] >= 0).all()
        lengths.append(shown[:, 3:5].square().sum(1).sqrt() * 20)
    short, full = (float(each.flatten(1).median(1).values.mean()) for each in lengths)
    assert 12 < full <= 18
    assert 0.2 < short < 0.25 * full


def shown_beside(changes: NeighborSettings) -> list[bool]:
    """Which of the frames `AROUND` it are another picture than the frame itself, in all samples."""
    shown, _ = group(neighbors=changes, blur=replace(FAST, uniform=1))
    # The others tell the motion.
    assert (shown[:, 3:5].abs().amax((1, 2, 3)) > 0.002).all()
    own = shown[:, :3]
    apart = [(each - own).abs().amax((1, 2, 3)) for each in shown[:, -12:].chunk(4, dim=1)]
    assert all(bool((each > 0.01).all()) or not each.any() for each in apart)
    return [bool(each.all()) for each in apart]


def test_missing_neighbors_are_the_frame_itself() -> None:
    assert shown_beside(WHOLE) == [True] * 4
    assert shown_beside(replace(WHOLE, no_before=1.0)) == [False, True, False, True]
    assert shown_beside(replace(WHOLE, no_after=1.0)) == [True, False, True, False]
    stood_in = replace(WHOLE, no_after=1.0, stand_in=1.0)
    assert shown_beside(stood_in) == [True, True, True, False]
    assert shown_beside(replace(WHOLE, no_earlier=1.0)) == [True, True, False, True]
    assert shown_beside(replace(WHOLE, no_later=1.0)) == [True, True, True, False]


def test_neighbors_may_be_repeated_or_of_another_scene() -> None:
    blur = replace(FAST, uniform=1, whole=0, short=1)

    def farther(neighbors: NeighborSettings) -> Tensor:
        """By how much each neighbor differs from the frame, the nearer one first."""
        shown, _ = group(neighbors=neighbors, camera=CLEAN, blur=blur, scenes=8, uses=2)
        both = shown[:, -12:-6].reshape(-1, 2, 3, 64, 64)
        apart = (both - shown[:, None, :3]).abs().mean((2, 3, 4))
        return apart.sort(1).values.T

    right = farther(WHOLE)
    assert (right > 0).all()
    repeated = farther(replace(WHOLE, repeated=1))
    assert (repeated[0] == 0).all()
    assert (repeated[1] > 0).all()
    # There is none before the first scene.
    wrong = farther(replace(WHOLE, wrong=1))
    assert (wrong[1] > 3 * right.median()).sum() >= 12
