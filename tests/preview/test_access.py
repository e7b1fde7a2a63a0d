"""Who gets the preview, and what is refused."""

import asyncio
import json
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from aiohttp import web

from stream.errors import SinkError, UsageError
from stream.ipc.messages import Change, Feeds, Figures, InUse, PreviewFeed
from stream.ipc.window import Window
from stream.options.live import LiveRestoreOptions
from stream.options.scale import Scale
from stream.preview.access import Access, Guard
from stream.preview.server import Page
from stream.preview.site import runner_of
from tests.feeds import SPAWN, gray

WORD = "a word of ours"
OURS = {"Authorization": f"Bearer {WORD}"}


@dataclass
class Site:
    """A page that is served, and what it asked for."""

    port: int
    session: aiohttp.ClientSession
    window: Window
    page: Page
    asked: list[Change]
    kept: str
    """What a browser keeps."""

    async def ask(
        self, path: str, method: str = "GET", json: object = None, **headers: str
    ) -> tuple[int, bytes, Any]:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            headers=given,
            json=json,
            allow_redirects=False,
        ) as answer:
            return answer.status, await answer.read(), answer.headers


@asynccontextmanager
async def site(*, chosen: bool = False) -> AsyncIterator[Site]:
    access = Access(WORD, port=0, chosen=chosen)
    listening = access.listen()
    asked: list[Change] = []
    page = Page(Guard(access, listening.getsockname()[1]), asked.append)
    runner = runner_of(page)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    window = Window(SPAWN, 320 * 240, 640 * 480)
    shown = PreviewFeed("yard", window, LiveRestoreOptions(), ("lite", "wide"))
    await page.told(Feeds((shown,)))
    # Only by name: quoting of paths is what is tried here.
    async with aiohttp.ClientSession(requote_redirect_url=False) as session:
        try:
            yield Site(listening.getsockname()[1], session, window, page, asked, access.kept)
        finally:
            await runner.cleanup()
            for memory in (window._before, window._after, window):
                memory.close(remove=True) if memory is not window else memory._memory.unlink()


def tried(trial: Callable[[Site], Awaitable[None]], *, chosen: bool = False) -> None:
    async def run() -> None:
        async with site(chosen=chosen) as there:
            await trial(there)

    asyncio.run(run())


PATHS = (
    "/",
    "/app.js",
    "/viewer.js",
    "/viewer.css",
    "/style.css",
    "/icon.svg",
    "/ws",
    "/mjpeg",
    "/still",
)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_given_without_the_word(path: str) -> None:
    async def trial(there: Site) -> None:
        basic = b64encode(b"me:another").decode()
        for headers in (
            {},
            {"Authorization": "Bearer another"},
            {"Authorization": f"Basic {basic}"},
        ):
            status, _, answer = await there.ask(path, **headers)
            assert status == 401
            assert answer["WWW-Authenticate"].startswith("Bearer")
        assert (await there.ask(f"{path}?token=another"))[0] == 401
        assert (await there.ask(path, Cookie=f"deblur-{there.port}={WORD}"))[0] == 401

    tried(trial)


def test_guesses_wait_for_one_another() -> None:
    """However many come at once."""

    async def trial(there: Site) -> None:
        async def guess(number: int) -> int:
            return (await there.ask("/", Authorization=f"Bearer {number}"))[0]

        begun = time.monotonic()
        found = [asyncio.create_task(guess(number)) for number in range(200)]
        try:
            # All but those that wait for their turn.
            while sum(task.done() for task in found) < 180:
                assert time.monotonic() - begun < 30, "they all wait"
                await asyncio.sleep(0.02)
            done = [task.result() for task in found if task.done()]
            spent = time.monotonic() - begun
            assert 5 <= done.count(401) <= 6 + spent, "they are looked at together"
            assert done.count(429) == len(done) - done.count(401)
            # Who is in already does not wait.
            known = f"deblur-{there.port}={there.kept}"
            assert (await there.ask("/", Cookie=known))[0] == 200
        finally:
            for task in found:
                task.cancel()
            await asyncio.gather(*found, return_exceptions=True)

    tried(trial)


