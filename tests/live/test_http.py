"""Figures over HTTP: who gets them, and what they are."""

import asyncio
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import pytest

from stream.errors import SinkError, UsageError
from stream.ipc.messages import State
from stream.ipc.stats import ProcessFigures, Snapshot
from stream.live.http import DEFAULT_PORT, Address, Http
from stream.web import admission as listener
from stream.web.hosts import is_loopback

TOKEN = "a token of ours"


class Feed:
    """A feed whose figures are given."""

    name = "live"

    def __init__(self, state: State = State.LIVE) -> None:
        self.state = state

    def snapshot(self) -> Snapshot:
        source = ProcessFigures("source", "reader", State.LIVE, fps=25.0, frames=1000, connects=3)
        model = ProcessFigures("model", "model", State.LIVE, fps=12.5, frames=500, dropped=500)
        writer = ProcessFigures(
            'yard "1"\n', "writer", State.LIVE, latency_p50_ms=80.0, latency_p95_ms=120.0, readers=2
        )
        return Snapshot(self.state, 40.0, (source, model, writer))


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def ask(
    port: int, path: str, state: State = State.LIVE, method: str = "GET", **headers: str
) -> tuple[int, str]:
    async def talk() -> tuple[int, str]:
        http = Http([Feed(state)], Address(TOKEN, port=port))
        await http.start()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.request(
                    method, f"http://127.0.0.1:{http.port}{path}", headers=headers
                ) as answer,
            ):
                return answer.status, await answer.text()
        finally:
            await http.stop()

    return asyncio.run(talk())


def test_guesses_wait_for_one_another(port: int) -> None:
    async def talk() -> None:
        http = Http([Feed()], Address(TOKEN, port=port))
        await http.start()
        address = f"http://127.0.0.1:{http.port}/metrics"
        async with aiohttp.ClientSession() as session:

            async def guess(number: int) -> int:
                bearer = {"Authorization": f"Bearer {number}\u00ff"}
                async with session.get(address, headers=bearer) as answer:
                    return answer.status

            begun = time.monotonic()
            found = [asyncio.create_task(guess(number)) for number in range(60)]
            try:
                # All but those that wait for their turn.
                while sum(task.done() for task in found) < 44:
                    assert time.monotonic() - begun < 30, "they all wait"
                    await asyncio.sleep(0.02)
                done = [task.result() for task in found if task.done()]
                assert 5 <= done.count(401) <= 6 + time.monotonic() - begun
                assert set(done) == {401, 429}
            finally:
                for task in found:
                    task.cancel()
                await asyncio.gather(*found, return_exceptions=True)
                await http.stop()

    asyncio.run(talk())


def test_idle_connections_keep_nobody_out(port: int) -> None:
    """A thousand of them leave most files to the process, and answers to whoever asks."""

    async def talk() -> None:
        http = Http([Feed()], Address(TOKEN, port=port))
        await http.start()
        files = len([*Path("/proc/self/fd").iterdir()])
        idle: list[asyncio.StreamWriter] = []
        address = f"http://127.0.0.1:{http.port}"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with aiohttp.ClientSession() as known, aiohttp.ClientSession() as session:
                async with known.get(f"{address}/metrics", headers=bearer) as answer:
                    assert answer.status == 200
                for number in range(300):
                    _, writer = await asyncio.open_connection("127.0.0.1", http.port)
                    writer.write(b"GET /healthz HTTP/1.1\r\n" * (number % 2))
                    idle.append(writer)
                async with session.get(f"{address}/healthz") as answer:
                    assert answer.status == 200
                # Ours are those at the other end.
                assert len([*Path("/proc/self/fd").iterdir()]) - files - len(idle) < 100
                async with known.get(f"{address}/metrics", headers=bearer) as answer:
                    assert answer.status == 200, "on the connection that was there before"
        finally:
            for writer in idle:
                writer.transport.abort()
            await http.stop()

    asyncio.run(talk())


def test_half_a_question_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE_S", 0.2)

    async def talk() -> None:
        http = Http([Feed()], Address(TOKEN, port=port))
        await http.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            with suppress(ConnectionError):
                assert not await asyncio.wait_for(reader.read(), 10)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            await http.stop()

    asyncio.run(talk())


def test_health_is_told_without_a_token(port: int) -> None:
    assert ask(port, "/healthz") == (200, '{"feeds": {"live": "live"}}')
    assert ask(port, "/healthz", State.NO_SIGNAL) == (503, '{"feeds": {"live": "no signal"}}')


def test_metrics_need_the_token(port: int) -> None:
    assert ask(port, "/metrics")[0] == 401
    assert ask(port, "/metrics?token=another")[0] == 401
    assert ask(port, "/metrics", Authorization="Bearer another")[0] == 401
    assert ask(port, "/metrics", Authorization=f"Basic {TOKEN}")[0] == 401
    status, text = ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert 'deblur_dropped_total{feed="live",process="model",role="model"} 500.0' in text
    assert 'quantile="0.95"' in text
    assert "0.12\n" in text
    assert r"yard \"1\"\n" in text, "labels are escaped"
    assert ask(port, f"/metrics?token={TOKEN}")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:9554", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.5", 403),
        ("", 403),
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
    ],
)
def test_a_foreign_name_is_refused(port: int, host: str, status: int) -> None:
    assert ask(port, "/healthz", Host=host)[0] == status
    assert ask(port, f"/metrics?token={TOKEN}", Host=host)[0] == status


def test_nothing_else_is_there(port: int) -> None:
    for path in ("/", "/../etc/passwd", "/%2e%2e/etc/passwd", "/metrics/", "/static/x"):
        assert ask(port, path)[0] == 404
    assert ask(port, "/healthz", method="POST")[0] == 405
    assert ask(port, "/healthz", method="DELETE")[0] == 405


def test_a_port_that_is_taken() -> None:
    async def start(port: int) -> int:
        http = Http([Feed()], Address(TOKEN, port=port))
        try:
            await http.start()
            return http.port
        finally:
            await http.stop()

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(SinkError, match=f"{number}"):
            asyncio.run(start(number))
    try:
        other = socket.create_server(("127.0.0.1", DEFAULT_PORT))
    except OSError:
        pytest.skip("the usual port is not ours")
    with closing(other):
        assert asyncio.run(start(DEFAULT_PORT)) not in (0, DEFAULT_PORT)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("9000", "127.0.0.1", 9000), ("[::1]:9000", "::1", 9000), ("localhost:0", "localhost", 0)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.parse(text, None, TOKEN)
    assert (address.host, address.port, address.token) == (host, port, TOKEN)
    assert TOKEN not in repr(address)


def test_beyond_loopback_there_must_be_a_token() -> None:
    with pytest.raises(UsageError, match="DEBLUR_TOKEN"):
        Address.parse("0.0.0.0:9000", None, TOKEN)
    with pytest.raises(UsageError, match="at least 8"):
        Address.parse("0.0.0.0:9000", "short", TOKEN)
    assert Address.parse("0.0.0.0:9000", "long enough", TOKEN).token == "long enough"


@pytest.mark.parametrize("text", ["", "x", "99999", "1:2:3", "host:", ":80"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="--http"):
        Address.parse(text, None, TOKEN)


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))
