"""The reader: always up, whatever the camera does."""

import functools
import http.server
import multiprocessing
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stream.colors import tags_of
from stream.errors import SourceError
from stream.ipc.backoff import Backoff, back_off
from stream.ipc.child import Control
from stream.ipc.convert import Unpacker
from stream.ipc.sound_ring import SoundFormat
from stream.ipc.timed_calls import ConnectionThread
from stream.live.output.record import Recorder
from tests.clips import make_clip, picture
from tests.rig.chaos import Chaos
from tests.rig.command import until
from tests.rig.fakes import Fake
from tests.rig.ports import free_port
from tests.rig.reading import Reading
from tests.rig.server import RtspServer, Serving

SECRET = "pa&ss:w%rd@1"
CODED = "pa%26ss%3Aw%25rd%401"


def test_the_process_does_without_torch() -> None:
    code = "import sys, stream.live.input.reader; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_test_pattern_comes_at_its_pace_with_sound() -> None:
    with Reading("testsrc:?size=320x240&fps=20") as reading:
        first = reading.picture()
        assert first.cut
        assert (first.size, first.rate) == ((320, 240), 20.0)
        seen = [reading.picture() for _ in range(20)]
        assert not any(each.cut for each in seen)
        assert reading.sounds.format() == SoundFormat("pcm_s16le", 48000, 1)
        assert all(0 <= time.monotonic_ns() - each.timestamp < 30e9 for each in seen)
        for before, after in pairwise(seen):
            step = (after.timestamp - before.timestamp) / (after.number - before.number)
            assert step == pytest.approx(50e6, rel=1e-3)
        # The sound is at most a few packets off the picture.
        newest, _ = reading.sounds.since(reading.sounds.count - 1)
        assert abs(newest[0].timestamp - reading.picture().timestamp) < 5e8
        reading.until(lambda: reading.heartbeat.state == "live")
        assert reading.heartbeat.facts["size"] == "320x240"
        assert reading.stop() < 5
    assert reading.lines == ["connected: rawvideo 320x240 20 fps, sound pcm_s16le"]


