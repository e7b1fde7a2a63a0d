"""The demo's clip and picture: what they must be for the demo's figures to mean something."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from demo import picture, scene, video

_SIZE = (160, 96)
_COUNT = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clip")
    blurry, sharp = folder / "blurry.mp4", folder / "sharp.mp4"
    lengths = scene.render(blurry, sharp, size=_SIZE, seconds=_COUNT / 30, seed=3)
    assert lengths.shape == (_COUNT,)
    assert 0 <= lengths.min() < lengths.max() <= 26 * _SIZE[0] / 640
    return blurry, sharp


def test_blurry_and_sharp_show_the_same_moments(clip: tuple[Path, Path]) -> None:
    times = []
    for path in clip:
        with av.open(str(path)) as container:
            times.append([frame.time for frame in container.decode(video=0)])
    assert times[0] == times[1]
    assert times[0] == pytest.approx([index / 30 for index in range(_COUNT)])


def test_blurry_has_sound_as_long_as_the_picture(clip: tuple[Path, Path]) -> None:
    with av.open(str(clip[0])) as container:
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
    heard = np.concatenate(pieces, axis=1)
    assert heard.shape[1] == pytest.approx(_COUNT / 30 * video.SAMPLE_RATE, abs=2048)
    assert 0.01 < np.abs(heard).max() <= 1


def test_clips_are_tagged_as_bt709_in_limited_range(clip: tuple[Path, Path]) -> None:
    for path in clip:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
            assert context.color_range == 1
            assert context.pix_fmt == "yuv420p"
            assert (context.width, context.height) == _SIZE


@pytest.mark.parametrize(
    ("color", "codes"),
    [
        # ITU-R BT.709-6, item 3.4 and 3.5, with Y 16..235 and C 16..240.
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
        ((255, 255, 255), (235, 128, 128)),
    ],
)
def test_colors_are_converted_as_they_are_tagged(
    color: tuple[int, int, int], codes: tuple[int, int, int]
) -> None:
    flat = np.broadcast_to(np.array(color, np.uint8), (96, 160, 3))
    frame = video.to_yuv(np.ascontiguousarray(flat))
    planes = [int(bytes(plane)[0]) for plane in frame.planes]
    assert planes == pytest.approx(codes, abs=1)
    assert np.abs(video.to_rgb(frame).astype(int) - flat).max() <= 2


def test_blurry_differs_from_sharp_as_blur_does(clip: tuple[Path, Path]) -> None:
    pairs = zip(video.frames(clip[0]), video.frames(clip[1]), strict=True)
    errors = [np.mean((a.astype(float) - b.astype(float)) ** 2) for a, b in pairs]
    assert 12 < np.mean(10 * np.log10(255**2 / np.array(errors))) < 40


def test_a_seed_always_gives_the_same_clip(clip: tuple[Path, Path], tmp_path: Path) -> None:
    again = tmp_path / "blurry.mp4", tmp_path / "sharp.mp4"
    scene.render(*again, size=_SIZE, seconds=_COUNT / 30, seed=3)
    for first, second in zip(clip, again, strict=True):
        for a, b in zip(video.frames(first), video.frames(second), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("size", [(360, 640), (90, 160), (1080, 1920), (640, 360), (40, 600)])
def test_before_after_fits_any_frame(size: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 255, (*size, 3), np.uint8)
    picture.before_after(before, 255 - before, tmp_path / "out.png")
    shown = cv2.imread(str(tmp_path / "out.png"))
    assert shown is not None
    height, width = shown.shape[:2]
    side = min(max(size[1], 320), 1280)
    assert 2 * side <= width <= 2 * side + 20
    assert side * size[0] // size[1] < height <= side * size[0] // size[1] + 100


def test_the_detail_is_where_the_pictures_differ() -> None:
    before = np.zeros((360, 640, 3), np.uint8)
    after = before.copy()
    after[200:240, 400:440] = 90
    left, top, width, height = picture.detail(before, after)
    assert left <= 400
    assert top <= 200
    assert left + width >= 440
    assert top + height >= 240


def test_pictures_of_different_sizes_are_refused(tmp_path: Path) -> None:
    before = np.zeros((36, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="different sizes"):
        picture.before_after(before, before[:20], tmp_path / "out.png")
