"""What `deblur doctor` says is true, whatever is missing or broken, and gives nothing away."""

import json
import multiprocessing
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import weights
from stream.compute.models import load_model
from stream.doctor import CHECKS, Finding, Group, Verdict
from stream.doctor.checks import graphics, program, room
from stream.doctor.checks.processor import limits
from stream.doctor.clean import cleaner
from stream.doctor.worker import examine
from tests.clips import make_clip
from tests.compute.test_mssnet import tiny

DEBLUR = str(Path(sys.executable).with_name("deblur"))
STATES = {"ok", "none", "note", "missing", "failed"}
HIDE = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            return None
        return super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context):
        found = super().find_distributions(context)
        return (each for each in found if each.metadata["Name"] != "{package}")

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
"""Makes Python believe that a package is not installed, in all processes that find it."""


def deblur(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEBLUR, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )


def doctor(cwd: Path, **environment: str) -> tuple[dict[str, Any], int]:
    """The JSON and the exit code."""
    done = deblur("doctor", "--json", cwd=cwd, **environment)
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.returncode


def findings(found: dict[str, Any], group: str) -> dict[str, dict[str, Any]]:
    (there,) = [each for each in found["groups"] if each["name"] == group]
    return {finding["what"]: finding for finding in there["findings"]}


def without(package: str, folder: Path) -> dict[str, str]:
    """The environment in which a package is not installed."""
    (folder / "sitecustomize.py").write_text(HIDE.format(package=package))
    return {"PYTHONPATH": str(folder)}


def test_json_is_true_of_this_machine(tmp_path: Path) -> None:
    found, code = doctor(tmp_path)
    assert code == found["exit_code"] == 0
    assert [group["name"] for group in found["groups"]] == list(CHECKS)
    for group in found["groups"]:
        assert group["findings"], group["name"]
        for finding in group["findings"]:
            assert finding["state"] in STATES
            assert finding["todo"] or finding["state"] != "missing", finding
    made = findings(found, "program")
    assert made["deblur-stream"]["said"] == version("deblur-stream")
    assert made["torch"]["facts"]["version"] == torch.__version__
    assert made["av"]["facts"]["version"] == version("av")
    assert re.match(r"\d+\.\d+", made["FFmpeg"]["said"])
    held = findings(found, "processor")
    assert held["cores"]["facts"]["usable"] == len(os.sched_getaffinity(0))
    assert held["memory"]["facts"]["total"] == psutil.virtual_memory().total
    restore = load_model("lite")
    assert found["use"]["engine"] == restore.engine.name
    assert found["use"]["precision"] == str(restore.dtype).removeprefix("torch.")
    engines = findings(found, "engines")
    for name in ("eager", "auto"):
        assert engines[name]["state"] == "ok"
        assert engines[name]["facts"]["psnr_db"] > 40
        assert 0 < engines[name]["facts"]["ms"] < 10_000
    known = {checkpoint.name: checkpoint.sha256 for checkpoint in weights.checkpoints()}
    models = findings(found, "models")
    assert {name: each["facts"]["sha256"] for name, each in models.items()} == known
    assert findings(found, "encoding")["libx264"]["state"] == "ok"
    assert findings(found, "decoding")["h264 (software)"]["state"] == "ok"
    assert found["use"]["encoder"] == "libx264"
    live = findings(found, "live")
    assert live["RTSP server"]["facts"]["frames"] == 3
    assert live["shared memory"]["state"] in ("ok", "note")
    assert findings(found, "room")["current folder"]["facts"]["free"] > 0


