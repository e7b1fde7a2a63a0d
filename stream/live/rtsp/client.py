"""A reader's connection: what it asks for, and what it is answered."""

import asyncio
import time
from contextlib import suppress
from urllib.parse import quote, urlsplit

from stream.live.rtsp import sdp
from stream.live.rtsp.messages import MalformedError, RefusedError, Request, read, response
from stream.live.rtsp.paths import MOST_BYTES, Backlog, InterleavedPath, UdpPath
from stream.live.rtsp.session import TIMEOUT_S, Session
from stream.live.rtsp.stage import Stage
from stream.live.rtsp.transport import Interleaved, Unicast, choose
from stream.web.connections import IDLE_S, Connections
from stream.web.login import Challenge

_SHOW_S = 10.0
"""How long DESCRIBE and PLAY wait for a picture."""
_MOST_REFUSALS = 5
"""Of the login on one connection, the one that asks for it included."""
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
_Headers = list[tuple[str, str]]


class Client:
    """One connection, with at most one session, which ends with it."""

    def __init__(
        self,
        stage: Stage,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        admission: Connections,
    ) -> None:
        self._stage = stage
        self._reader, self._writer = reader, writer
        self._connections = admission
        # It may be gone before it is looked at.
        self._peer = writer.get_extra_info("peername") or ("", 0)
        self._backlog = Backlog(writer.transport)
        self._session: Session | None = None
        self._challenge = Challenge()
        self._proven = stage.login is None
        self._refusals = 0
        self._answering = False
        self._slow = False
        self._heard_s = time.monotonic()
        writer.transport.set_write_buffer_limits(MOST_BYTES)

    @property
    def host(self) -> str:
        """The address it comes from."""
        return str(self._peer[0])

    async def run(self) -> None:
        """Answer until the connection ends."""
        watch = asyncio.create_task(self._watch())
        try:
            await self._talk()
        except MalformedError as error:
            self._backlog.write(response(error.status))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.close()
            # What is still queued may be taken, but not for ever.
            with suppress(OSError):
                await self._writer.wait_closed()
            watch.cancel()

    def close(self) -> None:
        """End the session, and the connection when what is queued has been sent."""
        if self._session is not None:
            if self._session.skipped:
                self._note(f"went; {self._session.skipped} pictures were left out for it")
            self._session.close()
            self._stage.sessions.discard(self._session)
            self._session = None
        self._writer.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    def _note(self, what: str) -> None:
        self._stage.notes.append(f"a reader at {self.host} {what}")

    async def _watch(self) -> None:
        while not self._expired():
            await asyncio.sleep(0.5)
        self.abort()

    def _expired(self) -> bool:
        if self._backlog.age_s > IDLE_S:
            self._note("takes nothing; it is disconnected")
            return True
        if self._session is not None:
            if self._session.skipped and not self._slow:
                self._slow = True
                self._note("is too slow; pictures are left out for it")
            return self._session.silent_s > TIMEOUT_S
        # Only who has proven who it is may let an answer take its time.
        waiting = self._answering and self._proven
        return not waiting and time.monotonic() - self._heard_s > IDLE_S

    async def _talk(self) -> None:
        while self._refusals < _MOST_REFUSALS and not self._writer.is_closing():
            message = await read(self._reader)
            if self._session is not None:
                self._session.heard()
            if isinstance(message, bytes):
                continue
            self._answering = True
            try:
                await self._answer(message)
            except MalformedError:
                raise
            except RefusedError as error:
                self._reply(message, error.status, list(error.headers))
            self._answering = False
            if self._proven:
                self._heard_s = time.monotonic()
            await self._writer.drain()

    def _reply(
        self, request: Request, status: int, headers: _Headers | None = None, body: str = ""
    ) -> None:
        self._backlog.write(response(status, request.sequence, headers or [], body))

    async def _answer(self, request: Request) -> None:
        if "require" in request.headers:
            raise RefusedError(551, [("Unsupported", request.headers["require"])])
        if request.method == "OPTIONS":
            self._reply(request, 200, [("Public", _METHODS)])
            return
        await self._prove(request)
        match request.method:
            case "DESCRIBE":
                await self._describe(request)
            case "SETUP":
                await self._set_up(request)
            case "PLAY":
                await self._play(request)
            case "PAUSE":
                session = self._own(request)
                session.pause()
                self._reply(request, 200, [("Session", session.id)])
            case "TEARDOWN":
                self._own(request)
                self._reply(request, 200)
                self.close()
            case "GET_PARAMETER" | "SET_PARAMETER":
                # Nothing can be got or set: readers send these to say that they are there.
                self._reply(request, 200)
            case "ANNOUNCE" | "RECORD" | "REDIRECT":
                raise RefusedError(405, [("Allow", _METHODS)])
            case _:
                raise RefusedError(501)

    async def _prove(self, request: Request) -> None:
        """Go on where the login is right. Who has proven it keeps it while the connection lasts."""
        if self._proven or self._stage.login is None:
            return
        stale = False
        given = request.headers.get("authorization")
        if given is not None:
            host = self.host
            while delay_s := self._stage.attempts.delay_s(host):
                await asyncio.sleep(delay_s)
            if self._stage.login.accepts(given, request.method, self._challenge.nonce):
                stale = self._challenge.expired
                if not stale:
                    self._enter()
                self._proven = not stale
            else:
                self._stage.attempts.wrong(host)
                self._stage.refuse(host)
            self._challenge = Challenge()
        if not self._proven:
            self._refusals += 1
            raise RefusedError(401, self._challenge.headers(stale=stale))

    def _enter(self) -> None:
        """Be one of those who are known. Raises `RefusedError` where there is no room."""
        if not self._connections.know(self):
            raise RefusedError(503)

    async def _describe(self, request: Request) -> None:
        self._track(request)
        try:
            async with asyncio.timeout(_SHOW_S):
                show = await self._stage.show()
        except TimeoutError:
            raise RefusedError(503) from None
        host = urlsplit(request.url).netloc.rpartition("@")[2]
        headers = [
            ("Content-Type", "application/sdp"),
            ("Content-Base", f"rtsp://{host}/{quote(self._stage.path)}/"),
        ]
        self._reply(request, 200, headers, sdp.describe(show, ipv6=":" in self.host))

    async def _set_up(self, request: Request) -> None:
        number = self._track(request)
        if self._session is not None or "session" in request.headers:
            show = self._own(request).show
        else:
            show = await self._stage.show()
        if number is None or number >= len(show.tracks):
            raise RefusedError(404)
        if self._session is not None and (self._session.playing or number in self._session.paths):
            raise RefusedError(455)
        way = choose(request.headers.get("transport", ""))
        if way is None:
            raise RefusedError(461)
        self._enter()
        session = self._session or Session(show, self._backlog, self.close)
        path = await self._path(way, session)
        session.paths[number] = path
        self._session = session
        self._stage.sessions.add(session)
        headers = [
            ("Transport", f"{path.description};ssrc={show.tracks[number].ssrc:08X}"),
            ("Session", f"{session.id};timeout={TIMEOUT_S}"),
        ]
        self._reply(request, 200, headers)

    async def _path(
        self, way: Interleaved | Unicast, session: Session
    ) -> InterleavedPath | UdpPath:
        if isinstance(way, Interleaved):
            taken = {
                path.channel for path in session.paths.values() if isinstance(path, InterleavedPath)
            }
            free = (channel for channel in range(0, 256, 2) if channel not in taken)
            channel = next(free) if way.channel is None else way.channel
            if {channel - 1, channel, channel + 1} & taken:
                raise RefusedError(461)
            return InterleavedPath(self._backlog, channel)
        local = self._writer.get_extra_info("sockname")
        try:
            ports = way.port, way.control_port
            return await UdpPath.open(local, self._peer, ports, session.heard)
        except OSError:
            raise RefusedError(503) from None

    async def _play(self, request: Request) -> None:
        session = self._own(request)
        headers = [("Session", f"{session.id};timeout={TIMEOUT_S}"), ("Range", "npt=now-")]
        if session.playing:
            self._reply(request, 200, headers)
            return
        begun = asyncio.Event()
        base = f"{request.url.rstrip('/')}/"

        def begin(info: list[tuple[int, str]]) -> None:
            # Here, as the packets that follow at once must not come before it.
            told = ",".join(f"url={base}{sdp.control(number)};{rest}" for number, rest in info)
            self._reply(request, 200, [*headers, ("RTP-Info", told)])
            begun.set()

        session.play(begin)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHOW_S):
                await begun.wait()
        if not begun.is_set():
            session.pause()
            raise RefusedError(503)

    def _own(self, request: Request) -> Session:
        """The session that a request is for."""
        self._track(request)
        if self._session is None or request.session != self._session.id:
            raise RefusedError(454)
        return self._session

    def _track(self, request: Request) -> int | None:
        """The number of the track that a request is for; None: for all of them."""
        path = request.path
        if path == self._stage.path:
            return None
        for number in range(2):
            if path == f"{self._stage.path}/{sdp.control(number)}":
                return number
        raise RefusedError(404)
