"""What is measured, and what is told of it: make bench, deblur bench, and the estimate of a run."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import mssnet
import stream
from benchmarks import report, timing
from benchmarks.fusion import NOISE, costs
from benchmarks.machine import machine
from benchmarks.plan import quick
from benchmarks.plots import available as plots_available
from benchmarks.presets import checkpoint, engines
from benchmarks.roofline import Peaks, bound, layers_of, layers_of_preset
from benchmarks.tables import Part, Table, figure
from stream.cli.terminal import estimated, spoken
from stream.compute.models import load_model
from stream.files.bench import Findings, Row, bench
from stream.files.estimate import Estimate, Forecast, RateEstimate
from stream.files.report import Progress
from stream.output.size_estimate import SizeEstimate
from tests.clips import make_clip

ROOT = Path(__file__).parents[2]
DEBLUR = str(Path(sys.executable).with_name("deblur"))


class Tiny(nn.Module):
    """3 channels to 4 by 3x3, an activation, a 1x1 that is added to its input, then doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.flat = nn.Conv2d(4, 4, 1, bias=False)
        self.slope = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        x = F.prelu(self.wide(x), self.slope)
        x = x + self.flat(x)
        return F.interpolate(x, scale_factor=2, mode="bilinear")


def test_a_tiny_network_is_counted_as_by_hand() -> None:
    pixels = 10 * 6
    layers = layers_of(Tiny(), torch.rand(1, 3, 6, 10))
    assert [layer.macs for layer in layers] == [pixels * 4 * 3 * 9, pixels * 4 * 4, 0, 0]
    # The first convolution and its weights, the second, the addition's other operand, the resizing.
    assert [layer.read for layer in layers] == [
        3 * pixels + 108,
        4 * pixels + 16,
        4 * pixels,
        4 * pixels,
    ]
    assert [layer.written for layer in layers] == [4 * pixels, 4 * pixels, 0, 16 * pixels]
    # 6480 and 960 MACs at 12960 FLOP/s; at 1 byte each, 528 and 496 and 240 and 1200 at 1000 a s.
    least = bound(layers, Peaks("float32", 12960.0, 1000.0), 1)
    assert least.compute_ms == pytest.approx(1e3 * 7440 * 2 / 12960)
    assert least.memory_ms == pytest.approx(528 + 496 + 240 + 1200)
    assert least.bound_ms == pytest.approx(1000 + 496 + 240 + 1200)


def test_a_network_has_the_operations_that_pytorch_counts() -> None:
    net = mssnet.MSSNet(mssnet.PRESETS["lite"]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.rand(1, 3, 96, 128))
    macs = sum(layer.macs for layer in layers_of_preset("lite", (128, 96)))
    assert 2 * macs == counter.get_total_flops()
    # Padded to multiples as it is in use.
    assert sum(layer.macs for layer in layers_of_preset("lite", (127, 65))) == macs


def test_turns_alternate_and_ratios_are_within_rounds() -> None:
    said: list[str] = []
    drift = iter(range(1, 100))

    def measure(name: str, factor: float) -> float:
        said.append(name)
        return factor * (next(drift) // 2)

    work = {"a": lambda: measure("a", 1.0), "b": lambda: measure("b", 3.0)}
    times = timing.in_turns(work, 3, warm_up=1)
    assert said == ["a", "b"] * 4
    assert [len(each) for each in times.values()] == [3, 3]
    # Where rounds take too long there are two, and all count.
    said.clear()
    assert [len(each) for each in timing.in_turns(work, 5, limit_s=0).values()] == [2, 2]
    assert said == ["a", "b"] * 2
    assert timing.ratio([2, 30, 4], [1, 10, 2]) == 2
    assert timing.spread([5.0, 1.0, 3.0, 2.0, 4.0]) == timing.Spread(3.0, 2.0, 4.0, 5)
    assert timing.spread([7.0]).high == 7.0
    with pytest.raises(ValueError, match="nothing"):
        timing.spread([])


def test_a_stopwatch_tells_waiting_from_work() -> None:
    with timing.Stopwatch() as slept:
        time.sleep(0.2)
    with timing.Stopwatch() as worked:
        ends = time.process_time() + 0.1
        while time.process_time() < ends:
            pass
    assert slept.cost.wall_s >= 0.2
    assert slept.cost.cpu_s < 0.1
    assert worked.cost.cpu_s >= 0.1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (0, "0"),
        (0.01234, "0.0123"),
        (0.5, "0.50"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (99.96, "100"),
        (1234.5, "1230"),
        (1, "1.00"),
    ],
)
def test_figures_have_three_digits(value: float | None, said: str) -> None:
    assert figure(value) == said