def test_a_file_plays_as_fast_as_it_should_and_ends(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=25, audio=["eng"])
    begun = time.monotonic()
    with Reading(str(clip), realtime=True) as reading:
        reading.until(lambda: not reading.alive)
        assert time.monotonic() - begun > 0.9
        reading.until(lambda: reading.heartbeat.state == "ended")
        assert (reading.heartbeat.frames, reading.heartbeat.connects) == (25, 1)
        sound = reading.sounds.format()
        assert sound is not None
        assert (sound.codec, sound.sample_rate, sound.channels) == ("aac", 48000, 2)
    assert reading.error is None
    assert reading.lines == ["connected: h264 64x48 25 fps, sound aac"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("qtrle.mov", {"codec": "qtrle", "pix_fmt": "argb"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p"}),
    ],
)
def test_transparency_is_left_out_and_said_once(
    name: str, given: dict[str, str], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / name, frames=8, **given)  # type: ignore[arg-type]
    with Reading(str(clip), realtime=True, loop=True) as reading:
        for _ in range(3):
            reading.cut()
    assert len(reading.lines) == 1
    assert reading.lines[0].endswith("25 fps (with transparency, which is left out)")


def test_sound_with_headers_of_its_own_is_recorded_as_others(tmp_path: Path) -> None:
    """AAC of MPEG-TS tells in each packet what it is, which Matroska and RTP do not take."""
    clip = make_clip(tmp_path / "clip.ts", frames=25, audio=["eng"], options={"bf": "0"})
    with Reading(str(clip), realtime=True) as reading:
        first = reading.picture()
        reading.until(lambda: reading.heartbeat.state == "ended")
        sound = reading.sounds.format()
        assert sound == SoundFormat("aac", 48000, 2, bytes.fromhex("1190"))
        heard, _ = reading.sounds.since(0)
        first = replace(first, timestamp=heard[0].timestamp)
        target = Recorder(tmp_path / "yard.mkv")
        output = target.open(first, sound, Control(multiprocessing.Pipe()[0]))
        output.push(first)
        for each in heard:
            output.sound(each)
        output.close()
    (file,) = tmp_path.glob("yard-*.mkv")
    with av.open(str(file)) as container:
        (stream,) = container.streams.audio
        assert stream.codec_context.profile == "LC"
        assert sum(frame.samples for frame in container.decode(stream)) == 1024 * len(heard) > 0


def test_a_file_in_a_loop_goes_on(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=8)
    with Reading(str(clip), realtime=True, loop=True) as reading:
        seen = [reading.cut() for _ in range(3)]
        assert all(a.timestamp < b.timestamp for a, b in pairwise(seen))
        # A loop takes as long as the file, and little more.
        assert seen[1].timestamp - seen[0].timestamp >= 0.32e9
        assert reading.heartbeat.connects <= 1
    assert len(reading.lines) == 1


def test_a_file_that_is_no_video_is_told_at_once(tmp_path: Path) -> None:
    for name, content in (("text.mp4", "no video at all"), ("list.m3u8", "#EXTM3U\n")):
        file = tmp_path / name
        file.write_text(content)
        with Reading(str(file), realtime=True, loop=True) as reading:
            reading.until(lambda: not reading.alive)
        assert isinstance(reading.error, SourceError)
        assert name in str(reading.error)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size"),
    [
        ("libx264", "yuv420p", (65, 49)),
        ("libx264", "yuv422p10le", (64, 48)),
        ("mjpeg", "yuvj422p", (64, 48)),
        ("libx264rgb", "rgb24", (64, 48)),
        ("ffv1", "gray", (63, 47)),
    ],
)
def test_any_form_of_picture_becomes_the_same_one(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    """Compared with what FFmpeg makes of it as RGB."""
    even = size if pix_fmt != "yuv420p" else (size[0] - 1, size[1] - 1)
    clip = make_clip(
        tmp_path / "clip.mkv",
        frames=1,
        size=even,
        codec=codec,
        pix_fmt=pix_fmt,
        tags=(2, 2, 2, 0),
        options={"crf": "5"} if "264" in codec else {},
    )
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
        wanted = frame.to_ndarray(format="gray")
        data, tags = Unpacker().unpack(frame), tags_of(frame)
    height, width = data.shape[0] * 2 // 3, data.shape[1]
    assert (width % 2, height % 2) == (0, 0)
    assert (width, height) == (even[0] // 2 * 2, even[1] // 2 * 2)
    made = av.VideoFrame.from_ndarray(data, format="yuv420p")
    made.color_range, made.colorspace = tags[3], tags[0]
    again = made.to_ndarray(format="gray")
    difference = again.astype(int) - wanted[:height, :width]
    assert np.abs(difference).mean() < 1.5


def test_an_odd_row_and_column_are_left_out() -> None:
    frame = av.VideoFrame.from_ndarray(picture(0, 33, 17), format="rgb24")
    frame = frame.reformat(format="yuv420p", threads=1)
    data = Unpacker().unpack(frame)
    assert data.shape == (24, 32)
    luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(17, -1)
    assert np.array_equal(data[:16], luma[:16, :32])
    tiny = av.VideoFrame.from_ndarray(np.full((1, 1, 3), 90, np.uint8), format="rgb24")
    assert Unpacker().unpack(tiny).shape == (3, 2)


def test_a_change_of_size_and_a_jump_of_time_are_cuts(tmp_path: Path) -> None:
    """Two clips of MPEG-TS in one file: another size, and a clock that starts again."""
    parts = []
    for index, size in enumerate([(64, 48), (96, 64)]):
        part = tmp_path / f"{index}.ts"
        pts = [position + 90_000 * (1 - index) for position in range(10)]
        make_clip(part, frames=10, size=size, pts=pts, options={"bf": "0"})
        parts.append(part.read_bytes())
    clip = tmp_path / "both.ts"
    clip.write_bytes(b"".join(parts))
    with Reading(str(clip), realtime=True) as reading:
        assert reading.cut().size == (64, 48)
        assert reading.cut().size == (96, 64)
        reading.until(lambda: not reading.alive)
    assert reading.says("the camera's picture is now 96x64")


def test_the_shape_of_pixels_is_told_and_a_change_of_it_is_a_cut(tmp_path: Path) -> None:
    clip = tmp_path / "both.ts"
    for index, aspect in enumerate([Fraction(16, 11), Fraction(12, 11), Fraction(50, 11)]):
        pts = [position + 15 * index for position in range(10)]
        part = make_clip(tmp_path / "part.ts", frames=10, aspect=aspect, pts=pts)
        with clip.open("ab") as whole:
            whole.write(part.read_bytes())
    with Reading(str(clip), realtime=True) as reading:
        assert reading.cut().shape == ((64, 48), Fraction(16, 11))
        assert reading.cut().shape == ((64, 48), Fraction(12, 11))
        assert reading.cut().shape == ((64, 48), Fraction(1)), "nonsense is not believed"
        reading.until(lambda: not reading.alive)
    assert reading.lines[0] == "connected: h264 64x48 with pixels of 16:11 25 fps"
    assert reading.lines[1] == "the camera's picture is now 64x48 with pixels of 12:11"


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2, size=(320, 240))
    with Reading(str(clip), realtime=True, max_pixels=320 * 239) as reading:
        reading.until(lambda: not reading.alive)
    assert "320x240 has more than 76480 pixels" in str(reading.error)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, MJPEG at /camera, and logins and doors that are shut."""

    hits: list[str]

    def do_GET(self) -> None:
        self.hits.append(self.path)
        if self.path.startswith("/camera"):
            self._camera()
        elif self.path == "/sizes":
            self._camera(sizes=[(16 * n, 16 * n) for n in range(2, 20)])
        elif self.path == "/short":
            self._camera(count=5)
        elif self.path == "/page":
            self._begin("text/html")
            self.wfile.write(b"<!doctype html><html>a camera's page</html>")
        elif self.path == "/endless":
            self._endless()
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path[1:4] in ("401", "403", "404", "429"):
            self.send_error(int(self.path[1:4]))
        else:
            super().do_GET()

    def _begin(self, kind: str = "multipart/x-mixed-replace; boundary=cut") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _endless(self) -> None:
        self._begin()
        self.wfile.write(b"--cut\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8")
        while True:
            self.wfile.write(bytes(4096))
            time.sleep(0.02)

    def _camera(
        self, sizes: Sequence[tuple[int, int]] = ((322, 240),), count: int = 100_000
    ) -> None:
        self._begin()
        for index in range(count):
            encoded, data = cv2.imencode(".jpg", picture(index, *sizes[index % len(sizes)]))
            assert encoded
            head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {data.size}\r\n\r\n"
            self.wfile.write(head.encode() + data.tobytes() + b"\r\n")
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and the paths that it was asked for."""
    hits: list[str] = []
    kind = type("Own", (Handler,), {"hits": hits})
    port = free_port()
    handler = functools.partial(kind, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{port}", hits
        finally:
            server.shutdown()
            thread.join()


def test_mjpeg_over_http(tmp_path: Path) -> None:
    with web(tmp_path) as (host, _), Reading(f"http://{host}/camera") as reading:
        first = reading.picture()
        assert (first.size, first.tags[3], first.cut) == ((322, 240), 2, True)
        # What it says of its rate is FFmpeg's guess; the pictures tell.
        reading.until(lambda: reading.picture().rate < 15)
        # A busy machine sends them more slowly.
        assert 5 < reading.picture().rate < 12


def test_a_camera_that_changes_its_size_with_each_picture_is_told_of_now_and_then(
    tmp_path: Path,
) -> None:
    with web(tmp_path) as (host, _), Reading(f"http://{host}/sizes") as reading:
        begun = time.monotonic()
        reading.until(lambda: sum("picture is now" in line for line in reading.lines) == 2)
        assert time.monotonic() - begun > 10
        assert reading.heartbeat.frames > 20
        assert re.search(r"is now \d+x\d+ \(changed \d\d+ times\)", reading.lines[-1])


def test_refused_logins_are_told_apart_and_not_hammered(tmp_path: Path) -> None:
    with web(tmp_path) as (host, hits):
        for code, words in (("401", "login was refused"), ("403", "forbidden"), ("404", "nothing")):
            with Reading(f"http://admin:{CODED}@{host}/{code}") as reading:
                reading.until(lambda: reading.lines)
                assert reading.says(words)
                assert reading.says(code)
                if code == "401":
                    # Three tries within two seconds, and then a long pause.
                    reading.until(lambda: hits.count("/401") >= 4)
                    count = hits.count("/401")
                    time.sleep(3)
                    assert hits.count("/401") == count
                    assert reading.heartbeat.state == "no signal"
                assert reading.stop() < 2
            assert len(reading.lines) == 1
            told = repr(reading.lines) + repr(reading.heartbeats)
            assert SECRET not in told
            assert CODED not in told


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("short", "the camera is lost: the connection ended; trying again"),
        ("page", "no connection to the camera: what it sends is not video; trying again"),
        ("endless", "it sends, but no whole picture within 5 s; that takes too long, or is larger"),
    ],
)
def test_what_comes_from_the_web_and_is_no_camera(path: str, words: str, tmp_path: Path) -> None:
    with web(tmp_path) as (host, _), Reading(f"http://{host}/{path}") as reading:
        reading.until(lambda: reading.says(words))
    assert not any("no connection" in line for line in reading.lines if words not in line)


