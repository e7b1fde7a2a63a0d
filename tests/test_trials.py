"""The trials of the whole command: a small form of each always, the long form where asked for.

Each runs in a process of its own, as it forks: nothing may be forked where a network has computed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import make_clip

ROOT = Path(__file__).parents[1]


def trial(name: str, *words: object, code: int = 0) -> str:
    """Run a trial and return what it printed; it must end with `code`."""
    command = [sys.executable, "-m", f"tests.trials.{name}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with three small clips and a file that is none."""
    folder = tmp_path / "clips"
    folder.mkdir()
    make_clip(folder / "one.mp4", frames=10, chapters=True)
    make_clip(folder / "two.mkv", frames=10, audio=("fin",), subtitles=True)
    make_clip(folder / "three.ts", frames=10, container="mpegts")
    (folder / "notes.md").write_text("These are clips.\n")
    return folder


def test_good_files_conform(clips: Path) -> None:
    printed = trial("corpus", clips)
    assert "3 conforms" in printed
    assert "0 faults" in printed


def test_a_file_that_only_ffmpeg_takes_is_a_fault(clips: Path) -> None:
    printed = trial(
        "corpus", clips, "--no-verify", "--", "--strength", "0", "--start", "99", code=1
    )
    assert "FAULT refused, though FFmpeg decodes it" in printed
    assert "3 faults" in printed


def test_a_few_damaged_files_do_no_damage(clips: Path) -> None:
    printed = trial("mutate", clips, "--count", 12)
    assert "12 damaged files of 3 sound ones" in printed
    again = trial("mutate", clips, "--only", 3, "--keep", clips.parent / "kept")
    assert "ended with" in again
    assert (clips.parent / "kept" / "3" / "stderr").exists()


@pytest.mark.slow
def test_a_kill_costs_nothing_but_time() -> None:
    assert "0 faults" in trial("kills", "--kills", 2, "--seconds", 4)


@pytest.mark.slow
def test_sound_stays_with_a_short_picture() -> None:
    assert "sound stays with the picture" in trial("flash", "--minutes", 0.2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_odd_file_conforms(shared: Path) -> None:
    trial("corpus", shared / "data" / "media", shared / "data" / "videos", "--jobs", 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_network_is_as_faithful(shared: Path) -> None:
    trial("corpus", shared / "data" / "videos", "--only", "b*", "--", "--model", "lite")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_files_do_no_damage(shared: Path) -> None:
    trial("mutate", shared / "data" / "media", "--count", 500)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_twenty_kills_cost_nothing_but_time(ending: str) -> None:
    trial("kills", "--kills", 20, "--to", ending)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sound_stays_with_a_long_picture() -> None:
    trial("flash", "--minutes", 10)
