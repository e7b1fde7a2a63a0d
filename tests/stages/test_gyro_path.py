"""Steadied by a gyroscope: the shake goes, and so does what a rolling shutter makes of it."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import stream
from filters import STILL, Coding, moved
from filters import Path as Calmer
from filters.motion import follow
from stream.frame import Frame, Memory
from stream.input.source import Source
from stream.options.lens import Kind, Lens
from stream.stages.gyro_path import GyroPath
from stream.stages.measured import Measured
from stream.stages.stabilize import LookAhead
from stream.telemetry.record import Series
from stream.telemetry.turning import CameraRotation, Optics, turned
from tests.filters.test_stabilize import CODINGS
from tests.telemetry import filmed, packets
from tests.trials.shake import measure

RATE, FPS, SECONDS = 400.0, 30, 3
SIZE = (192, 108)
READOUT = 0.025
FINE = 2400
"""Steps a second in which the camera is turned."""


def rates_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """About a camera's axes, radians per second, (n, 3): shake, fast and slow, and a pan."""
    shaken = [
        size * np.sin(2 * np.pi * hz * times + hz) + size * np.sin(2 * np.pi * 3.1 * times)
        for size, hz in ((0.25, 8.3), (0.35, 9.1), (0.2, 7.7))
    ]
    shaken[1] += 0.1
    return np.stack(shaken, axis=1)


def attitudes(seconds: float) -> NDArray[np.float64]:
    """(n, 3, 3): from where the camera looked at first to how it looks, FINE times a second."""
    found = [np.eye(3)]
    for rate in rates_of((np.arange(round(seconds * FINE)) + 0.5) / FINE):
        found.append(cv2.Rodrigues(-rate / FINE)[0] @ found[-1])
    return np.array(found)


