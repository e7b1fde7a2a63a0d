"""Listens for readers, and keeps their number in bounds."""

import asyncio
import os
import socket

from stream.errors import SinkError
from stream.live.rtsp.client import Client
from stream.live.rtsp.messages import MAX_HEAD
from stream.live.rtsp.stage import Stage
from stream.web.connections import BACKLOG, Connections

_UNSENT_BYTES = 64 << 10
"""What the system takes of a connection before it sends: more would make slow readers later."""
_FAREWELL_S = 0.5


class Server:
    """Serves what is on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clients: dict[asyncio.Task[None], Client] = {}
        self._connections = Connections()
        self._server: asyncio.Server | None = None
        self._channel: socket.socket | None = None
        self._arriving: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> None:
        """Take connections. Raises `SinkError` where the port cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=MAX_HEAD, backlog=BACKLOG
            )
        except OSError as error:
            # What asyncio says of it repeats the address.
            number = None if isinstance(error, socket.gaierror) else error.errno
            why = os.strerror(number) if number is not None else str(error)
            raise SinkError(f"cannot serve at {host}, port {port}: {why}") from None

    def adopt(self, channel: socket.socket) -> None:
        """Take connections that come on a channel: see `stream.live.rtsp.mounts`."""
        channel.setblocking(False)
        self._channel = channel
        asyncio.get_running_loop().add_reader(channel, self._receive, channel)

    def _receive(self, channel: socket.socket) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except OSError:
            return
        for descriptor in descriptors:
            link = socket.socket(fileno=descriptor)
            link.setblocking(False)
            task = asyncio.create_task(self._welcome(link))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _welcome(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(MAX_HEAD, loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._connected, loop)
        try:
            await loop.connect_accepted_socket(lambda: protocol, link)
        except OSError:
            link.close()

    async def close(self) -> None:
        """Send all readers away and stop listening."""
        if self._server is not None:
            self._server.close()
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
        self._stage.end()
        for client in self._clients.values():
            client.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=_FAREWELL_S)
        for client in self._clients.values():
            client.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plug = writer.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # not on Windows
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        client = Client(self._stage, reader, writer, self._connections)
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = client
        self._connections.came(client, client.host)
        try:
            await client.run()
        finally:
            del self._clients[task]
            self._connections.left(client)