def test_pictures_that_do_not_end_are_called_so_whoever_gives_up_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg's own time limit comes before that of the reader where the machine is busy."""
    call = ConnectionThread.call
    monkeypatch.setattr(ConnectionThread, "call", lambda *each: call(each[0], each[1], each[2] + 1))
    with web(tmp_path) as (host, _), Reading(f"http://{host}/endless") as reading:
        reading.until(lambda: reading.lines)
    assert ["no whole picture within 5 s" in line for line in reading.lines] == [True]


def test_what_the_web_refuses_is_said(tmp_path: Path) -> None:
    with web(tmp_path) as (host, _), Reading(f"http://{host}/429") as reading:
        reading.until(lambda: reading.says("it refused GET (429); trying again"))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "rtsp://a:geheim@127.0.0.1:9/x",
            "it redirects from http to rtsp://***@127.0.0.1:9/x, which",
        ),
        ("file:///etc/hostname", "it redirects from http to file:///etc/hostname, which is not"),
        ("", "it redirects more than 8 times"),
    ],
)
def test_redirects_of_the_web_that_lead_nowhere_are_said(
    place: str, words: str, tmp_path: Path
) -> None:
    with web(tmp_path) as (host, _), Reading(f"http://{host}/to/{place}") as reading:
        reading.until(lambda: reading.lines)
    assert words in reading.lines[0]
    assert "geheim" not in reading.lines[0]


