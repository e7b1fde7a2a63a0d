"""The command as a user runs it: bad input, signals, and what is said where."""

import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.clips import look, make_clip
from tests.rig.command import invoke

DEBLUR = str(Path(sys.executable).with_name("deblur"))


def deblur(*words: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; `limit` is the largest file in bytes that it may write."""
    return subprocess.run(
        [DEBLUR, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        # Coverage would write a file of its own, and fail as well.
        env={key: text for key, text in os.environ.items() if not limit or "COVERAGE" not in key},
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        if limit
        else None,
    )


def good(folder: Path) -> Path:
    return make_clip(folder / "good.mp4", frames=20, size=(96, 64), audio=("eng",))


def missing(folder: Path) -> list[object]:
    return [folder / "missing.mp4"]


def empty(folder: Path) -> list[object]:
    (folder / "empty.mp4").touch()
    return [folder / "empty.mp4"]


def text(folder: Path) -> list[object]:
    (folder / "text.mp4").write_text("This is not a video.\n" * 100)
    return [folder / "text.mp4"]


def noise(folder: Path) -> list[object]:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(100_000))
    return [folder / "noise.mp4"]


def playlist(folder: Path) -> list[object]:
    clip = make_clip(folder / "piece.ts", container="mpegts")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXTINF:1,", str(clip), "#EXT-X-ENDLIST", ""]
    (folder / "list.m3u8").write_text("\n".join(lines))
    return [folder / "list.m3u8", folder / "out.mp4"]


def truncated_mp4(folder: Path) -> list[object]:
    clip = make_clip(folder / "whole.mp4", frames=100, size=(96, 64), mux={"movflags": "faststart"})
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    return [folder / "cut.mp4", "--model", "none"]


def truncated_mkv(folder: Path) -> list[object]:
    clip = make_clip(folder / "whole.mkv", frames=100, size=(96, 64))
    (folder / "cut.mkv").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    return [folder / "cut.mkv", "--model", "none"]


def without_index(folder: Path) -> list[object]:
    clip = make_clip(folder / "whole.mp4", frames=100)
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    return [folder / "cut.mp4", "--model", "none"]


def audio_only(folder: Path) -> list[object]:
    clip = make_clip(folder / "both.mp4", audio=("eng",))
    with av.open(str(clip)) as source, av.open(str(folder / "sound.m4a"), "w") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return [folder / "sound.m4a"]


def encrypted(folder: Path) -> list[object]:
    key = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    return [make_clip(folder / "secret.mp4", mux=key)]


def zero_size(folder: Path) -> list[object]:
    clip = make_clip(folder / "flat.mkv", codec="ffv1")
    data = clip.read_bytes()
    width = b"\xb0\x81\x40"  # the element PixelWidth, 64
    assert data.count(width) == 1
    clip.write_bytes(data.replace(width, b"\xb0\x81\x00"))
    return [clip]


def huge(folder: Path) -> list[object]:
    cv2.imwrite(str(folder / "bomb.png"), np.zeros((9000, 16000), np.uint8))
    return [folder / "bomb.png", folder / "out.mp4"]


def folder_as_input(folder: Path) -> list[object]:
    return [folder, folder / "out.mp4"]


def folder_missing(folder: Path) -> list[object]:
    return [good(folder), folder / "no" / "out.mp4"]


def folder_meant(folder: Path) -> list[object]:
    return [good(folder), f"{folder}/no/"]


def not_writable(folder: Path) -> list[object]:
    if os.geteuid() == 0:
        return [good(folder), "/proc/out.mp4"]
    (folder / "locked").mkdir(mode=0o555)
    return [good(folder), folder / "locked" / "out.mp4"]


def output_is_input(folder: Path) -> list[object]:
    return [good(folder), folder / "good.mp4", "--overwrite"]


def output_links_to_input(folder: Path) -> list[object]:
    (folder / "link.mp4").symlink_to(good(folder))
    return [folder / "good.mp4", folder / "link.mp4", "--overwrite"]


def output_is_input_by_hard_link(folder: Path) -> list[object]:
    (folder / "twin.mp4").hardlink_to(good(folder))
    return [folder / "good.mp4", folder / "twin.mp4", "--overwrite"]


def output_exists(folder: Path) -> list[object]:
    (folder / "mine.mp4").write_text("precious")
    return [good(folder), folder / "mine.mp4"]


def output_without_ending(folder: Path) -> list[object]:
    return [good(folder), folder / "out"]


def unknown_ending(folder: Path) -> list[object]:
    return [good(folder), folder / "out.xyz"]


def unknown_model(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--model", "lihte"]


def damaged_weights(folder: Path) -> list[object]:
    (folder / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 this is not JSON")
    return [good(folder), folder / "out.mp4", "--model", folder / "bad.safetensors"]


def wrong_weights(folder: Path) -> list[object]:
    save_file({"layer.weight": torch.zeros(3)}, folder / "other.safetensors")
    return [good(folder), folder / "out.mp4", "--model", folder / "other.safetensors"]


def weights_with_nan(folder: Path) -> list[object]:
    from tests.compute.test_mssnet import tiny

    state = tiny().state_dict()
    state["slope"] = torch.tensor([float("nan")])
    save_file(state, folder / "nan.safetensors")
    return [good(folder), folder / "out.mp4", "--model", folder / "nan.safetensors"]


def unknown_device(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--device", "toaster"]


def missing_gpu(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--device", "cuda:99"]


def strength_out_of_range(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--strength", "1.5"]


def unknown_codec(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--codec", "mpeg9"]


def codec_that_does_not_fit(folder: Path) -> list[object]:
    return [good(folder), folder / "out.webm", "--codec", "h264"]


def quality_out_of_range(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--quality", "99"]


def unknown_preset(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--encoder-preset", "furious"]


def start_behind_the_end(folder: Path) -> list[object]:
    return [good(folder), folder / "out.mp4", "--start", "1000"]


BAD: list[tuple[Callable[[Path], list[object]], int, str]] = [
    (missing, 66, "does not exist"),
    (folder_as_input, 2, "need a folder"),
    (empty, 65, "empty"),
    (text, 65, "not a video"),
    (noise, 65, "not a video"),
    (playlist, 65, "not a video"),
    (truncated_mp4, 65, "truncated"),
    (truncated_mkv, 65, "truncated"),
    (without_index, 65, "complete"),
    (audio_only, 65, "no video stream"),
    (encrypted, 65, "encrypted"),
    (zero_size, 65, ""),
    (huge, 65, "--max-pixels"),
    (folder_missing, 73, "does not exist; create it"),
    (folder_meant, 73, "if it is to be a folder, create it first"),
    (not_writable, 73, "cannot write"),
    (output_is_input, 73, "the input itself"),
    (output_links_to_input, 73, "the input itself"),
    (output_is_input_by_hard_link, 73, "the input itself"),
    (output_exists, 73, "--overwrite"),
    (output_without_ending, 73, "ending"),
    (unknown_ending, 73, "not written"),
    (codec_that_does_not_fit, 73, "cannot hold"),
    (unknown_model, 78, "did you mean lite"),
    (damaged_weights, 78, "safetensors"),
    (wrong_weights, 78, "not the weights of an MSSNet"),
    (weights_with_nan, 78, "finite"),
    (missing_gpu, 69, "--device cpu"),
    (unknown_device, 2, "toaster"),
    (strength_out_of_range, 2, "0..1"),
    (unknown_codec, 2, "mpeg9"),
    (quality_out_of_range, 2, "51"),
    (unknown_preset, 2, "--encoder-preset furious"),
    (start_behind_the_end, 65, "no frame"),
]


@pytest.mark.parametrize(("make", "code", "said"), BAD, ids=[make.__name__ for make, _, _ in BAD])
def test_bad_input(
    make: Callable[[Path], list[object]],
    code: int,
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = invoke("run", *words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert capfd.readouterr() == ("", ""), "FFmpeg prints, too"
    # On a busy machine a job of seconds is foreseen to be long, which is said.
    (line,) = [each for each in done.stderr.splitlines() if not each.startswith("about ")]
    assert said in line
    assert line.startswith("deblur: ")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before, "the user's files are untouched"
    new = [path for path in after if path not in before]
    if said == "truncated":
        (part,) = new
        assert ".part." in part.name
        assert part.name in line
        assert 10 < len(look(part).timestamps) < 100, "what could be restored is kept"
    else:
        assert new == []


def test_a_full_disk(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=60, size=(320, 240))
    output = tmp_path / "out.mp4"
    done = deblur("run", source, output, "--strength", 0, "--quality", 0, limit=100_000)
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "free some space" in done.stderr
    assert not output.exists()


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root, on Linux, mounts a small disk"
)
def test_a_disk_that_gets_full_and_is_made_larger(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=200, size=(320, 240), options={"crf": "40"})
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        words = ("run", source, disk / "out.mp4", "--strength", 0, "--quality", 4)
        done = deblur(*words)
        assert done.returncode == 74
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "free some space" in done.stderr
        assert "--resume" in done.stderr
        assert not (disk / "out.mp4").exists()
        subprocess.run(["mount", "-o", "remount,size=99m", disk], check=True)
        done = deblur(*words, "--resume")
        assert done.returncode == 0, done.stderr
        assert "resuming: " in done.stderr
        assert sorted(path.name for path in disk.iterdir()) == ["out.mp4"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_damaged_frames_are_concealed_and_counted(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=60, size=(160, 128), options={"g": "10"})
    data = bytearray(source.read_bytes())
    start, end = data.index(b"mdat") + 4000, len(data) - 6000
    for place in np.random.default_rng(3).integers(start, end, 40):
        data[place] ^= 0xFF
    source.write_bytes(data)
    done = deblur("run", source, tmp_path / "out.mp4", "--strength", 0)
    assert done.returncode == 0, done.stderr
    assert "damaged frames" in done.stderr
    with av.open(str(source)) as container:
        decoded = 0
        for packet in container.demux(video=0):
            try:
                decoded += len(packet.decode())
            except av.error.InvalidDataError:
                continue
    assert len(look(tmp_path / "out.mp4").timestamps) == decoded


def test_a_run_says_what_it_did_on_stderr_alone(tmp_path: Path) -> None:
    done = deblur("run", good(tmp_path), "--device", "cpu", "--model", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "20 frames" in done.stderr
    assert "good.deblurred.mp4" in done.stderr
    assert "conforms: 20 frames, 2 streams, nothing lost" in done.stderr
    assert "note: nothing was gained" in done.stderr, "it is drawn, and sharp"
    assert len(done.stderr.splitlines()) == 3
    assert len(look(tmp_path / "good.deblurred.mp4").timestamps) == 20


@pytest.mark.parametrize(
    ("words", "gone", "code"),
    [
        ("run good.mp4 out.mp4 --model none", "2>&1 | true", 0),
        ("run good.mp4 out.mp4 --model none", ">&- 2>&-", 0),
        ("run good.mp4 out.mp4 --model none", "2>/dev/full", 0),
        ("run missing.mp4", "2>&1 | true", 66),
        ("info good.mp4", "| true", 0),
        ("info good.mp4", ">/dev/full", 74),
        ("--help", ">/dev/full", 74),
    ],
)
def test_whoever_reads_the_lines_may_go(words: str, gone: str, code: int, tmp_path: Path) -> None:
    good(tmp_path)
    script = f"{DEBLUR} {words} {gone}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=250, check=False)
    assert done.returncode == code
    assert (tmp_path / "out.mp4").exists() == words.startswith("run good")


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=40, size=(256, 192))
    here, there = pty.openpty()
    command = [DEBLUR, "run", str(source), "--device", "cpu"]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(command, stderr=there, stdout=there, env=environment) as running:
        os.close(there)
        seen = b""
        while True:
            try:
                chunk = os.read(here, 4096)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            seen += chunk
    assert running.returncode == 0
    assert b"fps" in seen
    assert b"bottleneck deblur" in seen
    os.close(here)


def start_long_run(folder: Path, frames: int = 250) -> tuple[subprocess.Popen[str], Path]:
    """A run that takes a while, without a network on any machine, once it has written something."""
    source = make_clip(folder / "in.mp4", frames=frames, size=(256, 192), audio=("eng",))
    output = folder / "out.mp4"
    running = subprocess.Popen(
        [DEBLUR, "run", str(source), str(output), "--model", "none"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 250
    while not playable(output):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running, output


def playable(output: Path) -> int:
    """How many frames a player finds in what is on disk of a file that is being made."""
    segments = output.with_name(f"{output.name}.part").glob("*.mkv")
    return sum(len(look(segment).timestamps) for segment in segments)


@pytest.mark.slow
def test_what_a_crash_leaves_can_be_played_and_gone_on_with(tmp_path: Path) -> None:
    running, output = start_long_run(tmp_path)
    running.kill()
    running.communicate(timeout=30)
    assert not output.exists()
    assert playable(output) >= 50
    words = ("run", tmp_path / "in.mp4", output, "--model", "none")
    done = deblur(*words)
    assert done.returncode == 73
    assert "--resume" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = deblur(*words, "--resume", "--strength", 0.5)
    assert done.returncode == 73
    assert "another strength" in done.stderr
    done = deblur(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming: " in done.stderr
    assert "conforms: 250 frames" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_one_signal_finishes_what_is_done(number: signal.Signals, tmp_path: Path) -> None:
    running, output = start_long_run(tmp_path)
    running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "stopped early" in said
    assert not output.exists(), "it is not whole"
    seen = look(tmp_path / "out.part.mp4")
    assert 50 <= len(seen.timestamps) < 250
    assert seen.packets[0], "sound as well"
    done = deblur("run", tmp_path / "in.mp4", output, "--model", "none", "--resume")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_two_signals_stop_at_once(tmp_path: Path) -> None:
    running, output = start_long_run(tmp_path)
    running.send_signal(signal.SIGINT)
    time.sleep(0.1)
    begun = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert time.monotonic() - begun < 15  # a second where a core is free
    assert running.returncode == 130
    assert "--resume" in said
    assert not output.exists()
    assert playable(output) >= 50


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    running, output = start_long_run(tmp_path, 600)
    for words in ([], ["--resume"], ["--overwrite"]):
        done = deblur("run", tmp_path / "in.mp4", output, *words, "--model", "none")
        assert done.returncode == 73
        assert len(done.stderr.splitlines()) == 1
        assert "another run" in done.stderr or "--resume" in done.stderr
    running.kill()
    running.communicate(timeout=30)


def test_info_and_models_and_version(tmp_path: Path) -> None:
    import json

    facts = json.loads(deblur("info", good(tmp_path), "--json").stdout)
    assert [stream["type"] for stream in facts["streams"]] == ["video", "audio"]
    assert facts["streams"][0]["size"] == "96x64"
    assert facts["streams"][0]["frames"] == 20
    assert "96x64" in deblur("info", tmp_path / "good.mp4").stdout
    assert deblur("info", tmp_path / "none.mp4").returncode == 66
    assert "lite" in deblur("models").stdout
    assert deblur("--version").stdout.startswith("deblur-stream ")


def test_an_imported_model_is_found_by_its_name(tmp_path: Path) -> None:
    from tests.compute.test_mssnet import published_names, tiny

    torch.save({"model_state_dict": published_names(tiny().state_dict())}, tmp_path / "m.pt")
    done = deblur("models", "import", tmp_path / "m.pt", "--name", "theirs")
    assert done.returncode == 0, done.stderr
    assert "theirs" in deblur("models").stdout
    done = deblur("run", good(tmp_path), tmp_path / "out.mp4", "--model", "theirs")
    assert done.returncode == 0, done.stderr
    done = deblur("models", "import", tmp_path / "good.mp4", "--name", "x")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "live"])
def test_every_option_is_in_a_group(command: str) -> None:
    from typer.main import get_command

    from stream.cli import app

    commands = vars(get_command(app))["commands"]
    alone = {
        name
        for each in commands[command].params
        if each.param_type_name == "option" and each.rich_help_panel is None
        for name in each.opts
    }
    assert alone <= {"--verbose", "-v", "--help", "-h"}
