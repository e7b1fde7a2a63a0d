"""The camera's shaking is taken out, and nothing outside the picture is ever shown."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path as File
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import stream
from filters import STILL, Camera, Coding, Path, Similarity, moved
from stream.frame import Frame
from stream.stages import stabilize
from stream.stages.stabilize import LookAhead
from tests import pictures
from tests.filters.test_fusion import scene
from tests.pictures import Planes
from tests.trials.shake import measure

RATE = 25
ALL = 10**6


def view(
    picture: NDArray[Any],
    size: tuple[int, int],
    shift: complex,
    angle: float = 0.0,
    zoom: float = 1.0,
) -> NDArray[np.uint8]:
    """What a camera sees of a picture whose center has moved by x + iy in its sight, in pixels."""
    width, height = size
    turn = zoom * np.exp(1j * angle)
    matrix = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0]])
    center = [(picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2]
    matrix[:, 2] = [(width - 1) / 2 + shift.real, (height - 1) / 2 + shift.imag]
    matrix[:, 2] -= matrix[:, :2] @ center
    seen = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC)
    return np.asarray(seen, np.uint8)


def shaken(count: int, size: tuple[int, int], amount: float, seed: int = 0) -> list[Planes]:
    """A pan over a scene by a hand that shakes, as planes of 4:2:0."""
    draw = np.random.default_rng(seed)
    width, height = size
    wide = scene(seed, 2 * height, 2 * width)
    found: list[Planes] = []
    for index in range(count):
        shift = complex(*draw.normal(0, amount, 2)) + 0.1 * (index - count / 2)
        found.append(coded(view(wide, size, shift, draw.normal(0, 0.003))))
    return found


def coded(picture: NDArray[np.uint8]) -> Planes:
    """RGB, (H, W, 3) of even sides, as planes of 4:2:0."""
    height, width = picture.shape[:2]
    rows = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420))
    return [rows[:height], *rows[height:].reshape(2, height // 2, width // 2)]


def light(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def test_the_cameras_motion_is_found_beside_what_moves_in_the_scene() -> None:
    wide, size = light(scene(1, 400, 500)), (320, 240)
    first = view(wide, size, 0j)
    second = view(wide, size, 3.3 - 2.1j, np.radians(0.8), 1.01)
    passing = light(scene(2, 100, 140))
    first[100:200, 40:180], second[100:200, 61:201] = passing, passing
    camera = Camera()
    assert camera.push(first) is None
    found = camera.push(second)
    assert found is not None
    assert abs(found.shift * 320 - (3.3 - 2.1j)) < 0.1
    assert abs(found.turn.imag - np.radians(0.8)) < 3e-4
    assert abs(found.turn.real - np.log(1.01)) < 3e-4


def test_pixels_that_are_not_square_turn_as_well() -> None:
    wide, size = light(scene(3, 400, 560)), (384, 240)
    tall = [
        np.asarray(cv2.resize(each, (240, 240), interpolation=cv2.INTER_AREA), np.uint8)
        for each in (view(wide, size, 0j), view(wide, size, 4 + 2j, np.radians(1)))
    ]
    camera = Camera(aspect=1.6)
    camera.push(tall[0])
    found = camera.push(tall[1])
    assert found is not None
    assert abs(found.shift * 384 - (4 + 2j)) < 0.2
    assert abs(found.turn - 1j * np.radians(1)) < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (20, 300), (64, 48), (97, 131)])
def test_where_nothing_can_be_followed_the_camera_stands_still(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    flat = np.full(shape, 90, np.uint8)
    noise = [draw.integers(80, 100, shape).astype(np.uint8) for _ in range(2)]
    for pair in ([flat, flat], noise):
        camera = Camera()
        assert camera.push(pair[0]) is None
        assert camera.push(pair[1]) == STILL


def test_a_cut_begins_another_path() -> None:
    one, other = light(scene(4)), light(scene(5))
    camera = Camera()
    found = [camera.push(each) for each in (one, one, other, other)]
    assert [each is None for each in found] == [True, False, True, False]
    assert camera.push(other, cut=True) is None


def path_of(shifts: NDArray[Any], angles: NDArray[Any], rate: float = RATE) -> Path:
    """Of a camera that sees the scene at these places, in widths, and turned by these angles."""
    path, place = Path(), Similarity(0j, 0j)
    for index, (shift, angle) in enumerate(zip(shifts, angles, strict=True)):
        turn = 1j * angle - place.turn
        motion = Similarity(turn, shift - np.exp(turn) * place.shift)
        path.add(index / rate, STILL if not index else motion)
        place = Similarity(1j * angle, shift)
    return path


def shown(shifts: NDArray[Any], angles: NDArray[Any], crop: float = 0.1) -> NDArray[np.complex128]:
    """Where the scene's center is in the finished pictures, in widths."""
    shape = 0.5625
    path = path_of(shifts, angles)
    found = []
    for index, shift in enumerate(shifts):
        correction = path.correction(index, ALL, crop, shape)
        place = np.array([2 * shift.real, 2 * shift.imag / shape])
        x, y = np.linalg.solve(correction[:, :2], place - correction[:, 2])
        found.append(complex(x, y * shape) / 2)
    return np.array(found)