def test_tables() -> None:
    table = Table("Speed", ("what", "fps"), [("one", "2.0")], note="Measured.")
    assert table.markdown() == (
        "### Speed\n\n| what | fps |\n| --- | ---: |\n| one | 2.0 |\n\nMeasured.\n"
    )
    assert table.shown().row_count == 1
    with pytest.raises(ValueError, match="1 cells"):
        Table("Speed", ("what", "fps"), [("one",)])


def measured(commit: str = "abc", cpu: str = "A", fast: str = "2.0") -> report.Measured:
    facts = {**machine(), "cpu": cpu, "commit": commit}
    table = Table("Speed", ("what", "fps"), [("one", fast)])
    return report.Measured(facts, False, {"engines": Part({"x": 1}, [table])})


def test_parts_of_one_machine_and_commit_are_joined(tmp_path: Path) -> None:
    first = report.write(tmp_path, measured())
    other = Part({"y": 2}, [Table("Memory", ("what", "MiB"), [("one", "5")])])
    both = report.write(tmp_path, replace(first, parts={"memory": other}))
    assert both.parts.keys() == {"engines", "memory"}
    assert "### Memory" in (tmp_path / "bench.md").read_text()
    again = report.Measured.read(tmp_path / "bench.json")
    assert report.data_of(again, "memory") == {"y": 2}
    assert again.markdown() == both.markdown()
    # Another commit begins anew.
    assert report.write(tmp_path, measured("def")).parts.keys() == {"engines"}


