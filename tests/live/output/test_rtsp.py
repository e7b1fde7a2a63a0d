"""Serving RTSP to players that are not ours, and to readers that do not behave."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import pairwise
from multiprocessing import Pipe
from typing import cast

import av
import numpy as np
import pytest

from stream.errors import SinkError, UsageError
from stream.ipc.child import Control
from stream.live.output.pacing import Feed
from stream.live.output.serve import Serve
from stream.live.rtsp.paths import Backlog, InterleavedPath
from stream.live.rtsp.session import Session
from stream.live.rtsp.track import Batch, Media, Presentation, Track, fields, packet
from stream.web.login import Login
from tests.rig.clients import PLAYERS
from tests.rig.feeding import Feeding
from tests.rig.meter import Measured, measure
from tests.rig.never_reads import NeverReads

LOGIN = "us%40er:p%3A%40%C3%9Fword"


@pytest.fixture(scope="module")
def served() -> Iterator[Feeding]:
    """A feed with sound, to whoever is on this machine."""
    with Feeding("serve:{port}/clean", sound="aac") as feeding:
        yield feeding


@pytest.fixture(scope="module")
def guarded() -> Iterator[Feeding]:
    """A feed for those who know the password."""
    with Feeding(f"serve:{LOGIN}@0.0.0.0:{{port}}/clean") as feeding:
        yield feeding


class Wire:
    """A connection on which anything can be said."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), timeout=15)
        self._number = 0

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def say(self, data: bytes) -> None:
        self._link.sendall(data)

    def ask(self, method: str, url: str, **fields: str) -> tuple[int, str]:
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self.say(("\r\n".join(lines) + "\r\n\r\n").encode())
        return self.answer()

    def answer(self) -> tuple[int, str]:
        """Status and head of the next answer; status 0 where the link has ended."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            try:
                byte = self._link.recv(1)
            except ConnectionError:
                byte = b""
            if not byte:
                return 0, head.decode()
            head += byte
        return int(head.split()[1]), head.decode()

    def ended_within(self, seconds: float) -> bool:
        self._link.settimeout(seconds)
        try:
            while self._link.recv(65_536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


def field(head: str, name: str) -> str:
    return next(
        line.partition(":")[2].strip()
        for line in head.splitlines()
        if line.lower().startswith(name.lower() + ":")
    )


def url(feeding: Feeding, path: str = "clean", login: str = "") -> str:
    return f"rtsp://{login + '@' if login else ''}127.0.0.1:{feeding.port}/{path}"


def until(feeding: Feeding, readers: int, seconds: float = 15) -> None:
    """Wait until so many are reading."""
    end = time.monotonic() + seconds
    while (found := feeding.counts.get("readers")) != readers:
        assert time.monotonic() < end, f"{found} readers, not {readers}"
        time.sleep(0.05)


@pytest.mark.usefixtures("needs_rtsp")
def test_players_play_over_tcp_and_udp_at_once(served: Feeding) -> None:
    with ThreadPoolExecutor(len(PLAYERS) * 2) as pool:
        jobs = {
            (name, transport): pool.submit(player, url(served), 3, transport)
            for name, player in PLAYERS.items()
            for transport in ("tcp", "udp")
        }
    for (name, transport), job in jobs.items():
        played = job.result()
        assert played.frames > 40, f"{name} over {transport}: {played.frames}\n{played.said}"
    until(served, 0)


def test_sound_and_picture_stay_together(served: Feeding) -> None:
    with ThreadPoolExecutor(2) as pool:
        play = partial(measure, url(served), 4)
        jobs = {way: pool.submit(play, transport=way) for way in ("tcp", "udp")}
    for way, job in jobs.items():
        got = job.result()
        assert (way, got.ended, got.backwards) == (way, "", 0)
        assert len(got.offsets_s) >= 2
        assert abs(float(np.median(got.offsets_s))) < 0.04, way


def test_other_sounds_are_passed_along() -> None:
    codecs = ("opus", "mp3", "pcm_mulaw")
    with ExitStack() as stack:
        feeds = [
            stack.enter_context(Feeding("serve:{port}/clean", sound=codec)) for codec in codecs
        ]
        with ThreadPoolExecutor(len(codecs)) as pool:
            jobs = [pool.submit(measure, url(feeding), 3) for feeding in feeds]
    for codec, job in zip(codecs, jobs, strict=True):
        got = job.result()
        assert (codec, got.ended) == (codec, "")
        assert got.offsets_s, codec
        assert abs(float(np.median(got.offsets_s))) < 0.04, codec


def test_those_who_misbehave_harm_nobody() -> None:
    with (
        Feeding("serve:{port}/clean", noise=1, size="640x360") as feeding,
        NeverReads(url(feeding)) as stuck,
        Wire(feeding.port) as quiet,
        Wire(feeding.port) as dribbling,
        Wire(feeding.port) as half,
        ThreadPoolExecutor(3) as pool,
    ):
        begun = time.monotonic()
        until(feeding, 1)
        play = partial(measure, url(feeding), 14)
        jobs = [pool.submit(play) for _ in range(3)]
        half.say(b"\x16\x03\x01" + bytes(300))
        while time.monotonic() < begun + 8:
            dribbling.say(b"X")
            time.sleep(0.5)
        for wire in (quiet, dribbling, half):
            assert wire.ended_within(6)
        assert time.monotonic() > begun + 9
        got: list[Measured] = [job.result() for job in jobs]
        seen = [[found.count for _, found in each.stamps] for each in got]
        first, last = max(each[0] for each in seen), min(each[-1] for each in seen)
        assert last - first > 250
        common = [[count for count in each if first <= count <= last] for each in seen]
        assert common[0] == common[1] == common[2]
        # What the writer left out itself is no fault of the readers.
        assert got[0].missing <= feeding.counts["dropped"]
        assert stuck.hung_up(5)
        until(feeding, 0)
        # That it is slow, that it is disconnected, and how much was left out.
        assert feeding.counts["lines"] == 3


def test_a_slow_reader_goes_on_with_a_key_frame() -> None:
    media = Media("video", 96, "H264/90000", 90_000)
    asked: list[bool] = []
    show = Presentation("live", [Track(media, 0, 0, 1)], lambda: asked.append(True))
    size = 1000

    def batch(number: int) -> Batch:
        made = [packet(bytes(size), 96, number, number, 1, marker=True)] * 100
        return Batch(0, number, number % 10 == 0, tuple(made))

    async def go() -> tuple[list[int], Session]:
        ends: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        listener = await asyncio.start_server(lambda _, writer: ends.put(writer), "127.0.0.1", 0)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(listener.sockets[0].getsockname())
        reader, back = await asyncio.open_connection(sock=slow, limit=4096)
        writer = await ends.get()
        backlog = Backlog(writer.transport)
        session = Session(show, backlog, lambda: None)
        session.paths[0] = InterleavedPath(backlog, 0)
        session.play(lambda _: None)
        end = time.monotonic() + 20
        number = 0
        while session.skipped < 20:
            assert time.monotonic() < end
            session.send(batch(number := number + 1))
            await asyncio.sleep(0.02)
        got: list[int] = []
        taking = asyncio.create_task(take(reader, got))
        while not backlog.caught_up or backlog.age_s:
            await asyncio.sleep(0.01)
        for more in range(number + 1, number + 30):
            session.send(batch(more))
            await asyncio.sleep(0.001)
        while got.count(number + 29) < 100:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        taking.cancel()
        for each in (writer, back):
            each.close()
        listener.close()
        return got, session

    async def take(reader: asyncio.StreamReader, got: list[int]) -> None:
        while True:
            header = await reader.readexactly(4)
            data = await reader.readexactly(int.from_bytes(header[2:]))
            if header[1] == 0:
                got.append(fields(data)[0])

    got, session = asyncio.run(go())
    numbers = sorted(set(got))
    assert all(got.count(number) == 100 for number in numbers), "pictures are whole"
    assert got == sorted(got)
    assert numbers[0] == 10
    (gap,) = [after for before, after in pairwise(numbers) if after != before + 1]
    assert gap % 10 == 0
    assert session.skipped == gap - 10 - numbers.index(gap)
    assert asked


@pytest.mark.usefixtures("needs_rtsp")
def test_the_login_is_asked_for(guarded: Feeding) -> None:
    with ThreadPoolExecutor(5) as pool:
        right = {
            name: pool.submit(player, url(guarded, login=LOGIN), 0.5, "tcp")
            for name, player in PLAYERS.items()
        }
        wrong = [
            pool.submit(PLAYERS["ffmpeg"], url(guarded, login=login), 0.5, "tcp")
            for login in ("", "us%40er:wrong")
        ]
    for name, job in right.items():
        assert job.result().frames, f"{name}\n{job.result().said}"
    for job in wrong:
        assert not job.result().frames
        assert "401" in job.result().said


def test_nothing_is_told_without_the_login(guarded: Feeding) -> None:
    with Wire(guarded.port) as wire:
        assert wire.ask("OPTIONS", url(guarded))[0] == 200
        for path in ("clean", "other"):
            status, head = wire.ask("DESCRIBE", url(guarded, path))
            assert status == 401
            assert "algorithm=SHA-256" in head
            assert head.rstrip().endswith("algorithm=MD5"), "FFmpeg takes the last one"
        for method in ("SETUP", "PLAY"):
            assert wire.ask(method, url(guarded))[0] == 401
        status, _ = wire.ask("GET_PARAMETER", url(guarded))
        assert status == 401
        assert wire.ended_within(5), "after five refusals"


def test_states_and_addresses(served: Feeding) -> None:
    base = url(served)
    with Wire(served.port) as wire, closing(socket.socket(type=socket.SOCK_DGRAM)) as ear:
        ear.bind(("127.0.0.1", 0))
        port = ear.getsockname()[1]
        assert wire.ask("DESCRIBE", url(served, "../clean"))[0] == 404
        assert wire.ask("DESCRIBE", url(served, "cleaner"))[0] == 404
        assert wire.ask("PLAY", base)[0] == 454
        assert wire.ask("ANNOUNCE", base)[0] == 405
        assert wire.ask("DANCE", base)[0] == 501
        assert wire.ask("SETUP", base, Require="play.scale")[0] == 551
        assert wire.ask("SETUP", f"{base}/trackID=7", Transport="RTP/AVP/TCP")[0] == 404
        assert wire.ask("SETUP", f"{base}/trackID=0", Transport="RTP/AVP;multicast")[0] == 461
        # Another host is not listened to: packets go to who asks.
        way = f"RTP/AVP;unicast;destination=192.0.2.1;client_port={port}-{port + 1}"
        status, head = wire.ask("SETUP", f"{base}/trackID=0", Transport=way)
        assert status == 200
        even, _, odd = field(head, "Transport").partition("server_port=")[2].partition("-")
        assert int(even) % 2 == 0
        assert int(odd.partition(";")[0]) == int(even) + 1
        session = field(head, "Session").partition(";")[0]
        assert wire.ask("PLAY", base, Session="0")[0] == 454
        assert wire.ask("PLAY", base)[0] == 454
        status, head = wire.ask("PLAY", base, Session=session)
        assert status == 200
        ear.settimeout(5)
        packet, sender = ear.recvfrom(2000)
        assert sender == ("127.0.0.1", int(even))
        assert f"seq={int.from_bytes(packet[2:4])};" in field(head, "RTP-Info")
        assert f"rtptime={int.from_bytes(packet[4:8])}" in field(head, "RTP-Info")
        assert wire.ask("SETUP", f"{base}/trackID=1", Transport=way, Session=session)[0] == 455
        assert wire.ask("GET_PARAMETER", base, Session=session)[0] == 200
        assert wire.ask("PAUSE", base, Session=session)[0] == 200
        until(served, 0)
        assert wire.ask("PLAY", base, Session=session)[0] == 200
        until(served, 1)
        assert wire.ask("TEARDOWN", base, Session=session)[0] == 200
        assert wire.ended_within(5)
    until(served, 0)


def test_garbage_ends_the_connection_alone(served: Feeding) -> None:
    for data in (b"\0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000):
        with Wire(served.port) as wire:
            wire.say(data)
            assert wire.ended_within(5)
    assert not measure(url(served), 0.5).ended


def test_those_without_a_login_keep_nobody_out(guarded: Feeding) -> None:
    """Whoever is logged in stays, and whoever knows the password comes in, however many wait."""
    wires: list[Wire] = []
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(measure, url(guarded, login=LOGIN), 4)
        until(guarded, 1)
        try:
            wires += [Wire(guarded.port) for _ in range(200)]
            assert not measure(url(guarded, login=LOGIN), 0.5).ended
            assert wires[-1].ask("OPTIONS", url(guarded))[0] == 200
            assert wires[0].ended_within(5), "the first ones had to go"
        finally:
            for wire in wires:
                wire.__exit__()
        assert not before.result().ended


def test_wrong_logins_are_counted_and_told_now_and_then(guarded: Feeding) -> None:
    until(guarded, 0)
    before = guarded.counts
    for number in range(4):
        with pytest.raises(av.error.HTTPUnauthorizedError):
            av.open(url(guarded, login=f"us%40er:wrong{number}"))
    end = time.monotonic() + 15
    while guarded.counts["refused"] < before["refused"] + 4:
        assert time.monotonic() < end, guarded.counts
        time.sleep(0.05)
    assert guarded.counts["refused"] == before["refused"] + 4
    assert guarded.counts["lines"] - before["lines"] <= 1


def test_readers_come_again_and_again(served: Feeding) -> None:
    descriptors = f"/proc/{served.counts['pid']}/fd"

    def count() -> int:
        listed = subprocess.run(["ls", descriptors], capture_output=True, text=True, check=True)
        return len(listed.stdout.splitlines())

    until(served, 0)
    before = count()
    for round in range(6):
        with Wire(served.port) as wire:
            ways = [f"RTP/AVP;unicast;client_port={port}-{port + 1}" for port in (30_000, 30_002)]
            session: dict[str, str] = {}
            for number, way in enumerate(ways if round % 2 else ["RTP/AVP/TCP"] * 2):
                status, head = wire.ask(
                    "SETUP", f"{url(served)}/trackID={number}", Transport=way, **session
                )
                assert status == 200
                session = {"Session": field(head, "Session")}
            assert wire.ask("PLAY", url(served), **session)[0] == 200
    until(served, 0)
    end = time.monotonic() + 10
    while count() > before:
        assert time.monotonic() < end, "sockets are left open"
        time.sleep(0.1)


def test_it_stops_at_once_and_says_so_to_readers() -> None:
    with Feeding("serve:{port}/clean") as feeding, ThreadPoolExecutor(1) as pool:
        job = pool.submit(measure, url(feeding), 30)
        until(feeding, 1)
        time.sleep(1)
        begun = time.monotonic()
        assert feeding.stop() == 0
        assert time.monotonic() - begun < 10
        assert job.result().ended == "end of stream"


def test_it_is_described_as_soon_as_there_is_a_picture() -> None:
    with Feeding("serve:{port}/clean", late=2) as feeding:
        assert not measure(url(feeding), 0.5).ended


def test_only_the_host_given_is_listened_at(served: Feeding, guarded: Feeding) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    places = {line.split()[3] for line in listening.splitlines()}
    assert f"127.0.0.1:{served.port}" in places
    assert f"0.0.0.0:{guarded.port}" in places
    assert not places & {f"0.0.0.0:{served.port}", f"*:{served.port}", f"[::]:{served.port}"}


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        target = Serve(taken.getsockname()[1])
        near, far = Pipe()
        with pytest.raises(SinkError, match=r"^cannot serve at 127.0.0.1, port \d+: Address alr"):
            target.run(Control(near), cast(Feed, None), None)
        far.close()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("serve:8554", Serve(8554)),
        ("serve:8554/", Serve(8554)),
        ("serve:8554/clean", Serve(8554, path="clean")),
        ("serve:localhost:8554/a/b%20c/", Serve(8554, "localhost", "a/b c")),
        ("serve:[::1]:8554/x", Serve(8554, "::1", "x")),
        ("serve:u:p%40ssword@0.0.0.0:1/x", Serve(1, "0.0.0.0", "x", Login.of("u", "p@ssword"))),
        ("serve:u:p@ssword@[::]:8554", Serve(8554, "::", "live", Login.of("u", "p@ssword"))),
        ("serve:u:p@127.0.0.1:8554", Serve(8554, login=Login.of("u", "p"))),
    ],
)
def test_where_to_serve(text: str, target: Serve) -> None:
    found = Serve.parse(text)
    assert found == target
    assert not found.resizes
    assert "ss" not in found.name


@pytest.mark.parametrize(
    "text",
    [
        *("serve:", "serve:x", "serve:0", "serve:65536", "serve:8554x", "serve:1:2:3"),
        *("serve:0.0.0.0:8554", "serve:[::]:8554/x", "serve:camera.lan:8554", "serve:10.0.0.1:80"),
        *("serve:u@127.0.0.1:8554", "serve:u:@127.0.0.1:8554", "serve::secret@127.0.0.1:8554"),
        *("serve:u:secret7@0.0.0.0:8554", "serve:u:secret7@[::]:8554", "serve:u:secret7@lan:8554"),
        *("serve:8554/a?b", "serve:8554/a%0d%0ab", "serve:::1:8554", "serve:u:secret@x"),
    ],
)
def test_where_not_to_serve(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Serve.parse(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
