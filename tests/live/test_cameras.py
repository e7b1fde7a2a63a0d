"""Several cameras in one command: alone when they fail, and others when the file says so."""

import json
import signal
import socket
from functools import partial
from pathlib import Path

import av
import pytest

from tests.rig.command import Live, live, refused, until
from tests.rig.ports import free_port


def camera(name: str, size: str, *more: str) -> str:
    lines = [f"[cameras.{name}]", f'source = "testsrc:?size={size}&fps=10"', 'outputs = ["null:"]']
    return "\n".join([*lines, *more]) + "\n"


def states(feed: Live) -> dict[str, str]:
    found = json.loads(feed.ask("/healthz")[1] or "{}")
    return dict(found.get("feeds", {}))


def workers(feed: Live) -> dict[int, str]:
    return {each.pid: " ".join(each.cmdline()) for each in feed.tree[1:]}


def frames(feed: Live, name: str) -> float:
    for line in feed.metrics.splitlines():
        if line.startswith("deblur_frames_total") and f'feed="{name}"' in line and "model" in line:
            return float(line.split()[-1])
    return 0.0


def read_again(feed: Live, times: int) -> bool:
    return feed.said.count("is read again") >= times


def test_cameras_come_change_and_go(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(camera("yard", "160x120") + camera("door", "192x144"))
    with live(tmp_path, "--config", str(file)) as feed:
        until(lambda: states(feed) == {"yard": "live", "door": "live"}, "they are not live")
        yard = workers(feed)
        at = frames(feed, "yard")

        # A third one, and another strength for the second: the first does not notice.
        file.write_text(
            camera("yard", "160x120")
            + camera("door", "192x144", "strength = 0.5")
            + camera("gate", "128x96")
        )
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: states(feed).get("gate") == "live", "there is no third")
        until(lambda: "door: restored in another way" in feed.said, "nothing is changed")
        assert set(yard) <= set(workers(feed)), "something was begun anew"
        until(lambda: frames(feed, "yard") > at + 10, "it stands still")

        # What is wrong changes nothing.
        file.write_text("[cameras.yard]\n")
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: "cameras.toml:1: yard has no source; going on as before" in feed.said, "-")
        assert set(states(feed)) == {"yard", "door", "gate"}

        # Another source begins that feed anew, and one that is gone ends.
        file.write_text(camera("yard", "160x120") + camera("gate", "96x64"))
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: set(states(feed)) == {"yard", "gate"}, "it does not end")
        until(lambda: "96x64" in feed.said, "the other source is not there")
        until(lambda: set(states(feed).values()) == {"live"}, "they are not live")
        assert feed.process.poll() is None
        code, seconds = feed.stop()
        assert code == 0
        assert seconds < 6


def test_one_that_cannot_work_does_not_end_the_others(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    bad = camera("bad", "160x120", 'model = "no-such-model"')
    file.write_text(camera("good", "160x120") + bad)
    with live(tmp_path, "--config", str(file)) as feed:
        until(lambda: "no-such-model" in feed.said, "nothing is said")
        until(lambda: states(feed) == {"good": "live", "bad": "failed"}, "it is not live")
        assert feed.ask("/healthz")[0] == 503, "somebody has to look"
        assert feed.process.poll() is None
        # Mended, it comes.
        file.write_text(camera("good", "160x120") + camera("bad", "160x120"))
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: states(feed) == {"good": "live", "bad": "live"}, "it does not come")
        until(lambda: frames(feed, "good") > 5, "nothing is restored")
        assert feed.figure("restarts_total", "model") == 0


def test_without_a_signal_the_name_of_a_camera_is_shown(tmp_path: Path) -> None:
    """Also the one that a feed without a name has in figures and lines."""
    file, port = tmp_path / "cameras.toml", free_port()
    lines = [f'source = "rtsp://127.0.0.1:{free_port()}/x"', f'outputs = ["serve:{port}/x"]']
    file.write_text("\n".join(["[cameras.live]", *lines, 'size = "320x180"']))
    with live(tmp_path, "--config", str(file)) as feed:
        until(lambda: feed.figure("repeats_total", "writer") > 0, "there is no slate")
        options = {"rtsp_transport": "tcp"}
        with av.open(f"rtsp://127.0.0.1:{port}/x", options=options) as player:
            luma = next(player.decode(video=0)).to_ndarray()[:180]
    assert (luma[50:75] > 150).any(), "the name is missing"


def test_cameras_share_a_port(tmp_path: Path) -> None:
    """Each path has its own login and its own process, whose death is no matter to the other."""
    file, port = tmp_path / "cameras.toml", free_port()
    file.write_text(
        '[defaults]\nmodel = "none"\n'
        '[cameras.yard]\nsource = "testsrc:?size=320x240"\n'
        f'outputs = ["serve:one:first@{port}/yard"]\n'
        '[cameras.door]\nsource = "testsrc:?size=160x120"\n'
        f'outputs = ["serve:two:second@{port}/door/front"]\n'
    )

    def size(path: str, login: str) -> tuple[int, int]:
        options = {"rtsp_transport": "tcp"}
        with av.open(f"rtsp://{login}@127.0.0.1:{port}/{path}", options=options) as player:
            frame = next(player.decode(video=0))
            return frame.width, frame.height

    def there(path: str, login: str) -> bool:
        try:
            return size(path, login) is not None
        except av.error.FFmpegError:
            return False

    with live(tmp_path, "--config", str(file)) as feed:
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
        assert size("yard", "one:first") == (320, 240)
        assert size("door/front", "two:second") == (160, 120)
        for path, login in (("yard", "two:second"), ("door/front", "one:first"), ("none", "a:b")):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                size(path, login)
        with pytest.raises(av.error.HTTPNotFoundError):
            size("none", "one:first")
        options = {"rtsp_transport": "tcp"}
        address = f"rtsp://two:second@127.0.0.1:{port}/door/front"
        with av.open(address, options=options, timeout=20) as player:
            pictures = player.decode(video=0)
            next(pictures)
            writer = feed.worker(f"serve:127.0.0.1:{port}/yard")
            writer.kill()
            until(lambda: there("yard", "one:first"), "it is not back")
            for _ in range(20):
                next(pictures)


