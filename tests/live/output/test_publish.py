"""Servers that live video is published to, which come and go, or do not want it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from stream.live.output.targets import OutputSettings, parse
from tests.feeds import Lane, aac, times
from tests.rig.fakes import Fake
from tests.rig.ports import free_port
from tests.rig.server import RtspServer, Serving

ODD = 'p@ss:w/or?d#%25 ü "quotes"'


@pytest.fixture
def lane() -> Iterator[Lane]:
    with Lane() as lane:
        yield lane


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_publishing_to_a_relay_that_comes_and_goes(
    transport: str, needs_rtsp: None, tmp_path: Path, lane: Lane
) -> None:
    lane.hear(*aac(1))
    with RtspServer(Serving(user="us er", password=ODD, audio="aac")) as relay:
        output = lane.start(parse(relay.url("in"), OutputSettings(transport)))
        assert lane.show(lambda: output.heartbeat.frames > 5), output.said
        assert frames_of(relay, tmp_path / "first.mkv", lane)
        relay.kill()
        assert lane.show(lambda: output.heartbeat.state == "connecting")
        relay.start()
        begun, frames = time.monotonic(), output.heartbeat.frames
        assert lane.show(lambda: output.heartbeat.frames > frames + 5)
        assert time.monotonic() - begun < 15
        assert frames_of(relay, tmp_path / "second.mkv", lane)
        output.stop()
    said = "\n".join(output.said)
    assert "; trying again" in said
    for piece in ("w/or", "w%2For", "quotes", "us%20er"):
        assert piece not in said


def frames_of(relay: RtspServer, path: Path, lane: Lane) -> bool:
    """Whether ffmpeg gets pictures and sound from the relay while the feed goes on."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp"]
    command += ["-i", relay.url("out"), "-t", "3"]
    command += ["-c", "copy", str(path)]
    with subprocess.Popen(command) as player:
        try:
            assert lane.show(lambda: player.poll() is not None)
        finally:
            player.kill()
    return len(times(path)) >= 10 and len(times(path, "audio")) >= 20


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        ("in", True, "the server refuses the user or password"),
        ("cam", False, "the server takes no video at this path"),
        ("none", False, "the server has no such path"),
    ],
)
def test_servers_that_do_not_want_the_video(
    path: str, wrong: bool, said: str, relay: RtspServer, lane: Lane
) -> None:
    address = relay.url(path, login=not wrong)
    if wrong:
        address = address.replace("://", "://user:wrong-secret@")
    output = lane.start(parse(address))
    assert lane.show(lambda: output.has_said(said))
    assert output.process.is_alive()
    assert "secret" not in "".join(output.said)


def test_a_login_that_cannot_be_had(lane: Lane) -> None:
    answer = '401 No\nWWW-Authenticate: Digest realm="x", nonce="1", algorithm="SHA-256"'
    with Fake("answering", answer) as fake:
        output = lane.start(parse(fake.url.replace("://", "://user:right-secret@")))
        wanted = "the server wants a login by Digest SHA-256, which cannot be had here; set it to"
        assert lane.show(lambda: output.has_said(wanted))
    assert "secret" not in "".join(output.said)


@pytest.fixture(scope="module")
def relay(needs_rtsp: None) -> Iterator[RtspServer]:
    with RtspServer(Serving(user="user", password=ODD)) as relay:
        yield relay


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_server_that_says_nothing(scheme: str, lane: Lane) -> None:
    """It is given up before the supervisor takes the process for one that hangs."""
    with Fake("silent") as fake:
        output = lane.start(parse(f"{scheme}://127.0.0.1:{fake.port}/live/secret-key"))
        begun: list[float] = []

        def tried() -> bool:
            if not begun and fake.counts["links"]:
                begun.append(time.monotonic())
            return output.has_said("; trying again")

        assert lane.show(tried)
        assert time.monotonic() - begun[0] < 6
    assert "secret" not in "".join(output.said)


def test_publishing_by_rtmp(tmp_path: Path, lane: Lane) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here")
    lane.hear(*aac(1))
    address, file = f"rtmp://127.0.0.1:{free_port()}/live/abcd-efgh", tmp_path / "got.mkv"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-listen", "1", "-i", address]
    with subprocess.Popen([*command, "-t", "2", "-c", "copy", str(file)]) as server:
        output = lane.start(parse(address))
        assert lane.show(lambda: server.poll() is not None)
    assert len(times(file)) > 25
    assert len(times(file, "audio")) > 60
    assert lane.show(lambda: output.heartbeat.state == "connecting")
    assert "abcd" not in "".join(output.said)


@pytest.mark.parametrize("scheme", ["rtsps", "rtmps"])
def test_certificates_are_checked(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    made += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    port = free_port()
    command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}"]
    command += ["-key", str(key), "-cert", str(certificate)]
    refused = "or its certificate is not trusted; trying again"
    # With nothing to say, it closes what is connected.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        for trusted, insecure in ((False, False), (True, False), (False, True)):
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate if trusted else ""))
            settings = OutputSettings(insecure_tls=insecure)
            with Lane() as lane:
                output = lane.start(parse(f"{scheme}://localhost:{port}/live/x", settings))
                assert lane.show(partial(output.has_said, "; trying again"))
            assert any(refused in line for line in output.said) is not (trusted or insecure)
    finally:
        server.kill()
        server.wait()
