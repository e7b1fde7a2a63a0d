"""The output `serve:`: an RTSP server that players connect to."""

import asyncio
import re
import socket
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from stream.errors import UsageError
from stream.ipc.child import Control
from stream.ipc.mailbox import Picture, Size
from stream.ipc.sound_ring import SoundFormat
from stream.live.output.pacing import Feed
from stream.live.output.rtsp import sound as rtp_sound
from stream.live.output.rtsp.output import RtspOutput
from stream.live.output.writer import Output, Writer
from stream.live.rtsp.server import Server
from stream.live.rtsp.stage import Stage
from stream.secrets import split_login
from stream.web.hosts import SHORTEST, is_loopback
from stream.web.login import Login

PREFIX = "serve:"
_LOOPBACK = "127.0.0.1"
_PLACE = re.compile(r"(?:(?P<host>\[[^\]]*\]|[^:\[\]/]+):)?(?P<port>[0-9]{1,5})(?:/(?P<path>.*))?")
_PATH = re.compile(r"[^?#\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Serve:
    """Where to serve, and who may read."""

    port: int
    host: str = _LOOPBACK
    path: str = "live"
    """Without slashes at its ends."""
    login: Login | None = None
    channel: socket.socket | None = field(default=None, repr=False, compare=False)
    """On which connections come; None: `run` listens itself."""
    stage: Stage | None = field(default=None, repr=False, compare=False)
    """What the readers see; there is one while `run` works."""

    @classmethod
    def parse(cls, text: str) -> "Serve":
        """`serve:[user:password@][host:]port[/path]`, with %-escapes in user, password and path.

        Raises `UsageError`, also where others could read without a password.
        """
        address, user, password = split_login(text.removeprefix(PREFIX))
        found = _PLACE.fullmatch(address)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise UsageError(
                f"{PREFIX}{address} is no place to serve at; "
                "write serve:PORT, serve:PORT/PATH or serve:USER:PASSWORD@HOST:PORT/PATH"
            )
        host = (found["host"] or _LOOPBACK).strip("[]")
        path = unquote(found["path"] or "").strip("/") or cls.path
        if not _PATH.fullmatch(path):
            raise UsageError(f"{PREFIX}{address}: a path has no ?, no # and no line breaks")
        if user is not None and not (user and password):
            raise UsageError(f"{PREFIX}{address}: a login is a user and a password, USER:PASSWORD@")
        if user is None and not is_loopback(host):
            raise UsageError(
                f"{PREFIX}{address} would let everyone read who reaches {host}; "
                f"add a login, {PREFIX}USER:PASSWORD@{address}, or serve at {_LOOPBACK}"
            )
        if password and len(password) < SHORTEST and not is_loopback(host):
            raise UsageError(
                f"{PREFIX}{address} can be reached from elsewhere; its password must have at least "
                f"{SHORTEST} characters"
            )
        login = Login.of(user, password) if user and password else None
        return cls(int(found["port"]), host, path, login)

    @property
    def name(self) -> str:
        """As it can be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{PREFIX}{host}:{self.port}/{self.path}"

    @property
    def square(self) -> bool:
        """H.264 tells of the shape of pixels."""
        return False

    @property
    def resizes(self) -> bool:
        """Readers stay connected, so that the size cannot change."""
        return False

    @property
    def repeats(self) -> bool:
        """Readers always get something."""
        return True

    def run(self, control: Control, feed: Feed, size: Size | None) -> None:
        """Serve until told to stop. Raises `SinkError` where the port cannot be had."""
        asyncio.run(self._run(control, feed, size))

    async def _run(self, control: Control, feed: Feed, size: Size | None) -> None:
        stage = Stage(self.path, self.login)
        server = Server(stage)
        if self.channel is not None:
            server.adopt(self.channel)
        else:
            await server.listen(self.host, self.port)
        try:
            target = replace(self, stage=stage)
            await asyncio.to_thread(Writer(control, feed, target, size).run)
        finally:
            await server.close()

    def takes(self, sound: SoundFormat) -> bool:
        """Whether there is a way to send it as it comes."""
        return rtp_sound.media(sound) is not None

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> Output:
        """Begin to encode; called by the writer that `run` started."""
        assert self.stage is not None
        packets = None
        if sound is not None and (media := rtp_sound.media(sound)) is not None:
            packets = rtp_sound.SoundPackets(sound, media, first.timestamp)
        return RtspOutput(self.stage, first, packets, control.say)
