"""Video to a browser by WebRTC: what was encoded once goes to each viewer as it is."""

import asyncio
from typing import Any

import aioice.ice
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from stream.preview.broadcast import Broadcast, Viewer

_ANSWER_S = 15.0
"""A viewer that is not connected after so long is let go of."""
_PROFILE = "42e01f"
"""Constrained Baseline, which is what the encoder makes and all browsers take."""


def use_addresses(host: str, *, only_here: bool) -> None:
    """Have connections of this process come by way of what the page is served at, and no other.

    By itself aioice listens at every address of the machine but the loopback ones.
    """
    every = aioice.ice.get_host_addresses

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        here = [host if host[:1].isdigit() or ":" in host else "127.0.0.1"]
        if only_here:
            return here
        return [*every(use_ipv4, use_ipv6), "127.0.0.1"] if _is_any(host) else here

    aioice.ice.get_host_addresses = addresses


class Peer:
    """One viewer's connection."""

    def __init__(self, broadcast: Broadcast) -> None:
        # No server of others is asked what our address is.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._broadcast = broadcast
        self._viewer = broadcast.join("video")
        self.closed = asyncio.Event()
        self._connection.on("connectionstatechange", self._changed)
        # One that never answers would be encoded for all the same.
        self._due = asyncio.get_running_loop().call_later(_ANSWER_S, self._give_up)

    async def offer(self) -> str:
        """What the browser is offered, in SDP."""
        sender = self._connection.addTransceiver(_Track(self._viewer), direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        sender.setCodecPreferences(
            [each for each in codecs if each.parameters.get("profile-level-id") == _PROFILE]
        )
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def answered(self, sdp: str) -> None:
        """Connect to the browser that answered so. Raises `ValueError` where it makes no sense."""
        # Browsers hide their addresses behind names that only multicast resolves; they are seen
        # when the browser's own packets come.
        lines = [line for line in sdp.splitlines() if not _is_hidden(line)]
        description = RTCSessionDescription("\r\n".join(lines) + "\r\n", "answer")
        try:
            await self._connection.setRemoteDescription(description)
        except Exception as error:  # aiortc checks little, and fails in many ways
            raise ValueError(f"the answer is of no use: {error}") from error

    async def close(self) -> None:
        self._due.cancel()
        self._broadcast.leave(self._viewer)
        await self._connection.close()
        self.closed.set()

    def _give_up(self) -> None:
        if self._connection.connectionState != "connected":
            self._broadcast.leave(self._viewer)
            self.closed.set()

    def _changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._broadcast.leave(self._viewer)
            self.closed.set()


class _Track(MediaStreamTrack):
    kind = "video"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        try:
            return await self._viewer.take()
        except EOFError:
            raise MediaStreamError from None


def _is_hidden(line: str) -> bool:
    return line.startswith("a=candidate:") and ".local " in line


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")
