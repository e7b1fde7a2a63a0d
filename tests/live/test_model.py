"""The process that restores a live feed: what it makes of pictures, and which it takes."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import SpawnProcess
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import mssnet
import stream
from filters import Shutter
from mssnet.regions import Where
from stream.compute.engines import choose_engine
from stream.compute.models import Passthrough, load_model
from stream.errors import UsageError
from stream.ipc.child import Control, enter
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.messages import Beyond, Fatal, Heartbeat, Line, Stop
from stream.ipc.window import Window
from stream.live.restore import restorer as model
from stream.live.restore.chain import Chain, Load, RestoredPicture, frame_of
from stream.live.restore.half_size import HalfSize
from stream.live.restore.process import start
from stream.live.restore.restorer import Restoration
from stream.options.exposure import Exposure
from stream.options.live import LiveRestoreOptions, LiveSettings
from stream.options.restore import NONE
from stream.options.scale import Scale
from stream.secrets import Secrets
from tests.filters.test_fusion import scene, shapes
from tests.pictures import Planes, frames, write

CONTEXT = get_context("spawn")
STEP_NS = 40_000_000
SIZE = 160, 96
LONG_S = 180.0
"""How long anything may take on a machine that does other things as well."""


def views(count: int, size: tuple[int, int] = SIZE, seed: int = 1) -> list[Planes]:
    """A camera that pans over a scene, with some noise, as planes of 4:2:0."""
    width, height = size
    whole = scene(seed, height + 8, width + 4 * count)
    draw = np.random.default_rng(seed)
    made: list[Planes] = []
    for index in range(count):
        seen = whole[4 : 4 + height, 3 * index : 3 * index + width]
        noise = draw.normal(0, 3, seen.shape[:2])
        luma = np.clip(seen.mean(2) + noise, 16, 235).astype(np.uint8)
        made.append([luma, *(seen[::2, ::2, channel].copy() for channel in (0, 2))])
    return made


def picture(planes: Planes, index: int = 0, **more: Any) -> Picture:
    data = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, planes[0].shape[1])
    timestamp = time.monotonic_ns() if index == 0 else index * STEP_NS
    return Picture(data, timestamp, more.pop("arrived", time.monotonic_ns()), **more)


def own(restore: mssnet.Deblurrer) -> mssnet.Deblurrer:
    """The same network, to be left wherever one likes."""
    engine = choose_engine("auto", restore.device, restore.dtype, late=False)
    return mssnet.Deblurrer(restore.net, engine=engine)


class Rig:
    """A restoration that is taken turn by turn, with what it tells."""

    def __init__(
        self,
        restore: mssnet.Deblurrer,
        restoring: LiveRestoreOptions | None = None,
        max_pixels: int = 1_000_000,
        load: Load | None = None,
        **settings: Any,
    ) -> None:
        self.camera = Mailbox(CONTEXT, max_pixels, 1)
        self.restored = Mailbox(CONTEXT, max_pixels, 1)
        self.ours, theirs = Pipe()
        self.heartbeats: list[Heartbeat] = []
        self.lines: list[str] = []

        def loaded(name: str) -> mssnet.Deblurrer:
            if name == NONE:
                return untouched(name)
            return own(restore) if name == "lite" else load_model(name, device="cpu")

        chosen = LiveSettings(restoring or LiveRestoreOptions(), **settings)
        self.work = Restoration(Control(theirs), chosen, self.camera, self.restored, load or loaded)

    def close(self) -> None:
        self.camera.close(remove=True)
        self.restored.close(remove=True)

    def push(self, given: Picture) -> Picture:
        """What becomes of a picture."""
        self.camera.put(given)
        before = self.restored.count
        self.work.turn()
        made = self.restored.newest(before)
        assert made is not None
        return made

    def listen(self) -> None:
        self.work._tell(now=True)
        while self.ours.poll():
            message = self.ours.recv()
            if isinstance(message, Heartbeat):
                self.heartbeats.append(message)
            elif isinstance(message, Line):
                self.lines.append(message.text)


Make = Callable[..., Rig]


@pytest.fixture
def rig(restore: mssnet.Deblurrer) -> Iterator[Make]:
    made: list[Rig] = []

    def make(*args: Any, **named: Any) -> Rig:
        made.append(Rig(named.pop("restore", restore), *args, **named))
        return made[-1]

    yield make
    for each in made:
        each.close()


def apart(one: Picture, other: Picture) -> int:
    return int(np.abs(one.data.astype(int) - other.data).max())


@pytest.mark.parametrize(
    ("live", "settings"),
    [
        (LiveRestoreOptions(), {}),
        (LiveRestoreOptions(strength=0.6, smooth=0.0), {"strength": 0.6, "smooth": 0.0}),
        (LiveRestoreOptions(upscale=Scale(factor=3)), {"upscale": Scale(factor=3)}),
        (LiveRestoreOptions(fuse=0), {"fuse": 0}),
        (
            LiveRestoreOptions(fuse=5, strength=0.0, smooth=1.0),
            {"fuse": 5, "strength": 0.0, "smooth": 1.0},
        ),
    ],
)
def test_pictures_become_what_a_file_of_them_would(
    live: LiveRestoreOptions,
    settings: dict[str, Any],
    rig: Make,
    restore: mssnet.Deblurrer,
    tmp_path: Path,
) -> None:
    given, tags = views(6), (6, 6, 6, 1)
    write(tmp_path / "in.mkv", "yuv420p", given, tags=tags)
    encoder = stream.EncoderSettings(codec="ffv1")
    # Files wait for the frames after each one as well, unless they are told not to, and what their
    # shutter is they look up before they begin.
    half = stream.Exposure("180deg")
    chosen = stream.Settings(
        "lite", device="cpu", delay=0, shutter=half, encoder=encoder, **settings
    )
    stream.Job(tmp_path / "in.mkv", tmp_path / "out.mkv", chosen).run(restore=restore)
    feed = rig(replace(live, shutter=half))
    for index, (planes, expected) in enumerate(
        zip(given, frames(tmp_path / "out.mkv"), strict=True), 1
    ):
        source = picture(planes, index, tags=tags, rate=12.5)
        made = feed.push(source)
        for ours, theirs in zip(made.planes, expected.planes, strict=True):
            assert np.array_equal(ours, theirs)
        assert (made.timestamp, made.arrived, made.rate) == (source.timestamp, source.arrived, 12.5)
        assert (made.tags, made.cut, made.damaged) == (tags, False, False)


def test_what_changes_nothing_gives_the_picture_itself(rig: Make) -> None:
    feed = rig(LiveRestoreOptions(strength=0.0))
    source = picture(views(1)[0], 5, cut=True, damaged=True)
    made = feed.push(source)
    assert apart(made, source) == 0
    assert (made.cut, made.damaged) == (True, True)


def test_an_enlarged_picture_says_how_it_is_coded(rig: Make) -> None:
    """Nothing said, players would take a small picture for BT.601 and a large one for BT.709."""
    feed = rig(LiveRestoreOptions(upscale=Scale(factor=4), upscaler="bicubic", smooth=0.0))
    made = feed.push(picture(views(1, (320, 160))[0], 1))
    assert made.size == (1280, 640)
    assert made.tags == (6, 2, 2, 0)
    assert frame_of(made).coding.matrix == "bt601"


def passed(count: int, size: tuple[int, int] = (256, 144)) -> list[Planes]:
    """A camera that pans by 12 pixels a frame, its shutter open all the time."""
    width, height = size
    whole = shapes(3, height, width + 12 * count + 12).mean(2)
    return [
        [
            cv2.blur(whole, (12, 1))[:, left : left + width].astype(np.uint8),
            *[np.full((height // 2, width // 2), 128, np.uint8)] * 2,
        ]
        for left in range(6, 6 + 12 * count, 12)
    ]


def test_the_shutter_is_found_out_and_known_from_then_on(rig: Make) -> None:
    """Whatever is changed, but for itself, and after a cut."""
    feed = rig(LiveRestoreOptions(fuse=0))
    given = [picture(planes, index) for index, planes in enumerate(passed(22), 1)]

    def share() -> float:
        shutter = feed.work._chain._shutter
        assert shutter is not None
        return shutter.share

    feed.push(given[0])
    assert share() == Shutter().share
    for each in given[1:-2]:
        feed.push(each)
    assert share() > 0.6
    feed.push(replace(given[-2], cut=True))
    assert share() > 0.6
    feed.ours.send(LiveRestoreOptions(fuse=0, strength=0.9))
    feed.push(given[-1])
    assert feed.work._chain.restoring.strength == 0.9
    assert share() > 0.6


def test_a_shutter_that_is_told_is_that_of_the_cameras_rate(rig: Make) -> None:
    """Also where that changes, as after a reconnect."""
    given = [picture(planes, index) for index, planes in enumerate(passed(8), 1)]

    def last(rate: float, said: str) -> Picture:
        feed = rig(LiveRestoreOptions(fuse=0, shutter=stream.Exposure(said)))
        for each in given[:2]:
            feed.push(replace(each, rate=50.0))
        for each in (replace(given[2], cut=True), given[3]):
            made = feed.push(replace(each, rate=rate))
        return made

    assert apart(last(25.0, "1/50"), last(25.0, "180deg")) == 0
    assert apart(last(25.0, "1/50"), last(50.0, "1/50")) > 0


@pytest.mark.parametrize("how", ["cut", "pause", "size"])
def test_nothing_is_carried_over_a_gap(how: str, rig: Make) -> None:
    given = [picture(planes, index) for index, planes in enumerate(views(7), 1)]
    before, after = given[:4], given[4:]
    if how == "cut":
        after[0] = replace(after[0], cut=True)
    elif how == "pause":
        after = [replace(each, timestamp=each.timestamp + 600_000_000) for each in after]
    else:
        before = [picture(p, index) for index, p in enumerate(views(4, (128, 96)), 1)]
    feed, fresh, on = rig(), rig(), rig()
    for each in before:
        feed.push(each)
        on.push(each)
    for index, each in enumerate(after):
        made = feed.push(each)
        assert apart(made, fresh.push(each)) == 0
        carried = on.push(given[4 + index])
        if how != "size":
            assert apart(made, carried) > 0, "otherwise the pictures before are carried on"


def test_the_newest_picture_wins_and_the_others_are_counted(rig: Make) -> None:
    feed = rig()
    given = [picture(planes, index) for index, planes in enumerate(views(12), 1)]
    feed.push(given[0])
    for count in (3, 1, 7):
        for each in given[1 : 1 + count]:
            feed.camera.put(each)
        feed.work.turn()
    feed.work.turn()
    feed.listen()
    last = feed.heartbeats[-1]
    assert (last.frames, last.dropped) == (4, 2 + 0 + 6)
    assert feed.restored.count == 4
    assert last.state == "live"
    assert last.busy_s > 0
    assert feed.heartbeats[0].state == "loading"
    assert sum(len(heartbeat.latencies_ms) for heartbeat in feed.heartbeats) == 4
    assert last.facts["model"] == "lite"
    assert last.facts["device"].startswith("cpu, ")
    assert last.facts["step"] == "1 of 2: lite, fused with 3 before"
    share, unit = last.facts["from neighbors"].split(" ")
    assert 0 < int(share) < 100
    assert unit == "%"
    assert float(last.facts["ms per frame"]) > 0


def test_of_several_changes_the_last_counts(rig: Make, restore: mssnet.Deblurrer) -> None:
    loaded: list[str] = []

    def load(name: str) -> mssnet.Deblurrer:
        loaded.append(name)
        return own(restore)

    feed = rig(load=load)
    loaded.clear()
    for share in range(30):
        feed.ours.send(LiveRestoreOptions(strength=share / 30))
    feed.work.turn()
    assert len(loaded) <= 1, "each of them held up the feed"
    assert feed.work._chain.restoring.strength == 29 / 30


def test_what_is_asked_for_before_the_first_picture_does_not_end_the_feed(rig: Make) -> None:
    """A size that its pictures cannot have is only known when one comes."""
    feed = rig()
    (first,) = views(1, (400, 300))
    feed.ours.send(LiveRestoreOptions(upscale=Scale.parse("1x1")))
    feed.work.turn()
    made = feed.push(picture(first))
    assert made.size == (400, 300)
    feed.listen()
    assert any(line.endswith("going on as before") for line in feed.lines), feed.lines
    assert feed.work._chain.restoring == LiveRestoreOptions()


def test_settings_change_while_it_works(rig: Make) -> None:
    feed = rig()
    source = picture(views(1)[0], 1)
    assert apart(feed.push(source), source) > 0
    feed.ours.send(LiveRestoreOptions(strength=0.0))
    assert apart(feed.push(source), source) == 0
    feed.ours.send(LiveRestoreOptions(model="no-such-model"))
    assert apart(feed.push(source), source) == 0, "the old settings are kept"
    feed.listen()
    assert any("no-such-model" in line and "going on as before" in line for line in feed.lines)
    feed.ours.send(LiveRestoreOptions(early=True, smooth=0.0))
    early = feed.push(source)
    feed.ours.send(LiveRestoreOptions(smooth=0.0))
    assert apart(feed.push(source), early) > 0


def test_what_cannot_be_enlarged_is_said(rig: Make) -> None:
    small = picture(views(1)[0], 1)
    for scale, words in (
        (Scale(factor=3), "larger than live pictures can be"),
        (Scale(size=(321, 193)), "even sides; use --upscale 320x192"),
        (Scale(shorter=2160), "it can be 1 to 4 times"),
    ):
        feed = rig(LiveRestoreOptions(upscale=scale, upscaler="bicubic"), max_pixels=130_000)
        with pytest.raises(UsageError, match=words):
            feed.push(small)


def test_a_size_that_comes_later_cannot_end_the_feed(rig: Make) -> None:
    feed = rig(LiveRestoreOptions(upscale=Scale(factor=2), upscaler="bicubic"), max_pixels=130_000)
    small, large = picture(views(1)[0], 1), picture(views(1, (320, 200))[0], 2)
    assert feed.push(small).size == (320, 192)
    assert feed.push(large).size == (320, 200)
    assert feed.push(small).size == (320, 192)
    feed.push(large)
    feed.listen()
    assert len(feed.lines) == 1
    assert "pictures of this size are not enlarged" in feed.lines[0]


def test_a_model_that_takes_seconds_for_a_picture_is_refused(rig: Make) -> None:
    class Endless(mssnet.Deblurrer):
        def submit(
            self,
            image: Tensor,
            told: Tensor | None = None,
            where: Where | None = None,
            *,
            exit: mssnet.Exit | None = None,
        ) -> mssnet.Result:
            time.sleep(2.0)
            return lambda: image

    # Small enough that no machine, however busy, takes seconds for it.
    small, large = picture(views(1)[0], 1), picture(views(1, (320, 240))[0], 2)
    net = load_model("lite", device="cpu").net
    loaded: list[mssnet.Deblurrer] = [Endless(net)]
    feed = rig(load=lambda _: loaded[0])
    with pytest.raises(UsageError, match=r"320x240 takes about \d+ s with lite here"):
        feed.push(large)
    loaded[0] = mssnet.Deblurrer(net)
    feed = rig(load=lambda _: loaded[0])
    feed.push(large)
    loaded[0] = Endless(net)
    feed.ours.send(LiveRestoreOptions(early=True))
    feed.push(small)
    feed.listen()
    assert "too long" in feed.lines[0]
    assert feed.lines[0].endswith("going on as before")


class Nothing:
    """A stage that changes nothing."""

    def push(self, frame: stream.Frame) -> Iterator[stream.Frame]:
        yield frame

    def flush(self) -> Iterator[stream.Frame]:
        yield from ()


class Brighter(Nothing):
    def push(self, frame: stream.Frame) -> Iterator[stream.Frame]:
        luma, *chroma = frame.planes
        yield replace(frame, planes=(luma + np.uint8(7), *chroma))


@pytest.mark.parametrize("size", [(64, 48), (70, 50), (2, 2)])
def test_half_the_size_costs_no_detail(size: tuple[int, int]) -> None:
    draw = np.random.default_rng(3)
    width, height = size
    data = draw.integers(16, 230, (height * 3 // 2, width), np.uint8)
    source = frame_of(Picture(data, 1, 1))
    (made,) = HalfSize([Nothing()]).push(source)
    for ours, theirs in zip(made.planes, source.planes, strict=True):
        assert np.array_equal(ours, theirs)
    (made,) = HalfSize([Nothing(), Brighter()]).push(source)
    assert np.array_equal(made.planes[0], source.planes[0] + 7)
    assert np.array_equal(made.planes[1], source.planes[1])


def test_every_step_gives_pictures_of_the_same_size(restore: mssnet.Deblurrer) -> None:
    chain = Chain(LiveRestoreOptions(upscale=Scale(factor=3)), lambda name: own(restore), 1_000_000)
    given = [picture(planes, index) for index, planes in enumerate(views(4), 1)]
    made: list[list[Picture]] = []
    assert [str(rung) for rung in chain.rungs] == [
        "lite, fused with 3 before",
        "lite (1 of 2 stages), fused with 3 before",
        "none, fused with 3 before",
        "none, fused with 1 before",
        "none, fused with 1 before, plainly enlarged",
        "none, fused with 1 before, plainly enlarged, at half size",
        "none, fused with 1 before, plainly enlarged, at half size, every second frame",
        "the camera's own picture",
    ]
    for rung in chain.rungs:
        chain.use(rung)
        chain.forget()
        made.append([each.picture for one in given for each in chain.push(one)])
        assert len(made[-1]) == 4
        assert {each.size for each in made[-1]} == {(480, 288)}
    errors = [np.square(one[-1].data.astype(float) - made[0][-1].data).mean() for one in made]
    assert errors[0] == 0
    assert all(0 < error < 100 for error in errors[1:])
    assert len(set(errors[:6])) == 6, "each step does something else"
    assert errors[5] == errors[6], "the same is done to fewer pictures"


def test_leaving_early_goes_on_with_the_pictures_before(restore: mssnet.Deblurrer) -> None:
    given = [picture(planes, index) for index, planes in enumerate(views(4), 1)]
    chain = Chain(LiveRestoreOptions(delay=1), lambda name: own(restore), 1_000_000)
    for each in given[:3]:
        chain.push(each)
    assert chain.use(chain.rungs[1]) == []
    (third,) = chain.push(given[3])
    assert third.source is given[2]
    (fourth,) = chain.use(chain.rungs[2])
    assert fourth.source is given[3]
    assert fourth.from_neighbors > 0
    assert not chain.waits


def untouched(name: str) -> mssnet.Deblurrer:
    """The model "none"."""
    assert name == NONE
    return Passthrough(mssnet.Eager(torch.device("cpu")))


def alone(restoring: LiveRestoreOptions) -> Chain:
    """A chain without a network."""
    return Chain(restoring, untouched, 1_000_000, ladder=False)


def numbers(made: Sequence[RestoredPicture], given: Sequence[Picture]) -> list[int]:
    """Which of the given pictures were handed on, each made of what it says."""
    for each in made:
        source, ours = each.source, each.picture
        assert (ours.timestamp, ours.arrived) == (source.timestamp, source.arrived)
        assert (ours.cut, ours.damaged) == (source.cut, source.damaged)
    return [next(i for i, one in enumerate(given) if one is each.source) for each in made]


@pytest.mark.parametrize(
    ("model", "delay", "half"),
    [
        *(("none", delay, half) for delay in (0, 1, 2, 3) for half in (False, True)),
        *(("lite", delay, half) for delay, half in ((0, False), (2, False), (2, True))),
    ],
)
def test_each_picture_waits_for_as_many_as_it_is_told(
    model: str, delay: int, half: bool, restore: mssnet.Deblurrer
) -> None:
    given = [picture(planes, index) for index, planes in enumerate(views(6), 1)]

    def load(name: str) -> mssnet.Deblurrer:
        return own(restore) if name == "lite" else untouched(name)

    chain = Chain(LiveRestoreOptions(model=model, delay=delay, smooth=1.0), load, 1_000_000)
    chain.use(replace(chain.rungs[0], half=half))
    fused = []
    for index, each in enumerate(given):
        made = chain.push(each)
        assert numbers(made, given) == ([index - delay] if index >= delay else [])
        fused += made
    left = chain.forget()
    assert numbers(left, given) == list(range(6 - delay, 6))
    assert not chain.waits
    assert chain.forget() == []
    if not half:  # where there is less noise to be averaged away
        for index, one in enumerate([*fused, *left]):
            assert (one.from_neighbors > 0) == (index > 0 or delay > 0)


def test_a_picture_is_fused_with_those_after_it() -> None:
    given = [picture(planes, index) for index, planes in enumerate(views(6), 1)]
    early, late = (
        alone(LiveRestoreOptions(model=NONE)),
        alone(LiveRestoreOptions(model=NONE, delay=2)),
    )
    before = [each for one in given for each in early.push(one)]
    after = [each for one in given for each in late.push(one)]
    assert [each.source for each in before[:4]] == [each.source for each in after]
    assert all(apart(a.picture, b.picture) for a, b in zip(before, after, strict=False))


class Noted(mssnet.Deblurrer):
    """Notes where it was left."""

    def __init__(self, widths: tuple[int, int, int], stages: tuple[int, int, int]) -> None:
        config = mssnet.Config(widths=widths, stages=stages, blocks=1, unshuffle=2, motion=True)
        super().__init__(mssnet.MSSNet(config))
        self.asked: list[mssnet.Exit | None] = []

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        self.asked.append(exit)
        return super().submit(image, told, where, exit=exit)


def test_pictures_that_wait_are_restored_by_the_network_they_came_to() -> None:
    networks = {"large": Noted((8, 8, 8), (1, 1, 3)), "lite": Noted((4, 4, 4), (1, 1, 1))}
    # Blurred by as much as the camera pans.
    restoring = LiveRestoreOptions(model="large", delay=1, shutter=Exposure("360deg"))
    chain = Chain(restoring, lambda name: networks[name], 1_000_000)
    given = [picture(planes, index) for index, planes in enumerate(views(4), 1)]
    made = [each for one in given[:3] for each in chain.push(one)]
    (lighter, *_) = [rung for rung in chain.rungs if rung.model == "lite"]
    made += chain.use(lighter) + chain.push(given[3]) + chain.forget()
    assert [each.source for each in made] == given
    large, lite = networks.values()
    assert large.asked == [large.exits[-1]] * 3
    assert lite.asked == [lite.exits[lighter.exit]]


@pytest.mark.parametrize("delay", [0, 2])
def test_nothing_crosses_a_cut(delay: int) -> None:
    """Not even where both scenes look alike: of the same one, seen again."""
    given = [picture(planes, index) for index, planes in enumerate(views(4), 1)]
    other = [picture(planes, index) for index, planes in enumerate(views(4, seed=2), 5)]
    for following in (other, given):
        scene = [replace(following[0], cut=True), *following[1:]]
        chain, fresh = (alone(LiveRestoreOptions(model=NONE, delay=delay)) for _ in range(2))
        made = [each for one in given for each in chain.push(one)]
        assert numbers(made, given) == list(range(4 - delay))
        waited = chain.push(scene[0])[:delay]
        assert numbers(waited, given) == list(range(4 - delay, 4))
        chain.forget()
        fused = [each for one in scene for each in chain.push(one)] + chain.forget()
        alike = [each for one in scene for each in fresh.push(one)] + fresh.forget()
        assert [each.source for each in fused] == scene
        assert not any(apart(a.picture, b.picture) for a, b in zip(fused, alike, strict=True))
        (first,) = [*chain.push(scene[0]), *chain.forget()]
        assert apart(first.picture, scene[0]) == 0
        assert first.from_neighbors == 0


def test_what_is_damaged_helps_nobody() -> None:
    given = [picture(planes, index) for index, planes in enumerate(views(2), 1)]
    (first,), (second,) = (
        alone(LiveRestoreOptions(model=NONE)).push(replace(given[0], damaged=True)),
        alone(LiveRestoreOptions(model=NONE)).push(given[1]),
    )
    chain = alone(LiveRestoreOptions(model=NONE))
    (one,) = chain.push(first.source)
    (two,) = chain.push(given[1])
    assert apart(one.picture, first.picture) == apart(two.picture, second.picture) == 0
    assert two.from_neighbors == 0


def test_without_fusion_and_a_network_nothing_changes() -> None:
    chain = alone(LiveRestoreOptions(model=NONE, fuse=0, delay=3))
    for index, planes in enumerate(views(4), 1):
        source = picture(planes, index)
        (made,) = chain.push(source)
        assert apart(made.picture, source) == 0
        assert made.from_neighbors == 0


def test_what_waits_is_handed_on(rig: Make) -> None:
    """At its own moment, and at the latest when nothing follows."""
    given = [picture(planes, index) for index, planes in enumerate(views(9), 1)]
    given[5:] = [replace(each, timestamp=each.timestamp + 600_000_000) for each in given[5:]]
    feed = rig(LiveRestoreOptions(model=NONE, delay=2))
    handed: list[int] = []

    def take(one: Picture) -> None:
        feed.camera.put(one)
        feed.work.turn()
        if made := feed.restored.newest(sum(handed)):
            (source,) = [each for each in given if each.timestamp == made.timestamp]
            assert made.arrived == source.arrived
            assert given.index(source) == feed.restored.count - 1
        handed.append(feed.restored.count - sum(handed))

    for each in given[:8]:
        take(each)
    assert handed == [0, 0, 1, 1, 1, 2, 0, 1], "the sixth comes after a gap"
    feed.ours.send(LiveRestoreOptions(model=NONE, delay=1))
    take(given[8])
    assert feed.restored.count == 8, "those before the change"
    end = time.monotonic() + LONG_S
    while feed.restored.count < 9:
        assert time.monotonic() < end
        feed.work.turn()
    feed.listen()
    assert feed.heartbeats[-1].frames == 9
    assert sum(len(heartbeat.latencies_ms) for heartbeat in feed.heartbeats) == 9


def test_before_and_after_are_of_one_moment(rig: Make) -> None:
    window = Window(CONTEXT, 1_000_000, 1_000_000)
    try:
        feed = rig(LiveRestoreOptions(model=NONE, delay=2))
        feed.work._window = window
        given = [picture(planes, index) for index, planes in enumerate(views(5), 1)]
        for each in given:
            # As whoever looks does; a busy machine takes longer for five frames than a look counts.
            window.look()
            feed.camera.put(each)
            feed.work.turn()
        pair = window.newest()
        assert pair is not None
        assert apart(pair[0], given[2]) == 0
        assert pair[0].timestamp == pair[1].timestamp == given[2].timestamp
        assert window.count == 3
    finally:
        window.close(remove=True)


def test_what_comes_after_counts_and_every_second_frame_is_the_last_step(rig: Make) -> None:
    feed = rig(max_latency_ms=10_000.0)
    feed.ours.send(Beyond(30_000.0))
    for index, planes in enumerate(views(40), 1):
        feed.push(picture(planes, index))
        feed.listen()
        if len(feed.lines) == 5:
            break
    assert "10000 are allowed: now lite (1 of 2 stages), fused" in feed.lines[0]
    assert feed.lines[1].endswith("now none, fused with 3 before")
    assert feed.lines[2].endswith("now none, fused with 1 before")
    assert feed.lines[-1].endswith("at half size, every second frame")
    assert feed.heartbeats[-1].facts["step"].startswith("6 of 7: ")
    count = feed.restored.count
    extra = [picture(planes, index) for index, planes in enumerate(views(5), 50)]
    for number, each in enumerate(extra):
        feed.camera.put(each)
        feed.work.turn()
        assert feed.restored.count == count + (number + 1) // 2
    for index, planes in enumerate(views(60), 100):
        feed.camera.put(picture(planes, index))
        feed.work.turn()
        feed.listen()
        if len(feed.lines) == 6:
            break
    assert re.fullmatch(
        r"no step keeps up, the last one takes \d+ ms a picture: now the camera's own picture",
        feed.lines[-1],
    )
    passes_on(feed)


def test_what_would_be_slides_is_the_cameras_own_picture(
    rig: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_SLIDES_MS", 0.5)
    feed = rig()
    for index, planes in enumerate(views(40), 1):
        feed.push(picture(planes, index))
        feed.listen()
        if feed.lines:
            break
    assert feed.lines[-1].endswith(": now the camera's own picture")
    assert feed.heartbeats[-1].facts["step"] == "2 of 2: the camera's own picture"
    passes_on(feed)


def passes_on(feed: Rig) -> None:
    """All that the camera sends is passed on as it is."""
    count = feed.restored.count
    for number, planes in enumerate(views(5), 1):
        given = picture(planes, 1000 + number)
        feed.camera.put(given)
        feed.work.turn()
        found = feed.restored.newest()
        assert found is not None
        assert found.timestamp == given.timestamp
        assert apart(found, given) == 0
        assert feed.restored.count == count + number


class Slowed(mssnet.Deblurrer):
    """As much slower as is asked for, less at smaller sizes and where it is left early."""

    slowness: Any

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        share = image.shape[3] / SIZE[0] * image.shape[2] / SIZE[1]
        share *= 1.0 if exit == self.exits[-1] else 0.3
        time.sleep(0.1 * share * self.slowness.value)
        return lambda: image


def restore_slowly(
    control: Control, settings: LiveSettings, camera: Mailbox, restored: Mailbox, slowness: Any
) -> None:
    # It is the pause alone that should count, whatever else the machine does.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    def load(name: str) -> mssnet.Deblurrer:
        slowed = Slowed(load_model(name, device="cpu").net)
        slowed.slowness = slowness
        return slowed

    Restoration(control, settings, camera, restored, load).run()


class Process:
    """The model's process, fed by this one as by a camera of 25 frames a second."""

    def __init__(
        self, work: Callable[..., None], settings: LiveSettings, arguments: Sequence[object] = ()
    ) -> None:
        self.camera = Mailbox(CONTEXT, 100_000, 1)
        self.restored = Mailbox(CONTEXT, 100_000, 1)
        ours, theirs = CONTEXT.Pipe()
        self.ours: Connection = ours
        given = (settings, self.camera, self.restored, *arguments)
        self.process: SpawnProcess = CONTEXT.Process(
            target=enter, args=(work, theirs, Secrets(), given)
        )
        self.process.start()
        theirs.close()
        self.messages: list[object] = []
        self.late_ms: list[float] = []
        self._views = [picture(planes) for planes in views(10)]
        self._seen = 0

    @property
    def heartbeat(self) -> Heartbeat:
        found = [each for each in self.messages if isinstance(each, Heartbeat)]
        return found[-1] if found else Heartbeat()

    @property
    def lines(self) -> list[str]:
        return [each.text for each in self.messages if isinstance(each, Line)]

    def feed(self, until: Callable[[], bool]) -> None:
        """Put pictures until something is so, and look at what comes back."""
        end, number = time.monotonic() + LONG_S, 0
        while not until():
            assert time.monotonic() < end, (
                "\n".join(self.lines),
                self.heartbeat.facts,
                sorted(self.late_ms[-40:]),
            )
            now, number = time.monotonic_ns(), number + 1
            self.camera.put(replace(self._views[number % 10], timestamp=now, arrived=now))
            while time.monotonic_ns() < now + STEP_NS:
                if self.restored.wait(0, 0.01) and (made := self.restored.newest(self._seen)):
                    self._seen = made.number
                    self.late_ms.append((time.monotonic_ns() - made.arrived) / 1e6)
            self.listen()

    def listen(self) -> None:
        try:
            while self.ours.poll():
                self.messages.append(self.ours.recv())
        except EOFError:
            pass

    def end(self) -> int | None:
        self.process.join(LONG_S)
        self.listen()
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        self.process.close()
        self.camera.close(remove=True)
        self.restored.close(remove=True)
        return code


