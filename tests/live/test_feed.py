"""`deblur live` as its users meet it: the whole command, with real players and real faults."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import av
import psutil
import pytest

from tests.clips import make_clip
from tests.rig.command import DEBLUR, START_S, TOKEN, Live, live, refused, until
from tests.rig.fakes import Fake
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving

PASSWORD = "p@ss:w0rd/#%25?&ü \"'$"
"""Odd, as passwords are."""


STOPPED_S = 10
"""Five are promised where a core is free; a busy machine may need longer to end processes."""


def test_a_pattern_is_served_watched_over_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    record = tmp_path / "yard.mkv"
    with live(tmp_path, "testsrc:?size=320x240", f"serve:{port}/clean", str(record)) as feed:
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
        until(lambda: feed.figure("frames_total", "model") > 20, "nothing is restored")
        with av.open(f"rtsp://127.0.0.1:{port}/clean", options={"rtsp_transport": "tcp"}) as player:
            assert player.streams.audio[0].codec_context.name == "aac", "the pattern's tone"
            frames = [frame for frame, _ in zip(player.decode(video=0), range(20), strict=False)]
        assert {(frame.width, frame.height) for frame in frames} == {(320, 240)}
        until(lambda: feed.figure("latency_seconds", "writer") > 0, "no latency")
        listening = {
            link.laddr.ip
            for each in feed.tree
            for link in each.net_connections("inet")
            if link.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        children = feed.tree[1:]
        code, seconds = feed.stop()
        assert code == 0
        assert seconds < STOPPED_S
        assert "stopping" in feed.said
        until(lambda: not any(each.is_running() for each in children), "something is left", 5)
    (segment,) = tmp_path.glob("yard-*.mkv")
    with av.open(str(segment)) as file:
        assert sum(1 for _ in file.decode(video=0)) > 20


def test_it_goes_on_when_nobody_reads_its_lines_any_more() -> None:
    http = free_port()
    command = [DEBLUR, "live", "testsrc:?size=64x48", "null:", "--model", "none", "--http"]
    process = subprocess.Popen(
        [*command, str(http)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    feed = Live(process, Path(), http)
    try:
        assert process.stdout is not None
        assert b"figures" in process.stdout.readline()
        process.stdout.close()
        until(lambda: feed.ask("/healthz")[0] == 200, "it ended, or is not live")
        # Two lines at least: that it was ended, and that it is there again.
        feed.worker("source").kill()
        until(lambda: feed.ask("/healthz")[0] == 503, "it has not noticed")
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live again")
        assert feed.stop()[0] == 0
    finally:
        process.kill()


def test_two_signals_end_at_once(tmp_path: Path) -> None:
    with live(tmp_path, "testsrc:", f"serve:{free_port()}") as feed:
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
        for each in feed.tree:
            if each.pid != feed.process.pid:
                each.suspend()  # nothing in hand will ever be finished
        feed.process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in feed.said, "it does not answer", 5)
        feed.process.send_signal(signal.SIGINT)
        assert feed.process.wait(STOPPED_S) == 130  # 0 after one signal alone


def test_ctrl_c_while_its_processes_begin_is_quiet() -> None:
    """A terminal sends it to all of them, while they still load modules as well."""
    command = [DEBLUR, "live", "testsrc:", "null:", "--model", "none", "--http", "off"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as feed:

        def loading() -> bool:
            with suppress(psutil.Error):
                for each in psutil.Process(feed.pid).children():
                    if any("numpy" in part.path for part in each.memory_maps()):
                        return True
            return False

        until(loading, "nothing begins")
        os.killpg(feed.pid, signal.SIGINT)
        said = feed.communicate(timeout=START_S)[1]
    assert "Traceback" not in said
    assert feed.returncode == 0, said


def test_one_signal_has_a_bound_whatever_hangs(tmp_path: Path) -> None:
    names = "deblur source", "deblur model", "deblur null:", "deblur preview"
    with live(tmp_path, "testsrc:", "null:", "--preview", str(free_port())) as feed:
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")

        def children() -> list[psutil.Process]:
            return [each for each in feed.tree if each.cmdline()[0] in names]

        until(lambda: len(children()) == len(names), "not all are there")
        hanging = children()
        for each in hanging:
            each.suspend()
        code, seconds = feed.stop()
        assert code == 0
        assert seconds < STOPPED_S
        until(lambda: not any(each.is_running() for each in hanging), "something is left", 5)


def test_what_dies_is_started_again_and_players_stay(tmp_path: Path) -> None:
    port = free_port()
    with live(tmp_path, "testsrc:?size=320x240", f"serve:{port}") as feed:
        until(lambda: feed.figure("frames_total", "model") > 5, "nothing is restored")
        with av.open(f"rtsp://127.0.0.1:{port}/live", timeout=20) as player:
            pictures = player.decode(video=0)
            for name in ("source", "model"):
                role = {"source": "reader", "model": "model"}[name]
                feed.worker(name).kill()
                end, before = time.monotonic() + START_S, None
                while before is None or feed.figure("frames_total", role) < before + 5:
                    # Figures may be those of before until its end was noticed.
                    if before is None and f"{name}: was ended by signal 9; started" in feed.said:
                        before = feed.figure("frames_total", role)
                    next(pictures)
                    assert time.monotonic() < end, f"{name} is not back"
        assert feed.figure("restarts_total", "model") == 1
        assert feed.figure("connects_total", "writer") == 1, "the output was opened once"


def test_a_process_that_hangs_is_killed(tmp_path: Path) -> None:
    with live(tmp_path, "testsrc:?size=320x240", f"serve:{free_port()}") as feed:
        until(lambda: feed.figure("frames_total", "writer") > 5, "nothing comes out")
        hanging = feed.worker("serve:")
        hanging.suspend()
        until(lambda: "did not answer; started again" in feed.said, "it hangs on", 30)
        until(lambda: feed.figure("frames_total", "writer") > 10, "it is not back")
        assert not hanging.is_running()


def test_a_supervisor_that_is_killed_takes_everything_along(tmp_path: Path) -> None:
    with live(tmp_path, "testsrc:", f"serve:{free_port()}") as feed:
        until(lambda: feed.figure("frames_total", "reader") > 5, "nothing comes in")
        children = feed.tree[1:]
        feed.process.kill()
        feed.process.wait()
        until(lambda: not any(each.is_running() for each in children), "something is left", 10)


def test_a_file_ends(tmp_path: Path) -> None:
    make_clip(tmp_path / "short.mp4", size=(96, 64), frames=75)
    done = subprocess.run(
        [DEBLUR, "live", str(tmp_path / "short.mp4"), "--realtime", str(tmp_path / "out.mkv")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (segment,) = tmp_path.glob("out-*.mkv")
    with av.open(str(segment)) as file:
        assert sum(1 for _ in file.decode(video=0)) > 40


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["testsrc:", "serve:0.0.0.0:8554"], 2, "login"),
        (["testsrc:", "--http", "0.0.0.0:9554"], 2, "DEBLUR_TOKEN"),
        (["testsrc:", "nothing:there"], 2, "no output"),
        (["testsrc:", "serve:70000"], 2, "serve:"),
        (["testsrc:", "serve:8554", "serve:8554"], 2, "same"),
        (["testsrc:", "--size", "33x20"], 2, "--size"),
        (["testsrc:", "--transport", "pigeon"], 2, "--transport"),
        (["testsrc:", "--max-latency", "0"], 2, "--max-latency"),
        (["testsrc:", "--upscale", "9"], 2, "--upscale"),
        (["env:NOT_SET_ANYWHERE"], 2, "NOT_SET_ANYWHERE"),
        (["gopher://example.org/"], 2, "gopher"),
        (["missing.mp4", "--realtime"], 66, "missing.mp4"),
        (["testsrc:", "null:", "--model", "no-such"], 78, "no-such"),
        (["testsrc:", "null:", "--device", "cuda:9"], 69, "cuda:9"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(words: list[str], code: int, reason: str) -> None:
    environment = {} if "DEBLUR_TOKEN" not in reason else {"DEBLUR_TOKEN": ""}
    ended, said = (
        refused(*words, "--http", "0", **environment)
        if "--http" not in words
        else (refused(*words, **environment))
    )
    lines = [line for line in said.splitlines() if not line.startswith("figures: ")]
    lines = [line for line in lines if not re.match(r"\d\d:\d\d:\d\d source: connected", line)]
    assert ended == code, said
    assert len(lines) == 1, said
    assert lines[0].startswith("deblur: ")
    assert reason in lines[0]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with live(tmp_path, "testsrc:", f"serve:{free_port()}") as feed:
        until(lambda: feed.ask("/healthz")[0] in (200, 503), "it does not answer")
        ended, said = refused("testsrc:", "null:", "--http", str(feed.http))
        assert ended == 73
        assert str(feed.http) in said


class Spy:
    """Looks everywhere for passwords while a feed runs."""

    def __init__(self, *words: str) -> None:
        forms = {word for each in words for word in (each, quote(each), quote(each, safe=""))}
        self.words = {word for word in forms if len(word) > 3}
        self.seen: set[str] = set()

    def look(self, feed: Live) -> None:
        """Note what shows a password now."""
        places = {"log": feed.said, "metrics": feed.metrics, "health": feed.ask("/healthz")[1]}
        for each in feed.tree if feed.process.poll() is None else []:
            try:
                places[f"process {each.pid}"] = " ".join([*each.cmdline(), each.name()])
            except psutil.Error:
                continue
        for place, text in places.items():
            if any(word in text for word in self.words):
                self.seen.add(place)


@pytest.mark.parametrize("kind", ["refused", "closing", "garbage", "forbidding", "silent", "http"])
def test_no_password_is_ever_shown(kind: str, tmp_path: Path) -> None:
    """In the address of the source and of two outputs, all of which fail."""
    secret = quote(PASSWORD, safe="")
    with Fake("closing" if kind in ("refused", "http") else kind) as fake:
        port = free_port() if kind == "refused" else fake.port
        scheme = "http" if kind == "http" else "rtsp"
        source = f"{scheme}://us%40er:{secret}@127.0.0.1:{port}/x?token=s3cr3t-t0ken"
        serve = f"serve:us%40er:{secret}@127.0.0.1:{free_port()}/clean"
        publish = f"rtsp://us%40er:{secret}@127.0.0.1:{port}/in"
        spy = Spy(PASSWORD, "s3cr3t-t0ken", TOKEN)
        words = [source, serve, publish] if kind != "http" else ["env:SOURCE", serve, publish]
        with live(tmp_path, *words, "--size", "320x240", "--stall", "1", SOURCE=source) as feed:
            until(lambda: feed.ask("/healthz")[0] == 503, "it does not answer")
            least, most = time.monotonic() + 6, time.monotonic() + 120
            while time.monotonic() < least or "source: " not in feed.said:
                assert time.monotonic() < most, "nothing was said of what fails"
                spy.look(feed)
                time.sleep(0.1)
            assert feed.stop()[0] == 0
            spy.look(feed)
    assert not spy.seen


def test_a_camera_with_a_login_is_read_and_published_with_one(
    tmp_path: Path, needs_rtsp: None
) -> None:
    spy = Spy(PASSWORD)
    serving = Serving(size=(320, 240), user="us@er", password=PASSWORD)
    port = free_port()
    secret = quote(PASSWORD, safe="")
    with RtspServer(serving) as server:
        outputs = [server.url("in"), f"serve:us%40er:{secret}@{port}/clean"]
        with live(tmp_path, server.url("cam"), *outputs) as feed:
            until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
            spy.look(feed)
            for url in (
                server.url("out"),
                f"rtsp://us%40er:{secret}@127.0.0.1:{port}/clean",
            ):
                with av.open(url, options={"rtsp_transport": "tcp"}, timeout=20) as player:
                    next(player.decode(video=0))
            with pytest.raises(av.error.HTTPUnauthorizedError):
                av.open(f"rtsp://127.0.0.1:{port}/clean", timeout=20)
            spy.look(feed)
    assert not spy.seen
