"""What the README tells people to type works as it stands there."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.core import TyperGroup
from typer.main import get_command

from tests.clips import make_clip
from tests.compute.test_mssnet import published_names, tiny
from tests.rig.command import invoke
from weights.train.procedural import chart

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LISTED = re.findall(r"^\| \[(\w+\.md)\]\(docs/\1\)", README, re.MULTILINE)
PAGES = {name: (ROOT / "docs" / name).read_text() for name in LISTED}
"""Those of docs/, in the order in which the README names them."""
RECORD = "soak.md"
"""Its commands are those of an hour's trial."""
FENCES = [
    fence
    for name, text in {"README.md": README, **PAGES}.items()
    if name != RECORD
    for fence in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
]
EVERY = list(
    dict.fromkeys(
        line.strip()
        for language, text in FENCES
        if language == "sh"
        for line in text.splitlines()
        if line.strip()
    )
)
"""The commands of all pages, in their order, each once."""
NEEDS = r"needs \w+|.*\(needs one\)"
"""How a comment says that a command wants what a test has not."""
CAMERAS = """
[cameras.yard]
source = "testsrc:?size=160x120"
outputs = ["null:"]
[cameras.door]
source = "testsrc:?size=160x120"
outputs = ["null:"]
"""
PYTHON = [text for language, text in FENCES if language == "python"]


def test_the_readme_names_every_page() -> None:
    assert sorted(LISTED) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "weights" / "README.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} leads to {target}"


SLOW = Fraction(2, 5)
"""Seconds per frame: clips that are long enough for every command, and quickly restored."""


