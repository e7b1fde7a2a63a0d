"""The file of cameras: what it may say, and where it is wrong."""

import re
from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.live.config import parse, read
from stream.live.output.record import Recorder

GOOD = """
# Two of them.
[defaults]
smooth = 1
max_latency = 200

[cameras.yard]
source = "testsrc:"
outputs = ["serve:8554/yard", "null:"]
strength = 0.5
upscale = 2

[cameras."back door"]
source = "rtsp://user:secret@192.168.1.20/stream1"
outputs = "serve:8555/door"
smooth = 0.25
model = "none"
fuse = 5
delay = 2
""".replace('"back door"', "back-door")


def test_what_is_said_and_what_is_usual() -> None:
    yard, door = parse(GOOD).cameras.values()
    assert list(parse(GOOD).cameras) == ["yard", "back-door"]
    assert yard.outputs == ("serve:8554/yard", "null:")
    assert (yard.smooth, yard.strength, yard.upscale, yard.max_latency) == (1.0, 0.5, "2", 200.0)
    assert (door.smooth, door.outputs) == (0.25, ("serve:8555/door",))
    assert (yard.fuse, yard.delay) == (3, 0)
    asked = door.settings.restoring
    assert (asked.model, asked.fuse, asked.delay, asked.smooth) == ("none", 5, 2, 0.25)
    assert "secret" not in repr(door)
    assert yard.settings.restoring.upscale is not None
    assert [target.name for target in door.targets] == ["serve:127.0.0.1:8555/door"]


@pytest.mark.docs
def test_the_documented_example_can_be_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cameras.md").read_text()
    monkeypatch.setenv("YARD", "rtsp://user:password@192.168.1.20/stream1")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    yard, door = parse(example).cameras.values()
    assert [target.name for target in yard.targets][1:] == ["yard/yard.mkv"]
    assert (tmp_path / "yard").is_dir(), "what is recorded into is made"
    assert door.camera.address == ("192.168.1.21", 554)


