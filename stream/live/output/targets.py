"""What the outputs of a live feed are called on the command line."""

from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from urllib.parse import urlsplit

from stream.errors import SinkError, UsageError
from stream.live.encoding.video import Quality
from stream.live.input.camera import PORTS
from stream.live.output.hls import Hls
from stream.live.output.null import Null
from stream.live.output.publish import Publisher
from stream.live.output.record import CONTAINERS, Recorder
from stream.live.output.serve import Serve
from stream.live.output.virtual_camera import VirtualCamera
from stream.live.output.writer import Target
from stream.secrets import hidden, split_login

_KNOWN = (
    "an output is rtsp://HOST/PATH or rtmp://HOST/PATH (published to a server), "
    "serve:PORT/PATH (served here by RTSP), NAME.mkv, NAME.mp4, NAME.ts or record:FOLDER "
    "(recorded), hls:FOLDER, camera: or camera:/dev/videoN (a virtual webcam), or null:"
)
_NAME = "live.mkv"
"""Of recordings of which only the folder is said."""


@dataclass(frozen=True)
class OutputSettings:
    """How the outputs of a live feed work."""

    transport: str = "tcp"
    """Of publishing by RTSP: tcp or udp."""
    insecure_tls: bool = False
    """Whether certificates of servers are not checked."""
    segment_s: float = 600.0
    """How long each file of a recording is."""
    keep_s: float = 0.0
    """How long files of a recording are kept; 0: always."""
    keep_bytes: int = 0
    """How large all of them may be; 0: of any size."""
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if self.transport not in ("tcp", "udp"):
            raise UsageError(f"the transport of an output is tcp or udp, not {self.transport}")
        if not self.segment_s >= 1:
            raise UsageError(f"--segment must be at least 1 second, got {self.segment_s:g}")
        if not self.keep_s >= 0:
            raise UsageError(f"--keep must not be negative, got {self.keep_s:g}")
        if not self.keep_bytes >= 0:
            raise UsageError(f"--keep must not be negative, got {self.keep_bytes}")


def parse(text: str, settings: OutputSettings | None = None) -> Target:
    """The output that a word of the command line names. Raises `UsageError` or `SinkError`."""
    settings = settings or OutputSettings()
    scheme, _, rest = text.partition(":")
    match scheme.lower():
        case "rtsp" | "rtsps" | "rtmp" | "rtmps" if rest.startswith("//"):
            address = _checked(f"{scheme.lower()}:{rest}")
            return Publisher(address, settings.transport, settings.insecure_tls, settings.quality)
        case "serve":
            return Serve.parse(text)
        case "hls" if rest:
            return Hls(Path(rest), settings.quality)
        case "record" if rest:
            return _record(_made(Path(rest)) / _NAME, settings)
        case "camera":
            return VirtualCamera(rest)
        case "null" if not rest:
            return Null()
    if Path(text).suffix.lower() in CONTAINERS and "://" not in text:
        return _record(Path(text), settings)
    raise UsageError(f"{hidden(text)} is no output; {_KNOWN}")


def place(target: Target) -> tuple[object, ...]:
    """Where an output goes, however that is written: two at one place harm each other."""
    match target:
        case Serve():
            return "serve", target.host, target.port, target.path
        case Hls():
            return "hls", realpath(target.folder)
        case Recorder():
            return "file", realpath(target.path)
        case Publisher():
            parts = urlsplit(split_login(target.address)[0])
            port = parts.port or PORTS[parts.scheme]
            return parts.scheme, parts.hostname, port, parts.path.rstrip("/"), parts.query
    return (target.name,)


def _record(path: Path, settings: OutputSettings) -> Recorder:
    folder = path.absolute().parent
    if folder.parent.is_dir():
        _made(folder)
    limits = settings.segment_s, settings.keep_s, settings.keep_bytes
    return Recorder(path, *limits, quality=settings.quality)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder}: {error.strerror}; name a folder to record into") from error
    return folder


def _checked(address: str) -> str:
    try:
        parts = urlsplit(split_login(address)[0])
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"{hidden(address)} is no address; it has to be like rtsp://HOST/PATH")
    return address
