"""What a live feed shows over HTTP: `/healthz` for those who watch over it, `/metrics` for
Prometheus."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from stream.errors import SinkError, UsageError
from stream.ipc.messages import State
from stream.ipc.stats import ProcessFigures, Snapshot
from stream.web.admission import LimitedListener
from stream.web.hosts import is_ours
from stream.web.tokens import TokenLimiter, check_chosen, given_token

DEFAULT_PORT = 9554
_KEEP_S = 75.0
"""A connection is kept for so long after what it asked for: longer than Prometheus waits."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Watched(Protocol):
    """A feed that has figures."""

    name: str

    def snapshot(self) -> Snapshot:
        """How it does now."""
        ...


@dataclass(frozen=True)
class Address:
    """Where figures are shown, and to whom."""

    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any that is free."""

    @classmethod
    def parse(cls, text: str, token: str | None, otherwise: str) -> "Address":
        """Read `PORT` or `HOST:PORT`. Raises `UsageError`.

        `token` is the user's, `otherwise` a random one, which will do on loopback.
        """
        match = re.fullmatch(r"(?:(?P<host>[^:\[\]]+|\[[0-9a-fA-F:.]+\]):)?(?P<port>\d{1,5})", text)
        if match is None or int(match["port"]) > 65535:
            raise UsageError(f"--http takes a port or HOST:PORT, got {text}")
        host = (match["host"] or cls.host).strip("[]")
        check_chosen(token, host, f"--http {text}", "readers of /metrics")
        return cls(token or otherwise, host, int(match["port"]))


class Http:
    """Serves the figures of feeds."""

    def __init__(
        self,
        feeds: Sequence[Watched],
        address: Address,
        beside: Callable[[], Sequence[ProcessFigures]] = tuple,
    ) -> None:
        """`beside` tells of processes that belong to no feed."""
        self._feeds = feeds
        self._address = address
        self._limiter = TokenLimiter(address.token)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(feeds, beside))
        app = web.Application(middlewares=[self._guard], client_max_size=4096)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=_KEEP_S
        )
        self._listener = LimitedListener(self._runner)

    async def start(self) -> None:
        """Listen; the standard port gives way to any free one. Raises `SinkError`."""
        await self._runner.setup()
        host, port = self._address.host, self._address.port
        try:
            await self._listener.listen((host, port))
        except OSError as error:
            if port != DEFAULT_PORT:
                reason = error.strerror or str(error)
                raise SinkError(f"cannot listen at --http {host}:{port}: {reason}") from None
            await self._listener.listen((host, 0))

    @property
    def port(self) -> int:
        """Where it listens, once it has started."""
        return self._listener.port

    async def stop(self) -> None:
        """Listen no more."""
        await self._listener.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_ours(request.headers.get("Host", ""), self._address.host):
            raise web.HTTPForbidden(text="unknown host\n")
        response = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _health(self, request: web.Request) -> web.Response:
        states = {feed.name: feed.snapshot().state for feed in self._feeds}
        healthy = all(state is State.LIVE for state in states.values())
        return web.json_response({"feeds": states}, status=200 if healthy else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        given = given_token(request)
        if given is None or not await self._limiter.right(request.remote or "", given):
            raise web.HTTPUnauthorized(
                text="a token is needed\n", headers={"WWW-Authenticate": "Bearer"}
            )
        self._listener.know(request)
        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Collector:
    """Figures as Prometheus wants them; nothing is kept between two questions."""

    def __init__(
        self, feeds: Sequence[Watched], beside: Callable[[], Sequence[ProcessFigures]]
    ) -> None:
        self._feeds, self._extra = feeds, beside

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("deblur_up", "1 while the feed is live.", labels=["feed"])
        seconds = GaugeMetricFamily("deblur_uptime_seconds", "Since the start.", labels=["feed"])
        labels = ["feed", "process", "role"]
        counters = {
            key: CounterMetricFamily(f"deblur_{key}", text, labels=labels)
            for key, text in _COUNTERS.items()
        }
        gauges = {
            key: GaugeMetricFamily(f"deblur_{key}", text, labels=labels)
            for key, text in _GAUGES.items()
        }
        latency = GaugeMetricFamily(
            "deblur_latency_seconds",
            "From the arrival of a frame until it left the process, in the last 10 seconds.",
            labels=[*labels, "quantile"],
        )
        told = [("", each) for each in self._extra()]
        for feed in self._feeds:
            snapshot = feed.snapshot()
            told += [(feed.name, each) for each in snapshot.processes]
            up.add_metric([feed.name], float(snapshot.state is State.LIVE))
            seconds.add_metric([feed.name], snapshot.uptime_s)
        for name, each in told:
            named = [name, each.name, each.role]
            for key, counter in counters.items():
                counter.add_metric(named, getattr(each, key))
            for key, gauge in gauges.items():
                gauge.add_metric(named, getattr(each, key))
            for share, ms in (("0.5", each.latency_p50_ms), ("0.95", each.latency_p95_ms)):
                if ms is not None:
                    latency.add_metric([*named, share], ms / 1000)
        yield from (up, seconds, *counters.values(), *gauges.values(), latency)


_COUNTERS = {
    "frames": "Frames that left the process.",
    "dropped": "Frames that the process did not take up, because newer ones had come.",
    "damaged": "Packets that did not decode, and frames that were concealed.",
    "repeats": "Pictures shown again while none came, slates among them.",
    "connects": "Connections made.",
    "refused": "Logins with a wrong user or password.",
    "restarts": "How often the process was started again.",
}
_GAUGES = {
    "fps": "Frames per second, in the last 10 seconds.",
    "busy": "The share of the time that the process worked.",
    "readers": "Who is connected.",
    "memory_bytes": "Memory that is resident.",
}
