"""What the command prints, takes and says before it works."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import stream
from stream.cli import app, main
from stream.cli.live import _needs
from stream.cli.options.arguments import seconds, without_effect
from stream.cli.terminal import visible
from stream.live.description import Description
from tests.clips import make_clip

EVIL = "\x1b]0;own\x07\x9b31m\u202egp4.exe\u2066\u2028\ufeff[/b] :smile:"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \twith a tab", "plain, \twith a tab"),
        ("größer 名前 👩\u200d🚒 हिन्दी", "größer 名前 👩\u200d🚒 हिन्दी"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\x7f\x9b", "a\\x0db\\x7f\\x9b"),
        ("\u202eab\u2066\u200f", "\\u202eab\\u2066\\u200f"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_a_terminal_would_act_upon_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("color", [False, True])
def test_no_name_or_title_reaches_the_terminal_as_it_is(color: bool, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3, metadata={"title": EVIL, "comment": EVIL})
    named = clip.rename(tmp_path / "\x1b(2J\u202e.mkv")
    missing = tmp_path / "\x1b(2J\u202e.mp4"
    for words in (("info", named), ("verify", named, named), ("run", missing)):
        done = CliRunner().invoke(app, [*map(str, words)], color=color)
        said = re.sub(r"\s*\n\s*", "", done.stdout + done.stderr)
        assert words[0] == "verify" or "\\x1b(2J\\u202e" in said
        if words[0] == "info":
            assert "[/b]:smile:" in said.replace(" ", "")
        for each in "\x1b\x9b\x07\u202e\u2066\u2028\ufeff":
            assert each not in said


def test_json_has_every_letter_escaped(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3, metadata={"title": EVIL})
    done = CliRunner().invoke(app, ["info", str(clip), "--json"])
    assert done.stdout.replace("\n", "").isascii()
    assert done.stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *(("90", 90), ("1.5", 1.5), (".5", 0.5), ("1.5s", 1.5), ("200ms", 0.2), ("7us", 7e-6)),
        *(("0:01", 1), ("1:30", 90), ("00:01:30.5", 90.5), ("100:00:00", 360000), ("0:1:2", 62)),
    ],
)
def test_times_are_those_of_ffmpeg(text: str, found: float) -> None:
    assert seconds("--start", text) == pytest.approx(found)


@pytest.mark.parametrize(
    "text", ["", "-1", "nan", "inf", "1:60", "1:2:3:4", "60:00:00:", "1m", "x"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(stream.UsageError, match="--start takes seconds, or a time such as 1:30"):
        seconds("--start", text)


@pytest.mark.parametrize("command", ["", "run", "info", "verify", "compare", "live", "models"])
def test_h_is_help(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "-h"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("given", "others", "said"),
    [
        ("crop", {}, "--crop has no effect without --stabilize"),
        ("crop", {"stabilize": True}, None),
        ("upscaler", {}, "--upscaler has no effect without --upscale"),
        ("upscaler", {"upscale": "2"}, None),
        ("smooth", {"fuse": 0}, "--smooth has no effect without --fuse above 0"),
        ("delay", {"fuse": 0}, "--delay has no effect without --fuse above 0"),
        ("fuse", {"strength": 0}, "--fuse has no effect without"),
        ("fuse", {"strength": 0, "smooth": 0.5}, None),
        ("model", {"strength": 0}, "--model has no effect without --strength above 0"),
        ("shutter", {"model": "none"}, None),
        ("shutter", {"model": "none", "fuse": 0}, "--shutter has no effect without a network"),
        ("fov", {"model": "none", "fuse": 0}, "--fov has no effect without --stabilize"),
        ("engine", {"model": "none"}, "--engine has no effect without a network"),
        ("engine", {"model": "none", "upscale": "2"}, None),
        ("precision", {"strength": 0}, "--precision has no effect without a network"),
        ("tile", {"model": "none"}, "--tile has no effect without a network"),
        ("preview_host", {}, "--preview-host has no effect without --preview"),
        ("as_json", {}, None),
        ("model", {"model": "none", "fuse": 0}, "nothing is restored"),
        ("model", {"model": "none", "fuse": 0, "stabilize": True}, None),
        ("strength", {"strength": 0}, None),
    ],
)
def test_an_option_without_effect_is_said(
    given: str, others: dict[str, object], said: str | None
) -> None:
    usual = {"model": "lite", "strength": 1.0, "fuse": 3, "smooth": None, "upscale": None}
    stabilize = bool(others.get("stabilize", False))
    asked = SimpleNamespace(**(usual | others))
    lines = without_effect({given}, asked, stabilize=stabilize)
    if said is None:
        assert lines == []
    else:
        assert any(said in line for line in lines)


@pytest.mark.parametrize(
    "words",
    ["run no.mp4", "run no.mp4 o.mp4", "info no.mp4", "verify no.mp4 a", "compare no.mp4 a"],
)
def test_a_missing_file_is_said_before_anything_large_is_loaded(words: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[0] = 'deblur'\n"
        "from stream.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code, {'torch', 'cv2', 'av'} & {*sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True,
        env={"PYTHONPATH": str(Path(stream.__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout == "66 set()\n"
    assert done.stderr == "deblur: no.mp4 does not exist\n"


def test_an_option_without_effect_on_an_input_is_said(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3, audio=("eng",))
    lines: list[str] = []
    settings = stream.Settings(
        model="none",
        fuse=0,
        device="cpu",
        overwrite=True,
        apply_rotation=True,
        deinterlace="off",
        drop=("subtitle", "audio"),
    )
    stream.Job(clip, None, settings).run(say=lines.append)
    assert lines == [
        "note: --apply-rotation has no effect: the video does not ask to be turned",
        "note: --deinterlace off has no effect: the video is not interlaced",
        "note: --drop subtitle has no effect: there is none",
    ]
    turned = make_clip(tmp_path / "b.mp4", frames=3, rotation=90)
    settings = stream.Settings(model="none", fuse=0, device="cpu", apply_rotation=True)
    lines.clear()
    stream.Job(turned, None, settings).run(say=lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("source", "outputs", "idle"),
    [
        ("rtsp://h/a", ["serve:1/a"], {"segment", "keep", "realtime", "loop", "insecure_tls"}),
        ("rtsps://h/a", ["a.mkv"], {"realtime", "loop"}),
        ("http://h/a", ["rtsp://h/b"], {"segment", "keep", "realtime", "loop"}),
        ("a.mp4", ["null:"], {"segment", "keep", "transport", "insecure_tls"}),
        ("testsrc:", ["record:."], {"realtime", "loop", "transport", "insecure_tls"}),
    ],
)
def test_options_of_a_feed_that_have_no_effect(
    source: str, outputs: list[str], idle: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4", frames=3)
    described = Description(source, tuple(outputs), realtime=source == "a.mp4")
    assert {name for name, (met, _) in _needs(described).items() if not met} == idle


def ended(
    words: Sequence[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[str, str]:
    """What the command says that ends with `code`."""
    monkeypatch.setattr("sys.argv", ["deblur", *words])
    monkeypatch.setattr("stream.cli.keep_streams", lambda: None)
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == code
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--\x1b[2J"), 2, "No such option: --\\x1b[2J; see deblur run -h"),
        (("run", "--fuze", "2"), 2, "--fuse"),
        (("info", "a", "\u202eb"), 2, "\\u202eb"),
        (("nosuch\x9b",), 2, "nosuch\\x9b"),
        (("run", "--fuse", "9", "a"), 2, "--fuse"),
        (("run",), 2, "there is no INPUT"),
        (("run", "no [1].mp4"), 66, "no [1].mp4 does not exist"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(
    words: tuple[str, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = ended(words, code, monkeypatch, capsys)[1].splitlines()
    assert line.startswith("deblur: ")
    assert said in line


@pytest.mark.parametrize(("words", "code"), [((), 2), (("-h",), 0), (("--version",), 0)])
def test_help_and_version(
    words: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, err = ended(words, code, monkeypatch, capsys)
    assert "deblur-stream" in out if "--version" in words else "Usage" in out + err
