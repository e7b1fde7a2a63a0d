"""Where news of cameras go: an address of HTTP, or a broker of MQTT."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import aiohttp

from stream.errors import UsageError
from stream.secrets import split_login

_MOST_WAITING = 100
"""News that wait for whoever is not there; older ones go."""
_WAITS_S = 2.0, 5.0, 15.0, 60.0
"""Between attempts to tell the same; the last one from then on."""
_TIMEOUT_S = 10.0

News = Mapping[str, Any]
Say = Callable[[str], None]


class Target(Protocol):
    """Whom news are told."""

    @property
    def name(self) -> str:
        """As it can be shown: without a path, which may be a secret."""
        ...

    async def run(self, waiting: "Waiting", say: Say) -> None:
        """Tell all that comes, until cancelled."""
        ...


class Waiting:
    """News on their way to one target."""

    def __init__(self) -> None:
        self._news: deque[News] = deque(maxlen=_MOST_WAITING)
        self._there = asyncio.Event()

    def put(self, news: News) -> None:
        self._news.append(news)
        self._there.set()

    async def first(self) -> News:
        """The oldest, which stays until it is `done` with."""
        while not self._news:
            self._there.clear()
            await self._there.wait()
        return self._news[0]

    def done(self, news: News) -> None:
        if self._news and self._news[0] is news:
            self._news.popleft()


def parse(address: str) -> Target:
    """Read an address, of https, http, mqtt or mqtts. Raises `UsageError`."""
    bare, user, password = split_login(address)
    try:
        parts = urlsplit(bare)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme in ("http", "https") and parts.hostname:
        return Webhook(bare, f"{parts.scheme}://{parts.netloc}", user, password)
    topic = unquote(parts.path.strip("/"))
    if parts.scheme in ("mqtt", "mqtts") and parts.hostname and topic and not {*"+#?"} & {*bare}:
        _check_mqtt()
        tls = parts.scheme == "mqtts"
        return Mqtt(parts.hostname, port or (8883 if tls else 1883), tls, topic, user, password)
    raise UsageError(
        "--notify takes https://..., http://..., mqtt://HOST/TOPIC, mqtts://HOST/TOPIC, or "
        "env:NAME for one in an environment variable"
    )


def _check_mqtt() -> None:
    try:
        import aiomqtt  # noqa: F401
    except ImportError:
        raise UsageError('MQTT needs another package: pip install "deblur-stream[mqtt]"') from None


@dataclass(frozen=True)
class Webhook:
    """An address that gets each event by POST, as JSON."""

    address: str = field(repr=False)
    name: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    async def run(self, waiting: Waiting, say: Say) -> None:
        """Tell all that comes, one after the other, until cancelled."""
        headers = {}
        if self.user:
            login = b64encode(f"{self.user}:{self.password or ''}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            failures = 0
            while True:
                news = await waiting.first()
                why = await self._post(session, news)
                if why is None:
                    waiting.done(news)
                    failures = 0
                    continue
                if failures == 0:
                    say(f"{self.name}: {why}; trying again")
                await asyncio.sleep(_WAITS_S[min(failures, len(_WAITS_S) - 1)])
                failures += 1

    async def _post(self, session: aiohttp.ClientSession, news: News) -> str | None:
        """Tell one; why that failed, if it did."""
        try:
            # Whoever is told of a camera is who was named, and nobody that it names.
            async with session.post(self.address, json=news, allow_redirects=False) as answer:
                return None if answer.status < 300 else f"it answers {answer.status}"
        except TimeoutError:
            return "it does not answer"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may have the address in it.
            return f"it cannot be reached ({type(error).__name__})"


@dataclass(frozen=True)
class Mqtt:
    """A broker: the last event of each camera stays at TOPIC/CAMERA, and at TOPIC/status whether
    anybody watches."""

    host: str
    port: int
    tls: bool
    topic: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    async def run(self, waiting: Waiting, say: Say) -> None:
        """Tell all that comes, until cancelled; the broker may come and go."""
        import aiomqtt

        failures = 0
        while True:
            try:
                async with self._client() as client:
                    failures = 0
                    await self._tell(client, waiting)
            except aiomqtt.MqttError as error:
                if failures == 0:
                    say(f"{self.name}: {_reason(error)}; trying again")
            await asyncio.sleep(_WAITS_S[min(failures, len(_WAITS_S) - 1)])
            failures += 1

    def _client(self) -> Any:
        import aiomqtt

        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.user,
            password=self.password,
            tls_context=ssl.create_default_context() if self.tls else None,
            timeout=_TIMEOUT_S,
            keepalive=20,
            # Said by the broker, where this program says nothing any more.
            will=aiomqtt.Will(f"{self.topic}/status", "offline", qos=1, retain=True),
        )

    async def _tell(self, client: Any, waiting: Waiting) -> None:
        await client.publish(f"{self.topic}/status", "online", qos=1, retain=True)
        # Nothing is listened for but the end of the connection.
        gone = asyncio.create_task(_drain(client))
        try:
            while True:
                coming = asyncio.create_task(waiting.first())
                await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    coming.cancel()
                    gone.result()
                    return
                news = coming.result()
                topic = f"{self.topic}/{news['camera']}"
                await client.publish(topic, json.dumps(news), qos=1, retain=True)
                waiting.done(news)
        except asyncio.CancelledError:
            with suppress(Exception):
                await client.publish(f"{self.topic}/status", "offline", qos=1, retain=True)
            raise
        finally:
            gone.cancel()


async def _drain(client: Any) -> None:
    async for _ in client.messages:
        pass


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
