"""What is told of cameras, and to whom: by HTTP, and by MQTT to a real broker."""

import asyncio
import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from stream.errors import UsageError
from stream.ipc.messages import State
from stream.ipc.stats import ProcessFigures, Snapshot
from stream.live.notify.events import BACK_S, BEGIN_S, LOST_S, SLOW_S, Watch
from stream.live.notify.targets import Mqtt, Target, Waiting, Webhook, parse
from tests.rig.command import DEBLUR, live, refused, until
from tests.rig.ports import free_port, listens

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")


def snapshot(
    state: State = State.LIVE, *, step: str = "1 of 3: lite", dropping: float = 0
) -> Snapshot:
    source = ProcessFigures("source", "reader", state, fps=25.0, connects=2)
    model = ProcessFigures("model", "model", fps=12.5, dropping=dropping, facts={"step": step})
    writer = ProcessFigures("serve", "writer", latency_p50_ms=80.4, latency_p95_ms=120.0)
    return Snapshot(state, 40.0, (source, model, writer))


def told(watch: Watch, seen: list[tuple[float, Snapshot]]) -> list[tuple[float, str]]:
    return [(now, event.kind) for now, each in seen for event in watch.see(each, now)]


def seconds(begin: float, end: float, what: Snapshot) -> list[tuple[float, Snapshot]]:
    return [(float(now), what) for now in range(int(begin), int(end))]


def test_a_camera_that_comes_goes_and_comes_back_is_told_once_each() -> None:
    seen = [
        *seconds(0, 5, snapshot(State.CONNECTING)),
        *seconds(5, 30, snapshot()),
        *seconds(30, 34, snapshot(State.CONNECTING)),  # not for long
        *seconds(34, 60, snapshot()),
        *seconds(60, 100, snapshot(State.NO_SIGNAL)),
        *seconds(100, 102, snapshot()),  # and gone again
        *seconds(102, 120, snapshot(State.CONNECTING)),
        *seconds(120, 140, snapshot(State.DEGRADED)),  # an output is no matter of the camera
    ]
    assert told(Watch("yard", 0.0), seen) == [
        (5 + BACK_S, "back"),
        (60 + LOST_S, "lost"),
        (120 + BACK_S, "back"),
    ]


def test_a_camera_that_never_comes_is_lost() -> None:
    seen = seconds(0, 100, snapshot(State.CONNECTING))
    assert told(Watch("yard", 0.0), seen) == [(BEGIN_S, "lost")]
    # Where it cannot work at all, nothing is waited for.
    assert told(Watch("yard", 0.0), [(1.0, Snapshot(State.FAILED, 0.0, ()))]) == [(1.0, "lost")]


@pytest.mark.parametrize(
    "slow", [snapshot(dropping=0.5), snapshot(step="3 of 3: the camera's own picture")]
)
def test_a_camera_that_is_too_slow_is_told_once_it_stays_so(slow: Snapshot) -> None:
    seen = [
        *seconds(0, 10, snapshot()),
        *seconds(10, 20, slow),
        *seconds(20, 30, snapshot()),
        *seconds(30, 90, slow),
        *seconds(90, 200, snapshot()),
        # What is lost is not slow, and begins anew when it is back.
        *seconds(200, 240, slow),
        *seconds(240, 260, snapshot(State.NO_SIGNAL)),
        *seconds(260, 280, slow),
    ]
    assert told(Watch("yard", 0.0), seen) == [
        (BACK_S, "back"),
        (29 + SLOW_S, "slow"),
        (89 + SLOW_S, "in time"),
        (199 + SLOW_S, "slow"),
        (240 + LOST_S, "lost"),
        (260 + BACK_S, "back"),
    ]


@pytest.mark.docs
def test_what_is_told_is_as_its_page_says() -> None:
    watch = Watch("yard", 0.0)
    watch.see(snapshot(), 0.0)
    (event,) = watch.see(snapshot(dropping=1), BACK_S)
    page = (Path(__file__).parents[2] / "docs" / "notify.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    given = event.to_json("2026-11-30T12:00:00+00:00")
    assert given.keys() == shown.keys()
    assert {key: type(value) for key, value in given.items()} == {
        key: type(value) for key, value in shown.items()
    }
    assert (given["event"], given["camera"], given["latency_ms"]) == ("back", "yard", 80)
    failed = Watch("yard", 0.0).see(Snapshot(State.FAILED, 0.0, ()), 1.0)[0].to_json("now")
    assert failed.keys() == given.keys()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://hooks.example/services/T0/B0/secret", "https://hooks.example"),
        ("http://user:pass@127.0.0.1:8123/api/webhook/secret", "http://127.0.0.1:8123"),
        ("mqtt://user:pass@broker/deblur", "mqtt://broker:1883"),
        ("mqtts://broker:8884/home/deblur", "mqtts://broker:8884"),
    ],
)
def test_where_news_go(address: str, name: str) -> None:
    target = parse(address)
    assert target.name == name
    assert "secret" not in repr(target)
    assert "pass" not in repr(target).replace("password", "")


