"""Motion that a gyroscope measured: right to a third of a pixel, and matched by the pictures."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import stream
from filters import Shutter
from filters.motion import follow
from stream.input.probe import telemetry_of
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.options.lens import Kind, Lens, lens_of
from stream.options.reading import Reading, Span
from stream.stages.seen import measured_of
from stream.stages.shutter import shutter_of
from stream.telemetry.record import Series
from stream.telemetry.turning import CameraRotation, Optics, turned
from tests.clips import make_clip
from tests.telemetry import filmed, packets

RATE, FPS = 400.0, 30
SIZE = (192, 108)


def rates_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """About a camera's axes, radians per second, at times, (n,): (n, 3)."""
    shaken = [
        size * np.sin(2 * np.pi * hz * times + hz)
        for size, hz in ((0.35, 2.3), (0.5, 3.1), (0.3, 1.7))
    ]
    return np.stack(shaken, axis=1)


def attitude(time: float, steps: int = 400) -> NDArray[np.float64]:
    """(3, 3): from where the camera looked at first to how it looks at a moment, in small steps."""
    times = (np.arange(steps) + 0.5) * time / steps
    found = np.eye(3)
    for rate in rates_of(times):
        by, _ = cv2.Rodrigues(-rate * time / steps)
        found = by @ found
    return found


def gyro(seconds: float = 2.0, late: float = 0.0) -> Series:
    times = np.arange(-0.2, seconds + 0.2, 1 / RATE)
    return Series(times + late, rates_of(times))


@pytest.mark.parametrize("kind", ["pinhole", "fisheye"])
@pytest.mark.parametrize("readout", [0.0, 0.016])
def test_blur_is_right(kind: Kind, readout: float) -> None:
    """Against the camera's attitude in steps of microseconds, to 0.3 pixels of 1920."""
    optics = Optics(Lens(94, kind), *SIZE)
    time, open_s = 0.41, 1 / 60
    blur = CameraRotation(gyro(), Lens(94, kind), readout).blur(optics, time, open_s)
    assert np.linalg.norm(blur, axis=-1).max() > 0.5
    for row in (0, 30, 80, 107):
        middle = time + (row - 53.5) / 108 * readout
        first, now, last = (attitude(middle + at * open_s) for at in (-0.5, 0, 0.5))
        rays = optics.rays[row] @ now
        true = optics.seen(rays @ last.T) - optics.seen(rays @ first.T)
        assert np.linalg.norm(true - blur[row], axis=-1).max() < 0.03


@pytest.mark.parametrize("kind", ["pinhole", "fisheye"])
def test_motion_between_frames_is_right(kind: Kind) -> None:
    optics = Optics(Lens(94, kind), *SIZE)
    between = CameraRotation(gyro(), Lens(94, kind)).between(optics, 0.4, 0.4 + 1 / FPS)
    first, last = attitude(0.4), attitude(0.4 + 1 / FPS)
    true = optics.seen(optics.rays @ first @ last.T) - optics.places
    assert np.linalg.norm(true - between, axis=-1).max() < 0.03


def test_lenses_look_where_they_are_seen() -> None:
    for said in ("94", "60:pinhole", "140:fisheye"):
        optics = Optics(lens_of(said), 64, 36)
        assert np.abs(optics.seen(optics.rays) - optics.places).max() < 1e-6
    turn = turned(np.array([0.0, 0.0, 1.0]), np.array([0.0, np.pi / 2, 0.0]))
    assert turn == pytest.approx([1, 0, 0])
    for said in ("wide", "0", "200", "94:round"):
        with pytest.raises(stream.UsageError, match="--fov must be"):
            lens_of(said)