def test_a_pan_is_left_alone_up_to_its_ends() -> None:
    pan = np.linspace(-0.4, 0.4, 100) * (1 + 0.3j)
    after = shown(pan, np.zeros(100))
    assert np.abs(after - pan / 0.9).max() < 1e-9


def test_a_shake_on_a_pan_goes_and_the_pan_stays() -> None:
    draw = np.random.default_rng(6)
    pan = np.linspace(-0.3, 0.3, 150)
    shifts = pan + draw.normal(0, 0.003, 150) + 1j * draw.normal(0, 0.003, 150)
    after = shown(shifts, draw.normal(0, 0.005, 150))
    left = np.diff(after - pan / 0.9)[20:-20]
    assert np.abs(left).std() < 0.02 * np.abs(np.diff(shifts)).std()
    assert abs(after.mean() - (pan / 0.9).mean()) < 0.001


def test_what_swings_too_far_is_eased_without_jerks() -> None:
    """Held at a limit alone, the picture would follow the camera and stand still in turns."""
    time = np.arange(250) / RATE
    swing = 0.1 * np.sin(2 * np.pi * 0.7 * time)
    shifts = swing + np.random.default_rng(7).normal(0, 0.002, 250)
    after = shown(shifts, np.zeros(250)) * 0.9
    held = shifts - np.clip(shifts - shifts.mean(), -0.045, 0.045)
    jerks = [np.abs(np.diff(each, 3))[30:-30].std() for each in (after, held, shifts)]
    assert jerks[0] < 0.15 * min(jerks[1:])
    assert after[40:-40].std() < 0.75 * shifts.std()


@pytest.mark.parametrize("crop", [0.001, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("shape", [0.4, 0.5625, 1.0, 2.2])
def test_nothing_outside_the_picture_is_ever_shown(crop: float, shape: float) -> None:
    draw = np.random.default_rng(8)
    corners = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)]).T
    for strength in (0.001, 0.01, 0.1, 1.0):
        path = Path()
        for index in range(60):
            real, imag, scale, angle = draw.normal(0, strength, 4)
            path.add(index / RATE, Similarity(complex(scale, angle) / 4, complex(real, imag)))
        for index in range(60):
            correction = path.correction(index, ALL, crop, shape)
            # In single pixels of the largest pictures the last digits do not count.
            assert np.abs(correction @ corners).max() < 1 + 1e-9


def test_a_correction_depends_on_nothing_far_away() -> None:
    draw = np.random.default_rng(9)
    shifts, angles = draw.normal(0, 0.01, (2, 120))
    path = path_of(shifts, angles)
    whole = path.correction(60, ALL, 0.1, 0.5)
    far = path_of(shifts * np.where(np.abs(np.arange(120) - 60) > 38, 5, 1), angles)
    assert not far.knows(len(far) - 38)
    assert far.knows(len(far) - 39)
    assert np.allclose(far.correction(60, ALL, 0.1, 0.5), whole, atol=1e-12)
    assert not np.allclose(path.correction(60, 10, 0.1, 0.5), whole, atol=1e-6)
    path.forget(60, ALL)
    assert np.array_equal(path.correction(37, ALL, 0.1, 0.5), whole)


CODINGS = [
    Coding(),
    Coding(full_range=True, matrix="bt601", subsampling=(2, 1)),
    Coding(depth=10, subsampling=(2, 2)),
    Coding(depth=12, subsampling=(1, 1)),
    Coding(gray=True),
]