def test_text_shows_nothing_private_and_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "jane.roe"
    (home / "work").mkdir(parents=True)
    secrets = {
        "DEBLUR_TOKEN": "quite-secret-token",
        "CAMERA": "rtsp://admin:hunter2hunter2@10.1.2.3/stream1",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "ANYTHING": "some value of a variable",
        "USER": "jane.roe",
        "LOGNAME": "jane.roe",
        "HOME": str(home),
        "DISPLAY": "jane-desktop.example:17",
    }
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    mine = weights.add("mine", tiny().state_dict(), preset="tiny", about="")
    assert home in mine.file.parents
    data = bytearray(mine.file.read_bytes())
    data[-1] ^= 1
    mine.file.write_bytes(data)
    done = deblur("doctor", cwd=home / "work", **secrets)
    assert done.returncode == 0, done.stdout
    for name, value in secrets.items():
        assert value not in done.stdout + done.stderr, name
    for part in ("hunter2", "10.1.2.3", "jane", "\x1b", str(tmp_path)):
        assert part not in done.stdout + done.stderr, part
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in CHECKS] == list(CHECKS)
    (line,) = [number for number, line in enumerate(lines) if "  mine  " in line]
    assert lines[line].startswith("failed")
    assert "~/.local/share/deblur-stream/models/mine.safetensors" in lines[line]
    assert lines[line + 1].strip() == "-> import the model again"
    assert any(re.match(r"ok +lite ", line) for line in lines)
    assert lines[-1].startswith("will use: ")
    assert not any(line != line.rstrip() for line in lines)
    assert any(re.match(r"none +screen +.*another machine", line) for line in lines)


