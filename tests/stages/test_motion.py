"""What is told of frames as they come: how they move, and for how long the shutter was open."""

import functools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import filters.motion
import mssnet
from filters import CELL, Burst, Coding, FlowFrame, Shutter, guide, rgb_of, values_of
from filters.motion import joined
from mssnet.motion import AROUND, unknown
from stream.compute.models import load_model
from stream.errors import UsageError
from stream.frame import Frame
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.options.restore import TOLD
from stream.options.settings import Settings
from stream.pipeline import Stage
from stream.stages.build import stages_of
from stream.stages.motion import Motion, Told
from stream.stages.shutter import shutter_of
from tests.cli.test_command import deblur
from tests.pictures import write

FULL = Coding("bt601", True, 8, (1, 1))
HEIGHT, WIDTH = 96, 128
BESIDE = {
    step: slice(place, place + 3) for step, place in zip(AROUND, (14, 17, 20, 23), strict=True)
}
"""Where what is told of the frames beside it is."""
CODE = 1 / 255


@functools.cache
def scene(height: int, width: int) -> NDArray[np.float32]:
    """(H, W) codes: texture of all sizes, with edges in front of it."""
    draw = np.random.default_rng(4)
    made = np.zeros((height, width), np.float32)
    for sigma in (1.5, 4, 12):
        soft = cv2.GaussianBlur(draw.normal(size=made.shape).astype(np.float32), (0, 0), sigma)
        made += 12 * soft / soft.std()
    for _ in range(height * width // 2000):
        x, y, w, h = (int(v) for v in draw.integers(6, (width, height, 40, 40)))
        cv2.rectangle(made, (x, y), (x + w, y + h), float(draw.normal(0, 45)), -1)
    return np.clip(128 + made, 20, 230)


def filmed(places: Sequence[tuple[int, int]]) -> list[Frame]:
    """Frames of a camera that is at these places, x and y."""
    large = scene(HEIGHT + 96, WIDTH + 96)
    gray = np.full((HEIGHT, WIDTH), 128, np.uint8)
    pieces = [large[48 + y :, 48 + x :][:HEIGHT, :WIDTH].astype(np.uint8) for x, y in places]
    return [Frame((luma, gray, gray), FULL, n, Fraction(1, 30)) for n, luma in enumerate(pieces)]


def panned(count: int) -> list[Frame]:
    return filmed([(4 * n - 12, 2 * n + n % 3) for n in range(count)])


def seen(frame: Frame) -> tuple[FlowFrame, Tensor]:
    """A frame as `Motion` takes it."""
    values = values_of([torch.from_numpy(plane) for plane in frame.planes], FULL)
    return guide(values, FULL), rgb_of(values, FULL).clamp(0, 1)


def told(
    frames: Sequence[Frame], share: float = 0.5, *, ahead: int = 2, wanted: Sequence[int] = ()
) -> list[Told | None]:
    motion = Motion(Shutter(share=share), ahead=ahead)
    found: list[Told | None] = []
    for index, frame in enumerate(frames):
        found += motion.push(frame, *seen(frame), wanted=not wanted or index in wanted)
        assert len(found) == max(index + 1 - ahead, 0), "each one waits for those after it"
    found += motion.flush()
    assert len(found) == len(frames)
    return found


def of(found: Sequence[Told | None]) -> list[Tensor]:
    """What is told of frames, where that is something."""
    return [one.planes[0] for one in found if one is not None and one.planes is not None]


def has(one: Tensor, step: int, frame: Frame) -> bool:
    """Whether what is told of a neighbor is another picture than the frame itself."""
    return float((one[BESIDE[step]] - seen(frame)[1][0]).abs().max()) > 0.51 * CODE


def shown(one: Tensor, frame: Frame) -> set[int]:
    """Which neighbors are told of."""
    return {step for step in AROUND if has(one, step, frame)}


def test_options_know_how_far_networks_look() -> None:
    assert TOLD == max(AROUND) == -min(AROUND)


@pytest.mark.parametrize("ahead", [2, 1, 0])
def test_motion_and_neighbors_are_found(ahead: int) -> None:
    frames = filmed([(6 * n - 12, -3 * n) for n in range(6)])
    inside = slice(24, -24), slice(24, -24)
    for frame, one in zip(frames[1:], of(told(frames, ahead=ahead))[1:], strict=True):
        # What the camera passes goes the other way; the blur is half of that.
        assert float(20 * one[0][inside].median()) == pytest.approx(3, abs=0.1)
        assert float(20 * one[1][inside].median()) == pytest.approx(-1.5, abs=0.1)
        own, number = seen(frame)[1][0], frame.pts
        there = {step for step in AROUND if 0 <= number + step < 6 and step <= ahead}
        assert shown(one, frame) == there
        for step in there:
            assert float((one[BESIDE[step]] - own).abs()[:, *inside].median()) < 3 * CODE, step


def test_the_way_between_two_frames_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[NDArray[np.uint8], ...]] = []
    follow = filters.motion.follow

    def counted(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        found.append((one, other))
        return follow(one, other)

    monkeypatch.setattr(filters.motion, "follow", counted)
    # Every second one is blurred, so that each helps its neighbors or is helped by them.
    frames = panned(6)
    for frame in frames[::2]:
        frame.planes[0][:] = cv2.blur(frame.planes[0], (9, 9))
    motion, burst = Motion(Shutter(share=0.5), ahead=1), Burst(1, 1)
    shares = []
    for frame in frames:
        followed, _ = seen(frame)
        list(motion.push(frame, followed, None))
        values = values_of([torch.from_numpy(plane) for plane in frame.planes], FULL)
        shares += [fused.share for fused in burst.push(values, FULL, followed=followed)]
    # Of the last one nothing is told before the end.
    assert len({(id(one), id(other)) for one, other in found}) == len(found) == 9
    assert max(shares) > 0.1


def test_live_and_without_fusion_the_frame_two_before_stands_in() -> None:
    frames = panned(4)
    motion = Motion(Shutter(share=0.5), ahead=0, stand_in=True)
    found = of([one for frame in frames for one in motion.push(frame, *seen(frame))])
    assert [has(one, 1, frame) for one, frame in zip(found, frames, strict=True)] == [
        *(False, False, True, True)
    ]
    assert torch.equal(found[3][BESIDE[1]], found[3][BESIDE[-2]])


def test_the_second_of_two_steps_begins_where_the_first_leads() -> None:
    places = np.stack(np.meshgrid(np.arange(40), np.arange(30)), -1).astype(np.float32)
    zoom = np.asarray(0.1 * places, np.float32)
    # Fields are looked up at 32nds of a pixel.
    assert np.abs(joined(zoom, zoom) - 0.21 * places)[:26, :34].max() < 0.1 / 32


def test_of_the_first_and_last_frames_one_side_is_told() -> None:
    frames = panned(5)
    for index, (frame, one) in enumerate(zip(frames, of(told(frames)), strict=True)):
        assert shown(one, frame) == {step for step in AROUND if 0 <= index + step < 5}
        assert one[0].max() > 0.05, "known from one side as well"
    alone = of(told(frames[:1]))[0]
    assert torch.allclose(alone.float(), unknown(seen(frames[0])[1])[0], atol=0.6 * CODE)


@pytest.mark.parametrize("ahead", [2, 1, 0])
def test_nothing_is_told_across_a_cut(ahead: int) -> None:
    frames = panned(6)
    frames[3] = replace(frames[3], cut=True)
    found = of(told(frames, ahead=ahead))
    for frame, one in zip(frames, found, strict=True):
        scene = range(3) if frame.pts < 3 else range(3, 6)
        assert shown(one, frame) == {s for s in AROUND if frame.pts + s in scene and s <= ahead}
    parts = [*of(told(frames[:3], ahead=ahead)), *of(told(frames[3:], ahead=ahead))]
    assert all(torch.equal(one, part) for one, part in zip(found, parts, strict=True))


def test_another_scene_is_no_neighbor_though_nobody_says_so() -> None:
    frames = panned(3)
    luma, *chroma = frames[2].planes
    frames[2] = replace(frames[2], planes=(luma // 8, *chroma))
    found = of(told(frames))
    assert shown(found[1], frames[1]) == {-1}
    assert shown(found[2], frames[2]) == set()


def test_a_damaged_frame_is_nobodys_neighbor() -> None:
    frames = panned(7)
    frames[3] = replace(frames[3], damaged=True)
    found = of(told(frames))
    # Nor is what lies behind it: how it moves is known of that side by the frame alone.
    wanted = [{1, 2}, {-1, 1}, {-1, -2}, {-1, -2, 1, 2}, {1, 2}, {-1, 1}, {-1, -2}]
    assert [shown(one, frame) for one, frame in zip(found, frames, strict=True)] == wanted


@pytest.mark.parametrize("ahead", [2, 1, 0])
def test_what_is_told_depends_on_neighbors_alone(ahead: int) -> None:
    frames = panned(7)
    whole, part = of(told(frames, ahead=ahead)), of(told(frames[2:], ahead=ahead))
    assert all(torch.equal(one, other) for one, other in zip(whole[4:], part[2:], strict=True))
    assert not torch.equal(whole[2], part[0])
    some = told(frames, ahead=ahead, wanted=[1, 4])
    assert [index for index, one in enumerate(some) if one is not None] == [1, 4]
    assert all(torch.equal(one, whole[n]) for one, n in zip(of(some), (1, 4), strict=True))


@pytest.mark.parametrize(
    ("said", "share"),
    [("1/60", 0.5), ("180deg", 0.5), ("180°", 0.5), ("360deg", 1), ("1/10", 1), ("1/1200", 0.025)],
)
def test_shutters_are_said_in_seconds_or_degrees(said: str, share: float) -> None:
    exposure = Exposure(said)
    assert not exposure.auto
    assert exposure.share(30) == exposure.share(Fraction(30)) == pytest.approx(share)
    assert Exposure().auto


@pytest.mark.parametrize(
    "said", ["nonsense", "0/5", "1/0", "400deg", "0deg", "-1/60", "", "1/60\n"]
)
def test_what_is_no_shutter_is_refused_in_a_line(said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Exposure(said)
    assert str(refused.value).startswith("--shutter must be auto")
    assert len(str(refused.value).strip().splitlines()) == 1


def circled(path: Path, share: float) -> Path:
    """A second of a camera that goes 12 pixels a frame along a circle, open for that share."""
    large, radius = scene(440, 520), 60
    frames = []
    for index in range(30):
        total = np.zeros((240, 320), np.float32)
        for turn in (12 / radius) * (index + share * (np.arange(24) + 0.5) / 24):
            x, y = 100 + radius * np.cos(turn), 100 + radius * np.sin(turn)
            where = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
            total += cv2.warpAffine(large, where, (320, 240), flags=cv2.INTER_LINEAR)
        luma = (total / 24).round().astype(np.uint8)
        frames.append([luma, *[np.full((120, 160), 128, np.uint8)] * 2])
    return write(path, "yuv420p", frames)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_a_files_shutter_is_seen(tmp_path: Path, share: float) -> None:
    with closing(Source(circled(tmp_path / "clip.mkv", share))) as source:
        shutter = shutter_of(source, Exposure())
        assert shutter.known
        assert shutter.share > 0.6 if share == 1 else shutter.share < 0.35
        assert shutter_of(source, Exposure("1/50")).share == pytest.approx(0.5)
        # None of its own frames were used up.
        assert len(list(source)) == 30


def test_a_shutter_that_makes_no_sense_ends_the_command(tmp_path: Path) -> None:
    clip = write(tmp_path / "in.mkv", "gray", [[np.full((32, 32), 90, np.uint8)]] * 2)
    done = deblur("run", clip, tmp_path / "out.mkv", "--shutter", "nonsense")
    assert done.returncode == UsageError.exit_code
    (line,) = done.stderr.splitlines()
    assert "--shutter" in line
    assert not (tmp_path / "out.mkv").exists()


def through(stage: Stage[Frame], frames: Sequence[Frame]) -> list[Frame]:
    found = [made for frame in frames for made in stage.push(frame)]
    return [*found, *stage.flush()]


def stage(
    restore: mssnet.Deblurrer, share: float = 1.0, asked: Settings | None = None
) -> Stage[Frame]:
    asked = asked or Settings(model="lite", fuse=0)
    return stages_of(asked, restore, None, {}, shutter=Shutter(share=share))["deblur"]


def test_all_frames_come_out_in_order(restore: mssnet.Deblurrer) -> None:
    frames = panned(6)
    frames[3] = replace(frames[3], cut=True)
    frames[4] = replace(frames[4], need=np.zeros((HEIGHT // CELL, WIDTH // CELL), np.float32))
    made = through(stage(restore), frames)
    assert [frame.pts for frame in made] == list(range(6))
    for frame, one in zip(frames, made, strict=True):
        assert one.planes[0].shape == (HEIGHT, WIDTH)
        assert np.array_equal(one.planes[0], frame.planes[0]) == (frame.pts == 4)
    shorter = through(stage(restore, 0.05), frames)
    assert not np.array_equal(made[1].planes[0], shorter[1].planes[0]), "it is told the shutter"


@pytest.mark.parametrize(
    "asked",
    [
        Settings(model="lite", fuse=0),
        Settings(model="lite", fuse=1),
        Settings(model="none", fuse=1),
        # Nothing but noise is averaged away: the motion is not asked for.
        Settings(model="none", fuse=1, strength=0.0, smooth=1.0),
    ],
    ids=lambda asked: f"{asked.model} {asked.fuse} {asked.strength:g}",
)
def test_a_part_is_restored_as_in_the_whole(restore: mssnet.Deblurrer, asked: Settings) -> None:
    # Turning, so that frames are also brought to the middle of their exposure.
    frames = filmed([(3 * n - 15 + 4 * (n % 2), 2 * n + n % 3) for n in range(11)])
    if asked.strength == 0:
        draw = np.random.default_rng(1)
        for frame in frames:
            frame.planes[0][:] = np.clip(
                frame.planes[0] + draw.normal(0, 4, (HEIGHT, WIDTH)), 0, 255
            )
    if asked.model == "none":
        restore = load_model("none", device="cpu")
    whole = through(stage(restore, asked=asked), frames)
    inside = range(asked.reach, len(frames) - asked.reach)
    part = [replace(frame, beyond=frame.pts not in inside) for frame in frames]
    made = through(stage(restore, asked=asked), part)
    assert [frame.pts for frame in made] == list(inside)
    for one in made:
        assert np.array_equal(one.planes[0], whole[one.pts].planes[0]), one.pts
    assert any(not np.array_equal(one.planes[0], frames[one.pts].planes[0]) for one in made)