def pictures(
    kind: Kind, readout: float, turns: NDArray[np.float64], size: tuple[int, int] = SIZE
) -> list[NDArray[np.uint8]]:
    """What a camera sees that turns before a wall far away, row by row, (H, W, 3) each."""
    noise = np.random.default_rng(3).uniform(0, 255, (900, 900)).astype(np.float32)
    wall = cv2.GaussianBlur(noise, (0, 0), 4)
    wall = (wall - wall.min()) / (wall.max() - wall.min()) * 255
    optics, shown = Optics(Lens(80, kind), *size), []
    late = np.arange(size[1]) + 0.5 - size[1] / 2
    for frame in range(SECONDS * FPS):
        # The first frame's rows would begin before the clip does.
        moments = frame / FPS + 0.05 + late / size[1] * readout
        rays = np.einsum("hwi,hij->hwj", optics.rays, turns[np.round(moments * FINE).astype(int)])
        angles = np.stack([np.arctan2(rays[..., 0], rays[..., 2]), np.arcsin(rays[..., 1])], -1)
        at = (angles * 250 + 450).astype(np.float32)
        view = cv2.remap(wall, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        shown.append(np.repeat(np.round(view).astype(np.uint8)[..., None], 3, axis=2))
    return shown


def wobble(clip: Path) -> float:
    """By how much rows move otherwise than the picture they are in: root mean square, pixels."""
    source = Source(clip)
    frames = [frame.luma for frame in source]
    source.close()
    found = []
    for before, now in pairwise(frames[20:61]):
        rows = np.median(follow(before, now)[6:-6, 10:-10], axis=1)
        found.append(rows - rows.mean(0))
    return float(np.sqrt(np.mean(np.square(found))))


def steadied(clip: Path, output: Path, **options: object) -> list[str]:
    settings = stream.Settings(
        model="none",
        strength=0,
        fuse=0,
        device="cpu",
        stabilize=True,
        encoder=stream.EncoderSettings(quality=8),
        **options,  # type: ignore[arg-type]
    )
    said: list[str] = []
    stream.Job(clip, output, settings).run(say=said.append)
    return said


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shot")
    turns = attitudes(SECONDS + 0.2)
    rates = rates_of(np.arange(0, SECONDS + 0.2, 1 / RATE))
    return filmed(folder / "a.mp4", packets(rates, RATE), pictures("pinhole", READOUT, turns), FPS)


def test_shake_and_wobble_go(clip: Path, tmp_path: Path) -> None:
    lens = {"fov": "80", "readout": 1000 * READOUT}
    said = steadied(clip, tmp_path / "gyro.mp4", **lens)
    assert any(line.startswith("motion is measured") for line in said)
    assert steadied(clip, tmp_path / "flow.mp4", motion="flow") == []
    shake = [measure(each) for each in (clip, tmp_path / "flow.mp4", tmp_path / "gyro.mp4")]
    rows = [wobble(each) for each in (clip, tmp_path / "flow.mp4", tmp_path / "gyro.mp4")]
    assert shake[0].shaky > 1.5
    assert shake[2].shaky < 0.05 * shake[0].shaky
    assert shake[2].shaky < 0.5 * shake[1].shaky
    assert shake[2].shaky_turn < 0.1 * shake[0].shaky_turn
    assert rows[0] > 0.3
    assert rows[1] > 0.2  # what corners alone leave
    assert rows[2] < 0.15 * rows[0]


def path_of(kind: Kind, readout: float, rates: NDArray[np.float64]) -> GyroPath:
    times = np.arange(len(rates)) / RATE
    turning = CameraRotation(Series(times, rates), Lens(94, kind), readout)
    return GyroPath(Measured(turning, 0.0), SIZE[1] / SIZE[0])


def corrections(path: GyroPath, crop: float) -> list[tuple[float, NDArray[np.float64]]]:
    """The moment and the grid of each frame of two seconds."""
    calmer = Calmer()
    moments = np.arange(0.1, 1.9, 1 / FPS)
    for before, now in pairwise([moments[0] - 1 / FPS, *moments]):
        motion = path.motion(before, now)
        assert motion is not None
        calmer.add(now, motion)
    asked = (10**6, crop, SIZE[1] / SIZE[0], path.stretch)
    return [
        (moment, path.correction(moment, calmer.correction(index, *asked)))
        for index, moment in enumerate(moments)
    ]


@pytest.mark.parametrize("kind", ["pinhole", "fisheye"])
@pytest.mark.parametrize("readout", [0.0, 0.016, -0.016])
def test_every_place_looks_steadily_through_the_lens(kind: Kind, readout: float) -> None:
    """In the corners as in the middle, to a tenth of a pixel of 1920."""
    times = np.arange(0, 2, 1 / RATE)
    rates = np.stack([0.3 * np.sin(2 * np.pi * hz * times) for hz in (8.3, 9.1, 7.7)], axis=1)
    path, optics = path_of(kind, readout, rates), Optics(Lens(94, kind), *SIZE)
    turning = CameraRotation(Series(times, rates), Lens(94, kind))
    half = np.array(SIZE) / 2
    looks, still = [], []
    for moment, grid in corrections(path, 0.1)[15:-15]:
        places = grid[[0, 0, 32, 64], [0, 48, 24, 11]]
        taken = moment + places[:, 1] / 2 * readout
        looks.append(turned(optics.rays_at(places * half), turning.angles(taken)))
        still.append(turned(optics.rays_at(0.9 * half * [1, 1]), turning.angles(np.array(moment))))
    spread = np.std(looks, axis=0).max() * optics.focal
    assert np.std(still, axis=0).max() * optics.focal > 0.2
    assert spread < 0.01


@pytest.mark.parametrize("kind", ["pinhole", "fisheye"])
def test_nothing_outside_the_picture_is_shown(kind: Kind) -> None:
    rng = np.random.default_rng(4)
    for strength in (0.3, 3.0, 30.0):
        rates = np.repeat(rng.normal(0, strength, (40, 3)), 20, axis=0)
        for crop in (0.01, 0.1, 0.4):
            for _, grid in corrections(path_of(kind, 0.02, rates), crop)[::7]:
                assert np.abs(grid).max() < 1 + 1e-9


def test_where_there_are_no_readings_nothing_is_known() -> None:
    path = path_of("pinhole", 0.0, np.zeros((200, 3)))
    assert path.motion(0.1, 0.2) == STILL
    assert path.motion(0.45, 0.6) is None


@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_a_grid_moves_as_a_matrix_does(coding: Coding) -> None:
    matrix = np.array([[0.88, -0.02, 0.05], [0.03, 0.9, -0.04]])
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5))
    grid = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T
    rng = np.random.default_rng(5)
    planes = []
    for index in range(1 if coding.gray else 3):
        across, down = coding.subsampling if index else (1, 1)
        noise = rng.uniform(0, 1, (-(-65 // down), -(-97 // across))).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 3)
        dtype = np.uint8 if coding.depth == 8 else np.uint16
        planes.append((smooth * coding.top).astype(dtype))
    one, other = moved(planes, coding, matrix), moved(planes, coding, grid)
    for plane, same in zip(one, other, strict=True):
        assert plane.dtype == same.dtype
        # Positions are rounded to 1/32 pixel, either way.
        assert np.abs(plane.astype(int) - same.astype(int)).max() < 1 + 0.01 * coding.top


def test_a_job_goes_on_where_it_ended(clip: Path) -> None:
    source = Source(clip)
    frames = list(source)
    source.close()
    rates = rates_of(np.arange(0, SECONDS + 0.2, 1 / RATE))
    turning = CameraRotation(Series(np.arange(len(rates)) / RATE, rates), Lens(80, "pinhole"))
    measured = Measured(turning, 0.0)

    def corrected(memory: Memory | None, some: list[Frame]) -> list[Frame]:
        ahead = LookAhead(0.1, 1.0, memory, measured)
        return [out for frame in some for out in ahead.push(frame)] + list(ahead.flush())

    whole = corrected(None, frames)
    rest = corrected(whole[39].memory, frames[40:])
    for one, again in zip(whole[40:], rest, strict=True):
        assert one.correction is not None
        assert again.correction is not None
        assert np.array_equal(one.correction, again.correction)
