"""The page, and what it asks for: pictures, figures, stills, and other settings."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, get_args

from aiohttp import WSMsgType, web

from stream.errors import UsageError
from stream.ipc.messages import Change, Feeds, Figures, InUse, Order, PreviewFeed
from stream.options.live import LiveRestoreOptions
from stream.options.scale import Scale
from stream.preview.access import Guard
from stream.preview.broadcast import Broadcast, Presentation
from stream.preview.rtc import Peer
from stream.preview.site import HEADERS, Site
from stream.web import page

_FILES = "index.html", "style.css", "app.js"
_BOUNDARY = "picture"
_LARGEST = 64 << 10
"""Bytes of a message of a browser."""
_MOST_VIEWERS = 32
_SHOWS: dict[str, Presentation] = {show: show for show in get_args(Presentation)}
_UPSCALES = ("", "1.5", "2", "3")

_NONSENSE = ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
"""What comes of JSON that is not as it should be."""
_SEND_S = 1.0
"""A page that does not read for so long is let go of, ..."""
_STUCK_S = 10.0
"""... and so is who watches by MJPEG after so long."""


class Page(Site):
    """Serves the preview of feeds."""

    def __init__(self, guard: Guard, ask: Callable[[Change], None]) -> None:
        """`ask` is given what viewers want changed."""
        root = files(__package__).joinpath("page")
        shared = {name: page.text(name).encode() for name in page.FILES}
        own = {name: root.joinpath(name).read_bytes() for name in _FILES}
        super().__init__(guard, {**shared, **own})
        self._ask = ask
        self._feeds: dict[str, tuple[PreviewFeed, Broadcast]] = {}
        self._figures: Mapping[str, Mapping[str, object]] = {}
        self._open: dict[web.WebSocketResponse, web.Request] = {}
        self._asked: dict[str, Change] = {}
        """What was asked for last, of each feed, ..."""
        self._number = 0
        """... and how often anything was."""
        self._peers = 0
        self._watching = 0
        self.app.router.add_get("/ws", self._talk)
        self.app.router.add_get("/mjpeg", self._mjpeg)
        self.app.router.add_get("/still", self._still)
        self.app.router.add_post("/settings", self._settings)
        self.app.on_shutdown.append(self._shut)

    @property
    def viewers(self) -> int:
        """How many pages are open, and others who watch."""
        return len(self._open) + self._watching

    async def told(self, message: Order) -> None:
        """Take what the supervisor tells."""
        if isinstance(message, Feeds):
            await self._show(message.feeds)
        elif isinstance(message, Figures):
            self._figures = message.feeds
            await self._send({"type": "figures", "figures": message.feeds})
        elif isinstance(message, InUse) and message.feed in self._feeds:
            shown, broadcast = self._feeds[message.feed]
            shown = replace(
                shown,
                restoring=message.restoring,
                models=message.models,
                answered=message.answered,
            )
            self._feeds[message.feed] = shown, broadcast
            await self._send(self._introduction())

    async def close(self) -> None:
        """Show nothing any more."""
        await self._show(())

    async def _show(self, feeds: tuple[PreviewFeed, ...]) -> None:
        before, self._feeds = self._feeds, {}
        for shown in feeds:
            kept = before.pop(shown.name, None)
            if kept is not None and kept[0].window.name == shown.window.name:
                shown.window.close()
                self._feeds[shown.name] = replace(shown, window=kept[0].window), kept[1]
            else:
                self._feeds[shown.name] = shown, Broadcast(shown.window)
                if kept is not None:
                    await kept[1].close()
        for _, broadcast in before.values():
            await broadcast.close()
        await self._send(self._introduction())

    def _introduction(self) -> dict[str, Any]:
        feeds = [
            {**_told(shown), "number": broadcast.number, "answered": shown.answered}
            for shown, broadcast in self._feeds.values()
        ]
        return {"type": "feeds", "feeds": feeds}

    async def _send(self, message: Mapping[str, object]) -> None:
        text = json.dumps(message)
        await asyncio.gather(*(self._send_to(socket, text) for socket in list(self._open)))

    async def _send_to(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            await asyncio.wait_for(socket.send_str(text), _SEND_S)
        except (ConnectionError, RuntimeError):
            pass
        except TimeoutError:
            # What waits for it would grow without end.
            request = self._open.pop(socket, None)
            if request is not None and request.transport is not None:
                request.transport.abort()

    def _named(self, name: object) -> tuple[PreviewFeed, Broadcast]:
        if not self._feeds:
            raise web.HTTPServiceUnavailable(text="nothing is shown yet\n")
        first = next(iter(self._feeds)) if name is None else name
        if not isinstance(first, str) or first not in self._feeds:
            raise web.HTTPNotFound(text="there is no such feed\n")
        return self._feeds[first]

    async def _still(self, request: web.Request) -> web.StreamResponse:
        _, broadcast = self._named(request.query.get("feed"))
        show = _SHOWS.get(request.query.get("show", "both"))
        if show is None:
            raise web.HTTPBadRequest(text="show= is both, before or after\n")
        still = await broadcast.still(show)
        if still is None:
            raise web.HTTPServiceUnavailable(text="there is no picture yet\n")
        kind = "image/png" if show == "both" else "image/jpeg"
        return web.Response(body=still, content_type=kind)

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        _, broadcast = self._named(request.query.get("feed"))
        self._limit()
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": kind})
        await response.prepare(request)
        viewer = broadcast.join("jpeg")
        self._watching += 1
        try:
            while True:
                data = await viewer.take()
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                part = head.encode() + b"\r\n\r\n" + data + b"\r\n"
                await asyncio.wait_for(response.write(part), _STUCK_S)
        except (ConnectionError, EOFError):
            return response
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return response
        finally:
            self._watching -= 1
            broadcast.leave(viewer)

    def _limit(self) -> None:
        if self.viewers >= _MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many are watching\n")

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        self._limit()
        socket = web.WebSocketResponse(heartbeat=10.0, max_msg_size=_LARGEST)
        await socket.prepare(request)
        peers: dict[int, Peer] = {}
        try:
            await socket.send_json(self._introduction())
            await socket.send_json({"type": "figures", "figures": self._figures})
            self._open[socket] = request
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await socket.send_json(await self._reply(message.data, peers))
        except (ConnectionError, RuntimeError):
            pass
        finally:
            self._open.pop(socket, None)
            for peer in peers.values():
                await self._part(peer)
        return socket

    async def _part(self, peer: Peer) -> None:
        self._peers -= 1
        await peer.close()

    async def _reply(self, text: str, peers: dict[int, Peer]) -> dict[str, object]:
        """Answer one message of a page: to be shown a feed by WebRTC, or not any more."""
        number: object = None
        try:
            asked = json.loads(text)
            number = asked["id"]
            match asked["type"]:
                case "watch":
                    for gone in [key for key, peer in peers.items() if peer.closed.is_set()]:
                        await self._part(peers.pop(gone))
                    if self._peers >= _MOST_VIEWERS:
                        raise ValueError("too many are watched")
                    _, broadcast = self._named(asked["feed"])
                    key = max(peers, default=0) + 1
                    peers[key] = Peer(broadcast)
                    self._peers += 1
                    return {"id": number, "peer": key, "sdp": await peers[key].offer()}
                case "answer":
                    await peers[asked["peer"]].answered(asked["sdp"])
                    return {"id": number}
                case "leave":
                    await self._part(peers.pop(asked["peer"]))
                    return {"id": number}
            raise ValueError("unknown type")
        except web.HTTPException as error:
            return {"id": number, "error": (error.text or "").strip()}
        except _NONSENSE as error:
            return {"id": number, "error": f"that makes no sense: {error}"}

    async def _settings(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            # What another site's form can send is none.
            raise web.HTTPUnsupportedMediaType(text="send JSON\n")
        try:
            wanted = await request.json()
            shown, _ = self._named(wanted["feed"])
            asked = self._asked.get(shown.name)
            if asked is not None and asked.number > shown.answered:
                # What is on its way is changed further.
                shown = replace(shown, restoring=asked.restoring)
            restoring = _restoring(shown, wanted)
        except _NONSENSE as error:
            raise web.HTTPBadRequest(text=f"that makes no sense: {error}\n") from None
        except UsageError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        self._number += 1
        self._asked[shown.name] = Change(shown.name, restoring, self._number)
        self._ask(self._asked[shown.name])
        return web.Response(status=202, text=str(self._number))

    async def _shut(self, app: web.Application) -> None:
        for socket in list(self._open):
            await socket.close()


def _told(shown: PreviewFeed) -> dict[str, object]:
    """A feed as the page wants it."""
    now = shown.restoring
    if now is None:
        return {"name": shown.name, "settings": None, "choices": None}
    upscale = str(now.upscale) if now.upscale is not None else ""
    return {
        "name": shown.name,
        "settings": {
            "model": now.model,
            "strength": now.strength,
            "fuse": now.fuse,
            "smooth": now.smooth,
            "upscale": upscale,
            "early": now.early,
        },
        "choices": {
            "model": _with(shown.models, now.model),
            "upscale": _with(_UPSCALES, upscale),
        },
    }


def _with(choices: tuple[str, ...], one: str) -> list[str]:
    return [*choices, *([] if one in choices else [one])]


def _restoring(shown: PreviewFeed, wanted: Mapping[str, object]) -> LiveRestoreOptions:
    """What a page asks for; raises where it may not be had."""
    now = shown.restoring
    if now is None:
        raise UsageError("what is being worked on cannot be changed")
    known = {"feed", "model", "strength", "fuse", "smooth", "upscale", "early"}
    if unknown := wanted.keys() - known:
        raise UsageError(f"there is no setting {', '.join(sorted(unknown))}")
    model = wanted.get("model", now.model)
    # A path would have files read that the viewer names.
    if model != now.model and model not in shown.models:
        raise UsageError("there is no such model")
    upscale = wanted.get("upscale", "" if now.upscale is None else str(now.upscale))
    early = wanted.get("early", now.early)
    if not isinstance(early, bool) or not isinstance(upscale, str | None):
        raise TypeError("early is true or false, upscale a factor or a size")
    fuse = wanted.get("fuse", now.fuse)
    if not isinstance(fuse, int) or isinstance(fuse, bool):
        raise TypeError("fuse is a whole number")
    smooth = wanted.get("smooth", now.smooth)
    return replace(
        now,
        model=str(model),
        strength=float(wanted.get("strength", now.strength)),  # type: ignore[arg-type]
        fuse=fuse,
        smooth=None if smooth is None else float(smooth),  # type: ignore[arg-type]
        upscale=Scale.parse(upscale) if upscale else None,
        early=early,
    )
