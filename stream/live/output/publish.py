"""Live video sent to a server that passes it on: RTSP (ANNOUNCE and RECORD) and RTMP."""

import errno
import re
from dataclasses import dataclass, field
from urllib.parse import quote

import av
import av.error
import av.logging

from stream.ipc.child import Control
from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import SoundFormat
from stream.live.encoding.mux import LiveOutput, takes
from stream.live.encoding.video import Quality
from stream.live.input.camera import trust
from stream.live.input.ffmpeg_log import Answers, Log, kept
from stream.live.output.writer import LoginRefusedError, PlainTarget
from stream.secrets import hidden, split_login

_TIMEOUT_US = 3_000_000
"""For each answer of the server. FFmpeg lets nothing else of this process run until it is there,
and the supervisor kills a process that is silent for long."""
_SAID = {
    av.error.HTTPForbiddenError: "the server forbids it",
    av.error.HTTPNotFoundError: "the server has no such path",
    av.error.HTTPOtherClientError: "the server takes no video at this path",
    av.error.HTTPServerError: "the server has a fault",
    av.error.InvalidDataError: "what answers is not a server of this kind, or it is silent",
    av.error.EOFError: "the server closed the connection",
    av.error.BrokenPipeError: "the server is gone",
}


@dataclass(frozen=True)
class Publisher(PlainTarget):
    """A server that video is published to."""

    address: str = field(repr=False)
    transport: str = "tcp"
    """Of RTSP: tcp or udp."""
    insecure_tls: bool = False
    """Whether the server's certificate is not checked."""
    quality: Quality | None = None
    resizes = False
    repeats = True

    @property
    def name(self) -> str:
        """The address without its passwords."""
        return hidden(self.address)

    def takes(self, sound: SoundFormat) -> bool:
        """Whether sound is written as it comes, or without loss."""
        return takes(self._format, sound)

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> LiveOutput:
        """Connect. Raises `LoginRefusedError`, or another `OSError`."""
        format = self._format
        log: Log = []
        try:
            with kept(av.logging.DEBUG) as log:
                container = self._flv() if format == "flv" else self._rtsp()
                inner = "flv" if format == "flv" else ""
                output = LiveOutput(container, first, sound, format=inner, quality=self.quality)
        except av.error.HTTPUnauthorizedError as error:
            raise LoginRefusedError(_refused(Answers(log).login)) from error
        except av.error.FFmpegError as error:
            raise OSError(self._reason(error)) from error
        return output

    @property
    def _format(self) -> str:
        return "flv" if self.address.startswith("rtmp") else "rtsp"

    def _rtsp(self) -> av.container.OutputContainer:
        options = {
            "rtsp_transport": self.transport,
            "timeout": str(_TIMEOUT_US),
            # Sound that does not come must not keep the pictures back.
            "max_interleave_delta": "1",
            **self._tls(),
        }
        return av.open(_address(self.address), "w", format="rtsp", container_options=options)

    def _flv(self) -> av.container.OutputContainer:
        # PyAV gives no options to what opens an address; the tee muxer does.
        options = {
            "f": "flv",
            "onfail": "abort",
            "flvflags": "no_duration_filesize",
            "flush_packets": "1",
            "rw_timeout": str(_TIMEOUT_US),
            "max_interleave_delta": "1",
            **self._tls(),
        }
        said = ":".join(f"{name}={_escaped(value)}" for name, value in options.items())
        address = re.sub(r"[|\\'\s]", lambda found: quote(found[0]), self.address)
        return av.open(
            f"[{said}]{address}",
            "w",
            format="tee",
            container_options={"max_interleave_delta": "1"},
        )

    def _tls(self) -> dict[str, str]:
        if self.insecure_tls or not self.address.startswith(("rtsps:", "rtmps:")):
            return {}
        return trust()

    def _reason(self, error: av.error.FFmpegError) -> str:
        if error.errno == errno.EIO:  # FFmpeg's word for most that keeps it from connecting
            secure = ", or its certificate is not trusted" if self._tls() else ""
            return f"the server is not found{secure}"
        return _SAID.get(type(error)) or error.strerror or type(error).__name__


def _refused(login: str | None) -> str:
    """Why a login is refused; `login`: which kind is wanted, where FFmpeg cannot give that."""
    if login is None:
        return "the server refuses the user or password"
    return (
        f"the server wants a login by {login}, which cannot be had here; set it to Digest with "
        "MD5, or to Basic"
    )


def _address(address: str) -> str:
    """The address with its login written as FFmpeg reads those of RTSP, whatever it holds."""
    bare, user, password = split_login(address)
    if user is None:
        return address
    login = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
    scheme, mark, rest = bare.partition("://")
    return f"{scheme}{mark}{login}@{rest}"


def _escaped(value: str) -> str:
    r"""As the tee muxer reads an option's value: what has a meaning is behind a backslash."""
    return re.sub(r"([\\':\]|])", r"\\\1", value)
