"""The queue of the job service: what holds whenever it is killed, to the line."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.errors import SinkError
from stream.serve.folders import Folders
from stream.serve.jobs import MOST_ATTEMPTS, Job, Jobs
from stream.serve.worker import RUN, deliver, recover, report_of, whole_of
from tests.rig.command import until


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return Folders.of(tmp_path / "in", tmp_path / "out")


@pytest.fixture
def jobs(folders: Folders) -> Iterator[Jobs]:
    made = Jobs(folders.own / "jobs.sqlite3")
    yield made
    made.close()


def begun(jobs: Jobs, folders: Folders, *, whole: bool) -> Job:
    """A job that is at work, or whose output is whole."""
    jobs.add("clip.avi", "path", "clip.avi", 5, {})
    job = jobs.next()
    assert job is not None
    assert job.state == "running"
    file = whole_of(folders, job)
    file.parent.mkdir(parents=True)
    if whole:
        file.write_text("restored")
    return job


def outputs(folders: Folders) -> list[str]:
    return sorted(path.name for path in folders.outputs.iterdir() if path != folders.own)


def test_jobs_are_done_in_their_order(jobs: Jobs) -> None:
    for name in ("a", "b", "c"):
        jobs.add(name, "path", name, 1, {})
    jobs.set(2, state="cancelled")
    taken = [jobs.next() for _ in range(3)]
    assert [each.name if each else None for each in taken] == ["a", "c", None]
    jobs.set(2, state="queued")
    assert (again := jobs.next()) is not None
    assert (again.name, again.attempts) == ("b", 1)
    assert jobs.counts() == {"queued": 0, "running": 3, "done": 0, "failed": 0, "cancelled": 0}


def test_a_number_is_never_used_again(jobs: Jobs) -> None:
    jobs.add("a", "path", "a", 1, {})
    jobs.delete(1)
    assert jobs.add("b", "path", "b", 1, {}).number == 2


def test_a_file_of_a_watched_folder_is_taken_once_as_it_is(jobs: Jobs) -> None:
    assert not jobs.was_taken("a.mp4", 5, 100)
    jobs.delete(jobs.add("a.mp4", "watch", "a.mp4", 5, {}, taken=100).number)
    assert jobs.was_taken("a.mp4", 5, 100)
    assert not jobs.was_taken("a.mp4", 6, 100)
    assert not jobs.was_taken("a.mp4", 5, 101)


def test_what_was_at_work_waits_again(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=False)
    recover(jobs, folders)
    found = jobs.get(job.number)
    assert found is not None
    assert (found.state, found.output) == ("queued", None)


@pytest.mark.parametrize("heard", [True, False])
def test_killed_before_what_is_whole_has_a_name(heard: bool, jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=True)
    report = {"output": "/somewhere", "conformance": {"conforms": True, "summary": "conforms: all"}}
    report_of(folders, job).write_text(json.dumps(report) if heard else "")
    recover(jobs, folders)
    found = jobs.get(job.number)
    assert found is not None
    assert (found.state, found.output) == ("done", "clip.avi.mkv")
    assert found.report == ({"conformance": report["conformance"]} if heard else None)
    assert found.said.startswith("conforms: all" if heard else "done; ")
    assert outputs(folders) == ["clip.avi.mkv"]


def test_killed_after_a_name_was_chosen(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=True)
    jobs.set(job.number, output="clip.avi.mkv")
    recover(jobs, folders)
    assert outputs(folders) == ["clip.avi.mkv"]


def test_killed_between_the_two_names_of_the_file(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=True)
    jobs.set(job.number, output="clip.avi.mkv")
    os.link(whole_of(folders, job), folders.outputs / "clip.avi.mkv")
    recover(jobs, folders)
    assert outputs(folders) == ["clip.avi.mkv"], "it has two"
    assert not whole_of(folders, job).exists()


def test_killed_before_the_queue_knew(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=True)
    jobs.set(job.number, output="clip.avi.mkv")
    whole_of(folders, job).rename(folders.outputs / "clip.avi.mkv")
    # Nor is it done again where somebody has taken it away already.
    (folders.outputs / "clip.avi.mkv").rename(folders.outputs / "mine.mkv")
    recover(jobs, folders)
    found = jobs.get(job.number)
    assert found is not None
    assert found.state == "done"
    assert outputs(folders) == ["mine.mkv"]


def test_what_came_under_the_name_meanwhile_stays(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=True)
    job = jobs.set(job.number, output="clip.avi.mkv")
    (folders.outputs / "clip.avi.mkv").write_text("somebody's")
    assert deliver(jobs, folders, job).output == "clip.avi-2.mkv"
    assert (folders.outputs / "clip.avi.mkv").read_text() == "somebody's"
    assert (folders.outputs / "clip.avi-2.mkv").read_text() == "restored"


def test_a_job_that_ends_the_service_is_not_begun_for_ever(jobs: Jobs, folders: Folders) -> None:
    job = begun(jobs, folders, whole=False)
    for _ in range(MOST_ATTEMPTS):
        recover(jobs, folders)
        jobs.next()
    found = jobs.get(job.number)
    assert found is not None
    assert (found.state, found.attempts) == ("failed", MOST_ATTEMPTS)
    assert "ended 20 times while this was at work" in found.said


def test_uploads_that_broke_off_are_removed(jobs: Jobs, folders: Folders) -> None:
    for key in ("0123456789abcdef", "fedcba9876543210"):
        file = folders.upload(key, "clip.mp4")
        file.parent.mkdir(parents=True)
        file.write_text("data")
    jobs.add("clip.mp4", "upload", None, 4, {}, key="0123456789abcdef")
    (folders.own / "mine.txt").write_text("not a job's")
    recover(jobs, folders)
    left = sorted(path.name for path in folders.own.iterdir() if "jobs.sqlite3" not in path.name)
    assert left == ["job-0123456789abcdef", "mine.txt"]


def test_runs_of_a_service_that_is_gone_are_ended(jobs: Jobs, folders: Folders) -> None:
    """And no others, whatever they have to do with the folder."""
    code = "import time; time.sleep(60)"
    out = str(folders.own / "job-1" / "out" / "clip.mp4")
    ours = subprocess.Popen([sys.executable, *RUN, "--list", "/dev/stdin", "-o", out], stdin=-1)
    others = [
        subprocess.Popen([sys.executable, "-c", code, out]),
        subprocess.Popen([sys.executable, *RUN, "--list", "/dev/stdin", "-o", "x"], stdin=-1),
    ]
    try:
        recover(jobs, folders)
        until(lambda: ours.poll() is not None, "it goes on", 5)
        assert [each.poll() for each in others] == [None, None]
    finally:
        for each in (ours, *others):
            each.kill()
            each.communicate()


def test_the_queue_belongs_to_one(jobs: Jobs, folders: Folders) -> None:
    with pytest.raises(SinkError, match="another deblur serve is at work"):
        Jobs(folders.own / "jobs.sqlite3")


def test_a_queue_that_is_damaged_or_newer_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite3"
    file.write_bytes(b"no database at all " * 100)
    with pytest.raises(SinkError, match="is damaged"):
        Jobs(file)
    assert file.read_bytes().startswith(b"no database")
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as base:
        base.execute("PRAGMA user_version = 2")
    base.close()
    with pytest.raises(SinkError, match="newer version"):
        Jobs(newer)
