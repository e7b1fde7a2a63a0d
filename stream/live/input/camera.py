"""What the source of a live feed means, and how FFmpeg opens it."""

import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import av
import av.error

from stream.errors import NoInputError, UsageError
from stream.media.formats import NAMED_ALONE
from stream.options.live import LiveSettings
from stream.secrets import hidden, split_login

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_PROTOCOLS = {
    "rtsp": "rtp,udp,tcp",
    "rtsps": "rtp,srtp,udp,tcp,tls",
    "http": "http,https,httpproxy,crypto,tcp,tls",
    "https": "https,http,httpproxy,crypto,tcp,tls",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tcp,tls",
}
"""What each kind of address may make FFmpeg open: never a local file, whatever a playlist says."""
_LOW_LATENCY = {
    "flags": "low_delay",
    "probesize": "32",
    "analyzeduration": "0",
}
"""Of RTSP, whose description says what its streams are: without them the feed starts 1.1 s late.
Not `fflags=nobuffer`, which throws away what is read while it opens: often the only key frame for
many seconds."""
_ANALYZE = {"analyzeduration": "1000000"}
"""Microseconds, of HTTP and RTMP; FFmpeg would otherwise watch an MJPEG stream for 5 s to learn its
frame rate, and wait as long for the sound of a camera that has none."""
_OPEN_S = 5.0
"""The least time given to a camera to answer, however short a stall may be."""
_KINDS = (
    "webcam:0, rtsp://HOST/PATH, http://HOST/PATH, rtmp://HOST/PATH, screen:, testsrc:, env:NAME, "
    "or a file with --realtime"
)
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the certificates they trust; PyAV's FFmpeg looks in none of these places."""
_VALUES = {
    "size": re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}"),
    "fps": re.compile(r"[1-9]\d{0,5}(\.\d+)?(/[1-9]\d{0,5})?"),
    "format": re.compile(r"\w{1,32}"),
}
_EXAMPLES = {"size": "1280x720", "fps": "30", "format": "mjpeg"}


@dataclass(frozen=True)
class Camera:
    """A source of live video; passes to the reader's process."""

    url: str = field(repr=False)
    """What FFmpeg opens, with the password."""
    shown: str
    """As it can be shown: without passwords."""
    kind: str
    """The scheme of the address: rtsp, webcam, file and so on."""
    transport: str
    """How pictures come, as it is shown: tcp, udp, or the kind."""
    format: str | None = None
    """FFmpeg's name of the input format; None: found out."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For FFmpeg."""
    open_s: float = _OPEN_S
    """The camera must have answered within so long ..."""
    stall_s: float = 5.0
    """... and send a picture at least so often."""
    live: bool = True
    """Whether the end of the stream means that the connection was lost."""
    paced: bool = False
    """Whether pictures come faster than they are to be shown, and have to wait for their time."""
    address: tuple[str, int] | None = None
    """Host and port, where it can be asked cheaply whether anybody is there."""

    @staticmethod
    def parse(text: str, settings: LiveSettings, platform: str = sys.platform) -> "Camera":
        """The camera that `text` names, on a system as `sys.platform` calls it.

        Raises `UsageError` for what is no source, and `NoInputError` for a file that is not there.
        """
        text = resolve(text)
        scheme, colon, rest = text.partition(":")
        scheme = scheme.lower()
        if colon and scheme in PORTS and rest.startswith("//"):
            return _network(scheme, text, settings)
        if text.startswith("/dev/video"):
            scheme, rest = "webcam", text
        if scheme in _DEVICES and (colon or scheme == "webcam"):
            name, _, query = rest.partition("?")
            url, form, options = _DEVICES[scheme](name, _query(query, text), platform)
            return Camera(
                url,
                text,
                scheme,
                scheme,
                form,
                options,
                stall_s=settings.stall_s,
                paced=scheme == "testsrc",
            )
        if "://" in text:
            raise UsageError(f"{hidden(text)} is not a source known here; sources are {_KINDS}")
        return _file(text, settings)

    def redirected(self, location: str, settings: LiveSettings) -> "Camera":
        """The camera that this one, by RTSP, names instead of itself.

        The login goes along to the same host only. Raises `UsageError` for what no camera may
        redirect to.
        """
        if location.startswith("/"):
            place = split_login(self.url)[0].partition("://")[2].partition("/")[0]
            location = f"{self.kind}://{place}{location}"
        scheme, _, rest = location.partition("://")
        scheme = scheme.lower()
        if scheme not in ("rtsp", "rtsps") or (self.kind, scheme) == ("rtsps", "rtsp"):
            raise UsageError(f"it redirects from {self.kind} to {hidden(location)[:200]}")
        try:
            other = _network(scheme, location, settings)
        except UsageError:
            raise UsageError("it redirects to what is no address") from None
        _, user, password = split_login(self.url)
        if user is None or split_login(location)[1] is not None:
            return other
        if self.address is None or other.address is None or other.address[0] != self.address[0]:
            return other
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return _network(scheme, f"{scheme}://{login}@{rest}", settings)


def resolve(text: str) -> str:
    """An address, or the one in the environment variable that `env:NAME` names.

    So no password need be in the list of processes. Raises `UsageError` where there is none.
    """
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    value = os.environ.get(name, "") if name and "\0" not in name else ""
    if not value:
        raise UsageError(f"{text}: set the environment variable {name or 'NAME'} to the address")
    return value


