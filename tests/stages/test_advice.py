"""What is said of what can be gained, and the page of a trial."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import stream
from filters import Coding
from stream import provenance
from stream.cli import app
from stream.files.job import Job
from stream.files.trial import Trial
from stream.frame import Frame
from stream.input.source import Source
from stream.stages import advice
from stream.stages.advice import MeasuredStage, VideoSample, look, said_of, sharpness
from tests.clips import make_clip

SIZE = 240, 180


def film(path: Path, *, frames: int, shake: float = 0.0, blur: int = 1) -> Path:
    """Squares, seen by a camera that shakes by so many pixels and blurs along the rows."""
    random = np.random.default_rng(1)
    squares = random.integers(0, 256, (16, 20)).astype(np.float32)
    scene = np.kron(squares, np.ones((20, 20), np.float32))
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "12"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        for index in range(frames):
            x, y = (40 + shake * random.uniform(-1, 1, 2)).astype(int)
            seen = cv2.blur(scene, (blur, 1))[y : y + SIZE[1], x : x + SIZE[0]]
            gray = np.ascontiguousarray(seen.astype(np.uint8))
            frame = av.VideoFrame.from_ndarray(gray, "gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("shake", "blur", "said"),
    [(0, 1, "sharp already"), (8, 1, "sharp already"), (8, 9, "shaken"), (0, 9, "evenly soft")],
)
def test_a_look_at_some_frames(shake: float, blur: int, said: str, tmp_path: Path) -> None:
    clip = film(tmp_path / "a.mp4", frames=24, shake=shake, blur=blur)
    with closing(Source(clip)) as source:
        found = look(source)
    assert found is not None
    assert found.said.startswith(said), found


def test_blur_that_comes_and_goes() -> None:
    assert "some frames more" in VideoSample(need=0.5, shake=0.0, uneven=0.4).said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("handshake.mp4", "shaken"),
        ("handshake2.mp4", "blurred in some frames"),
        # Its codec spends more on some frames than on others, which is no blur.
        ("karma.mp4", "evenly soft"),
    ],
)
def test_a_look_at_footage(shared: Path, name: str, said: str) -> None:
    with closing(Source(shared / "data" / "videos" / name)) as source:
        found = look(source)
    assert found is not None
    assert found.said.startswith(said), found


@pytest.mark.parametrize("frames", [1, 2])
def test_too_few_frames_to_look_at(frames: int, tmp_path: Path) -> None:
    with closing(Source(make_clip(tmp_path / "a.mp4", frames=frames))) as source:
        assert look(source) is None


class Changing:
    """A stage that hands on frames one late, changed, and enlarged."""

    def __init__(self, factor: int, blur: int) -> None:
        self._factor, self._blur = factor, blur
        self._kept: list[Frame] = []

    def push(self, frame: Frame) -> Iterator[Frame]:
        self._kept.append(frame)
        if len(self._kept) > 1:
            yield self._changed(self._kept.pop(0))

    def flush(self) -> Iterator[Frame]:
        yield from map(self._changed, self._kept)

    def _changed(self, frame: Frame) -> Frame:
        def plane(each: NDArray[Any]) -> NDArray[Any]:
            large = cv2.resize(each, None, fx=self._factor, fy=self._factor)
            return np.asarray(cv2.blur(large, (self._blur, self._blur)), np.uint8)

        return replace(frame, planes=tuple(map(plane, frame.planes)))


@pytest.mark.parametrize(
    ("factor", "blur", "least", "most"), [(1, 1, 0.999, 1.001), (1, 3, 0.01, 0.9), (2, 1, 0.1, 1)]
)
def test_what_a_stage_gains(factor: int, blur: int, least: float, most: float) -> None:
    luma = np.random.default_rng(2).integers(0, 256, (48, 64), np.uint8)
    chroma = np.full((24, 32), 128, np.uint8)
    stage = MeasuredStage(Changing(factor, blur))
    assert stage.gain is None
    count = 0
    for index in range(60):
        frame = Frame((luma, chroma, chroma), Coding(), index, Fraction(1, 25))
        count += len(list(stage.push(frame)))
    assert count + len(list(stage.flush())) == 60
    assert stage.gain is not None
    assert least <= stage.gain <= most


def test_noise_is_no_sharpness() -> None:
    rng = np.random.default_rng(4)
    sharp = cv2.resize(rng.integers(0, 256, (48, 64), np.uint8), (512, 384)).astype(np.float32)

    def seen(picture: Any) -> float:
        return sharpness(np.clip(picture, 0, 255).astype(np.uint8))

    grain = rng.normal(0, 4, sharp.shape)
    blurred = cv2.blur(sharp, (9, 1))
    assert seen(sharp + grain) == pytest.approx(seen(sharp), rel=0.03)
    assert seen(blurred + grain) < 0.9 * seen(sharp), "though the noise is all its own"
    assert sharpness(np.full((1, 1), 3, np.uint8)) == 0


@pytest.mark.parametrize(
    ("gain", "said"), [(None, False), (1.3, False), (1.02, False), (1.01, True), (0.92, True)]
)
def test_a_line_where_nothing_was_gained(gain: float | None, said: bool) -> None:
    line = said_of(gain)
    assert (line is not None) == said
    if line is not None:
        assert f"{gain:.2f} times" in line
        assert "--strength auto" in line


def test_a_long_job_begins_with_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = film(tmp_path / "a.mp4", frames=24, shake=8, blur=9)
    settings = stream.Settings(model="none", device="cpu", overwrite=True, fuse=0)
    lines: list[str] = []
    report = Job(clip, None, settings).run(say=lines.append)
    assert lines == [], "it is short"
    assert report.gain is not None
    assert report.to_json()["gain"] == round(report.gain, 3)
    monkeypatch.setattr(advice, "LONG", 20)
    Job(clip, None, settings).run(say=lines.append)
    assert lines == [
        "a look at some frames: shaken: much to gain; --stabilize takes the shaking out as well"
    ]
    assert Job(clip, None, replace(settings, strength=0)).run(say=lines.append).gain is None
    assert len(lines) == 1, "where nothing is to become sharper nothing is promised"


def test_a_trial(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=50)
    settings = stream.Settings(device="cpu", engine="eager", fuse=0, span=stream.Span(0.4))
    trial = Trial(clip, None, settings, 0.2, starts=True)
    found = trial.run()
    assert [tried.options for tried in trial.tried] == [
        "--model none",
        "--model lite",
        "--model lite --strength auto",
    ]
    assert [tried.report.frames for tried in trial.tried] == [5, 5, 5]
    assert len(found.summary.splitlines()) == 4
    assert {figure.second for figure in found.figures} == {0.4, 0.44, 0.48, 0.52, 0.56}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.try.html"]
    assert provenance.by_us(tmp_path / "a.try.html")
    page = (tmp_path / "a.try.html").read_text()
    assert "model-lite-strength-auto.mkv" in page
    (tmp_path / "a.try.html").write_text("mine")
    with pytest.raises(stream.SinkError, match="was not made by deblur"):
        Trial(clip, None, settings, 0.2).run()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("a.mp4", "--try", "0"), 2, "up to 60 seconds"),
        (("a.mp4", "--try", "2:00"), 2, "up to 60 seconds"),
        (("a.mp4", "--try", "3s", "--duration", "2"), 2, "neither --duration"),
        (("a.mp4", "b.mp4", "--try", "3s"), 2, "does not end in .html"),
        ((".", "--try", "3s"), 2, "takes one INPUT"),
        (("no.mp4", "--try", "3s"), 66, "does not exist"),
    ],
)
def test_what_is_no_trial(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4", frames=3)
    done = CliRunner().invoke(app, ["run", *words])
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
