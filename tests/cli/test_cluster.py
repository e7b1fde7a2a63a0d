"""`deblur run --cluster`, with a real Ray.

`tests.trials.cluster` has several nodes, and kills them.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import stream
from tests.clips import make_clip
from tests.files.test_resume import hashes
from tests.rig.service import service

DEBLUR = str(Path(sys.executable).with_name("deblur"))
OPTIONS = ["--model", "none", "--strength", "0", "--device", "cpu"]

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is missing: deblur-stream[cluster]"
)


def deblur(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    temporary = folder / "t"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        [DEBLUR, "run", *words, *OPTIONS],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_ray
def test_a_cluster_on_this_machine(tmp_path: Path) -> None:
    """It gives the file of one run, and nothing of it is left."""
    folder, before = tmp_path, set(Path("/tmp").glob("deblur-ray-*"))
    options = {"bf": "2", "g": "40"}
    clip = make_clip(folder / "in.mp4", frames=620, audio=("eng",), options=options)
    done = deblur(folder, "in.mp4", "out.mp4", "--cluster", "local:2", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["conformance"]["conforms"]
    assert [each["piece"] for each in said["pieces"]] == ["1/2", "2/2"]
    settings = stream.Settings(model="none", strength=0, device="cpu")
    stream.Job(clip, folder / "single.mp4", settings).run()
    assert hashes(folder / "out.mp4") == hashes(folder / "single.mp4")
    assert not list((folder / "t").iterdir())
    assert set(Path("/tmp").glob("deblur-ray-*")) <= before
    assert not (folder / "out.mp4.parts").exists()
    left = [each for each in psutil.process_iter() if str(folder) in " ".join(words(each))]
    assert not left


@needs_ray
@pytest.mark.slow
def test_jobs_of_the_service_are_restored_by_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in" / "a.mp4", frames=620, options={"bf": "2", "g": "40"})
    with service(tmp_path, "--cluster", "local:2", "--", *OPTIONS) as running:
        # Ray takes its time to start where other tests are at work.
        job = running.until_ended(running.submit("a.mp4").json["number"], seconds=600)
    assert (job["state"], job["conforms"]) == ("done", True), job
    assert [each["piece"] for each in job["report"]["pieces"]] == ["1/2", "2/2"]
    settings = stream.Settings(model="none", strength=0, device="cpu")
    stream.Job(tmp_path / "in" / "a.mp4", tmp_path / "single.mp4", settings).run()
    assert hashes(tmp_path / "out" / "a.mp4") == hashes(tmp_path / "single.mp4")


@needs_ray
@pytest.mark.slow
def test_a_folder_is_restored_by_a_cluster(tmp_path: Path) -> None:
    """File after file; one that is no video does not stop the rest."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name, frames=620, options={"bf": "2", "g": "40"})
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video" * 50)
    done = deblur(tmp_path, "in", "clean", "--cluster", "local:2", "--json")
    assert done.returncode == 3, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["state"] for each in said] == ["done", "done", "failed"]
    assert [len(each["pieces"]) for each in said[:2]] == [2, 2]
    assert sorted(each.name for each in (tmp_path / "clean").iterdir()) == ["a.mp4", "b.mp4"]
    settings = stream.Settings(model="none", strength=0, device="cpu")
    stream.Job(tmp_path / "in" / "a.mp4", tmp_path / "single.mp4", settings).run()
    assert hashes(tmp_path / "clean" / "a.mp4") == hashes(tmp_path / "single.mp4")
    again = deblur(tmp_path, "in/a.mp4", "in/b.mp4", "clean", "--cluster", "local:2")
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == "2 files: 2 done before"


def words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--cluster", "auto", "--part", "1/2"], 2, "--cluster goes with files alone"),
        pytest.param(["--cluster", "auto"], 69, "there is no cluster at auto", marks=needs_ray),
    ],
)
def test_what_is_no_cluster(given: list[str], code: int, said: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", frames=10)
    done = deblur(tmp_path, "in.mp4", "out.mp4", *given)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("deblur: "), done.stderr
    assert done.stderr.count("deblur: ") == 1