def test_a_playlist_from_the_web_opens_no_local_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "private.ts", frames=25, options={"bf": "0"})
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "seen.ts").write_bytes(clip.read_bytes())
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:3\n#EXTINF:1.0,\n"
    (folder / "good.m3u8").write_text(f"{head}seen.ts\n#EXT-X-ENDLIST\n")
    (folder / "evil.m3u8").write_text(f"{head}file://{clip}\n#EXT-X-ENDLIST\n")
    with web(folder) as (host, _):
        begun = time.monotonic()
        with Reading(f"http://{host}/good.m3u8") as reading:
            first = reading.picture()
            # Played at its pace, although it can be had faster.
            reading.until(lambda: reading.says("is lost: the stream has ended"))
            assert time.monotonic() - begun > 0.9
            assert first.size == (64, 48)
        with Reading(f"http://{host}/evil.m3u8") as reading:
            reading.until(lambda: reading.says("no connection"))
            assert reading.heartbeat.frames == 0


def test_a_playlist_that_has_ended_is_not_shown_again_until_it_goes_on(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.ts", frames=25, options={"bf": "0"})
    make_clip(tmp_path / "b.ts", frames=25, options={"bf": "0"}, size=(96, 64))
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{}\n"
    playlist, end = tmp_path / "x.m3u8", "#EXT-X-ENDLIST\n"

    def write(number: int, name: str, end: str) -> None:
        text = head.format(number) + f"#EXTINF:1.0,\n{name}\n{end}"
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(playlist)

    with web(tmp_path) as (host, hits):

        def asked(times: int) -> None:
            """Wait until the playlist was asked for so often again."""
            count = hits.count("/x.m3u8") + times
            reading.until(lambda: hits.count("/x.m3u8") >= count)

        write(0, "a.ts", end)
        with Reading(f"http://{host}/x.m3u8") as reading:
            reading.until(lambda: reading.says("is lost: the stream has ended"))
            asked(3)
            assert reading.heartbeat.frames == 25
            write(1, "b.ts", "")
            reading.until(lambda: reading.heartbeat.connects == 2)
            write(1, "b.ts", end)
            reading.until(lambda: reading.says("no connection to the camera: the stream has ended"))
            asked(3)
            assert reading.heartbeat.frames == 50
    said = [re.sub(r"(connected: h264 \w+).*", r"\1", line) for line in reading.lines]
    assert said.pop(0).startswith("it is a recording that has ended, and is shown once; to show")
    assert said == [
        "connected: h264 64x48",
        "the camera is lost: the stream has ended; trying again",
        "connected: h264 96x64",
        "the camera is lost: the connection ended; trying again",
        "no connection to the camera: the stream has ended; trying again",
    ]


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.flv"])
def test_a_file_in_the_web_is_shown_once(name: str, tmp_path: Path) -> None:
    make_clip(tmp_path / name, frames=25, options={"bf": "0"})
    with web(tmp_path) as (host, hits), Reading(f"http://{host}/{name}") as reading:
        reading.until(lambda: reading.says("is lost: the stream has ended"))
        count = len(hits) + 4
        reading.until(lambda: len(hits) >= count)
        assert reading.heartbeat.frames == 25
        assert reading.says("it is a recording that has ended, and is shown once")


def test_what_is_not_there_is_told_once_and_asked_for_cheaply() -> None:
    port = free_port()
    with Reading(f"rtsp://admin:{CODED}@127.0.0.1:{port}/cam") as reading:
        reading.until(lambda: reading.heartbeat.state == "no signal")
        time.sleep(2)
        heartbeats = len(reading.heartbeats)
        assert heartbeats > 6
        assert reading.stop() < 2
    assert reading.lines == ["no connection to the camera: connection refused; trying again"]


def test_a_missing_webcam_is_told() -> None:
    if Path("/dev/video9").exists():
        pytest.skip("there is one")
    with Reading("webcam:9") as reading:
        reading.until(lambda: reading.says("no such device; is it plugged in?"))
        reading.until(lambda: reading.heartbeat.state == "no signal")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("silent", "it does not answer"),
        ("garbage", "what it sends is not video"),
        ("closing", "connection"),
        ("forbidding", "the login was refused (401)"),
    ],
)
def test_servers_that_are_none(kind: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Fake(kind) as fake:
        url = fake.url.replace("rtsp://", f"rtsp://admin:{CODED}@")
        begun = time.monotonic()
        with Reading(url) as reading:
            reading.until(lambda: reading.says(words))
            if kind == "silent":
                assert time.monotonic() - begun < 6 + 4
                # It goes on telling how it is, although FFmpeg holds it up.
                assert len(reading.heartbeats) > 10
            if kind == "forbidding":
                reading.until(lambda: fake.counts["logins"] >= 4)
                time.sleep(2)
                assert fake.counts["logins"] == 4
        told = repr(reading.lines) + repr(reading.heartbeats) + "".join(capfd.readouterr())
        assert SECRET not in told
        assert CODED not in told


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("453 Not Enough Bandwidth", "no bandwidth left (453); close another viewer"),
        ("454 Session Not Found", "does not know its own session any more (454)"),
        ("461 Unsupported Transport", "does not send by tcp (461); try --transport udp"),
        ("503 \x1b[31mBusy", "it refused OPTIONS (503 [31mBusy)"),
        (
            '401 No\nWWW-Authenticate: Digest realm="x", nonce="1", algorithm="SHA-256"',
            "a login by Digest SHA-256, which cannot be had here",
        ),
        (
            '401 No\nWWW-Authenticate: Digest realm="x", nonce="1", qop="auth-int", algorithm=MD5',
            "a login by Digest with qop auth-int, which cannot be had here",
        ),
        (
            "302 Moved\nLocation: file:///etc/hostname",
            "redirects from rtsp to file:///etc/hostname",
        ),
        ("301 Moved\nLocation: http://127.0.0.1:PORT/x", "redirects from rtsp to http://127.0.0.1"),
        ("302 Moved\nLocation: concat:a|b", "redirects from rtsp to concat:"),
        ("302 Moved\nLocation: rtsp://127.0.0.1:PORT/cam", "redirects more than 4 times"),
        ("302 Moved\nLocation: /other", "redirects more than 4 times"),
        ("302 Moved", "it redirects, but to no address"),
        ("302 Moved\nLocation: rtsp://\x1b[31m/x", "redirects to what is no address, which is not"),
    ],
)
def test_what_a_camera_answers_is_said(answer: str, words: str) -> None:
    with Fake("answering", answer) as fake:
        url = fake.url.replace("rtsp://", f"rtsp://admin:{CODED}@")
        with Reading(url) as reading:
            reading.until(lambda: reading.says(words))
            reading.until(lambda: reading.heartbeat.state == "no signal")
            assert fake.counts["links"] <= 11, "a few redirects at most"
    assert not any("Invalid argument" in line or "\x1b" in line for line in reading.lines)
    assert SECRET not in repr(reading.lines)