def pictures(kind: Kind, late: float, count: int = 60) -> list[NDArray[np.uint8]]:
    """What a camera sees that turns before a wall far away, (H, W, 3) each."""
    luck = np.random.default_rng(3)
    wall = cv2.GaussianBlur(luck.uniform(0, 255, (900, 900)).astype(np.float32), (0, 0), 4)
    wall = (wall - wall.min()) / (wall.max() - wall.min()) * 255
    optics, shown = Optics(Lens(94, kind), *SIZE), []
    now = np.eye(3)
    for frame in range(count):
        rays = optics.rays @ now
        angles = np.stack([np.arctan2(rays[..., 0], rays[..., 2]), np.arcsin(rays[..., 1])], -1)
        at = (angles * 250 + 450).astype(np.float32)
        view = cv2.remap(wall, at[..., 0], at[..., 1], cv2.INTER_CUBIC)
        shown.append(np.repeat(np.clip(view, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
        for step in range(40):
            rate = rates_of(np.array([(frame + (step + 0.5) / 40) / FPS + late]))[0]
            now = cv2.Rodrigues(-rate / FPS / 40)[0] @ now
    return shown


def seen(
    clip: Path, settings: stream.Settings | None = None
) -> tuple[list[str], object, list[float]]:
    source = Source(clip)
    said: list[str] = []
    try:
        noted, settings = telemetry_of(source), settings or stream.Settings()
        shutter = shutter_of(source, settings.shutter, noted) if noted else Shutter()
        measured = measured_of(source, settings, noted, said.append)
    finally:
        source.close()
    found = [] if measured is None else [measured.turning.offset, measured.turning.lens.fov]
    return said, measured, [shutter.share, *found]


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("shot")
    rates = rates_of(np.arange(0, 2.2, 1 / RATE))
    filmed(folder / "late.mp4", packets(rates, RATE), pictures("fisheye", 0.05), FPS)
    filmed(folder / "still.mp4", packets(rates, RATE), None, FPS)
    return lambda name: folder / f"{name}.mp4"


def test_clocks_and_lens_are_found(shot: Callable[[str], Path]) -> None:
    """A clock that is 50 ms off is found to 2 ms, and a field of view nobody tells to 3 %."""
    said, _, (share, offset, fov) = seen(shot("late"))
    assert offset == pytest.approx(0.05, abs=0.002)
    assert fov == pytest.approx(94, rel=0.03)
    assert share == pytest.approx(0.25)
    assert said[0].startswith("motion is measured: the gyroscope's clock is off by +")
    _, _, (_, offset, fov) = seen(shot("late"), stream.Settings(fov="94:fisheye"))
    assert offset == pytest.approx(0.05, abs=0.002)
    assert fov == 94


def test_both_halves_of_a_clip_tell_the_same_offset(shot: Callable[[str], Path]) -> None:
    """To 2 ms, each found from one second alone."""
    offsets = []
    for start in (0.0, 1.0):
        source = Source(shot("late"), Reading(span=Span(start, 1.0)))
        try:
            asked = stream.Settings(fov="94:fisheye")
            measured = measured_of(source, asked, telemetry_of(source), None)
        finally:
            source.close()
        assert measured is not None
        offsets.append(measured.turning.offset)
    assert offsets == pytest.approx([0.05, 0.05], abs=0.002)
    assert abs(offsets[0] - offsets[1]) < 0.002


def test_optical_flow_agrees_with_the_gyroscope(shot: Callable[[str], Path]) -> None:
    """Correlation of both components, and the median distance of both ends, of all points."""
    source = Source(shot("late"))
    try:
        asked = stream.Settings(fov="94:fisheye")
        measured = measured_of(source, asked, telemetry_of(source), None)
        frames = [(frame.seconds, frame.luma) for frame in source]
    finally:
        source.close()
    assert measured is not None
    optics = Optics(Lens(94, "fisheye"), *SIZE)
    told, seen_ways = [], []
    for (before, luma), (now, other) in pairwise(frames[10:50:4]):
        told.append(measured.turning.between(optics, before, now)[8:-8, 8:-8])
        seen_ways.append(follow(luma, other)[8:-8, 8:-8])
    one, two = np.stack(told), np.stack(seen_ways)
    agreed = [
        float(np.corrcoef(one[..., axis].ravel(), two[..., axis].ravel())[0, 1]) for axis in (0, 1)
    ]
    apart = float(np.median(np.linalg.norm(one - two, axis=-1)))
    assert min(agreed) > 0.99
    assert apart < 0.15


def test_what_does_not_fit_is_not_used(shot: Callable[[str], Path]) -> None:
    said, measured, _ = seen(shot("still"))
    assert measured is None
    (line,) = said
    assert line.startswith("note: the gyroscope is not used: ")
    with pytest.raises(stream.UsageError, match="--motion gyro"):
        seen(shot("still"), stream.Settings(motion="gyro"))


def test_flow_alone_asks_no_gyroscope(shot: Callable[[str], Path], tmp_path: Path) -> None:
    assert seen(shot("late"), stream.Settings(motion="flow"))[:2] == ([], None)
    assert seen(make_clip(tmp_path / "a.mp4"))[:2] == ([], None)
    with pytest.raises(stream.UsageError, match="nothing is noted"):
        seen(make_clip(tmp_path / "a.mp4"), stream.Settings(motion="gyro"))
    with pytest.raises(stream.UsageError, match="--motion must be"):
        stream.Settings(motion="guess")  # type: ignore[arg-type]


def test_networks_are_told_what_was_measured(shot: Callable[[str], Path], tmp_path: Path) -> None:
    """The same motion scales the taps: a run with it says so, and differs from one without."""
    made = []
    for motion in ("gyro", "flow"):
        part = {"span": Span(1.0, 0.2), "fuse": 0, "device": "cpu", "shutter": Exposure("360deg")}
        settings = stream.Settings(model="lite", motion=motion, **part)  # type: ignore[arg-type]
        output = tmp_path / f"{motion}.mp4"
        said: list[str] = []
        stream.Job(shot("late"), output, settings).run(say=said.append)
        assert any(line.startswith("motion is measured") for line in said) == (motion == "gyro")
        source = Source(output)
        made.append([frame.planes[0] for frame in source][2])
        source.close()
    assert np.abs(made[0].astype(int) - made[1]).max() > 2