@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("size", [(96, 64), (97, 65), (191, 127)])
def test_every_plane_is_moved_to_the_same_place(coding: Coding, size: tuple[int, int]) -> None:
    """The same correction at any size, with chroma where it is sited."""
    width, height = size
    correction = np.array([[0.88, -0.02, 0.05], [0.03, 0.9, -0.04]])

    def wave(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(coding.top * (0.5 + 0.3 * np.sin(5 * x + 1) * np.cos(4 * y)))

    planes, wanted = [], []
    for index in range(1 if coding.gray else 3):
        across, down = coding.subsampling if index else (1, 1)
        columns, rows = np.arange(-(-width // across)), np.arange(-(-height // down))
        # Chroma is left across, midway down.
        x = np.broadcast_to((2 * columns * across + 1) / width - 1, (len(rows), len(columns)))
        y = np.broadcast_to(((2 * rows * down + down) / height - 1)[:, None], x.shape)
        dtype = np.uint8 if coding.depth == 8 else np.uint16
        planes.append(wave(x, y).round().astype(dtype))
        there = correction @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
        wanted.append(wave(*there).reshape(x.shape))
    made = moved(planes, coding, correction)
    for plane, before, exact in zip(made, planes, wanted, strict=True):
        assert plane.dtype == before.dtype
        # Positions are rounded to 1/32 pixel.
        error = np.abs(plane - exact)[3:-3, 3:-3]
        assert error.max() < 1 + 0.003 * coding.top
        assert abs((plane - exact)[3:-3, 3:-3].mean()) < 0.3 + 0.0003 * coding.top


def test_codes_stay_in_range_and_flat_pictures_flat() -> None:
    coding = Coding(depth=10, gray=True)
    correction = np.array([[0.9, 0, 0.03], [0, 0.9, 0.05]])
    board = np.where(np.add.outer(np.arange(60) // 5, np.arange(80) // 5) % 2, 1023, 0)
    made = moved([board.astype(np.uint16)], coding, correction)[0]
    assert (made.min(), made.max()) == (0, 1023)
    for code in (1, 517, 1023):
        flat = np.full((60, 80), code, np.uint16)
        assert np.array_equal(moved([flat], coding, correction)[0], flat)
    still = moved([board.astype(np.uint16)], coding, np.eye(2, 3))[0]
    assert np.array_equal(still, board)


def frames_of(planes: Sequence[Planes], damaged: int = -1) -> list[Frame]:
    return [
        Frame(tuple(each), Coding(), index, Fraction(1, RATE), damaged=index == damaged)
        for index, each in enumerate(planes)
    ]


def corrected(ahead: LookAhead, frames: list[Frame]) -> list[Frame]:
    return [out for frame in frames for out in ahead.push(frame)] + list(ahead.flush())


def test_a_stage_goes_on_from_the_memory_of_any_frame() -> None:
    frames = frames_of(shaken(120, (96, 64), 1.5), damaged=70)
    frames[90:] = frames_of(shaken(120, (96, 64), 1.5, seed=3))[90:]  # a cut
    whole = corrected(LookAhead(0.1), frames)
    assert [frame.pts for frame in whole] == list(range(120))
    for done in (1, 45, 70, 71, 90, 91, 119):
        rest = corrected(LookAhead(0.1, memory=whole[done - 1].memory), frames[done:])
        for one, other in zip(rest, whole[done:], strict=True):
            assert one.correction is not None
            assert other.correction is not None
            assert np.array_equal(one.correction, other.correction)


def test_a_damaged_frame_is_not_looked_at() -> None:
    planes = shaken(60, (96, 64), 1.0)
    sound = frames_of(planes)
    torn = list(sound)
    gray = tuple(np.full_like(plane, 128) for plane in sound[30].planes)
    torn[30] = replace(sound[30], planes=gray, damaged=True)
    before, after = (corrected(LookAhead(0.1), each) for each in (sound, torn))
    for index in (10, 25, 35, 50):
        one, other = before[index].correction, after[index].correction
        assert one is not None
        assert other is not None
        assert np.abs(one - other).max() < 0.006


def test_so_many_bytes_are_held_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(shaken(30, (96, 64), 1.0))
    monkeypatch.setattr(stabilize, "_HELD", 5 * 96 * 64 * 3 // 2)
    ahead = LookAhead(0.1)
    out = [len(list(ahead.push(frame))) for frame in frames]
    assert out == [0] * 5 + [1] * 25
    assert len(list(ahead.flush())) == 5


def run(source: File, output: File, **settings: Any) -> stream.Report:
    """Losslessly, as the source is."""
    encoder = stream.EncoderSettings()
    return pictures.run(source, output, stabilize=True, encoder=encoder, **settings)


def test_a_shaky_clip_becomes_steady(tmp_path: File) -> None:
    clip = pictures.write(tmp_path / "in.mkv", "yuv420p", shaken(100, (320, 192), 2.0))
    report = run(clip, tmp_path / "out.mkv")
    assert report.conforms
    assert report.frames == 100
    before, after = measure(clip), measure(tmp_path / "out.mkv")
    assert before.shaky > 2
    assert after.shaky < 0.1 * before.shaky
    assert after.shaky_turn < 0.2 * before.shaky_turn


def test_a_still_clip_is_only_enlarged(tmp_path: File) -> None:
    planes = shaken(1, (96, 64), 0.0)[0]
    clip = pictures.write(tmp_path / "in.mkv", "yuv420p", [planes] * 12)
    assert run(clip, tmp_path / "out.mkv", crop=0.2).conforms
    found = pictures.frames(tmp_path / "out.mkv")
    enlarged = moved(planes, Coding(), np.array([[0.8, 0, 0], [0, 0.8, 0]]))
    assert all(pictures.apart(frame.planes, enlarged) <= 1 for frame in found)


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [
        ("yuv420p", (97, 65)),
        ("yuv420p10le", (96, 64)),
        ("yuv422p", (97, 64)),
        ("yuv444p", (96, 65)),
        ("gray", (96, 64)),
    ],
)
@pytest.mark.parametrize("upscale", [None, "1.5"])
def test_any_format_is_stabilized(
    pix_fmt: str, size: tuple[int, int], upscale: str | None, tmp_path: File
) -> None:
    form = av.VideoFormat(pix_fmt, *size)
    depth = form.components[0].bits
    shapes = [(each.height, each.width) for each in form.components]
    draw = np.random.default_rng(1)
    still = [
        np.asarray(cv2.resize(light(scene(7 + index)), shape[::-1]), np.uint16) << (depth - 8)
        for index, shape in enumerate(shapes)
    ]
    rolled = [
        [
            np.roll(each, shift, (0, 1)).astype(np.uint8 if depth == 8 else np.uint16)
            for each in still
        ]
        for shift in draw.integers(-1, 2, (8, 2))
    ]
    clip = pictures.write(tmp_path / "in.mkv", pix_fmt, rolled, size)
    scale = stream.Scale.parse(upscale) if upscale else None
    report = run(clip, tmp_path / "out.mkv", upscale=scale, upscaler="lanczos")
    assert report.conforms
    found = pictures.frames(tmp_path / "out.mkv")
    assert len(found) == 8
    assert found[0].coding.depth == depth
    factor = 1.5 if upscale else 1
    assert abs(found[0].width - size[0] * factor) < 2


def test_pictures_are_turned_upright_first(tmp_path: File) -> None:
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    clip = pictures.write(
        tmp_path / "in.mkv", "yuv420p", shaken(60, (160, 96), 2.0), matrix=quarter
    )
    assert run(clip, tmp_path / "out.mkv", apply_rotation=True).conforms
    after = measure(tmp_path / "out.mkv")
    assert pictures.frames(tmp_path / "out.mkv")[0].height == 160
    assert after.shaky < 0.3 * measure(clip).shaky


def test_what_cannot_be_done_is_refused(tmp_path: File) -> None:
    clip = pictures.write(tmp_path / "in.mkv", "yuv420p", pictures.moving(8), upper_first=True)
    with pytest.raises(stream.UsageError, match="--deinterlace on"):
        run(clip, tmp_path / "out.mkv", deinterlace="off")
    assert run(clip, tmp_path / "out.mkv", deinterlace="on").conforms
    for crop in (0.0, 0.6, -0.1):
        with pytest.raises(stream.UsageError, match="--crop"):
            stream.Settings(crop=crop)


def test_the_measure_knows_a_known_shake(tmp_path: File) -> None:
    draw = np.random.default_rng(10)
    wide = scene(11, 300, 400)
    shifts = draw.normal(0, 1.5, (60, 2)) @ [1, 1j]
    seen = [coded(view(wide, (256, 160), shift + index / 2)) for index, shift in enumerate(shifts)]
    found = measure(pictures.write(tmp_path / "in.mkv", "yuv420p", seen))
    exact = np.sqrt(np.mean(np.abs(np.diff(shifts)) ** 2))
    assert abs(found.shaky - exact) < 0.15 * exact
    assert abs(found.motion - np.hypot(exact, 0.5)) < 0.1 * exact
    assert found.turn < 0.1
    with pytest.raises(ValueError, match="too short"):
        measure(tmp_path / "in.mkv", 1.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["karma", "bedroom"])
def test_real_footage_shakes_half_as_much(name: str, shared: File, tmp_path: File) -> None:
    clip, output = shared / "data" / "videos" / f"{name}.mp4", tmp_path / "out.mp4"
    settings = stream.Settings(strength=0, stabilize=True, span=stream.Span(0, 8), device="cpu")
    stream.Job(clip, output, settings).run()
    assert measure(output, 8).shaky < 0.5 * measure(clip, 8).shaky