def test_a_redirect_is_followed_with_the_login(needs_rtsp: None) -> None:
    with RtspServer(Serving(size=(320, 240), user="us@er", password=SECRET)) as server:
        target = server.url("cam", login=False)
        with Fake("answering", f"302 Moved\nLocation: {target}?key=geheim-99") as fake:
            login = server.url("cam").partition("@")[0].removeprefix("rtsp://")
            with Reading(fake.url.replace("rtsp://", f"rtsp://{login}@")) as reading:
                assert reading.picture().size == (320, 240)
                reading.until(lambda: reading.heartbeat.connects == 1)
    assert reading.says("it redirects to rtsp://")
    assert "geheim" not in repr(reading.lines)


def test_a_login_is_not_passed_on_to_another_host(needs_rtsp: None) -> None:
    with RtspServer(Serving(size=(320, 240), user="admin", password=SECRET)) as server:
        target = server.url("cam", login=False).replace("127.0.0.1", "localhost")
        with (
            Fake("answering", f"302 Moved\nLocation: {target}") as fake,
            Reading(fake.url.replace("rtsp://", f"rtsp://admin:{CODED}@")) as reading,
        ):
            reading.until(lambda: reading.says("wants a login; name that address itself"))
            assert reading.heartbeat.frames == 0


def test_the_key_frame_that_a_camera_begins_with_is_the_first_picture(needs_rtsp: None) -> None:
    """The next one would come after a minute."""
    with RtspServer(Serving(size=(320, 240), gop=1500)) as server:
        for transport in ("tcp", "udp"):
            with Reading(server.url("cam"), transport=transport) as reading:
                reading.picture()
                assert reading.heartbeat.damaged == 0