@pytest.mark.parametrize(
    "address",
    [
        *("", "hook", "ftp://host/x", "https://", "mqtt://broker", "mqtt://broker/", "mqtt:///x"),
        *("mqtt://broker/a/#", "mqtt://broker/+/a", "http://host:port/x", "http://[/x"),
    ],
)
def test_where_news_cannot_go(address: str) -> None:
    with pytest.raises(UsageError, match="--notify takes") as raised:
        parse(address)
    assert len(address) < 9 or address not in str(raised.value)


@dataclass
class Hook:
    """Somebody who is told by HTTP."""

    answers: list[int] = field(default_factory=list)
    """What is answered first; then 200."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    async def post(self, request: web.Request) -> web.Response:
        self.heard.append(await request.json())
        self.logins.append(request.headers.get("Authorization", ""))
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["Hook"]:
        app = web.Application()
        app.router.add_post("/hook/secret", self.post)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = runner.addresses[0][1]
        yield self
        await runner.cleanup()


@asynccontextmanager
async def telling(target: Target, said: list[str]) -> AsyncIterator[Waiting]:
    waiting = Waiting()
    task = asyncio.create_task(target.run(waiting, said.append))
    try:
        yield waiting
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_true(true: Callable[[], object], what: str, patience_s: float = 30) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.05)
    assert true(), what


def test_news_are_posted_in_order_until_they_are_taken() -> None:
    async def trial() -> None:
        said: list[str] = []
        async with Hook([500, 302]).listening() as hook:
            address = f"http://me:p%40ss@127.0.0.1:{hook.port}/hook/secret"
            async with telling(parse(address), said) as waiting:
                for number in range(3):
                    waiting.put({"number": number})
                await until_true(lambda: len(hook.heard) == 5, "not all is told")
                await asyncio.sleep(0.2)
            assert [each["number"] for each in hook.heard] == [0, 0, 0, 1, 2]
            assert set(hook.logins) == {f"Basic {b64encode(b'me:p@ss').decode()}"}
        # Said once, and without what is secret.
        assert said == [f"http://127.0.0.1:{hook.port}: it answers 500; trying again"]

    asyncio.run(trial())


def test_who_is_not_there_is_told_later() -> None:
    async def trial() -> None:
        port, said, hook = free_port(), list[str](), Hook()
        target = parse(f"http://127.0.0.1:{port}/hook/secret")
        assert isinstance(target, Webhook)
        async with telling(target, said) as waiting:
            for number in range(150):
                waiting.put({"number": number})
            await until_true(lambda: said, "nothing is said")
            async with hook.listening(port):
                await until_true(lambda: len(hook.heard) == 100, "not all is told")
        # The oldest have made room.
        assert [each["number"] for each in hook.heard] == [*range(50, 150)]
        assert len(said) == 1
        assert "secret" not in said[0]

    asyncio.run(trial())


@contextmanager
def broker(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Mosquitto, which wants a login."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is missing: apt-get install mosquitto")
    passwords = folder / "passwords"
    if not passwords.exists():
        passwords.touch(0o600)
        command = [f"{MOSQUITTO.removesuffix('/sbin/mosquitto')}/bin/mosquitto_passwd"]
        subprocess.run([*command, "-b", passwords, "me", "p@ss"], check=True, capture_output=True)
    text = f"listener {port} 127.0.0.1\npassword_file {passwords}\nuser root\n"
    (folder / "broker.conf").write_text(text)
    process = subprocess.Popen(
        [MOSQUITTO, "-c", str(folder / "broker.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: process.poll() is not None or listens(port), "there is no broker")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


async def kept(port: int) -> dict[str, str]:
    """What a broker has kept of each topic."""
    import aiomqtt

    found: dict[str, str] = {}
    async with aiomqtt.Client("127.0.0.1", port, username="me", password="p@ss") as client:
        await client.subscribe("home/#")
        try:
            async with asyncio.timeout(0.5):
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    found[str(message.topic)] = message.payload.decode()
        except TimeoutError:
            return found
    raise AssertionError("the broker went away")


def test_a_broker_keeps_the_last_news_of_each_camera(tmp_path: Path) -> None:
    pytest.importorskip("aiomqtt")
    port, said = free_port(), list[str]()
    target = parse(f"mqtt://me:p%40ss@127.0.0.1:{port}/home/deblur")
    assert isinstance(target, Mqtt)

    async def trial() -> None:
        async def has(topic: str, text: str) -> None:
            async with asyncio.timeout(30):
                while text not in (await kept(port)).get(topic, ""):
                    pass

        with broker(tmp_path, port):
            async with telling(target, said) as waiting:
                for kind in ("back", "lost"):
                    waiting.put({"event": kind, "camera": "yard"})
                waiting.put({"event": "back", "camera": "door"})
                await has("home/deblur/door", "back")
                found = await kept(port)
                assert found["home/deblur/status"] == "online"
                assert json.loads(found["home/deblur/yard"])["event"] == "lost"
            # Whoever stops says so.
            await has("home/deblur/status", "offline")

    asyncio.run(trial())
    assert not said


def test_a_broker_that_goes_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    pytest.importorskip("aiomqtt")
    port, said = free_port(), list[str]()

    async def trial() -> None:
        target = parse(f"mqtt://me:p%40ss@127.0.0.1:{port}/home/deblur")
        async with telling(target, said) as waiting:
            with broker(tmp_path, port):
                waiting.put({"event": "back", "camera": "yard"})
                async with asyncio.timeout(30):
                    while "home/deblur/yard" not in await kept(port):
                        pass
            await until_true(lambda: said, "nobody notices")
            waiting.put({"event": "lost", "camera": "yard"})
            with broker(tmp_path, port):
                async with asyncio.timeout(30):
                    while "lost" not in (await kept(port)).get("home/deblur/yard", ""):
                        pass
                assert (await kept(port))["home/deblur/status"] == "online"

    asyncio.run(trial())
    assert len(said) == 1
    assert said[0].startswith(f"mqtt://127.0.0.1:{port}: ")
    assert "p@ss" not in said[0]


def test_a_wrong_login_is_said(tmp_path: Path) -> None:
    pytest.importorskip("aiomqtt")
    port, said = free_port(), list[str]()

    async def trial() -> None:
        with broker(tmp_path, port):
            target = parse(f"mqtt://me:wrong-word@127.0.0.1:{port}/home/deblur")
            async with telling(target, said):
                await until_true(lambda: said, "nothing is said")

    asyncio.run(trial())
    assert "wrong-word" not in said[0]
    assert "uthori" in said[0], said


def test_a_camera_goes_and_comes_back(tmp_path: Path) -> None:
    """All of it: a camera over RTSP, and whoever is told."""
    camera, hook = free_port(), Hook()
    source = ["testsrc:?size=160x120&fps=10", f"serve:{camera}/cam", "--model", "none"]

    def begun() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [DEBLUR, "live", *source, "--fuse", "0", "--http", "off"], stderr=subprocess.DEVNULL
        )

    def kinds() -> list[str]:
        return [each["event"] for each in hook.heard]

    async def trial() -> None:
        async with hook.listening():
            filming = begun()
            address = f"http://127.0.0.1:{hook.port}/hook/secret"
            words = [f"rtsp://127.0.0.1:{camera}/cam", "null:", "--stall", "2", "--model", "none"]
            with live(tmp_path, *words, "--fuse", "0", "--notify", address) as feed:
                try:
                    await until_true(lambda: kinds() == ["back"], "it does not come", 90)
                    title = psutil.Process(feed.process.pid).cmdline()
                    assert "secret" not in " ".join(title)
                    for each in psutil.Process(filming.pid).children(recursive=True):
                        each.kill()
                    filming.kill()
                    filming.wait()
                    await until_true(lambda: kinds()[1:] == ["lost"], "it is not missed", 90)
                    assert hook.heard[1]["camera"] == "live"
                    filming = begun()
                    await until_true(lambda: kinds()[2:] == ["back"], "it does not come back", 90)
                    assert "secret" not in feed.said
                finally:
                    filming.terminate()
                    filming.wait(30)

    asyncio.run(trial())


def test_nonsense_is_said_without_what_is_secret() -> None:
    code, said = refused("testsrc:", "null:", "--notify", "ftp://me:s3cret@host/x")
    assert code == 2
    assert said.startswith("deblur: --notify takes https://...")
    code, said = refused("testsrc:", "null:", "--notify", "env:DEBLUR_NOWHERE")
    assert code == 2
    assert "set the environment variable DEBLUR_NOWHERE" in said