def test_two_changes_in_a_row(tmp_path: Path) -> None:
    """The second one comes while the feed that the first one ended is still at it."""
    file = tmp_path / "cameras.toml"
    was = camera("yard", "160x120") + camera("door", "192x144")
    file.write_text(was)
    with live(tmp_path, "--config", str(file)) as feed:
        until(lambda: states(feed) == {"yard": "live", "door": "live"}, "they are not live")
        for count, text in enumerate((was.replace("192x144", "96x64"), was), 1):
            file.write_text(text)
            feed.process.send_signal(signal.SIGHUP)
            until(partial(read_again, feed, count), "it is not read")
        until(lambda: feed.said.count("192x144") == 2, "it does not come again")
        until(lambda: states(feed) == {"yard": "live", "door": "live"}, "they are not live")


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    file, port = tmp_path / "cameras.toml", free_port()
    door = '[cameras.door]\nsource = "testsrc:?size=96x64&fps=10"\n'
    file.write_text(camera("yard", "160x120") + door + f'outputs = ["serve:{port}/door"]\n')
    with (
        socket.create_server(("127.0.0.1", port)) as taken,
        live(tmp_path, "--config", str(file)) as feed,
    ):
        until(lambda: states(feed) == {"yard": "live", "door": "failed"}, "it does not fail")
        assert f"port {port}: Address already in use" in feed.said
        taken.close()
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: states(feed) == {"yard": "live", "door": "live"}, "it is not tried again")


def test_the_end_of_the_terminal_ends_a_feed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With nothing left behind; nohup has it go on."""
    # As a terminal has it, also where the tests were begun by nohup.
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, usual))
    with live(tmp_path, "testsrc:?size=96x64&fps=10", "null:") as feed:
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
        shared = {
            file.path
            for each in feed.tree
            for file in each.memory_maps()
            if file.path.startswith("/dev/shm/psm_")
        }
        assert shared or not Path("/dev/shm").is_dir()
        for each in feed.tree:
            each.send_signal(signal.SIGHUP)
        assert feed.process.wait(10) == 0
    assert not [path for path in shared if Path(path).exists()]


def test_what_this_machine_has_not_leaves_out_that_camera_alone(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    days = f'outputs = ["{tmp_path}/none/days/yard.mkv"]'
    file.write_text(
        camera("good", "96x64")
        + f'[cameras.yard]\nsource = "testsrc:?size=96x64&fps=10"\n{days}\n'
        + '[cameras.door]\nsource = "env:NO_SUCH_VARIABLE"\n'
    )
    with live(tmp_path, "--config", str(file)) as feed:
        wanted = {"good": "live", "yard": "failed", "door": "failed"}
        until(lambda: states(feed) == wanted, "it is not live")
        assert f"yard: the folder {tmp_path}/none/days does not exist" in feed.said
        assert "door: env:NO_SUCH_VARIABLE: set the environment variable" in feed.said
        # Nested so deeply that its parser gives up: nothing is changed by it.
        good = file.read_text()
        file.write_text("a = " + 5000 * "[")
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: "nested too deeply in it; going on as before" in feed.said, "-")
        (tmp_path / "none").mkdir()
        file.write_text(good)
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: states(feed) == wanted | {"yard": "live"}, "it is not tried again")
        assert list((tmp_path / "none" / "days").glob("yard-*.mkv"))


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('model = "no-such-model"', 78, "no-such-model"),
        ('outputs = ["none/days/a.mkv"]', 73, "days does not exist; create it first"),
        ('source = "env:NO_SUCH_VARIABLE"', 2, "set the environment variable NO_SUCH_VARIABLE"),
    ],
)
def test_where_none_can_work_it_ends(
    line: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "cameras.toml"
    lines = {"source": '"testsrc:?size=96x64"', "outputs": '["null:"]'}
    key, _, value = line.partition(" = ")
    table = "\n".join(f"{key} = {value}" for key, value in (lines | {key: value}).items())
    file.write_text(f"[cameras.bad]\n{table}\n")
    ended, said = refused("--config", str(file), "--http", str(free_port()))
    assert ended == code
    assert said.count(words) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a SOURCE, or a file of cameras with --config"),
        (["testsrc:", "--config", "cameras.toml"], "name a SOURCE, or a file of cameras"),
        (["--config", "none.toml"], "cannot read none.toml: No such file or directory"),
    ],
)
def test_what_makes_no_sense(words: list[str], said: str) -> None:
    code, told = refused(*words)
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
