"""What the README tells people to type works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import make_clip
from weights.train.procedural import chart

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCES = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].split()
    for language, text in FENCES
    if language == "sh"
    for line in text.splitlines()
    if line.startswith("deblur ")
]
PAGES = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
EVERY = {
    line.strip()
    for text in (README, *PAGES.values())
    for fence in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in fence.splitlines()
    if line.strip()
}
"""The commands of all pages."""
CAMERAS = """
[cameras.yard]
source = "testsrc:?size=160x120"
outputs = ["null:"]
[cameras.door]
source = "testsrc:?size=160x120"
outputs = ["null:"]
"""
PYTHON = [text for language, text in FENCES if language == "python"]


def test_commands_work_one_after_the_other(tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=300, audio=("eng",))
    (tmp_path / "holiday").mkdir()
    make_clip(tmp_path / "holiday" / "beach.mp4", size=(96, 64), frames=4)
    (tmp_path / "files.txt").write_text("holiday/beach.mp4\n")
    bare = {"import", "mssnet-realblur", "runs/mine/weights.safetensors", "live"}
    commands = [words for words in COMMANDS if not bare & set(words)]
    assert len(commands) >= 5
    for words in commands:
        if "--resume" in words:
            (tmp_path / "shaky.deblurred.mp4").unlink()  # there is nothing to go on with
        if words[1] == "bench":
            words = [*words, "--size", "96x64"]  # for seconds instead of a minute
        command = [str(Path(sys.executable).with_name("deblur")), *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
    assert (tmp_path / "shaky.deblurred.mp4").exists() or (tmp_path / "clean.mkv").exists()


SOURCES = ("webcam:", "rtsp:", "env:")
"""Cameras that have to be there."""


def test_every_command_of_the_docs_is_run_or_says_what_it_needs() -> None:
    """Those of the README are run above, live ones below; the others are named here."""
    run = {"deblur run shaky.mp4 --preview", "deblur bench"}
    for line in EVERY:
        command, _, comment = (part.strip() for part in line.partition("#"))
        words = command.split()
        if any(command in text for text in (README, (ROOT / "docs/soak.md").read_text())):
            continue
        if re.match(r"needs \w+|.*\(needs one\)", comment):
            continue
        live = words[:2] == ["deblur", "live"] and not words[2].startswith(SOURCES)
        known = command in run or command.startswith(("read -rs", "deblur live env:"))
        assert live or known, f"nothing runs `{line}`"


def test_a_file_is_looked_at(tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=30)
    command = [str(Path(sys.executable).with_name("deblur")), "run", "shaky.mp4", "--preview"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "preview: http://127.0.0.1:" in done.stderr


def test_live_feeds_work_until_they_are_stopped(tmp_path: Path) -> None:
    """Those that need no camera."""
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=300)
    (tmp_path / "cameras.toml").write_text(CAMERAS)
    lines = {line.split("#")[0].strip() for line in EVERY}
    commands = [line.split() for line in lines if line.startswith("deblur live ")]
    there = [words for words in commands if not words[2].startswith(SOURCES)]
    assert len(there) >= 4
    for words in sorted(there):
        command = [str(Path(sys.executable).with_name("deblur")), *words[1:]]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as feed:
            try:
                feed.wait(8)
            except subprocess.TimeoutExpired:
                feed.terminate()
            said = feed.communicate()[1]
        assert feed.returncode == 0, (words, said)
        assert "connected" in said, (words, said)


@pytest.mark.parametrize("code", PYTHON)
def test_python_works(code: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), frames=4)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["README.md", "weights/README.md"])
def test_training_and_measuring_work_one_after_the_other(page: str, tmp_path: Path) -> None:
    """As they stand there, but for one step on small patches of few scenes, without a GPU."""
    for folder in ("PHOTOGRAPHS", "SHARP", "PAIRS/blur", "PAIRS/sharp"):
        (tmp_path / folder).mkdir(parents=True)
        drawn = (chart(96, np.random.default_rng(1)) * 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / folder / "one.png"), drawn)
    fences = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    lines = [line.split("#")[0] for text in fences for line in text.splitlines()]
    commands = [line.split()[2:] for line in lines if line.startswith("python -m weights")]
    assert len(commands) >= 2
    quick = ["--steps", "1", "--set", "patch=96", "--set", "scenes=4", "--set", "batch=4"]
    for module, *words in commands:
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


def test_every_exit_code_is_in_the_table() -> None:
    import stream

    codes = {
        value.exit_code
        for value in (getattr(stream, name) for name in stream.__all__)
        if isinstance(value, type) and issubclass(value, stream.DeblurError)
    }
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert told == codes | {0}
