"""What developers are told is so: files are where they are said to be, and checks are the same."""

import re
from pathlib import Path

import pytest

from tests.test_house import FLOORS

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[2]
PAGES = ["CONTRIBUTING.md", "docs/architecture.md"]
PAGES += [f"docs/decisions/{page.name}" for page in sorted((ROOT / "docs/decisions").glob("*.md"))]
FOLDERS = (
    "stream/",
    "filters/",
    "mssnet/",
    "weights/",
    "tests/",
    "benchmarks/",
    "demo/",
    "deploy/",
)
WORKFLOWS = ".github/workflows/ci.yml", ".github/workflows/docs.yml"
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = {word.rstrip("/") for word in re.findall(r"`([\w./-]+)`", text)}
    for word in named:
        if word.startswith(FOLDERS):
            assert (ROOT / word).exists(), word
        elif re.fullmatch(r"\w+/\w+\.py", word):  # of stream, where that is clear
            assert list((ROOT / "stream").rglob(word)) or (ROOT / word).exists(), word
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_functions_that_are_named_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = "\n".join(
        file.read_text()
        for package in ("stream", "filters", "mssnet")
        for file in (ROOT / package).rglob("*.py")
    )
    for name in ("ENCODERS", "stages_of", "Settings", "describe", "asked_for", "parse", "_KNOWN"):
        assert f"`{name}`" in text
        assert re.search(rf"^(?:def |class |){name}\b", code, re.MULTILINE), name


def test_only_folders_that_there_are_are_drawn() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    drawn = text.partition("```text\n")[2].partition("```")[0]
    rooms = {room.removeprefix("stream.") for floor in FLOORS for room in floor}
    names = {
        name
        for line in drawn.splitlines()
        if "flat modules" not in line
        for name in re.findall(r"[\w.]+", re.split(r"\s{3,}", line)[0])
    }
    assert len(names) > 20
    assert names <= rooms


@pytest.mark.parametrize("page", [*PAGES, "README.md", *WORKFLOWS])
def test_commands_are_targets_of_make(page: str) -> None:
    known = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    text = (ROOT / page).read_text()
    used = set(re.findall(r"^\s*(?:- run: |\| `)?make ([a-z-]+)", text, re.MULTILINE))
    assert used <= known
    assert used or page.startswith("docs/")


def test_commits_are_checked_as_make_does() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    made = [line.strip().replace("$(PY)", ".venv/bin/python") for line in recipe[1].splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: (.*)", hooks) == made


def test_every_version_that_ci_tries_is_one_that_is_promised() -> None:
    tried = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())
    assert tried is not None
    project = (ROOT / "pyproject.toml").read_text()
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert re.findall(r"3\.\d+", tried[1]) == promised
    assert f'requires-python = ">={promised[0]}"' in project


def test_the_version_is_that_of_the_changelog() -> None:
    said = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert said is not None
    assert project is not None
    assert said[1] == project[1]


def test_every_test_that_reads_pages_is_run_for_them() -> None:
    """What reads `docs/`, and is not marked, would not be tried when pages alone change."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text()
        if re.search(r'"docs"|"docs/|ROOT / "README', text):
            assert "mark.docs" in text, file.name
