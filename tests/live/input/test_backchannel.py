"""Cameras that list their loudspeaker beside their streams: it is not taken for their sound."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from stream.live.input.ffmpeg_log import Answers
from tests.rig.feeding import Feeding
from tests.rig.reading import Reading

MEDIA = "m=audio 0 RTP/AVP 0\r\na=control:loudspeaker\r\na={direction}\r\n"


@contextmanager
def listing(port: int, direction: str) -> Iterator[int]:
    """The port of a camera like the one behind `port` that lists one more stream of sound."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    behind = socket.create_connection(("127.0.0.1", port))
                    for work in (asked, answered):
                        threading.Thread(
                            target=work, args=(client, behind, direction), daemon=True
                        ).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def asked(client: socket.socket, behind: socket.socket, direction: str) -> None:
    """Pass on what is asked, but for what is asked of the stream that is not there."""
    buffer = b""
    with suppress(OSError):
        while data := client.recv(65536):
            buffer += data
            while True:
                end = buffer.find(b"\r\n\r\n") + 4
                if buffer[:1] == b"$" and len(buffer) >= 4:
                    end = 4 + int.from_bytes(buffer[2:4], "big")
                    if len(buffer) < end:
                        break
                elif end < 4:
                    break
                request, buffer = buffer[:end], buffer[end:]
                if b"loudspeaker" in request:
                    wanted = (b"CSeq", b"Session", b"Transport")
                    lines = [each for each in request.split(b"\r\n") if each.startswith(wanted)]
                    client.sendall(b"\r\n".join([b"RTSP/1.0 200 OK", *lines, b"", b""]))
                else:
                    behind.sendall(request)
    behind.close()


def answered(client: socket.socket, behind: socket.socket, direction: str) -> None:
    """Pass on what is answered, with one more stream in the description."""
    more = MEDIA.format(direction=direction).encode()
    described, buffer = False, b""
    with suppress(OSError):
        while data := behind.recv(65536):
            buffer += data
            head, _, body = buffer.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head, re.I)
            if not described and length is not None and b"sdp" in head:
                if len(body) < int(length[1]):
                    continue
                described = True
                size = str(len(body) + len(more)).encode()
                head = head[: length.start(1)] + size + head[length.end(1) :]
                buffer = head + b"\r\n\r\n" + body + more
            client.sendall(buffer)
            buffer = b""
    client.close()


@pytest.mark.parametrize(
    ("sound", "direction", "heard"),
    [
        (None, "sendonly", None),
        ("aac", "sendonly", "aac"),
        (None, "recvonly", "pcm_mulaw"),
    ],
)
def test_a_loudspeaker_is_not_heard(sound: str | None, direction: str, heard: str | None) -> None:
    options = {"sound": sound} if sound else {}
    with (
        Feeding("serve:{port}/clean", **options) as feeding,
        listing(feeding.port, direction) as port,
        Reading(f"rtsp://127.0.0.1:{port}/clean") as reading,
    ):
        reading.picture()
        reading.until(lambda: reading.lines)
        (line,) = reading.lines
        assert line.startswith("connected: h264")
        assert line.partition(", sound ")[2] == (heard or "")


def test_who_says_sendonly_of_the_picture_means_its_own_side() -> None:
    sdp = "SDP:\nv=0\nm=video 0 RTP/AVP 96\na=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n"
    assert Answers([(0, "rtsp", sdp)]).loudspeakers == set()
    other = sdp.replace("96\na=sendonly", "96\na=recvonly")
    assert Answers([(0, "rtsp", other)]).loudspeakers == {0}
    assert Answers([]).loudspeakers == set()