def test_nonsense_in_headers_is_no_fault() -> None:
    async def trial(there: Site) -> None:
        for head, wanted in {
            b"Authorization: Bearer \xff": b"401",
            b"Authorization: Basic \xff": b"401",
            b"Authorization: Basic !!!": b"401",
            b"Cookie: deblur=\xff": b"401",
            b"Origin: http://[": b"403",
        }.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
            host = f"Host: 127.0.0.1:{there.port}\r\n".encode()
            writer.write(b"GET / HTTP/1.1\r\n" + host + head + b"\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            assert answer.split()[1] == wanted, (head, answer[:200])
            writer.close()

    tried(trial)


def test_who_is_gone_watches_no_more() -> None:
    """Though no picture comes in which it would be noticed."""

    async def trial(there: Site) -> None:
        async def come_and_go() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(there.ask("/mjpeg", **OURS), 0.3)

        await asyncio.gather(*(come_and_go() for _ in range(8)))
        await asyncio.sleep(0.5)
        assert there.page.viewers == 0
        # And nothing is to be seen of a feed that has ended.
        async with there.session.get(
            f"http://127.0.0.1:{there.port}/mjpeg", headers=OURS
        ) as stream:
            assert there.page.viewers == 1
            await there.page.told(Feeds(()))
            await asyncio.wait_for(stream.read(), 5)
            assert there.page.viewers == 0

    tried(trial)


def test_a_page_that_does_not_read_is_let_go_of() -> None:
    async def trial(there: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port, limit=1024)
        head = [
            "GET /ws HTTP/1.1",
            f"Host: 127.0.0.1:{there.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}",
            f"Authorization: {OURS['Authorization']}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        await reader.readline()
        much = Figures({"yard": {"state": "x" * (1 << 20)}})
        begun = time.monotonic()
        while there.page.viewers:
            await there.page.told(much)
            assert time.monotonic() - begun < 10, "it is written to for ever"
        writer.close()

    tried(trial)


def test_the_word_opens_the_page_and_is_not_kept() -> None:
    async def trial(there: Site) -> None:
        status, _, headers = await there.ask(f"/?token={WORD.replace(' ', '%20')}")
        assert (status, headers["Location"]) == (303, "/")
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert WORD not in cookie
        kept = cookie.partition(";")[0]
        status, body, headers = await there.ask("/", Cookie=kept)
        assert status == 200
        assert b"<title>deblur</title>" in body
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Frame-Options"] == "DENY"
        assert (await there.ask("/app.js", Cookie=kept))[0] == 200

    tried(trial)


def test_a_password_of_ones_own_can_be_typed() -> None:
    async def trial(there: Site) -> None:
        status, _, headers = await there.ask("/")
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Basic")
        typed = b64encode(f"anybody:{WORD}".encode()).decode()
        assert (await there.ask("/", Authorization=f"Basic {typed}"))[0] == 200

    tried(trial, chosen=True)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5", ""])
def test_a_foreign_host_is_refused(host: str) -> None:
    async def trial(there: Site) -> None:
        for path in PATHS:
            assert (await there.ask(path, Host=host, **OURS))[0] == 403
        assert (await there.ask("/settings", "POST", {"feed": "yard"}, Host=host, **OURS))[0] == 403
        assert not there.asked

    tried(trial)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(origin: str) -> None:
    async def trial(there: Site) -> None:
        wanted = {"feed": "yard", "strength": 0.5}
        for path in ("/ws", "/mjpeg", "/still"):
            assert (await there.ask(path, Origin=origin, **OURS))[0] == 403
        assert (await there.ask("/settings", "POST", wanted, Origin=origin, **OURS))[0] == 403
        assert not there.asked
        own = f"http://127.0.0.1:{there.port}"
        assert (await there.ask("/settings", "POST", wanted, Origin=own, **OURS))[0] == 202
        assert there.asked
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await there.session.ws_connect(f"{own}/ws", headers=OURS, origin=origin)

    tried(trial)


def test_other_sites_cannot_embed_it() -> None:
    """Where a browser sends no origin, it says from where a request comes."""

    async def trial(there: Site) -> None:
        for path in ("/mjpeg", "/still", "/app.js"):
            assert (await there.ask(path, Sec_Fetch_Site="cross-site", **OURS))[0] == 403
        status, _, _ = await there.ask(
            "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", **OURS
        )
        assert status == 200, "a link may be followed"

    tried(trial)


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/page/app.js",
        "/index.html",
        "/server.py",
        "/app.js/../server.py",
        "/app.js%00",
    ],
)
def test_no_path_leads_elsewhere(path: str) -> None:
    async def trial(there: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WORD}\r\n"
        writer.write(f"{request}Connection: close\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.split()[1] in (b"404", b"400")
        assert b"root:" not in answer
        writer.close()

    tried(trial)


def test_changes_need_the_word_and_json() -> None:
    async def trial(there: Site) -> None:
        wanted = {"feed": "yard", "strength": 0.5}
        assert (await there.ask("/settings", "POST", wanted))[0] == 401
        assert (await there.ask("/settings", **OURS))[0] == 405
        assert (await there.ask("/still", "POST", wanted, **OURS))[0] == 405
        form = {"Content-Type": "text/plain"}
        async with there.session.post(
            f"http://127.0.0.1:{there.port}/settings",
            data=json.dumps(wanted),
            headers={**OURS, **form},
        ) as answer:
            assert answer.status == 415
        assert not there.asked

    tried(trial)


def test_settings() -> None:
    async def trial(there: Site) -> None:
        wanted = {
            "feed": "yard",
            "model": "wide",
            "strength": 0.25,
            "fuse": 5,
            "smooth": 0,
            "upscale": "2",
            "early": True,
        }
        assert (await there.ask("/settings", "POST", wanted, **OURS))[0] == 202
        made = LiveRestoreOptions(
            "wide", 0.25, smooth=0.0, upscale=Scale.parse("2"), early=True, fuse=5
        )
        assert there.asked == [Change("yard", made, 1)]
        for wrong in (
            {"feed": "elsewhere"},
            {"feed": "yard", "model": "/etc/passwd"},
            {"feed": "yard", "model": ["lite"]},
            {"feed": "yard", "strength": 2},
            {"feed": "yard", "strength": "much"},
            {"feed": "yard", "strength": None},
            {"feed": "yard", "strength": float("nan")},
            {"feed": "yard", "upscale": "100"},
            {"feed": "yard", "upscale": 2},
            {"feed": "yard", "early": 1},
            {"feed": "yard", "fuse": 6},
            {"feed": "yard", "fuse": 1.5},
            {"feed": "yard", "fuse": True},
            {"feed": "yard", "fuse": None},
            {"feed": "yard", "device": "cuda"},
            {"feed": "yard", "strength": 10**400},
            ["yard"],
            "yard",
        ):
            status, text, _ = await there.ask("/settings", "POST", wrong, **OURS)
            assert status in (400, 404), wrong
            assert text.count(b"\n") == 1, "one line says why"
        async with there.session.post(
            f"http://127.0.0.1:{there.port}/settings",
            data=b"x" * (1 << 20),
            headers={**OURS, "Content-Type": "application/json"},
        ) as answer:
            assert answer.status in (400, 413)
        async with there.session.post(
            f"http://127.0.0.1:{there.port}/settings",
            data=b"[" * 60_000,
            headers={**OURS, "Content-Type": "application/json"},
        ) as answer:
            assert answer.status == 400
        assert len(there.asked) == 1
        # What else was asked for, and is not in use yet, stays.
        status, text, _ = await there.ask("/settings", "POST", {"feed": "yard", "fuse": 2}, **OURS)
        assert (status, text) == (202, b"2")
        assert there.asked[1] == Change("yard", replace(made, fuse=2), 2)
        await there.page.told(InUse(LiveRestoreOptions(fuse=1), (), "yard", answered=2))
        await there.ask("/settings", "POST", {"feed": "yard", "strength": 0.5}, **OURS)
        assert there.asked[2] == Change("yard", LiveRestoreOptions(fuse=1, strength=0.5), 3)

    tried(trial)


def test_pages_are_told_what_changes() -> None:
    async def trial(there: Site) -> None:
        socket = await there.session.ws_connect(f"http://127.0.0.1:{there.port}/ws", headers=OURS)
        first = await socket.receive_json()
        assert first["feeds"][0]["settings"]["model"] == "lite"
        assert first["feeds"][0]["choices"]["model"] == ["lite", "wide"]
        assert (await socket.receive_json())["type"] == "figures"
        await there.page.told(
            InUse(LiveRestoreOptions("wide", early=True), ("lite", "wide"), "yard")
        )
        told = await socket.receive_json()
        assert (
            told["feeds"][0]["settings"] | {"model": "wide", "early": True}
            == (told["feeds"][0]["settings"])
        )
        await there.page.told(Figures({"yard": {"state": "live"}}))
        assert (await socket.receive_json())["figures"] == {"yard": {"state": "live"}}
        for nonsense in (
            "{",
            "[]",
            '{"id": 1}',
            '{"id": 2, "type": "watch", "feed": "x"}',
            '{"id": 3, "type": "answer", "peer": 7, "sdp": "x"}',
        ):
            await socket.send_str(nonsense)
            assert "error" in await socket.receive_json()
        await socket.close()

    tried(trial)


def test_stills_and_mjpeg() -> None:
    async def trial(there: Site) -> None:
        assert not there.window.open, "nobody looks"
        before, after = gray(60, 1000, (320, 240)), gray(180, 1000, (320, 240))
        there.window.look()
        there.window.put(before, after)
        status, png, headers = await there.ask("/still?feed=yard", **OURS)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert there.window.open
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), 1)
        assert picture is not None
        assert picture.shape == (240, 640, 3)
        # Limited range: codes of 16 to 235 are shown as 0 to 255.
        assert np.all(np.abs(picture[:, :320].astype(int) - (60 - 16) * 255 / 219) < 1.5)
        assert np.all(np.abs(picture[:, 320:].astype(int) - (180 - 16) * 255 / 219) < 1.5)
        assert (await there.ask("/still?feed=none", **OURS))[0] == 404
        # One alone, as other programs want it.
        for show, level in (("before", 60), ("after", 180)):
            status, jpeg, headers = await there.ask(f"/still?show={show}", **OURS)
            assert (status, headers["Content-Type"]) == (200, "image/jpeg")
            alone = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
            assert alone is not None
            assert alone.shape == (240, 320, 3)
            assert abs(float(alone.mean()) - (level - 16) * 255 / 219) < 2
        assert (await there.ask("/still?show=neither", **OURS))[0] == 400

        async with there.session.get(
            f"http://127.0.0.1:{there.port}/mjpeg", headers=OURS
        ) as stream:
            reader = aiohttp.MultipartReader.from_response(stream)
            for number, level in enumerate((60, 80, 120, 160), 1):
                timestamp = 1000 * number
                if number > 1:  # the first one is there already
                    there.window.put(
                        gray(level, timestamp, (320, 240)), gray(60, timestamp, (320, 240))
                    )
                part = await asyncio.wait_for(reader.next(), 5)
                assert isinstance(part, aiohttp.BodyPartReader)
                shown = cv2.imdecode(np.frombuffer(await part.read(), np.uint8), 1)
                assert shown is not None
                assert shown.shape == (240, 640, 3)
                assert abs(float(shown[:, :300].mean()) - (level - 16) * 255 / 219) < 3

    tried(trial)


def test_where_it_listens() -> None:
    with pytest.raises(UsageError, match="DEBLUR_TOKEN"):
        Access.of("0.0.0.0", 9000, None, "random")
    with pytest.raises(UsageError, match="at least 8"):
        Access.of("127.0.0.1", 9000, "short", "random")
    with pytest.raises(UsageError, match="a port"):
        Access.of("127.0.0.1", 70000, None, "random")
    assert Access.of("0.0.0.0", 9000, "long enough", "random").chosen
    assert WORD not in repr(Access(WORD))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(SinkError, match=f"--preview at 127.0.0.1:{number}"):
            Access(WORD, port=number).listen()
    with closing(Access(WORD).listen()) as first, closing(Access(WORD).listen()) as second:
        ports = {each.getsockname()[1] for each in (first, second)}
        assert len(ports) == 2, "the usual port gives way"
