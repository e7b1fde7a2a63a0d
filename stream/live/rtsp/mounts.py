"""Ports that feeds share: who connects is handed to the process that serves the path asked for.

    reader ──TCP──> Doors (supervisor) ──descriptor──> writer of that path ──RTP──> reader

Nothing is read here but what tells the path, and that is left for whoever gets the connection:
logins, limits and answers are those of the path's own process. Where that has died, connections
wait in its channel for the next one; those that it had end with it, and those of other paths do not
notice.
"""

import asyncio
import errno
import os
import socket
import sys
from contextlib import suppress

from stream.errors import SinkError
from stream.live.rtsp.messages import MAX_HEAD, MalformedError, parse, response
from stream.web.connections import BACKLOG, IDLE_S, Connections

SHARES = sys.platform != "win32"
"""Whether a connection can be handed to another process here."""
_LOOK_S = 0.05
"""Between looks at a request that comes in pieces."""
_REST_S = 1.0
"""After there were no files left to take a connection."""


class Mounts:
    """Listens at the ports of all feeds; all is called in one asyncio loop."""

    def __init__(self) -> None:
        self._ports: dict[tuple[str, int], _Port] = {}

    def open(self, host: str, port: int, path: str) -> socket.socket:
        """The end of a channel on which those who ask for `path` come; `close` takes it back.

        Raises `SinkError` where the port cannot be had.
        """
        place = host, port
        if place not in self._ports:
            self._ports[place] = _Port(host, port)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._ports[place].channels[path] = ours, theirs
        return theirs

    def close(self, host: str, port: int, path: str, end: socket.socket) -> None:
        """Let nobody in for a path any more, unless it was opened again since."""
        found = self._ports.get((host, port))
        end.close()
        if found is None or found.channels.get(path, (None, None))[1] is not end:
            return
        found.channels.pop(path)[0].close()
        if not found.channels:
            self._ports.pop((host, port)).close()


class _UnroutedConnection:
    """A connection whose path is not known yet."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        if self.task is not None:
            self.task.cancel()


class _Port:
    def __init__(self, host: str, port: int) -> None:
        self.channels: dict[str, tuple[socket.socket, socket.socket]] = {}
        self._connections = Connections()
        self._callers: set[_UnroutedConnection] = set()
        self._listening: list[socket.socket] = []
        try:
            for family, kind, _, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                listening = socket.socket(family, kind)
                self._listening.append(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.setblocking(False)
                listening.bind(address)
                listening.listen(BACKLOG)
        except OSError as error:
            for listening in self._listening:
                listening.close()
            number = None if isinstance(error, socket.gaierror) else error.errno
            why = os.strerror(number) if number is not None else str(error)
            raise SinkError(f"cannot serve at {host}, port {port}: {why}") from None
        for listening in self._listening:
            self._watch(listening)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
            listening.close()
        for caller in list(self._callers):
            caller.abort()

    def _watch(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._take, listening)

    def _take(self, listening: socket.socket) -> None:
        try:
            link, address = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_REST_S, self._watch, listening)
            return
        link.setblocking(False)
        caller = _UnroutedConnection(link)
        self._callers.add(caller)
        caller.task = asyncio.create_task(self._see_in(caller))
        self._connections.came(caller, str(address[0]))

    async def _see_in(self, caller: _UnroutedConnection) -> None:
        try:
            with suppress(OSError, TimeoutError, MalformedError):
                async with asyncio.timeout(IDLE_S):
                    while not self._hand_over(caller.link, await _head(caller.link)):
                        pass
        finally:
            self._callers.discard(caller)
            self._connections.left(caller)
            caller.link.close()

    def _hand_over(self, link: socket.socket, head: bytes) -> bool:
        """Hand a connection to whom its request is for; False where it asked what all answer alike,
        and is to ask on."""
        try:
            request = parse(head)
            path = request.path
        except MalformedError as error:
            link.send(response(error.status))
            raise
        asked = [each for each in self.channels if f"{path}/".startswith(f"{each}/")]
        if not asked and request.method == "OPTIONS":
            link.recv(len(head))
            link.send(
                response(200, request.sequence, [("Public", "OPTIONS, DESCRIBE, SETUP, PLAY")])
            )
            return False
        # Who asks for what is not there learns that of a feed, after its login.
        ours, _ = self.channels[max(asked, key=len) if asked else next(iter(self.channels))]
        try:
            socket.send_fds(ours, [b"."], [link.fileno()])
        except OSError:  # so many wait for it that it is not there
            link.send(response(503, request.sequence))
        return True


async def _head(link: socket.socket) -> bytes:
    """The head of the request that comes next, which is left where it is."""
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        loop.add_reader(link, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(link)
        seen = link.recv(MAX_HEAD, socket.MSG_PEEK)
        if not seen:
            raise ConnectionResetError
        end = seen.find(b"\r\n\r\n")
        if end >= 0:
            return seen[: end + 4]
        if len(seen) >= MAX_HEAD:
            raise MalformedError(413)
        await asyncio.sleep(_LOOK_S)