def _network(scheme: str, text: str, settings: LiveSettings) -> Camera:
    shown = hidden(text)
    bare, user, password = split_login(text)
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname, parts.port or PORTS[scheme]
    except ValueError:
        # Neither the address nor the error is shown: the login may not have been found in it.
        raise UsageError(
            f"the {scheme} address is not one; / ? # and % in a password are %2F %3F %23 and %25"
        ) from None
    if not host or not bare.isprintable() or " " in bare:
        raise UsageError(f"{shown} is not an address; it should look like {scheme}://HOST/PATH")
    options = {"protocol_whitelist": _PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options |= _LOW_LATENCY | {"rtsp_transport": settings.transport}
    if scheme.startswith(("http", "rtmp")):
        options |= _ANALYZE
    options |= {"tls_verify": "0"} if settings.insecure_tls else trust()
    url = text
    if user is not None and not scheme.startswith("rtmp"):
        # However it was typed, FFmpeg decodes it once.
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        url = f"{scheme}://{login}@{bare.partition('://')[2]}"
    return Camera(
        url,
        shown,
        scheme,
        settings.transport if scheme.startswith("rtsp") else scheme,
        options=options,
        open_s=max(_OPEN_S, settings.stall_s),
        stall_s=settings.stall_s,
        address=(host, port),
    )


def trust() -> dict[str, str]:
    """FFmpeg's options for checking the certificates of servers."""
    known = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
    found = next((path for path in known if path and Path(path).is_file()), None)
    return {"tls_verify": "1"} | ({"ca_file": found} if found else {})


def _file(text: str, settings: LiveSettings) -> Camera:
    path = Path(text.removeprefix("file:"))
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    if not there and not settings.realtime:
        raise UsageError(f"{text} is neither a file nor a source; sources are {_KINDS}")
    if not there:
        raise NoInputError(f"{path} does not exist")
    if path.is_dir():
        raise NoInputError(f"{path} is a folder, not a video file")
    if not settings.realtime:
        raise UsageError(
            f"{path} is a file: restore it with deblur run, or play it as a camera with --realtime"
        )
    return Camera(
        f"file:{path.absolute()}",
        str(path),
        "file",
        "file",
        options=NAMED_ALONE,
        stall_s=settings.stall_s,
        live=False,
        paced=True,
    )


_Wishes = Mapping[str, str]
"""What was asked for behind the question mark."""
_Opening = tuple[str, str, dict[str, str]]
"""What is opened, as which format, with which options."""


def _query(query: str, text: str) -> _Wishes:
    found = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in found.items():
        if name not in _VALUES:
            raise UsageError(f"{text}: {name} is not known; size, fps and format are")
        if not _VALUES[name].fullmatch(value):
            raise UsageError(
                f"{text}: {name}={value} makes no sense; write it as {name}={_EXAMPLES[name]}"
            )
    return found


def _options(wishes: _Wishes, **names: str) -> dict[str, str]:
    return {names[name]: value for name, value in wishes.items() if name in names}


def _webcam(name: str, wishes: _Wishes, platform: str) -> _Opening:
    name = name or "0"
    if platform == "win32":
        form = "vcodec" if wishes.get("format") in ("mjpeg", "h264") else "pixel_format"
        device = _nth_webcam(int(name)) if name.isdecimal() else name
        options = _options(wishes, size="video_size", fps="framerate", format=form)
        return f"video={device}", "dshow", options
    if platform == "darwin":
        options = _options(wishes, size="video_size", fps="framerate", format="pixel_format")
        # Apple's cameras refuse FFmpeg's own default of 29.97.
        return f"{name}:none", "avfoundation", {"framerate": "30"} | options
    options = _options(wishes, size="video_size", fps="framerate", format="input_format")
    if name.isdecimal():
        return f"/dev/video{name}", "v4l2", options
    return name if name.startswith("/") else f"/dev/v4l/by-id/{name}", "v4l2", options


def _nth_webcam(number: int) -> str:
    """DirectShow knows webcams by name only."""
    try:
        devices = av.enumerate_input_devices("dshow")
    except (ValueError, av.error.FFmpegError):
        devices = []
    names = [device.description for device in devices if "video" in device.media_types]
    if number >= len(names):
        raise UsageError(f"there is no webcam number {number}; name it: webcam:NAME")
    return names[number]


def _screen(name: str, wishes: _Wishes, platform: str) -> _Opening:
    options = {"framerate": "25"} | _options(wishes, size="video_size", fps="framerate")
    if platform == "win32":
        return name or "desktop", "gdigrab", options
    if platform == "darwin":
        return f"{name or 'Capture screen 0'}:none", "avfoundation", options
    return name or os.environ.get("DISPLAY", ":0.0"), "x11grab", options


def _testsrc(name: str, wishes: _Wishes, platform: str) -> _Opening:
    if name:
        raise UsageError(f"testsrc:{name}: write testsrc: or testsrc:?size=640x360&fps=25")
    size, fps = wishes.get("size", "640x360"), wishes.get("fps", "25")
    sound = "sine=frequency=440:beep_factor=4:sample_rate=48000"
    return f"testsrc2=size={size}:rate={fps}[out0];{sound}[out1]", "lavfi", {}


_DEVICES: dict[str, Callable[[str, _Wishes, str], _Opening]] = {
    "webcam": _webcam,
    "screen": _screen,
    "testsrc": _testsrc,
}
