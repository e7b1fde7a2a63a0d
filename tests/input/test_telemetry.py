"""What a camera noted beside the pictures: read right, or refused in one line."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import stream
from stream.cli import app
from stream.input.probe import telemetry_of
from stream.input.source import Source
from stream.options.exposure import Exposure
from stream.stages.seen import measured_of
from stream.stages.shutter import shutter_of
from stream.telemetry.record import Telemetry
from tests.clips import make_clip
from tests.telemetry import filmed, log, nest, packets, text, value

RATE = 400.0


def shaken(seconds: float = 2.0, rate: float = RATE) -> NDArray[np.float64]:
    """Rates about a camera's axes, (n, 3): each of its own frequency."""
    times = np.arange(round(seconds * rate)) / rate
    return np.stack(
        [size * np.sin(2 * np.pi * hz * times + hz) for size, hz in ((0.5, 3), (0.8, 5), (0.3, 2))],
        axis=1,
    )


def noted(path: Path) -> Telemetry | None:
    source = Source(path)
    try:
        return telemetry_of(source)
    finally:
        source.close()


def test_gpmf_is_read(tmp_path: Path) -> None:
    rates = shaken()
    found = noted(filmed(tmp_path / "a.mp4", packets(rates, RATE, shutter=1 / 120)))
    assert found is not None
    assert found.faults == []
    assert found.gyro is not None
    assert found.shutter is not None
    assert found.gyro.rate == pytest.approx(RATE, rel=1e-3)
    assert found.gyro.times[0] == pytest.approx(0, abs=1e-3)
    assert np.abs(found.gyro.values - rates).max() < 1e-3
    assert found.shutter.values == pytest.approx(1 / 120)
    assert len(found.shutter.times) == 60


@pytest.mark.parametrize("orientation", ["XYZ", "YxZ", "xzY", "zYX"])
def test_logs_are_read(tmp_path: Path, orientation: str) -> None:
    rates = shaken()
    clip = make_clip(tmp_path / "a.mp4", frames=45)
    more = {"frame_readout_time": "15.5", "frame_readout_direction": "1"}
    log(tmp_path / "a.gcsv", rates, RATE, orientation, **more)
    found = noted(clip)
    assert found is not None
    assert found.faults == []
    assert found.gyro is not None
    assert np.abs(found.gyro.values - rates).max() < 1e-3
    assert found.readout == pytest.approx(-0.0155)
    assert found.camera == "a logger"


def test_what_newer_cameras_say_is_read(tmp_path: Path) -> None:
    rates = shaken()
    raw = -rates[:, [1, 0, 2]]
    # Y, -X, Z, as a later camera has them, of Z, X, Y.
    order = np.stack([raw[:, 2], -raw[:, 1], raw[:, 0]], axis=1)
    said = packets(-order[:, [1, 0, 2]], RATE, axes="(y,-x,z)")
    quaternions = np.tile([32767, 3000, 0, 0], (30, 1)).astype(">i2").tobytes()
    turned = nest(
        "STRM",
        value("SCAL", "s", 2, (32767).to_bytes(2, "big")),
        value("IORI", "s", 8, quaternions),
    )
    readout = nest("STRM", value("SROT", "f", 4, np.full(30, 11.3, ">f4").tobytes()))
    own = nest("DEVC", text("MINF", "HERO9 Black"), text("VFOV", "L"), turned, readout)
    found = noted(filmed(tmp_path / "a.mp4", [each + own for each in said]))
    assert found is not None
    assert found.faults == []
    assert found.gyro is not None
    assert found.lens is not None
    assert np.abs(found.gyro.values - rates).max() < 1e-3
    assert found.stabilized
    assert found.readout == pytest.approx(0.0113)
    assert (found.camera, found.lens.kind) == ("GoPro HERO9 Black", "pinhole")


def test_info_tells(tmp_path: Path) -> None:
    clip = filmed(tmp_path / "a.mp4", packets(shaken(), RATE))
    told = json.loads(CliRunner().invoke(app, ["info", "--json", str(clip)]).stdout)["telemetry"]
    assert told["shutter"] == "1/120 s, of 60 frames"
    assert told["gyroscope"] == "800 readings, 400.0 a second"
    shown = CliRunner().invoke(app, ["info", str(clip)]).stdout
    assert "1/120 s, of 60 frames" in shown
    assert (
        "telemetry"
        not in CliRunner().invoke(app, ["info", str(make_clip(tmp_path / "b.mp4"))]).stdout
    )


def test_output_carries_the_track(tmp_path: Path) -> None:
    clip = filmed(tmp_path / "a.mp4", packets(shaken(), RATE))
    settings = stream.Settings(model="none", fuse=0, device="cpu")
    stream.Job(clip, tmp_path / "b.mp4", settings).run()
    before, after = noted(clip), noted(tmp_path / "b.mp4")
    assert before is not None
    assert after is not None
    assert before.facts() == after.facts()


def test_files_without_telemetry_have_none(tmp_path: Path) -> None:
    assert noted(make_clip(tmp_path / "a.mp4")) is None
    assert noted(make_clip(tmp_path / "a.mkv")) is None


