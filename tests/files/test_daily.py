"""What makes the command shorter to type: parts by frames, presets, one report for each file."""

import json
import subprocess
import sys
import tomllib
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import stream
from stream.cli import app
from stream.cli.options import presets
from stream.cli.options.arguments import span_of
from stream.input.frame_numbers import timestamp_of
from tests.clips import look, make_clip

UNEVEN = [0, 40, 100, 110, 200, 260, 300, 320, 400, 410, 480, 520]


def deblur(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def test_parts_are_told_in_every_way(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", time_base=Fraction(1, 1000), pts=UNEVEN)
    assert span_of("1:02:03.5", None) == stream.Span(3723.5)
    assert span_of("1:00", None, "1:01.5") == stream.Span(60, 1.5)
    span = span_of("f3", None, "f8", clip)
    assert (span.start, span.duration) == pytest.approx((0.11, 0.29))
    for wrong in (("2", None, "1"), ("2", None, "2"), ("1", "3", "5")):
        with pytest.raises(stream.UsageError, match="--end"):
            span_of(*wrong)
    with pytest.raises(stream.UsageError, match="--start f12: there are 12 frames, 0 to 11"):
        span_of("f12", None, None, clip)
    with pytest.raises(stream.UsageError, match="counted in one file"):
        span_of("f12", None)


def test_frames_by_their_numbers_are_those_frames(tmp_path: Path) -> None:
    """Also where they are stored in another order, and not equally long."""
    mixed, clip = (
        make_clip(tmp_path / f"{bf}.mp4", time_base=Fraction(1, 1000), pts=UNEVEN, options=options)
        for bf, options in (("b", {"bf": "3"}), ("a", {"bf": "0"}))
    )
    for number, pts in enumerate(UNEVEN):
        assert timestamp_of(mixed, number) == pytest.approx(pts / 1000)
    done = deblur(
        *("run", clip, tmp_path / "b.mkv", "--start", "f3", "--end", "f8", "--codec", "ffv1"),
        *("--strength", "0"),
    )
    assert done.exit_code == 0, done.output
    timestamps = [Fraction(each - 110, 1000) for each in UNEVEN[3:8]]
    assert look(tmp_path / "b.mkv").timestamps == timestamps
    whole = look(clip).pictures[3:8]
    made = look(tmp_path / "b.mkv").pictures
    assert all((a == b).all() for a, b in zip(whole, made, strict=True))
    verified = deblur("verify", clip, tmp_path / "b.mkv", "--start", "f3", "--duration", "0.29")
    assert verified.exit_code == 0, verified.output


def test_of_several_files_there_is_one_report_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_clip(folder / "a.mp4", frames=4)
    (folder / "b.mp4").write_text("no video")
    command = [str(Path(sys.executable).with_name("deblur")), "run", "in/", "out/", "--json"]
    done = subprocess.run(
        [*command, "--strength", "0"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == stream.SomeFailedError.exit_code
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["input"], first["state"], first["frames"]) == ("in/a.mp4", "done", 4)
    assert first["conformance"]["conforms"]
    assert (second["output"], second["state"]) == ("out/b.mp4", "failed")
    assert "is not a video" in second["said"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user's own presets."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    presets.own_file().parent.mkdir(parents=True)
    return presets.own_file()


def test_presets_are_options(own: Path, tmp_path: Path) -> None:
    """One's own, those of a file, and what is given beside them, which wins."""
    clip = make_clip(tmp_path / "a.mkv", frames=4)
    own.write_text('[tram]\nstrength = 0\ncodec = "ffv1"\ndrop = ["audio"]\n')
    (tmp_path / "odd.toml").write_text('strength = 0\ncodec = "vp9"\n')
    for words, codec in (
        (("tram",), "ffv1"),
        ((tmp_path / "odd.toml",), "vp9"),
        (("tram", "--codec", "h264"), "h264"),
    ):
        done = deblur("run", clip, "-o", tmp_path / "b.mkv", "--overwrite", "--preset", *words)
        assert done.exit_code == 0, done.output
        facts = json.loads(deblur("info", tmp_path / "b.mkv", "--json").stdout)
        assert facts["streams"][0]["codec"] == codec


@pytest.mark.parametrize("name", ["phone", "drone", "camcorder", "webcam"])
def test_presets_that_come_along_work(name: str, own: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=4)
    done = deblur("run", clip, tmp_path / "b.mkv", "--preset", name, "--model", "none")
    assert done.exit_code == 0, done.output
    assert set(presets.preset(name)) <= set(presets.OPTIONS)


@pytest.mark.docs
def test_the_page_shows_the_presets_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
    shown = page.split("```toml\n")[1].split("```")[0]
    shipped = resources.files("stream.options").joinpath("presets.toml").read_text()
    assert tomllib.loads(shown) == tomllib.loads(shipped)


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        ("[tram]\nshake = 1\n", "has shake; options in it are", 2),
        ("tram = 1\n", "no table of options", 2),
        ("a = " + 5000 * "[" + 5000 * "]", "too deeply nested", 2),
        ("[tram]\nfuse = [1]\n", "no option's", 2),
        ("[tram\n", "is not TOML", 2),
        ('[tram]\nfuse = "many"\n', "integer", 2),
        ("", "unknown --preset tram; there are phone, drone, camcorder, webcam", 2),
    ],
)
def test_presets_that_make_no_sense_are_named(text: str, said: str, code: int, own: Path) -> None:
    own.write_text(text)
    done = deblur("run", "a.mp4", "--preset", "tram")
    assert done.exit_code == code
    shown: Any = done.exception if not done.output else done.output
    assert said in " ".join(str(shown).split())


def test_help_has_its_options_in_groups() -> None:
    shown = deblur("run", "--help").output
    for group in ("Files", "Part of the video", "Picture", "Encoding", "Speed and memory"):
        assert f"─ {group} ─" in shown
    assert shown.count("--") > 40