def test_an_output_is_named_after_its_camera() -> None:
    (one,) = parse('[cameras.yard]\nsource = "testsrc:"').cameras.values()
    assert one.outputs == ("serve:8554/yard",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "c.toml: there is no camera; write a table [cameras.NAME] with its source"),
        ("[cameras.a]\nsource =", "c.toml:2: Invalid value"),
        ('[cameras.a]\nsource = "testsrc:"\n[cameras.a]', "c.toml:3: Cannot declare"),
        ('[camera.a]\nsource = "testsrc:"', "c.toml:1: unknown camera; did you mean cameras?"),
        ("[cameras.a]\nstrength = 1", "c.toml:1: a has no source"),
        (
            '[cameras.a]\nsource = "testsrc:"\n\n# x\nstrenght = 1',
            "c.toml:5: unknown strenght; did you mean strength?",
        ),
        (
            '[cameras.a]\nsource = "testsrc:"\nstrength = "much"',
            "c.toml:3: strength is a number, got 'much'",
        ),
        ('[cameras.a]\nsource = "testsrc:"\nstrength = true', "c.toml:3: strength is a number"),
        ('[cameras.a]\nsource = "testsrc:"\nloop = 1', "c.toml:3: loop is true or false, got 1"),
        (
            '[cameras.a]\nsource = "testsrc:"\n[cameras.b]\nstrength = 2\nsource = "testsrc:"',
            "c.toml:1",
        ),
        ('[cameras.a]\nsource = "testsrc:"\nstrength = 2', "c.toml:3: --strength must be in 0..1"),
        ('[cameras.a]\nsource = "testsrc:"\nfuse = 6', "c.toml:3: --fuse must be in 0..5 frames"),
        ('[cameras.a]\nsource = "testsrc:"\nfuse = 1.5', "c.toml:3: fuse is a whole number, got"),
        ('[cameras.a]\nsource = "testsrc:"\ndelay = -1', "c.toml:3: --delay must be in 0..3"),
        ('[cameras.a]\nsource = "testsrc:"\nmax_latency = -1', "c.toml:3: --max-latency must be"),
        ('[cameras.a]\nsource = "testsrc:"\nsize = "big"', "c.toml:3: --size takes WxH"),
        ('[cameras.a]\nsource = "testsrc:"\noutputs = []', "c.toml:3: outputs is a list of texts"),
        ('[cameras.a]\nsource = "testsrc:"\noutputs = ["x:"]', "c.toml:1: x: is no output"),
        ('[cameras.a]\nsource = "nothing.mkv"', "c.toml:1: "),
        ('[cameras."a b"]\nsource = "testsrc:"', "c.toml:1: 'a b' is no name"),
        ('[defaults]\nsource = "testsrc:"\n[cameras.a]', "c.toml:1: source and outputs belong"),
        (
            '[cameras.a]\nsource = "testsrc:"\noutputs = ["serve:8554/a"]\n'
            '[cameras.b]\nsource = "testsrc:"\noutputs = ["serve:u:password@8554/a"]',
            "c.toml:6: serve:127.0.0.1:8554/a is an output of a as well",
        ),
        (
            '[cameras.a]\nsource = "testsrc:"\noutputs = ["serve:8554/a"]\n'
            '[cameras.b]\nsource = "testsrc:"\noutputs = ["serve:u:password@0.0.0.0:8554/b"]',
            "c.toml:6: port 8554 is served at 127.0.0.1 by a; use that host",
        ),
        (
            '[cameras.a]\nsource = "testsrc:"\noutputs = ["serve:8554/a", "serve:u:p@8554/a"]',
            "c.toml:1: two outputs are the same, serve:127.0.0.1:8554/a",
        ),
        (
            '[cameras.a]\nsource = "testsrc:"\noutputs = ["null:", "a.mkv", "a.mkv"]',
            "c.toml:1: two outputs are the same, a.mkv",
        ),
        *(
            (
                f'[cameras.a]\nsource = "testsrc:"\noutputs = "{one}"\n'
                f'[cameras.b]\nsource = "testsrc:"\noutputs = "{other}"',
                f"c.toml:6: {name} is an output of a as well",
            )
            for one, other, name in (
                ("a.mkv", "./a.mkv", "a.mkv"),
                ("record:yard", "yard/../yard/live.mkv", "yard/../yard/live.mkv"),
                ("hls:web", "hls:./web", "hls:web"),
                ("rtsp://Relay/a", "rtsp://u:p@relay:554/a/", "rtsp://***@relay:554/a/"),
            )
        ),
        ('[cameras.a]\nsource = "testsrc:"\ndevice = "gpu"', "c.toml:3: unknown --device gpu"),
        ('[cameras.a]\nsource = "testsrc:"\nengine = "opnvino"', "c.toml:3: unknown --engine"),
        ('[cameras.a]\nsource = "testsrc:"\nprecision = "f8"', "c.toml:3: unknown --precision"),
        ('[cameras.a]\nsource = "testsrc:"\nmax_pixels = -1', "c.toml:3: --max-pixels must be"),
        ('[cameras.a]\nsource = "testsrc:"\nsize = "²x16"', "c.toml:3: --size takes WxH"),
        (f'[cameras.a]\nsource = "testsrc:"\nstall = {10**400}', "c.toml:3: stall is a number"),
        (f'[cameras.a]\nsource = "{"x" * 300}"', "c.toml:1: "),
        ('[cameras.a]\nsource = "no\\nsource"', "c.toml:1: no source is neither"),
        ('[cameras."a.b"]\nsource = "testsrc:"\nstrength = 2', "c.toml:3: --strength must be"),
        ('[defaults]\nstrength = 2\n[cameras.a]\nsource = "testsrc:"', "c.toml:2: --strength"),
        ("cameras = 3", "c.toml: there is no camera"),
        *(
            (
                f'[cameras.a]\nsource = "testsrc:"\nkeep = "{keep}"',
                "c.toml:3: --keep takes hours such as 48, days such as 7d, a size such as 200GB",
            )
            for keep in ("", "-1", "much", "1e9", "nan", "200 GBit", "48,,2", "9" * 400)
        ),
        ("a = " + 5000 * "[" + 5000 * "]", "c.toml: brackets are nested too deeply"),
        ("a = " + 5000 * "{a=" + "1" + 5000 * "}", "c.toml: brackets are nested too deeply"),
        (f"[cameras.a]\nstall = {'9' * 5000}", "c.toml: Exceeds the limit"),
        ("[" + "a." * 5000 + "a]", "c.toml:1: unknown a"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if said == "c.toml:1":  # the second camera is the wrong one
        said = "c.toml:4: --strength"
    with pytest.raises(UsageError) as error:
        parse(text, "c.toml")
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keep", "seconds", "size"),
    [
        ("0", 0, 0),
        ("48", 48 * 3600, 0),
        ("1.5", 5400, 0),
        ('"7d"', 7 * 86400, 0),
        ('"200GB"', 0, 200 * 10**9),
        ('"1.5 TiB"', 0, 3 * 2**39),
        ('"48h,500mb"', 48 * 3600, 500 * 10**6),
        ('"500MB, 2d"', 2 * 86400, 500 * 10**6),
    ],
)
def test_how_long_recordings_are_kept(
    keep: str, seconds: float, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f'[cameras.a]\nsource = "testsrc:"\noutputs = "a.mkv"\nkeep = {keep}'
    (record,) = parse(text).cameras["a"].targets
    assert isinstance(record, Recorder)
    assert (record.keep_s, record.keep_bytes) == (seconds, size)


def test_no_password_is_shown() -> None:
    with pytest.raises(UsageError) as error:
        parse('[cameras.a]\nsource = "testsrc:"\nstrength = "rtsp://me:geheim@host/x"')
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["admin:geheim99@192.168.1.20/stream1", "rtsp:/admin:geheim99@host", "ftp://a:geheim99@host/x"],
)
@pytest.mark.parametrize("where", ["source", "outputs"])
def test_no_password_of_an_address_that_is_none(
    address: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDRESS", address)
    lines = {"source": '"testsrc:"', "outputs": '"null:"'} | {where: '"env:ADDRESS"'}
    text = "\n".join(f"{key} = {value}" for key, value in lines.items())
    with pytest.raises(UsageError) as error:
        parse(f"[cameras.a]\n{text}")
    assert "geheim" not in str(error.value)


def test_addresses_that_differ_in_what_is_hidden() -> None:
    """Of RTMP the key, which is secret, says where it goes."""
    camera = '[cameras.{0}]\nsource = "testsrc:"\noutputs = "rtmp://mtx/live/{0}-and-its-key"\n'
    found = parse(camera.format("yard") + camera.format("door")).cameras
    assert len(found) == 2


def test_what_this_machine_has_not_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    """That camera alone will fail."""
    found = parse(
        '[cameras.a]\nsource = "env:NO_SUCH_VARIABLE"\n'
        f'[cameras.b]\nsource = "testsrc:"\noutputs = "{tmp_path}/none/b/b.mkv"\n'
        f'[cameras.c]\nsource = "{tmp_path}/c.mkv"\nrealtime = true\noutputs = "null:"\n'
        '[cameras.d]\nsource = "testsrc:"\n'
    )
    assert list(found.cameras) == ["a", "b", "c", "d"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 1048576 bytes"):
        read(Path("/dev/zero"))
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read(tmp_path / "binary.toml")