def test_a_rate_that_is_announced_and_does_not_come(needs_rtsp: None) -> None:
    with (
        RtspServer(Serving(size=(320, 240), fps=10, claims=50)) as server,
        Reading(server.url("cam")) as reading,
    ):
        reading.until(lambda: reading.says("frames per second come, not the 50 announced"))
        reading.until(lambda: reading.picture().rate == pytest.approx(10, rel=0.2))
        reading.until(lambda: float(reading.heartbeat.facts["fps"]) < 12.5)
    assert reading.lines[0] == "connected: h264 320x240 50 fps"
    assert len(reading.lines) == 2


def test_a_camera_by_rtmp_without_sound(needs_rtsp: None) -> None:
    """Of FLV nothing says that there is none."""
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/app/cam"
    words = "-v error -re -f lavfi -i testsrc=s=320x240:r=10 -c:v libx264 -tune zerolatency"
    server = ["ffmpeg", *words.split(), "-pix_fmt", "yuv420p", "-f", "flv", "-listen", "1", url]
    with subprocess.Popen(server, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            # It serves the first who comes, who must not be one that only looks.
            until(lambda: f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(), "-")
            with Reading(url) as reading:
                assert reading.picture().size == (320, 240)
        finally:
            process.kill()


def test_how_long_it_waits() -> None:
    waiting = Backoff(("127.0.0.1", 1))
    waits = [waiting.failed(login=False) for _ in range(12)]
    assert 0.2 <= waits[0] <= 0.3
    assert 3.9 < waits[-1] <= 5
    waiting.worked(5)
    assert waiting.failed(login=False) > 3.9
    waiting.worked(11)
    assert waiting.failed(login=False) <= 0.3
    logins = [waiting.failed(login=True) for _ in range(6)]
    assert max(logins[:3]) < 5
    assert all(30 <= wait <= 60 for wait in logins[3:])
    assert not waiting.reachable()
    assert 4 <= back_off(1_000_000) <= 5, "after days"
    here = Backoff(None)
    assert max(here.failed(login=False) for _ in range(9)) <= 1
    assert here.reachable()


def test_a_camera_that_is_killed_comes_back_at_another_size(needs_rtsp: None) -> None:
    with (
        RtspServer(Serving(size=(320, 240), audio="aac")) as server,
        Reading(server.url("cam")) as reading,
    ):
        assert reading.picture().size == (320, 240)
        sound = reading.sounds.format()
        assert sound is not None
        assert sound.codec == "aac"
        assert sound.extradata
        for size in ((160, 120), (320, 240)):
            before = reading.picture().timestamp
            server.kill()
            reading.until(lambda: reading.heartbeat.state == "no signal")
            server.start(size=size)
            up = time.monotonic()
            back = reading.cut()
            # 1 to 2 s where the machine has nothing else to do; a key frame comes each second.
            assert time.monotonic() - up < 6
            assert back.size == size
            assert back.timestamp > before
        reading.until(lambda: reading.heartbeat.connects == 3)
    lost = [line for line in reading.lines if "is lost: the connection ended" in line]
    assert len(lost) == 2
    assert sum(line.startswith("connected: h264") for line in reading.lines) == 3


def test_a_silent_camera_is_noticed_and_left(rtsp_server: RtspServer) -> None:
    with (
        Chaos(rtsp_server.port) as chaos,
        Reading(chaos.url(rtsp_server.url("cam")), stall_s=2) as reading,
    ):
        reading.picture()
        chaos.stall()
        begun = time.monotonic()
        reading.until(lambda: reading.says("no picture for 2 s"))
        assert time.monotonic() - begun < 3 + 3
        reading.until(lambda: reading.heartbeat.state == "connecting")
        chaos.resume()
        reading.cut()
        assert reading.heartbeat.connects >= 1


def test_loss_and_damage_do_not_end_it(rtsp_server: RtspServer) -> None:
    with Chaos(rtsp_server.port) as chaos, Reading(chaos.url(rtsp_server.url("cam"))) as reading:
        reading.picture()
        chaos.set(drop=0.05, corrupt=0.05)
        before = reading.heartbeat.frames
        reading.until(lambda: reading.heartbeat.frames > before + 50)
        chaos.set(drop=0, corrupt=0)
        assert chaos.counts["corrupted"] > 0
        chaos.cut()
        reading.cut()


def test_timestamps_that_wrap_are_no_cut(needs_rtsp: None) -> None:
    # RTP counts in 32 bits; this camera's begins a second before they are full.
    with (
        RtspServer(Serving(size=(320, 240), first=2**32 - 90_000)) as server,
        Reading(server.url("cam"), transport="udp") as reading,
    ):
        seen = [reading.picture() for _ in range(60)]
        assert not any(each.cut for each in seen[1:])
        assert seen[-1].timestamp - seen[0].timestamp > 2e9
        assert reading.heartbeat.facts["transport"] == "udp"


def test_a_refused_login_of_a_camera_and_one_that_is_right(needs_rtsp: None) -> None:
    with RtspServer(Serving(size=(320, 240), user="us@er", password=SECRET)) as server:
        with Reading(server.url("cam")) as reading:
            reading.picture()
        with Reading(server.url("cam", login=False)) as other:
            other.until(lambda: other.says("the login was refused (401)"))
        for told in (reading, other):
            assert SECRET not in repr(told.lines) + repr(told.heartbeats)


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -subj /CN=cam"
    try:
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with web(tmp_path, context) as (host, _):
        with Reading(f"https://{host}/camera") as reading:
            reading.until(lambda: reading.says("--insecure-tls"))
        with Reading(f"https://{host}/camera", insecure_tls=True) as reading:
            assert reading.picture().size == (322, 240)


def test_nothing_grows_with_connections(rtsp_server: RtspServer) -> None:
    with Chaos(rtsp_server.port) as chaos, Reading(chaos.url(rtsp_server.url("cam"))) as reading:
        reading.picture()
        files, threads = len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
        for _ in range(3):
            chaos.cut()
            reading.cut()
        reading.until(lambda: len([*Path("/proc/self/fd").iterdir()]) <= files)
        reading.until(lambda: threading.active_count() <= threads)
