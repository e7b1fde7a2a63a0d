"""`deblur adapt`: what one video shows becomes a model of its own, or nothing is left behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import mssnet
from stream.compute.models import store
from tests.cli.test_command import DEBLUR
from tests.pictures import write
from tests.stages.test_motion import circled


def adapt(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEBLUR, "adapt", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "XDG_DATA_HOME": str(home)},
    )


def models(home: Path) -> list[str]:
    return sorted(file.name for file in home.rglob("*.safetensors"))


@pytest.mark.slow
def test_a_video_becomes_a_model_that_runs(tmp_path: Path) -> None:
    clip = circled(tmp_path / "clip.mkv", 1.0)
    done = adapt(tmp_path, clip, "--name", "own", "--steps", 2, "--shutter", "360deg")
    assert done.returncode == 0, done.stderr
    assert "frames to learn from, motion of up to" in done.stderr
    assert "--model own" in done.stderr
    assert models(tmp_path) == ["own.safetensors"]
    (file,) = tmp_path.rglob("own.safetensors")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    made, shipped = (
        mssnet.load(path, device="cpu", dtype=torch.float32)(image)
        for path in (file, Path(mssnet.__file__).parents[1] / "weights" / "lite.safetensors")
    )
    assert 0 < float((made - shipped).abs().max()) < 0.1, "it went on from lite, and not far"


def test_a_video_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    clip = write(tmp_path / "in.mkv", "gray", [[np.full((64, 96), 90, np.uint8)]])
    done = adapt(tmp_path, clip, "--name", "own")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 65
    assert "nothing to learn from" in line
    assert not models(tmp_path)


def test_what_cannot_be_adapted_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "in.mkv", "gray", [[np.full((64, 96), 90, np.uint8)]] * 3)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    blind = mssnet.MSSNet(mssnet.Config((4, 4, 4), (1, 1, 1), 1, 2, motion=False))
    store("blind", blind.state_dict(), preset="", about="of a test")
    for words, code, why in (
        ((clip, "--name", "own", "--model", "blind"), 2, "told the motion"),
        ((clip, "--name", "lite"), 78, "choose another one"),
        ((tmp_path / "none.mkv", "--name", "own"), 66, "none.mkv"),
    ):
        done = adapt(tmp_path, *words)
        assert (done.returncode, why in done.stderr) == (code, True), done.stderr
    assert models(tmp_path) == ["blind.safetensors"]


@pytest.mark.slow
def test_stopped_it_leaves_nothing(tmp_path: Path) -> None:
    clip = circled(tmp_path / "clip.mkv", 1.0)
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    words = [DEBLUR, "adapt", str(clip), "--name", "own", "--steps", "100000"]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=env)
    assert run.stderr is not None
    assert "frames to learn from" in run.stderr.readline()
    while not list((tmp_path / "tmp").glob("*/run/log.jsonl")):
        assert run.poll() is None
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=200) == 130
    assert "nothing was stored" in run.stderr.read()
    assert not models(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())
