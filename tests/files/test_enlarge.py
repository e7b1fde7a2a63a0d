"""`--upscale`: which sizes come out, what stays, and what is refused before any work."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import mssnet
import stream
import weights
from filters import Coding, Enlarger, Upscaler, load_upscaler, to_planes, to_rgb
from stream.frame import Frame
from stream.input.source import Source
from stream.output.fingerprint import describe
from stream.output.segment_sink import plan
from stream.stages.build import reading_of
from stream.stages.processor import Processor
from stream.verify import Asked, verify
from tests.clips import look, make_clip
from tests.filters.test_upscale import picture
from tests.pictures import begins


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return load_upscaler(weights.path("x3-lite"))


@pytest.mark.parametrize(
    ("asked", "own", "made"),
    [
        ("3", (641, 361), (1923, 1083)),
        ("2", (640, 360), (1280, 720)),
        ("1.5", (641, 360), (962, 540)),
        ("1.5", (66, 50), (100, 76)),
        ("1080p", (640, 360), (1920, 1080)),
        ("1080P", (360, 640), (1080, 1920)),
        ("1280x720", (640, 360), (1280, 720)),
        ("1280x720", (360, 640), (720, 1280)),
        ("1920x1080", (854, 480), (1920, 1080)),
        ("1", (640, 360), (640, 360)),
    ],
)
def test_what_is_asked_for_decides_the_size(
    asked: str, own: tuple[int, int], made: tuple[int, int]
) -> None:
    assert stream.Scale.parse(asked).of(own, even=True) == made


@pytest.mark.parametrize(
    "asked", ["0.5", "5", "-2", "x", "1920", "1920x", "p", "", "nan", "0x0", "1e1"]
)
def test_what_is_no_size_is_refused(asked: str) -> None:
    with pytest.raises(stream.UsageError, match="--upscale takes"):
        stream.Scale.parse(asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("240p", "0.67 times"),
        ("2160p", "6 times"),
        ("1000x1000", "use --upscale 1000x562"),
        ("64x36", "0.1 times"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(asked: str, said: str) -> None:
    with pytest.raises(stream.UsageError, match=said):
        stream.Scale.parse(asked).of((640, 360), even=True)


def test_a_size_that_a_codec_cannot_have_is_refused_before_any_work(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(2304, 64), frames=2)
    settings = stream.Settings(strength=0, upscale=stream.Scale.parse("4"))
    job = stream.Job(source, tmp_path / "out.webm", settings)
    assert job.run().conforms, "9216 pixels are few enough"
    tall = make_clip(tmp_path / "tall.mkv", size=(16, 4200), frames=2, codec="ffv1")
    asked = stream.Settings(
        strength=0, upscale=stream.Scale(4), encoder=stream.EncoderSettings(codec="h264")
    )
    with pytest.raises(stream.SinkError, match=r"16800 are larger than h264.*--upscale 3\.9"):
        stream.Job(tall, tmp_path / "tall_out.mkv", asked).run()
    assert not list(tmp_path.glob("tall_out*"))


@pytest.mark.parametrize(
    ("suffix", "pix_fmt", "size", "upscale", "upscaler"),
    [
        (".mp4", "yuv420p", (96, 64), "3", "x3-lite"),
        (".mkv", "yuv422p10le", (66, 50), "1.5", "auto"),
        (".mov", "yuv444p", (65, 51), "2", "bicubic"),
        (".mkv", "gray", (64, 48), "72p", "lanczos"),
    ],
)
def test_everything_but_the_size_stays(
    suffix: str, pix_fmt: str, size: tuple[int, int], upscale: str, upscaler: str, tmp_path: Path
) -> None:
    source = make_clip(
        tmp_path / f"in{suffix}",
        size=size,
        pix_fmt=pix_fmt,
        audio=("eng",),
        aspect=Fraction(4, 3),
        pts=[0, 1, 3, 4, 8, 9],
        frames=6,
    )
    scale = stream.Scale.parse(upscale)
    output = tmp_path / f"out{suffix}"
    settings = stream.Settings(strength=0, smooth=0, upscale=scale, upscaler=upscaler, device="cpu")
    report = stream.Job(source, output, settings).run()
    assert report.conforms, report.conformance
    before, after = look(source), look(output)
    wanted = scale.of(size, even="42" in pix_fmt)
    assert after.format == (before.format[0], wanted, *before.format[2:])
    assert after.timestamps == before.timestamps
    # Matroska has the size to show a picture in, in whole pixels.
    whole = Fraction(suffix == ".mkv", wanted[0])
    assert abs(Fraction(after.aspect or 1) - Fraction(before.aspect or 1)) <= whole
    assert verify(source, output, Asked(scale=scale)).conforms
    assert not verify(source, output).conforms, "nobody asked for another size"
    # Each region is as bright as it was.
    for old, new in zip(before.pictures, after.pictures, strict=True):
        assert abs(float(old.mean()) - float(new.mean())) < 0.02 * old.max()


def test_the_picture_is_the_restored_one_enlarged() -> None:
    small = picture(3)
    coding = Coding(subsampling=(1, 1))
    planes = tuple(plane.numpy() for plane in to_planes(small, coding))
    frame = Frame(planes, coding, 0, Fraction(1, 25))

    def darker(image: torch.Tensor) -> torch.Tensor:
        return image - 0.1

    enlarge = Enlarger((240, 180), "bicubic")
    (made,) = Processor(begins(darker), torch.device("cpu"), enlarge=enlarge).push(frame)
    assert (made.width, made.height) == (240, 180)
    rgb = to_rgb([torch.from_numpy(plane) for plane in made.planes], coding)
    assert (rgb - enlarge(small - 0.1)).abs().mean() < 1 / 255


def test_what_is_brighter_than_white_stays_so(upscaler: Upscaler) -> None:
    luma = np.full((24, 30), 250, np.uint8)
    frame = Frame((luma,), Coding(gray=True), 0, Fraction(1, 25))
    enlarge = Enlarger((90, 72), upscaler)
    unchanged = begins(torch.clone)
    (made,) = Processor(unchanged, torch.device("cpu"), enlarge=enlarge).push(frame)
    assert (made.planes[0] == 250).all()


@pytest.mark.parametrize("how", ["x3-lite", "lanczos", "bicubic"])
@pytest.mark.parametrize("size", [(240, 180), (160, 120), (120, 90), (320, 240)])
def test_every_way_keeps_the_picture_in_its_place(
    how: str, size: tuple[int, int], upscaler: Upscaler
) -> None:
    small = picture(4)
    large = Enlarger(size, upscaler if how == "x3-lite" else how)(small)
    assert large.shape == (1, 3, size[1], size[0])
    again = Enlarger((80, 60), "bicubic")(large)
    shifted = (again[..., 1:] - small[..., :-1]).abs().mean()
    assert (again - small).abs().mean() < 0.2 * shifted


def test_interlaced_frames_are_not_enlarged(tmp_path: Path) -> None:
    options = {"x264-params": "tff=1"}
    source = make_clip(tmp_path / "in.mkv", size=(96, 64), options=options)
    settings = stream.Settings(strength=0, upscale=stream.Scale(2), deinterlace="off")
    with pytest.raises(stream.UsageError, match="--deinterlace on"):
        stream.Job(source, tmp_path / "out.mkv", settings).run()


def test_another_upscaler_is_another_job(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    source = Source(make_clip(tmp_path / "in.mp4"), reading_of(stream.Settings()))
    jobs = []
    for upscale, upscaler in ((None, "auto"), (3, "auto"), (2, "auto"), (3, "bicubic")):
        scale = stream.Scale(upscale) if upscale else None
        settings = stream.Settings(upscale=scale, upscaler=upscaler)
        chosen = plan(tmp_path / "out.mp4", source, settings.encoder, scale)
        jobs.append(describe(source, chosen, settings, restore, None)["upscale"])
    source.close()
    assert len({str(job) for job in jobs}) == 4
