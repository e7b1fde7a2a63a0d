"""Frames in whatever order they are asked for are those of a run through all of them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import stream
from filters import Shutter
from stream.compute.models import Passthrough, load_model
from stream.frame import Frame
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.options.reading import Reading
from stream.options.settings import Settings
from stream.stages.build import stages_of
from stream.vapoursynth.random_access import RandomAccess
from tests.clips import make_clip

COUNT = 200
pytestmark = pytest.mark.usefixtures("one_thread")


def frames_of(path: Path) -> list[Frame]:
    """The frames of a file, with their numbers as their times."""
    source = Source(path, Reading())
    try:
        numbered = enumerate(list(source))
        return [
            Frame(each.planes, each.coding, number, each.time_base) for number, each in numbered
        ]
    finally:
        source.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    return make_clip(path, frames=COUNT, size=(48, 32), codec="ffv1")


def access(settings: Settings, count: int) -> RandomAccess:
    restore = load_model(settings.model, device="cpu")
    shutter = Shutter(share=0.5) if restore.is_told else None
    return RandomAccess(
        lambda: stages_of(settings, restore, None, {}, shutter=shutter).values(),
        count,
        reach=settings.reach,
        in_flight=1 if isinstance(restore, Passthrough) else restore.engine.in_flight,
    )


def within(frames: Sequence[Frame], index: int, window: RandomAccess) -> Callable[[int], Frame]:
    """Knows no frame beyond those that there are to be for frame `index`."""

    def given(number: int) -> Frame:
        assert index - window.before <= number <= index + window.after
        return frames[number]

    return given


def same(one: Frame, other: Frame) -> bool:
    return all(map(np.array_equal, one.planes, other.planes))


def restored(clip: Path, settings: Settings, output: Path) -> list[Frame]:
    """By a job, without loss."""
    stream.Job(clip, output, settings).run()
    return frames_of(output)


def test_any_order_makes_what_a_job_makes(clip: Path, tmp_path: Path) -> None:
    settings = Settings(model="none", fuse=1, device="cpu")
    frames, wanted = frames_of(clip), restored(clip, settings, tmp_path / "out.mkv")
    assert len(frames) == len(wanted) == COUNT
    assert sum(same(*pair) for pair in zip(frames, wanted, strict=True)) < COUNT / 2, "it does work"
    jumps = random.Random(1).sample(range(COUNT), 12)
    for order in (range(COUNT), [*jumps, 0, COUNT - 1, 9, 8, 10, 14, 12, 13, 11]):
        window = access(settings, COUNT)
        for index in order:
            assert same(window.frame(index, within(frames, index, window)), wanted[index]), index


def test_a_network_and_all_that_it_is_told_depend_on_no_order(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=20, size=(48, 32), codec="ffv1")
    settings = Settings(model="lite", device="cpu", shutter=Exposure("180deg"))
    wanted, frames = restored(clip, settings, tmp_path / "out.mkv"), frames_of(clip)
    assert len(wanted) == 20
    window = access(settings, 20)
    for index in (17, 9, 0, 19, 3):
        assert same(window.frame(index, within(frames, index, window)), wanted[index]), index


def test_in_order_each_frame_is_worked_on_once(clip: Path) -> None:
    window = access(Settings(model="none", fuse=1, device="cpu"), COUNT)
    frames, taken = frames_of(clip), list[int]()

    def given(number: int) -> Frame:
        taken.append(number)
        return frames[number]

    for index in (0, 1, 2, 2, 5, 4, 3, 6, 7):  # as threads ask side by side
        window.frame(index, given)
    assert taken == [*range(len(taken))]
    window.frame(40, given)
    assert taken[-1] <= 40 + window.after
    assert min(taken[taken.index(40) - window.before :]) == 40 - window.before


def test_after_an_error_it_goes_on(clip: Path) -> None:
    settings = Settings(model="none", fuse=1, device="cpu")
    window, frames = access(settings, COUNT), frames_of(clip)
    wanted = access(settings, COUNT).frame(5, lambda number: frames[number])

    def broken(number: int) -> Frame:
        if number == 6:
            raise ValueError("it cannot be read")
        return frames[number]

    with pytest.raises(ValueError, match="cannot be read"):
        window.frame(5, broken)
    assert same(window.frame(5, lambda number: frames[number]), wanted)


def test_what_is_kept_is_bounded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(clip)
    monkeypatch.setattr("stream.vapoursynth.random_access._KEPT", 10 * frames[0].nbytes)
    window = access(Settings(model="none", fuse=1, device="cpu"), COUNT)
    for index in range(40):
        window.frame(index, lambda number: frames[number])
    assert len(window._kept) == 10