def test_the_process_loads_restores_and_ends() -> None:
    found = Process(start, LiveSettings(device="cpu"))
    found.feed(lambda: len(found.late_ms) >= 3 and found.heartbeat.state == "live")
    states = [each.state for each in found.messages if isinstance(each, Heartbeat)]
    assert states[:3] == ["loading"] * 3
    assert found.heartbeat.frames >= 1
    found.ours.send(Stop())
    assert found.end() == 0
    assert found.lines == []


def test_a_model_that_is_not_there_is_told_and_ends_the_feed() -> None:
    found = Process(start, LiveSettings(LiveRestoreOptions(model="no-such-model"), device="cpu"))
    assert found.end() == 78
    (fatal,) = [each for each in found.messages if isinstance(each, Fatal)]
    assert fatal.exit_code == 78
    assert "unknown model no-such-model" in fatal.text


def test_twenty_times_too_slow_is_bounded_and_recovers() -> None:
    slowness = CONTEXT.Value("d", 1.0)
    # As much as a busy machine needs at the top, and not as much as twenty times that.
    allowed = 1200.0
    found = Process(restore_slowly, LiveSettings(device="cpu", max_latency_ms=allowed), [slowness])

    def at_the_top() -> bool:
        return (
            found.heartbeat.facts.get("step", "").startswith("1 of 7")
            and found.heartbeat.frames > 10
        )

    found.feed(at_the_top)
    slowness.value = 20.0
    found.feed(lambda: not at_the_top())
    assert found.lines[-1].split(": now ")[1].startswith("lite (")
    dropped, begun = found.heartbeat.dropped, len(found.late_ms)
    found.feed(lambda: len(found.late_ms) > begun + 6 and median(found.late_ms[-6:]) < allowed)
    assert found.heartbeat.dropped > dropped
    slowness.value = 1.0
    found.feed(at_the_top)
    assert "the step above would be about" in found.lines[-1]
    found.ours.send(Stop())
    assert found.end() == 0


def test_only_the_models_process_loads_torch() -> None:
    code = (
        "import sys, stream.live.restore.process, stream.live.restore.ladder;"
        "assert not {'torch', 'av'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