def test_results_have_a_section_for_each_machine(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    for number, each in enumerate((measured(), measured(cpu="B"), measured("new", fast="9.9"))):
        each.save(tmp_path / f"{number}.json")
        os.utime(tmp_path / f"{number}.json", (number, number))
    (tmp_path / "3.json").write_text("{}")
    replace(measured(), quick=True).save(tmp_path / "4.json")
    found, left_out = report.newest(tmp_path.glob("*.json"))
    assert len(found) == 2
    assert len(left_out) == 2
    report.publish(page, {key: measured() for key in found})
    report.publish(page, found)
    text = page.read_text()
    assert text.count("<!-- machine:") == text.count("<!-- /machine -->") == 2
    assert text.count("| one | 9.9 |") == 1
    assert text.count("| one | 2.0 |") == 1


def test_every_engine_that_is_here_is_measured(tmp_path: Path) -> None:
    found = engines(torch.device("cpu"))
    assert ("eager", "float32") in found
    assert ("eager", "bfloat16") in found
    file = checkpoint("small", tmp_path)
    restore = load_model(str(file), device="cpu", precision="float32", engine="eager")
    assert restore.net.config == mssnet.PRESETS["small"]


def test_shaken_frames_are_fused_and_timed() -> None:
    rate, found = costs(torch.device("cpu"), (192, 112), quick=True)
    assert rate > 0
    assert {(each.frames, each.noise) for each in found} == {
        (frames, noise) for frames in ("3+3", "2+2", "3+0") for noise in NOISE
    }
    for each in found:
        assert each.scaled_ms == pytest.approx(each.ms * rate / 100)
        assert each.from_neighbors > 0.02, "neighbors are asked"


def test_a_wrong_part_is_said_in_one_line() -> None:
    done = run_benchmarks("--only", "engine")
    assert done.returncode == 2
    assert done.stdout.strip().startswith("benchmarks: unknown part engine; there are engines")


@pytest.mark.slow
def test_everything_is_measured_quickly(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = run_benchmarks("--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begun < 120
    found = report.Measured.read(tmp_path / "bench.json")
    assert found.parts.keys() == {
        *("engines", "roofline", "pipeline", "filters", "fusion", "memory", "growth")
    }
    spins = [row["threads"] for row in found.parts["engines"].data["engines"]]
    assert {"sleep", "spin"} <= set(spins)
    runs = found.parts["pipeline"].data["clips"][0]["variants"]
    assert runs.keys() == {"default", "--fuse 0", "--upscale 3"}
    assert ["fuse" in run["alone"] for run in runs.values()] == [True, False, True]
    assert "enlarge" in runs["--upscale 3"]["alone"]
    assert len(list(tmp_path.glob("*.png"))) == (4 if plots_available() else 0)
    assert quick(tmp_path).presets == ("lite",)


def run_benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def row(model: str, network: float, run: float, size: str = "640x360") -> Row:
    return Row(model, "eager", "float32", size, network, run, True)


def test_the_largest_model_that_keeps_up_is_recommended() -> None:
    rows = [row("lite", 90, 60), row("lite", 20, 10, "1280x720"), row("fine", 40, 30)]
    found = Findings("cpu", 1.0, [*rows, row("huge", 2, 2)])
    assert found.recommended == "fine"
    assert found.advice == "recommended: fine; 640x360 plays live at 25 fps"
    slow = Findings("cpu", 1.0, [row("lite", 20, 10), row("lite", 5, 2, "1280x720")])
    assert slow.advice == (
        "recommended: lite; 640x360 takes 2.5 times the video's length, 1280x720 12 times"
    )


def test_a_bench_measures_and_derives_what_there_is_no_time_for() -> None:
    found = bench("lite", [(128, 96), (96, 64)], "cpu", seconds=40)
    assert [each.size for each in found.rows[:1]] == ["96x64"]
    best = found.of("lite")
    assert all(each.network_fps > 0 < each.run_fps for each in best)
    assert any(each.measured for each in best)  # of a busy machine no more can be said
    assert json.loads(json.dumps(found.to_json()))["recommended"] == "lite"
    none = bench("lite", [(96, 64), (1920, 1080)], "cpu", seconds=0)
    assert none.seconds < 60  # a few seconds where a core is free
    assert not any(each.measured for each in none.rows)
    # Each in a precision of its own: not all have the one that a run would take.
    assert ("onnx" in {each.engine for each in none.rows}) == (find_spec("onnxruntime") is not None)
    assert none.of("lite")[1].network_fps == pytest.approx(
        none.of("lite")[0].network_fps * 96 * 64 / (1920 * 1080),
        rel=0.02,
        abs=6e-4,  # they are rounded
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--size", "big"], 2),
        (["--size", "0x100"], 2),
        (["--device", "toaster"], 2),
        (["--model", "nothing"], 78),
        (["--frobnicate"], 2),
    ],
)
def test_a_bench_says_in_one_line_what_is_wrong(words: list[str], code: int) -> None:
    done = subprocess.run([DEBLUR, "bench", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    if words != ["--frobnicate"]:
        assert done.stderr.splitlines()[-1].startswith("deblur: ")
    assert "Traceback" not in done.stderr


def test_the_command_prints_a_table_or_json() -> None:
    words = [DEBLUR, "bench", "--model", "lite", "--size", "96x64", "--device", "cpu"]
    both = [
        subprocess.Popen([*words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for more in ([], ["--json"])
    ]
    (table, said), (found, _) = (each.communicate(timeout=120) for each in both)
    assert [each.returncode for each in both] == [0, 0], said
    assert "recommended: lite; 96x64 " in table
    assert "about a minute" in said
    assert json.loads(found)["rows"][0]["size"] == "96x64"


def test_ctrl_c_ends_a_bench_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [DEBLUR, "bench", "--size", "1280x720", "--device", "cpu"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("deblur-bench-*")):
            time.sleep(0.1)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "deblur: stopped"
    assert not list(tmp_path.iterdir())


PROGRESS = Progress("restoring", 0, 0, 5400, 0.0, 180.0, 0.0, {"deblur": 0.9}, None, "openvino")


def watched(fps: float, total: int, from_bytes_s: float | None = 1.0) -> list[Estimate]:
    """What a forecast tells of a job with a steady rate, and when its encoder begins to give."""
    told: list[Estimate] = []
    now = 0.0
    forecast = Forecast(told.append, clock=lambda: now)
    while now < 60 and now * fps < total:
        known = from_bytes_s is not None and now >= from_bytes_s
        forecast.see(
            replace(
                PROGRESS,
                frames=int(now * fps),
                expected_frames=total,
                elapsed_s=now,
                expected_bytes=210_000_000 if known else None,
            )
        )
        now += 0.1
    return told


@pytest.mark.parametrize("fps", [0.5, 1.4, 30.0])
def test_a_speed_is_a_mean_and_leaves_out_the_start(fps: float) -> None:
    """The network takes 20 s to be compiled, during which the first frame is done at best."""
    pace, shown, left = RateEstimate(), [], []
    for tenth in range(1200):
        now = tenth / 10
        frames = int(max(0.0, now - 20) * fps)
        pace.see(replace(PROGRESS, frames=frames, elapsed_s=now))
        if pace.fps is None:
            assert frames <= 12
            continue
        shown.append(pace.fps)
        left.append((pace.left_s(5400) or 0.0) / ((5400 - frames) / fps))
    assert shown == pytest.approx([fps] * len(shown), rel=0.35)
    assert left == pytest.approx([1.0] * len(left), rel=0.5)
    pace.see(replace(PROGRESS, frames=1, elapsed_s=0.5))
    assert pace.fps is None, "another file"


def test_an_estimate_is_told_once_and_of_long_jobs_alone() -> None:
    told = watched(27, 5400)
    assert len(told) == 1
    assert told[0].fps == pytest.approx(27, rel=0.1)
    assert told[0].seconds == pytest.approx(200, rel=0.1)
    assert told[0].bytes == 210_000_000
    assert watched(27, 700) == []
    # A slow job waits for the encoder, but not for ever.
    assert watched(2, 1000, from_bytes_s=20)[0].bytes == 210_000_000
    assert watched(2, 1000, from_bytes_s=None)[0].bytes is None


def test_an_estimate_is_one_line() -> None:
    estimate = Estimate(5400, 201, 27.1, 211_000_000, "openvino, bfloat16")
    assert estimated(estimate) == (
        "about 3 min 20 s for 5400 frames (27 fps on openvino, bfloat16); about 210 MB"
    )
    assert estimated(replace(estimate, fps=0.512, bytes=None)) == (
        "about 3 min 20 s for 5400 frames (0.51 fps on openvino, bfloat16)"
    )
    assert estimated(replace(estimate, bytes=None, runs_on="no network")) == (
        "about 3 min 20 s for 5400 frames (27 fps without a network)"
    )
    for seconds, runs_on, hint in (
        (3600, "openvino, float32", True),
        (3600, "openvino, bfloat16", False),
        (500, "openvino, float32", False),
    ):
        said = estimated(replace(estimate, seconds=seconds, runs_on=runs_on))
        assert ("--model none is quicker" in said) == hint
    assert [spoken(each) for each in (0, 42, 60, 3596, 7300)] == [
        *("0 s", "42 s", "1 min", "1 h 0 min", "2 h 1 min")
    ]


def test_segments_are_weighed_by_their_first_frame_and_the_rest() -> None:
    estimator = SizeEstimate(10)
    estimator.add(1000)
    assert estimator.per_frame is None
    for _ in range(8):
        estimator.add(100)
    assert estimator.per_frame == pytest.approx((1000 + 9 * 100) / 10)
    estimator.add(300)
    assert estimator.per_frame == pytest.approx(210)
    for size in (1000, *[100] * 9):
        estimator.add(size)
    assert estimator.per_frame == pytest.approx(200)


def test_a_real_job_is_forecast_from_its_first_frames(tmp_path: Path) -> None:
    restore = load_model("lite", device="cpu", engine="eager", precision="float32")
    clip = make_clip(tmp_path / "clip.mp4", frames=120, size=(128, 96), audio=("eng",))
    told: list[Estimate] = []
    silent: list[Estimate] = []
    seen: list[Progress] = []
    eager = Forecast(told.append, longer_than_s=0, least_s=0.05)
    usual = Forecast(silent.append, longer_than_s=3600)

    def watch(progress: Progress) -> None:
        seen.append(progress)
        eager.see(progress)
        usual.see(progress)

    output = tmp_path / "out.mp4"
    done = stream.Job(clip, output, stream.Settings(device="cpu")).run(watch, restore=restore)
    assert silent == []
    assert len(told) == 1
    assert told[0].frames == 120
    assert 0.3 < told[0].seconds / done.seconds < 3
    assert told[0].runs_on == "eager, float32"
    weighed = seen[-1].expected_bytes
    assert weighed is not None
    assert 0.8 < weighed / output.stat().st_size < 1.25


SLOWLY = ["--device", "cpu", "--engine", "eager", "--precision", "float32"]
"""So that a fast machine is still at it when it can be told how long it will take."""
LOWERED = (
    "import sys; from functools import partial; import stream.cli as cli;"
    "run = sys.modules['stream.cli.run'];"
    "run.forecast = partial(run.forecast, longer_than_s=0, least_s=0.05); cli.main()"
)


def test_a_run_says_how_long_it_will_take(tmp_path: Path) -> None:
    """With the length lowered from which on a job is long."""
    clip = make_clip(tmp_path / "clip.mp4", frames=120, size=(128, 96))
    words = [sys.executable, "-c", LOWERED, "run", str(clip), *SLOWLY]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "120 frames (" in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("about ")


@pytest.mark.slow
def test_a_batch_says_it_of_each_file_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("one.mp4", "two.mp4"):
        make_clip(tmp_path / "in" / name, frames=120, size=(128, 96))
    here, there = pty.openpty()
    words = [sys.executable, "-c", LOWERED, "run", str(tmp_path / "in"), str(tmp_path / "out")]
    command = [*words, *SLOWLY]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    shown = io.BytesIO()
    with subprocess.Popen(command, cwd=ROOT, stderr=there, env=environment) as process:
        os.close(there)
        try:
            while piece := os.read(here, 4096):
                shown.write(piece)
        except OSError:  # Linux's way to say that the other end is closed
            pass
    os.close(here)
    said = shown.getvalue().decode()
    assert process.returncode == 0, said
    for name in ("one.mp4", "two.mp4"):
        assert said.count(f"{name}: about ") == 1, said
