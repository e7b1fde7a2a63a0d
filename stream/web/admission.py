"""The way into a web application: so many connections, and none that only keeps others out."""

import asyncio
import socket

from aiohttp import web

from stream.web.connections import BACKLOG, IDLE_S, Connections


class LimitedListener:
    """Listens for a web application, with so many `Connections`."""

    def __init__(self, runner: web.AppRunner) -> None:
        """`runner` is set up."""
        self._runner = runner
        self._connections = Connections()
        self._server: asyncio.Server | None = None
        self.port = 0
        """Where it listens, once it does."""

    async def listen(self, where: socket.socket | tuple[str, int]) -> None:
        """Listen with a socket, or at a host and port. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        if isinstance(where, tuple):
            server = await loop.create_server(self._counted, *where, backlog=BACKLOG)
        else:
            server = await loop.create_server(self._counted, sock=where, backlog=BACKLOG)
        self._server = server
        self.port = int(server.sockets[0].getsockname()[1])

    def know(self, request: web.Request) -> None:
        """Note that a request has proven who it is from. Raises `HTTPServiceUnavailable`."""
        transport = request.transport
        if transport is not None and not self._connections.know(transport):
            raise web.HTTPServiceUnavailable(text="too many are connected\n")

    async def close(self) -> None:
        """Listen no more, and end what is connected."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _counted(self) -> asyncio.Protocol:
        assert self._runner.server is not None
        return _CountedProtocol(self._connections, self._runner.server())


class _CountedProtocol(asyncio.Protocol):
    """Counts a connection, and leaves all else to the protocol behind it."""

    def __init__(self, admission: Connections, behind: asyncio.Protocol) -> None:
        self._connections = admission
        self._made: tuple[asyncio.Transport, asyncio.TimerHandle] | None = None
        self._behind = behind

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        late = loop.call_later(IDLE_S, self._connections.late, transport)
        self._made = transport, late
        self._behind.connection_made(transport)
        self._connections.came(transport, (transport.get_extra_info("peername") or ("",))[0])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._made is not None:
            transport, late = self._made
            late.cancel()
            self._connections.left(transport)
        self._behind.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._behind.data_received(data)

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()
