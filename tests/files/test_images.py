"""Images in and out: all of their bits, and what they say beside the picture."""

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

import stream
from stream.cli import app
from stream.images.files import read
from stream.images.pattern import Pattern
from tests.clips import look, make_clip, picture

EXIF = (
    b"II*\x00\x08\x00\x00\x00\x02\x00"
    b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"  # to be turned by 90 degrees
    b"\x0f\x01\x02\x00\x04\x00\x00\x00abc\x00\x00\x00\x00\x00"
)
LEFT_OUT = ["--strength", "0"]


def profile() -> bytes:
    """A color profile as small as can be: gray, with one curve."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0) + bytes(4)
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags = [(b"kTRC", curve), (b"wtpt", white)]
    place, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">2I", place + len(data), len(content))
        data += content
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + data


def draw(
    path: Path, *, index: int = 0, kind: type[Any] = np.uint8, form: str = "rgb", said: bool = False
) -> NDArray[Any]:
    """Write an image; returned is what OpenCV reads of it."""
    pixels = picture(index, 64, 48)[..., ::-1].astype(kind)
    if kind is np.uint16:
        pixels = pixels * 257 + np.arange(64, dtype=np.uint16)[None, :, None] % 100
    if form == "gray":
        pixels = pixels[..., 0]
    if form == "alpha":
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], pixels.max() // 2, kind)])
    kinds, values = [], []
    if said:
        kinds = [cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP]
        values = [np.frombuffer(each, np.uint8) for each in (EXIF, profile())]
    assert cv2.imwriteWithMetadata(str(path), np.ascontiguousarray(pixels), kinds, values)
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def deblur(*words: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, words)])


@pytest.mark.parametrize("form", ["rgb", "gray", "alpha"])
@pytest.mark.parametrize("name", ["a.png", "a.png 16", "a.tif", "a.tif 16", "a.webp", "a.bmp"])
def test_all_bits_are_kept(name: str, form: str, tmp_path: Path) -> None:
    name, _, deep = name.partition(" ")
    if form != "rgb" and name in ("a.bmp", "a.webp") and (form, name) != ("alpha", "a.webp"):
        pytest.skip("it has no such form")
    kind = np.uint16 if deep else np.uint8
    given = draw(tmp_path / name, kind=kind, form=form)
    done = deblur(tmp_path / name, *LEFT_OUT)
    assert done.exit_code == 0, done.output
    made = cv2.imread(str(tmp_path / f"a.deblurred{Path(name).suffix}"), cv2.IMREAD_UNCHANGED)
    assert made is not None
    assert (made.dtype, made.shape) == (given.dtype, given.shape)
    off = np.abs(made.astype(int) - given.astype(int)).max()
    assert off <= (2 if deep else 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_what_is_said_beside_the_picture_is_kept(suffix: str, tmp_path: Path) -> None:
    """Also how the picture is to be turned, which is not done."""
    draw(tmp_path / f"a{suffix}", said=True)
    done = deblur(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", "--model", "none")
    assert done.exit_code == 0, done.output
    assert "cannot hold" not in done.output
    before, after = (read(tmp_path / f"{name}{suffix}", 1 << 20) for name in "ab")
    assert [(kind, bytes(value)) for kind, value in after.said] == [
        (kind, bytes(value)) for kind, value in before.said
    ]
    assert {kind for kind, _ in after.said} == {cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP}
    assert after.rgb.shape == (48, 64, 3)


def test_what_an_image_cannot_hold_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", kind=np.uint16, form="alpha", said=True)
    done = deblur(tmp_path / "a.png", tmp_path / "b.jpg", *LEFT_OUT)
    assert done.exit_code == 0, done.output
    assert ".jpg cannot hold: 16 bits, transparency" in done.output
    done = deblur(tmp_path / "a.png", tmp_path / "b.tif", *LEFT_OUT)
    assert ".tif cannot hold: EXIF, color profile" in done.output


def test_a_single_image_is_restored_by_the_network(tmp_path: Path) -> None:
    given = draw(tmp_path / "a.png")
    done = deblur(tmp_path / "a.png", tmp_path / "b.png", "--json", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "output": str(tmp_path / "b.png"),
        "images": 1,
        "seconds": pytest.approx(0, abs=300),
        "dropped": [],
        "stopped": False,
    }
    made = cv2.imread(str(tmp_path / "b.png"))
    assert made is not None
    assert (made != given).any()


def test_a_sequence_is_restored_as_a_film(tmp_path: Path) -> None:
    """Image by image as `stream.restore` does it, under the same numbers."""
    film = [draw(tmp_path / f"in{number:03}.png", index=number) for number in range(8, 15)]
    done = deblur(
        *(tmp_path / "in%03d.png", tmp_path / "out%d.png", "--sequence", "--model", "none")
    )
    assert done.exit_code == 0, done.output
    assert "7 images" in done.output
    rgb = [np.ascontiguousarray(each[..., ::-1]) for each in film]
    for number, expected in enumerate(stream.restore(rgb, model="none"), 8):
        made = cv2.imread(str(tmp_path / f"out{number}.png"))
        assert made is not None
        np.testing.assert_array_equal(made[..., ::-1], expected)


def test_a_sequence_becomes_a_video_and_a_video_one(tmp_path: Path) -> None:
    film = [draw(tmp_path / f"in{number:02}.png", index=number) for number in range(6)]
    words = ("--sequence", "--rate", "30000/1001", "--codec", "ffv1", *LEFT_OUT)
    done = deblur(tmp_path / "in%02d.png", tmp_path / "film.mkv", *words)
    assert done.exit_code == 0, done.output
    timestamps = look(tmp_path / "film.mkv").timestamps
    assert timestamps == [Fraction(round(1000 * n * 1001 / 30000), 1000) for n in range(6)]
    done = deblur(tmp_path / "film.mkv", tmp_path / "out%02d.png", "--sequence", *LEFT_OUT)
    assert done.exit_code == 0, done.output
    for number, given in enumerate(film, 1):
        made = cv2.imread(str(tmp_path / f"out{number:02}.png"))
        assert made is not None
        assert np.abs(made.astype(int) - given.astype(int)).max() <= 3  # of 8 bits of Y'CbCr
    assert sorted(each.name for each in tmp_path.iterdir() if "part" in each.name) == []


def test_video_of_ten_bits_becomes_images_of_sixteen(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3, codec="ffv1", pix_fmt="yuv420p10le")
    done = deblur(clip, tmp_path / "f%d.png", "--sequence", *LEFT_OUT)
    assert done.exit_code == 0, done.output
    made = cv2.imread(str(tmp_path / "f3.png"), cv2.IMREAD_UNCHANGED)
    assert made is not None
    assert made.dtype == np.uint16
    assert len(np.unique(made)) > 256


def test_a_pattern_without_the_option_is_a_name(tmp_path: Path) -> None:
    given = draw(tmp_path / "shot%04d.png")
    draw(tmp_path / "shot0001.png", index=5)
    done = deblur(tmp_path / "shot%04d.png", tmp_path / "b.png", *LEFT_OUT)
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png")), given)


def test_names_stand_for_numbers(tmp_path: Path) -> None:
    pattern = Pattern.of(tmp_path / "a (1) %03d+.png")
    assert pattern is not None
    assert pattern.file(7).name == "a (1) 007+.png"
    assert pattern.file(12345).name == "a (1) 12345+.png"
    for number in (998, 999, 1000):
        pattern.file(number).touch()
    (tmp_path / "a (1) 7+.png").touch()  # not of this width
    assert pattern.numbers() == [998, 999, 1000]
    assert Pattern.of(Path("a%d/b.png")) is None
    assert Pattern.of(Path("100%.png")) is None


def test_what_cannot_be_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    draw(tmp_path / "in1.png")
    draw(tmp_path / "in3.png", index=1)
    (tmp_path / "text.png").write_text("no image")
    draw(tmp_path / "real.png")
    gap, out = tmp_path / "in%d.png", tmp_path / "out%d.png"
    for words, code, said in (
        ((gap, out, "--sequence"), 65, "in2.png is missing between in1.png and in3.png"),
        ((tmp_path / "no%d.png", out, "--sequence"), 66, "no image named as"),
        ((gap, out), 66, "a sequence of images needs --sequence"),
        ((tmp_path / "real.png", tmp_path / "b.png", "--sequence"), 2, "such as shot%04d.png"),
        ((gap, "--sequence"), 2, "needs an OUTPUT"),
        ((tmp_path / "text.png",), 65, "no image that can be read"),
        ((tmp_path / "real.png", tmp_path / "no" / "b.png"), 73, "create it first"),
        ((tmp_path / "real.png", tmp_path / "in1.png"), 73, "exists already"),
        ((tmp_path / "real.png", "-o", tmp_path / "real.png", "--overwrite"), 73, "input itself"),
        ((tmp_path / "real.png", "--codec", "h264"), 2, "--codec and --quality are of video"),
        ((tmp_path / "real.png", "--start", "1"), 2, "are of video"),
        ((tmp_path / "real.png", "--max-pixels", "1000"), 65, "--max-pixels"),
    ):
        done = deblur(*words)
        assert done.exit_code == code, (words, done.output)
        assert said in " ".join(done.output.split()), (words, done.output)
    names = {"in1.png", "in3.png", "text.png", "real.png"}
    assert {each.name for each in tmp_path.iterdir()} == names


def test_images_that_are_there_stay(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3)
    mine = draw(tmp_path / "f2.png")
    done = deblur(clip, tmp_path / "f%d.png", "--sequence", *LEFT_OUT)
    assert done.exit_code == 73, done.output
    assert "f2.png exists already" in done.output
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "f2.png")), mine)
    words = ("-o", tmp_path / "f%d.png", "--overwrite", "--sequence", *LEFT_OUT)
    assert deblur(clip, *words).exit_code == 0