def test_without_openvino_pytorch_is_taken(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU would be taken")
    found, code = doctor(tmp_path, DISPLAY=":1717", **without("openvino", tmp_path))
    assert code == 0
    assert found["use"]["engine"] == "eager"
    assert found["verdict"].startswith("will use: eager, ")
    engine = findings(found, "engines")["openvino"]
    assert engine["state"] == "missing"
    assert "pip install openvino" in engine["todo"]
    assert findings(found, "live")["screen"]["state"] == "failed"  # there is no such display
    package = findings(found, "program").get("openvino")
    assert package is None or package["state"] == "missing"


def test_without_torch_everything_is_said_on_a_terminal(tmp_path: Path) -> None:
    """In lines that are not wider than the terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | without("torch", tmp_path) | {"COLUMNS": "70", "TERM": "xterm"}
    with subprocess.Popen(
        [DEBLUR, "doctor"], stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:
            pass  # how Linux says that the other side is closed
        os.close(ours)
    assert process.returncode == 69
    assert b"\x1b[" in said
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    lines = [line.rpartition("\r")[2].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    assert max(map(len, lines)) <= 70
    assert [line for line in lines if line in CHECKS] == list(CHECKS)
    assert any(re.match(r"missing +torch ", line) for line in lines)
    assert "cannot work: nothing runs the networks" in text
    assert "pip install 'torch" in text
    assert any(re.match(r"ok +temporary folder ", line) for line in lines)
    assert "Traceback" not in text


def test_a_broken_list_of_models_ends_as_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    weights.folder().mkdir(parents=True)
    (weights.folder() / "mine.json").write_text("{")
    make_clip(tmp_path / "clip.mp4", frames=2, size=(96, 64))
    run = deblur("run", "clip.mp4", cwd=tmp_path)
    found, code = doctor(tmp_path)
    assert code == found["exit_code"] == run.returncode == 78
    assert "mine.json is damaged" in found["verdict"]
    assert "import the model again" in found["verdict"]


def test_what_crashes_hangs_or_exits_is_a_finding(capfd: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    names = [f"tests.checks.{name}" for name in ("crashes", "prints", "hangs", "exits", "missing")]
    groups = list(examine(names, limit_s=3))
    assert time.monotonic() - begun < 30
    assert [group.name for group in groups] == ["crashes", "prints", "hangs", "exits", "missing"]
    said = {group.name: group.findings[0] for group in groups}
    assert all(len(group.findings) == 1 for group in groups)
    assert said["crashes"].said == "the check crashed (SIGSEGV)"
    assert said["hangs"].said == "the check took longer than 3 s"
    assert said["exits"].said == "SystemExit: not content with this machine"
    assert "No module named" in said["missing"].said
    assert {said[name].state for name in ("crashes", "hangs", "exits", "missing")} == {"failed"}
    assert said["prints"] == Finding("thing", "ok", "~/models and more")
    assert capfd.readouterr() == ("", "")
    assert not multiprocessing.active_children()


def test_it_can_be_stopped_and_cut_off(tmp_path: Path) -> None:
    command = [DEBLUR, "doctor"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "program\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "deblur: stopped\n")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def tool(folder: Path, text: str) -> None:
    """Put an nvidia-smi there."""
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is an NVIDIA driver")
def test_an_nvidia_gpu_that_torch_cannot_use_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = {finding.what: finding for finding in graphics.look()}
    assert said["NVIDIA driver"] == Finding("NVIDIA driver", "none", "not found")
    assert said["GPU"].state == "none"
    tool(tmp_path, "echo '575.57.08, NVIDIA H100 80GB HBM3'")
    said = {finding.what: finding for finding in graphics.look()}
    assert said["NVIDIA driver"].said == "575.57.08, for NVIDIA H100 80GB HBM3"
    if torch.version.cuda is None:
        assert said["GPU"].state == "missing"
        assert "without CUDA" in said["GPU"].said
        assert "install PyTorch with CUDA" in said["GPU"].todo
    tool(tmp_path, "echo 'NVIDIA-SMI has failed because it could not reach the driver.'; exit 9")
    said = {finding.what: finding for finding in graphics.look()}
    assert said["NVIDIA driver"].state == "failed"
    assert "could not reach the driver" in said["NVIDIA driver"].said
    assert "apt-get install" in said["NVIDIA driver"].todo
    assert said["GPU"].state == "none"


@pytest.mark.needs_cuda
def test_gpus_are_tried() -> None:
    said = {finding.what: finding for finding in graphics.look()}
    assert said["NVIDIA driver"].state == "ok"
    assert said["cuda:0"].state == "ok"
    assert torch.cuda.get_device_name(0) in said["cuda:0"].said


def test_versions_out_of_bounds_and_missing_packages_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By metadata of another installation of the program, which is found first."""
    info = tmp_path / "deblur_stream-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: deblur-stream\nVersion: 9.9\nRequires-Python: >=4.2\n"
        "Requires-Dist: torch<2,>=1\nRequires-Dist: numpy>=1\nRequires-Dist: rich<2\n"
        "Requires-Dist: no-such-package-of-ours>=3\n"
        "Requires-Dist: elsewhere; sys_platform == 'nowhere'\n"
        "Requires-Dist: more-of-it; extra == 'more'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    said = {finding.what: finding for finding in program.look()}
    assert said["deblur-stream"].said == "9.9"
    assert said["Python"].state == "note"
    assert ">=4.2" in said["Python"].said
    assert said["torch"].state == "note"
    assert said["torch"].todo == "pip install 'torch<2,>=1'"
    assert said["numpy"].state == "ok"
    assert said["rich"].state == "note"
    assert said["no-such-package-of-ours"].state == "missing"
    assert not {"elsewhere", "more-of-it"} & said.keys()


def test_limits_of_containers_are_found(tmp_path: Path) -> None:
    own = tmp_path / "own"
    two = tmp_path / "two"
    (two / "a" / "b").mkdir(parents=True)
    own.write_text("0::/a/b\n")
    assert limits(two, own) == (None, None)
    (two / "a" / "b" / "cpu.max").write_text("max 100000\n")
    (two / "a" / "cpu.max").write_text("150000 100000\n")
    (two / "a" / "memory.max").write_text("2000000000\n")
    (two / "a" / "b" / "memory.max").write_text("max\n")
    assert limits(two, own) == (1.5, 2_000_000_000)
    one = tmp_path / "one"
    (one / "cpu").mkdir(parents=True)
    (one / "memory" / "c").mkdir(parents=True)
    own.write_text("4:memory:/c\n2:cpu,cpuacct:/gone\n0::/\n")
    (one / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (one / "cpu" / "cpu.cfs_period_us").write_text("50000\n")
    (one / "memory" / "c" / "memory.limit_in_bytes").write_text("1000000\n")
    assert limits(one, own) == (None, 1_000_000)
    (one / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    assert limits(one, own) == (4.0, 1_000_000)
    assert limits(one, tmp_path / "not there") == (None, None)


def test_a_folder_that_takes_no_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    said = {finding.what: finding for finding in room.look()}
    assert said["temporary folder"].state in ("ok", "note")
    assert said["current folder"].state == "note"
    assert "nothing can be written" in said["current folder"].said


def test_texts_are_cleaned() -> None:
    clean = cleaner(
        {
            "HOME": "/home/roe",
            "USER": "janeroe",
            "API_KEY": "abcdefgh",
            "SSH_AUTH_SOCK": sys.executable,
            "OTHER_KEY": "/begins/so",
            "CAMERA": "rtsp://u:pass%20word@host/x",
        }
    )
    assert clean("/home/roe/a, /home/roe2/b") == "~/a, /home/roe2/b"
    assert clean("in /scratch/janeroe/x") == "in /scratch/***/x"
    assert clean("at C:\\Users\\janeroe") == "at C:\\Users\\***"
    assert clean("key abcdefgh,\n\npass word") == "key ***, ***"
    assert clean("from rtsp://a:b@c/d") == "from rtsp://***@c/d"
    assert clean(f"at {sys.executable}, /begins/so") == f"at {sys.executable}, ***"


def groups(**changed: tuple[Finding, ...]) -> list[Group]:
    """Findings of a machine on which everything works, but for what is changed."""
    facts = {"engine": "openvino", "device": "cpu", "precision": "float32"}
    usual = {
        "processor": (Finding("cores", "ok", facts={"threads": 1}),),
        "graphics": (Finding("GPU", "none"),),
        "engines": (
            Finding("eager", "ok", facts=facts | {"engine": "eager"}),
            Finding("auto", "ok", facts=facts),
        ),
        "models": (Finding("lite", "ok"),),
        "decoding": (Finding("h264 (software)", "ok"),),
        "encoding": (
            Finding("ffv1", "ok", "FFV1"),
            Finding("auto", "ok", "H.264 by libx264", facts={"encoder": "libx264"}),
        ),
    }
    return [Group(name, each) for name, each in (usual | changed).items()]


def test_the_verdict_follows_from_the_findings() -> None:
    assert Verdict.of(groups()).said == "will use: openvino, float32, 1 core; H.264 by libx264"
    failing = (Finding("auto", "failed", "broken", "use --codec ffv1"),)
    some = Verdict.of(groups(encoding=(Finding("ffv1", "ok", "FFV1"), *failing)))
    assert some.exit_code == 0
    assert some.said.endswith("; FFV1 by ffv1; but use --codec ffv1")
    assert Verdict.of(groups(encoding=failing)).exit_code == 69
    assert Verdict.of(groups(decoding=failing)).exit_code == 69
    none = Verdict.of(groups(engines=(Finding("engines", "failed", "the check crashed"),)))
    assert none.exit_code == 69
    assert none.said == "cannot work: nothing runs the networks: the check crashed"
    damaged = Finding("lite", "failed", "damaged", "install again", {"exit_code": 78})
    broken = Verdict.of(groups(models=(damaged,), engines=(Finding("model", "failed", "damaged"),)))
    assert (broken.exit_code, broken.said) == (78, "cannot work: damaged; install again")
    gpu = {"engine": "cuda", "device": "cuda", "precision": "float16"}
    named = Finding("cuda:0", "ok", facts={"name": "NVIDIA H100"})
    fast = groups(engines=(Finding("auto", "ok", facts=gpu),), graphics=(named,))
    assert Verdict.of(fast).said.startswith("will use: cuda, float16, NVIDIA H100 (cuda); ")
