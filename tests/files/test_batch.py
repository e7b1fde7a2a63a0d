"""Many files with one command."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

import stream
from stream.files.batch import Batch, summary
from stream.files.tasks import Task, tasks_of
from stream.output.checkpoint import folder_of
from tests.cli.test_command import DEBLUR, deblur
from tests.clips import make_clip


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A folder as people have them."""
    folder = tmp_path / "footage"
    (folder / "day 2").mkdir(parents=True)
    (folder / ".trash").mkdir()
    make_clip(folder / "a.mp4", frames=5)
    make_clip(folder / "b.mkv", frames=5)
    make_clip(folder / "b.avi", frames=5, tags=(2, 2, 2, 0))
    make_clip(folder / "day 2" / "a.MP4", frames=5, container="mp4")
    make_clip(folder / ".trash" / "old.mp4", frames=5)
    (folder / "broken.mp4").write_bytes(b"nothing a player would play" * 99)
    (folder / "notes.txt").write_text("not a video")
    (folder / "a.deblurred.mp4").write_bytes((folder / "a.mp4").read_bytes())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder(footage: Path, tmp_path: Path) -> None:
    words = ("run", footage, tmp_path / "clean", "--strength", 0, "--device", "cpu")
    before = {path: path.read_bytes() for path in footage.rglob("*") if path.is_file()}
    done = deblur(*words)
    assert done.returncode == 3, done.stderr
    made = ["a.mp4", "b.avi.mkv", "b.mkv", "day 2/a.MP4"]
    assert names(tmp_path / "clean") == made
    lines = done.stderr.splitlines()
    assert lines[-1] == "5 files: 4 done, 1 failed"
    assert [line for line in lines if "broken.mp4: failed: " in line]
    assert {path: path.read_bytes() for path in before} == before

    (footage / "broken.mp4").unlink()
    (tmp_path / "clean" / "b.mkv").unlink()
    again = deblur(*words)
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == "4 files: 1 done, 3 done before"
    assert names(tmp_path / "clean") == made


def test_patterns_files_and_lists(footage: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    tasks = tasks_of([footage / "*.mp4", footage / "day 2", clean])
    assert tasks == [
        Task(footage / "a.mp4", clean / "a.mp4"),
        Task(footage / "broken.mp4", clean / "broken.mp4"),
        Task(footage / "day 2" / "a.MP4", clean / "a.MP4"),
    ]
    everything = tasks_of([footage / "**" / "*.m*", clean / "x"]) or []
    assert {task.input.name for task in everything} == {"a.mp4", "b.mkv", "broken.mp4"}
    wanted = footage / "wanted.txt"
    wanted.write_text("# the best\n\na.mp4\n  b.avi\n")
    assert tasks_of([clean], wanted) == [
        Task(footage / "a.mp4", clean / "a.mp4"),
        Task(footage / "b.avi", clean / "b.avi.mkv"),
    ]
    assert tasks_of([footage / "a.mp4"]) is None
    assert tasks_of([footage / "a.mp4", clean / "b.mp4"]) is None
    clean.mkdir()
    assert tasks_of([footage / "a.mp4", clean]) == [Task(footage / "a.mp4", clean / "a.mp4")]
    (beside, *_) = tasks_of([footage]) or []
    assert beside.output == tmp_path / "footage.deblurred" / "a.mp4"
    inside = tasks_of([footage, footage / "clean"]) or []
    assert len(inside) == 5


def test_what_was_made_is_no_input(footage: Path) -> None:
    (footage / "clean").mkdir()
    make_clip(footage / "clean" / "a.mp4", frames=2)
    make_clip(footage / "c.part.mp4", frames=2)
    tasks = tasks_of([footage, footage / "clean"]) or []
    assert {task.input.name for task in tasks} == {"a.mp4", "b.mkv", "b.avi", "a.MP4", "broken.mp4"}


@pytest.mark.parametrize(
    ("paths", "listed", "said"),
    [
        (["*.mov", "out"], None, "nothing matches"),
        (["*.mp4"], None, "a pattern needs a folder"),
        (["a.mp4", "b.mkv", "c.mp4"], None, "need a folder"),
        (["a.mp4", "b.mkv", "b.avi"], None, "need a folder"),
        (["out"], "missing.txt", "cannot read the list"),
        (["out", "more"], "notes.txt", "--list takes one more argument"),
        (["a.mp4", "day 2/../a.mp4", "out"], None, "several inputs have the name a.mp4"),
    ],
)
def test_what_makes_no_sense(
    paths: list[str], listed: str | None, said: str, footage: Path
) -> None:
    with pytest.raises(stream.DeblurError, match=said):
        tasks_of([footage / path for path in paths], footage / listed if listed else None)


def test_a_name_in_a_list_that_is_not_there_fails_alone(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{footage / 'a.mp4'}\nclip[1].mp4\n{footage / 'no*'}\n")
    done = deblur(
        "run", "--list", tmp_path / "list.txt", tmp_path / "out", "--strength", 0, "--fuse", 0
    )
    assert done.returncode == 3, done.stderr
    assert "1 done" in done.stderr
    assert "2 failed" in done.stderr


def test_an_unknown_model_is_said_once(footage: Path, tmp_path: Path) -> None:
    done = deblur("run", footage, tmp_path / "clean", "--model", "lite2")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "clean").exists()


def test_a_loss_is_told_by_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    clip = make_clip(tmp_path / "clip.mkv", frames=5, subtitles=True)
    # No .ts holds such subtitles; FFmpeg reads by content, so a name can claim what it likes.
    clip.rename(tmp_path / "in" / "a.ts")
    (tmp_path / "list.txt").write_text("in/a.ts\n")
    done = deblur("run", "--list", tmp_path / "list.txt", tmp_path / "out", "--strength", 0)
    assert done.returncode == 1, done.stderr
    assert "1 file: 1 done with losses" in done.stderr
    assert "subtitle stream 1" in done.stderr


@pytest.mark.slow
def test_a_signal_ends_the_batch_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name, frames=110, size=(192, 144))
    words = [DEBLUR, "run", str(tmp_path / "in"), str(tmp_path / "out"), "--device", "cpu"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(folder_of(tmp_path / "out" / "a.mp4").glob("*.mkv")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "2 files: 1 stopped, 1 not begun" in said
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["a.mp4", "b.mp4"]


def test_from_python(footage: Path, tmp_path: Path) -> None:
    tasks = tasks_of([footage, tmp_path / "clean"])
    assert tasks is not None
    settings = stream.Settings(strength=0, device="cpu")
    outcomes = list(Batch(tasks, settings).run())
    assert [outcome.state for outcome in outcomes] == ["done", "done", "done", "failed", "done"]
    assert summary(outcomes, 5) == "5 files: 4 done, 1 failed"
    tasks[0].output.unlink()
    outcomes = list(Batch(tasks, settings).run())
    assert summary(outcomes, 5) == "5 files: 1 done, 3 done before, 1 failed"
