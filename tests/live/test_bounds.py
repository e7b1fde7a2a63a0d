"""Whatever a camera sends, the memory of the process that reads it has a bound: docs/live.md."""

import base64
import contextlib
import itertools
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream.ipc.child import enter
from stream.ipc.mailbox import Mailbox
from stream.ipc.messages import Line
from stream.ipc.sound_ring import SoundRing
from stream.live.input.camera import Camera
from stream.live.input.reader import start
from stream.options.live import LiveSettings
from stream.secrets import Secrets

if sys.platform != "linux":
    pytest.skip("the whole is bounded on Linux alone", allow_module_level=True)

PIXELS = 64 * 1024
PIECE = (32 << 20) + 8 * PIXELS
WHOLE = (512 << 20) + 96 * PIXELS
WHOLES = "a playlist that never ends", "headers without end"
"""Ways that have no other bound: many small pieces."""
SENT = 8 * PIECE
"""Bytes after which a camera ends; unbounded, the reader would have taken them all."""
DEADLINE_S = 120.0
FILL = b"a" * (1 << 16)


def multipart(*lines: str) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n"
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def described(*lines: str, length: int | None = None) -> bytes:
    """RTSP's answer to DESCRIBE."""
    body = "".join(
        f"{line}\r\n" for line in ("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=x", "t=0 0", *lines)
    )
    length = len(body) if length is None else length
    head = (
        f"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: {length}"
    )
    return f"{head}\r\n\r\n{body}".encode()


OPTIONS = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
H264 = "m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000"
SPROP = base64.b64encode(b"\x67" + bytes(16 << 20)).decode()
COOKIES = (f"Set-Cookie: n{n}=".encode() + b"v" * 900 + b"\r\n" for n in itertools.count())
PLAYLIST = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
)
SEGMENTS = b"#EXTINF:1.0,\nhttp://127.0.0.1:1/a.ts\n" * 2_000


def repeated(data: bytes) -> Iterator[bytes]:
    return itertools.repeat(data)


WAYS: dict[str, tuple[str, list[bytes], Iterator[bytes]]] = {
    "a picture that never ends": (
        "http", [multipart("Content-Type: image/jpeg", "") + b"\xff\xd8"], repeated(FILL)
    ),
    "a picture of two gigabytes": (
        "http",
        [multipart("Content-Type: image/jpeg", "Content-Length: 2000000000", "") + b"\xff\xd8"],
        repeated(FILL),
    ),
    "a single picture that never ends": (
        "http", [b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8"], repeated(FILL)
    ),
    "a part whose header never ends": ("http", [multipart() + b"X: "], repeated(FILL)),
    "a header that never ends": ("http", [b"HTTP/1.1 200 OK\r\nX: "], repeated(FILL)),
    "headers without end": ("http", [b"HTTP/1.1 200 OK\r\n"], COOKIES),
    "a redirect with a body that never ends": (
        "http", [b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"], repeated(FILL)
    ),
    "a playlist that never ends": (
        "http",
        [PLAYLIST],
        repeated(SEGMENTS),
    ),
    "an answer of two gigabytes": (
        "rtsp", [OPTIONS, described(length=2_000_000_000)], repeated(FILL)
    ),
    "a header of an answer that never ends": ("rtsp", [b"RTSP/1.0 200 OK\r\nX: "], repeated(FILL)),
    "answers without end": ("rtsp", [b"RTSP/1.0 200 OK\r\n"], repeated(b"X: a\r\n" * 4_000)),
    "a description with as many streams as it can hold": (
        "rtsp", [OPTIONS, described(*H264 * 300_000)], iter(())
    ),
    "parameter sets of megabytes": (
        "rtsp", [OPTIONS, described(*H264, f"a=fmtp:96 sprop-parameter-sets={SPROP}")], iter(())
    ),
}  # fmt: skip


class Endless:
    """A camera on loopback that says so many things, one for each request, and then no end."""

    def __init__(self, answers: list[bytes], rest: Iterator[bytes]) -> None:
        self.sent = 0
        self._answers, self._rest = answers, rest
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                with link, contextlib.suppress(OSError):
                    self._talk(link)

    def _talk(self, link: socket.socket) -> None:
        for answer in self._answers:
            head = b""
            while b"\r\n\r\n" not in head:
                head += link.recv(65_536) or b"\r\n\r\n"
            link.sendall(answer)
            self.sent += len(answer)
        for data in self._rest:
            if self.sent > SENT:
                return
            link.sendall(data)
            self.sent += len(data)


@dataclass(frozen=True)
class Outcome:
    """What became of a process that read from such a camera."""

    grown: int
    """Bytes by which its memory grew at most."""
    said: list[str]
    alive: bool


def outcome(way: str) -> Outcome:
    scheme, answers, rest = WAYS[way]
    context = multiprocessing.get_context("spawn")
    camera = Endless(answers, rest)
    settings = LiveSettings(max_pixels=PIXELS)
    box, sounds = Mailbox(context, PIXELS, 1), SoundRing()
    line, theirs = context.Pipe()
    what = Camera.parse(f"{scheme}://127.0.0.1:{camera.port}/x", settings), settings, box, sounds
    process = context.Process(target=enter, args=(start, theirs, Secrets(), what), daemon=True)
    process.start()
    said: list[str] = []
    begun, end = 0, time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < end and not said:
            message = line.recv() if line.poll(0.1) else None
            if isinstance(message, Line):
                said.append(message.text)
            begun = begun or (peak_bytes(process.pid, "VmRSS") if message else 0)
        return Outcome(peak_bytes(process.pid, "VmHWM") - begun, said, process.is_alive())
    finally:
        process.kill()
        process.join()
        camera.close()
        for memory in (box, sounds):
            memory.close(remove=True)


def peak_bytes(pid: int | None, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1]) << 10


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """All at once, as most take the time that a camera is given to answer."""
    with ThreadPoolExecutor(len(WAYS)) as pool:
        return dict(zip(WAYS, pool.map(outcome, WAYS), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_memory_has_a_bound(way: str, outcomes: dict[str, Outcome]) -> None:
    found = outcomes[way]
    assert found.said, "it is said why there is no picture"
    assert found.alive, "it goes on and tries again"
    assert found.grown < (WHOLE if way in WHOLES else 2 * PIECE)


def test_what_is_asked_for_at_once_and_in_all_has_a_bound() -> None:
    code = f"""if True:
        import av
        from stream.ipc.memory import bound
        bound({PIXELS})
        av.Packet({PIECE - (1 << 20)})
        for ask in (lambda: av.Packet({PIECE + 1}), lambda: bytearray({WHOLE + 1})):
            try:
                ask()
            except MemoryError:
                continue
            raise SystemExit("it was given")
    """
    subprocess.run([sys.executable, "-c", code], check=True)