@pytest.mark.commands
@pytest.mark.timeout(1200)  # dozens of them, on a busy machine as well
def test_commands_work_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that begin with `deblur` and end by themselves, in the order of the pages."""
    monkeypatch.setattr("weights.train.adapting._PLACES", 2)  # of the video, to learn from
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=33, time_base=SLOW, audio=("eng",))
    make_clip(tmp_path / "sharp.mp4", size=(96, 64), frames=33, time_base=SLOW)
    (tmp_path / "holiday").mkdir()
    make_clip(tmp_path / "holiday" / "beach.mp4", size=(96, 64), frames=4)
    (tmp_path / "files.txt").write_text("holiday/beach.mp4\n")
    commands = [words for words in map(split, EVERY) if words[0] == "deblur" and ends(words)]
    assert len(commands) >= 20
    made: set[str] = set()
    for words in commands:
        # Pages do not know of one another; what is made twice is made anew.
        if words[1] in ("run", "compare") and "--list" not in words and "holiday/" not in words:
            words = [*words, "--overwrite"]
        if "--resume" in words:
            words.remove("--overwrite")
            (tmp_path / "shaky.deblurred.mp4").unlink()  # there is nothing to go on with
        if "--try" in words:
            words[words.index("--try") + 1] = "1s"  # three of its frames
        if words[1] == "bench":
            words = [*words, "--size", "96x64"]  # for seconds instead of a minute
            words += [] if "--model" in words else ["--model", "lite"]
        if words[1] == "adapt":
            words = [*words, "--steps", "1"]
        done = invoke(*words[1:], folder=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
        made |= {path.name for path in tmp_path.iterdir()}
    assert made > {"clean.mkv", "clean", "shaky.compare.html", "sheet.png", "both.mp4"}


def deblur(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("deblur")), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def split(line: str) -> list[str]:
    """The words of a command; none where it says that it needs what is not there, or is in a row of
    pipes."""
    command, _, comment = line.partition("#")
    if " | " in command:
        return [""]  # tests/files/test_pipes.py runs these
    return [""] if re.match(NEEDS, comment.strip()) else command.split()


def ends(words: list[str]) -> bool:
    """Whether it ends by itself, with what a test has."""
    lacks = {"mssnet-realblur", "runs/mine/weights.safetensors"}
    if find_spec("onnxruntime") is None:
        lacks |= {"export", "onnx", "onnx:CPU"}
    return words[1] not in ("live", "serve") and not lacks & set(words) and "--preview" not in words


SOURCES = ("webcam:", "rtsp:", "env:")
"""Cameras that have to be there."""


def test_every_command_is_run_or_says_what_it_needs() -> None:
    """Those that end are run above, live ones below, and training and `make` further down."""
    others = ("make ", "python -m weights", "read -rs", "pip install ")
    other_pages = {"deblur run shaky.mp4 --preview", *PAGES["models.md"].splitlines()}
    for line in EVERY:
        words = split(line)
        if words == [""] or (words[0] == "deblur" and ends(words)):
            continue
        live = words[:2] == ["deblur", "live"] and not words[2].startswith(SOURCES)
        known = line in other_pages or line.startswith((*others, "deblur live env:"))
        # By the tests of the service.
        known = known or line.split("  #")[0] in PAGES["serve.md"]
        assert live or known, f"nothing runs `{line}`"


@pytest.mark.commands
def test_a_file_is_looked_at(tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=30)
    done = deblur(["run", "shaky.mp4", "--preview"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "preview: http://127.0.0.1:" in done.stderr


@pytest.mark.commands
def test_live_feeds_work_until_they_are_stopped(tmp_path: Path) -> None:
    """Those that need no camera."""
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=300)
    (tmp_path / "cameras.toml").write_text(CAMERAS)
    lines = {line.split("#")[0].strip() for line in EVERY}
    commands = [line.split() for line in lines if line.startswith("deblur live ")]
    there = [words for words in commands if not words[2].startswith(SOURCES)]
    assert len(there) >= 4
    environment = {**os.environ, "NEWS": "http://127.0.0.1:9/news"}  # nobody listens
    for words in sorted(there):
        command = [str(Path(sys.executable).with_name("deblur")), *words[1:]]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as feed:
            assert feed.stderr is not None
            said = ""
            for line in feed.stderr:
                said += line
                if "connected" in line:
                    feed.terminate()
                    break
            said += feed.stderr.read()
        assert feed.returncode == 0, (words, said)
        assert "connected" in said, (words, said)


@pytest.mark.commands
@pytest.mark.parametrize("code", PYTHON)
def test_python_works(code: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=4)
    for extra in ("onnxruntime", "vapoursynth"):
        if f"import {extra}" in code:
            pytest.importorskip(extra, reason="it comes with an extra")
    if "lite.onnx" in code:
        assert deblur(["models", "export", "lite", "lite.onnx"], tmp_path).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.commands
@pytest.mark.parametrize(
    "page", ["docs/models.md", pytest.param("weights/README.md", marks=pytest.mark.slow)]
)
def test_training_and_measuring_work_one_after_the_other(page: str, tmp_path: Path) -> None:
    """As they stand there, but for one step on small patches of few scenes, without a GPU."""
    for folder in ("PHOTOGRAPHS", "SHARP", "PAIRS/blur", "PAIRS/sharp"):
        (tmp_path / folder).mkdir(parents=True)
        drawn = (chart(96, np.random.default_rng(1)) * 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / folder / "one.png"), drawn)
    fences = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    lines = [line.split("#")[0] for text in fences for line in text.splitlines()]
    # The authors' checkpoint is drawn by lot; it has the names and the shape of theirs.
    theirs = {"model_state_dict": published_names(tiny().state_dict())}
    torch.save(theirs, tmp_path / "model_03000E.pt")
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=4)
    commands = [line.split() for line in lines if line.startswith(("python -m weights", "deblur "))]
    commands = [words for words in commands if "shaky" not in words]  # done above
    assert len(commands) >= 2
    quick = ["--steps", "1", "--set", "patch=96", "--set", "scenes=4", "--set", "batch=4"]
    for program, *words in commands:
        if program == "deblur":
            overwrite = ["--overwrite"] if words[0] == "run" else []
            done = invoke(*words, *overwrite, folder=tmp_path)
            assert done.returncode == 0, (words, done.stderr)
            continue
        module, *words = words[1:]
        if words[0] in ("deblur", "upscale"):
            words += quick
        if words[0] == "samples":
            words += quick[2:]
        if words[0] == "pairs":
            words += ["--count", "1"]
        words = ["cpu" if word == "cuda" else word for word in words]
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("run", "files.md"),
        ("live", "live.md"),
        ("compare", "compare.md"),
        ("serve", "serve.md"),
    ],
)
def test_every_option_is_in_its_page(command: str, page: str) -> None:
    from stream.cli import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    named = {name for each in group.commands[command].params for name in each.opts}
    options = {name for name in named if name.startswith("--")} - {"--help"}
    missing = [name for name in sorted(options) if not re.search(rf"`{name}\b", PAGES[page])]
    assert not missing


def test_a_call_takes_what_its_command_takes() -> None:
    import stream
    from stream.cli import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    options = {str(each.name) for each in group.commands["run"].params}
    # Several files, what a terminal shows, pipes, and what `encoder` says.
    options -= {"paths", "to", "list_file", "preset", "progress", "as_json", "verbose", "help"}
    options -= {"preview", "preview_host", "trial", "part", "cluster", "end"}
    options -= {"form", "size", "rate", "pix_fmt", "color", "sequence"}
    options -= {"codec", "quality", "encoder_preset"}
    assert options <= {*signature(stream.run).parameters}


def test_every_exit_code_is_in_the_table() -> None:
    import stream

    codes = {
        value.exit_code
        for value in (getattr(stream, name) for name in stream.__all__)
        if isinstance(value, type) and issubclass(value, stream.DeblurError)
    }
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert told == codes | {0}