def broken(said: list[bytes], how: str) -> list[bytes]:
    whole = packets(shaken(), RATE)
    return {
        "truncated": [said[0], said[1][: len(said[1]) // 2]],
        "no scale": packets(shaken(), RATE, scale=0),
        "slow": packets(shaken(rate=10), 10),
        "short": [said[0]],
        "backwards": [said[1], said[0]],
        "gaps": [whole[0].replace(b"TSMPL\4\0\1\0\0\1\x90", b"TSMPL\4\0\1\0\0\4\x90"), whole[1]],
    }[how]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", "damaged in packet 2"),
        ("no scale", "GYRO has no scale"),
        ("slow", "would have 10 readings a second"),
        ("short", "cover 1.0 s of 2.0 s"),
        ("backwards", "counts its samples backwards"),
        ("gaps", "counts its samples backwards"),
    ],
)
def test_broken_telemetry_is_named(tmp_path: Path, how: str, said: str) -> None:
    found = noted(filmed(tmp_path / "a.mp4", broken(packets(shaken(), RATE), how)))
    assert found is not None
    assert found.gyro is None
    (fault,) = found.faults
    assert said in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"gscale": ""}, "says no gscale"),
        ({"tscale": "0.00000001"}, "cover 0.0 s of 1.8 s"),
        ({"tscale": "many"}, "which is no number"),
        ({"orientation": "XXZ"}, "no arrangement of XYZ"),
    ],
)
def test_broken_logs_are_named(tmp_path: Path, header: dict[str, str], said: str) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=45)
    file = log(tmp_path / "a.gcsv", shaken(), RATE)
    lines = file.read_text().splitlines()
    changed = [
        f"{line.split(',')[0]},{header[line.split(',')[0]]}"
        if line.split(",")[0] in header
        else line
        for line in lines
    ]
    file.write_text("\n".join(line for line in changed if not line.endswith("gscale,")))
    found = noted(clip)
    assert found is not None
    assert found.gyro is None
    (fault,) = found.faults
    assert said in fault
    assert "\n" not in fault


def damaged_packets(luck: random.Random) -> list[bytes]:
    """Telemetry of two seconds that is broken in some way."""
    way = luck.choice(("bytes", "cut", "rate", "calibration"))
    if way == "rate":
        rate = RATE * luck.choice((0.02, 0.1, 0.4, 0.7, 1.6, 30))
        return packets(shaken(rate=RATE), rate)
    whole = packets(shaken(), RATE)
    if way == "calibration":
        name = luck.choice((b"SCAL", b"GYRO", b"TSMP"))
        return [each.replace(name, b"free") for each in whole]
    number = luck.randrange(2)
    content = bytearray(whole[number])
    if way == "cut":
        del content[luck.randrange(1, len(content)) :]
    for _ in range(luck.choice((1, 5, 50)) if way == "bytes" else 0):
        content[luck.randrange(len(content))] = luck.randrange(256)
    whole[number] = bytes(content)
    return whole


def damaged_log(luck: random.Random, whole: bytes) -> bytes:
    way = luck.choice(("bytes", "cut", "rate", "calibration"))
    if way == "cut":
        return whole[: luck.randrange(1, len(whole))]
    if way == "rate":
        scale = luck.choice((b"0.00000002", b"0.0000001", b"0.0000005", b"0.00003", b"-0.000001"))
        return whole.replace(b"tscale,0.000001", b"tscale," + scale)
    if way == "calibration":
        line = luck.choice((b"gscale,", b"tscale,", b"orientation,", b"t,gx,"))
        return b"\n".join(each for each in whole.split(b"\n") if not each.startswith(line))
    content = bytearray(whole)
    for _ in range(luck.choice((1, 5, 50))):
        content[luck.randrange(len(content))] = luck.randrange(256)
    return bytes(content)


def test_no_damage_gets_by(tmp_path: Path) -> None:
    """Of 200 files with broken telemetry, 100 with GPMF and 100 with a log, each is named in one
    line, or read because what is left makes sense; either way optical flow takes its place."""
    rows = log(tmp_path / "log.gcsv", shaken(), RATE).read_bytes()
    beside = make_clip(tmp_path / "b.mp4", frames=30)
    still = [np.full((48, 64, 3), 99, np.uint8)] * 30
    luck = random.Random(5)
    named = 0
    for turn in range(200):
        clip = beside
        if turn % 2:
            beside.with_suffix(".gcsv").write_bytes(damaged_log(luck, rows))
        else:
            clip = filmed(tmp_path / "a.mp4", damaged_packets(luck), still)
        said: list[str] = []
        source = Source(clip)
        try:
            found = telemetry_of(source)
            assert measured_of(source, stream.Settings(), found, said.append) is None
        finally:
            source.close()
        assert found is not None
        found.facts()
        lines = [*found.faults, *said]
        assert all(line and "\n" not in line for line in lines)
        assert found.gyro is None or np.isfinite(found.gyro.values).all()
        # What makes sense to its last digit still has to move as the picture does.
        assert (found.gyro is None) != any("the gyroscope is not used" in line for line in said)
        named += bool(found.faults)
    assert named > 100


def test_shutter_is_that_of_the_camera(tmp_path: Path) -> None:
    clip = filmed(tmp_path / "a.mp4", packets(shaken(), RATE, shutter=1 / 120))
    source = Source(clip)
    try:
        found = telemetry_of(source)
        assert shutter_of(source, Exposure(), found).share == pytest.approx(0.25)
        assert shutter_of(source, Exposure("180deg"), found).share == 0.5
    finally:
        source.close()
