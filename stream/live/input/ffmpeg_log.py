"""What a camera answers while FFmpeg opens it, from its log: its errors leave most of that out."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import av.logging

_REDIRECTED = re.compile(r"^Protocol '.*' not on whitelist", re.M)
"""FFmpeg follows a camera anywhere, with the password and without end, where that is allowed."""
_LOCATION = re.compile(r"^location: *(\S+) *$", re.M | re.I)
_MOVED = re.compile(r"^http_code=30[12378]$", re.M)
_REFUSED = re.compile(r"^method (\w+) failed: (\d{3}) \((.*)\)$", re.M)
_CODE = re.compile(r"^http_code=([45]\d\d)$", re.M)
_TEXT = re.compile(r"^content-type: *(text/|application/(json|xml|xhtml))", re.M | re.I)
_PROBED = re.compile(r"^Format \w+ probed", re.M)
_CHALLENGE = re.compile(r"www-authenticate: *digest\b(.*)$", re.M | re.I)
_WANTED = re.compile(r"\b(algorithm|qop) *= *(?:\"([^\"]*)\"|([\w-]+))", re.I)
_KNOWN = ("", "MD5", "MD5-SESS")
"""What FFmpeg can prove a password by."""
_DIRECTION = re.compile(r"^a=(sendonly|recvonly|sendrecv|inactive)\s*$", re.M)
_REASON = 60
"""Characters of what a camera says of its own that are shown."""

Log = list[tuple[int, str, str]]
"""FFmpeg's messages, each with its level and who says it."""


@contextmanager
def kept(level: int) -> Iterator[Log]:
    """Keep what FFmpeg says meanwhile, up to a level of `av.logging`."""
    # What is told while nobody listens, as an opening that was given up goes on.
    logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
    av.logging.set_level(level)
    try:
        with av.logging.Capture(local=False) as log:
            yield log
    finally:
        av.logging.set_level(None)


class Answers:
    """What a camera answered to one opening."""

    def __init__(self, log: Sequence[tuple[int, str, str]]) -> None:
        """`log`: a `Log`; of RTSP the messages for debugging, and of HTTP the finest."""
        self._log = log

    @property
    def connected(self) -> bool:
        """Whether anybody was there."""
        return "Successfully connected to" in self._text("tcp")

    @property
    def sends(self) -> bool:
        """Whether what comes has begun like video."""
        return any(_PROBED.match(text) for _, _, text in self._log)

    @property
    def text(self) -> bool:
        """Whether a web server says that it is text."""
        return _TEXT.search(self._text("http")) is not None

    @property
    def redirects(self) -> bool:
        """Whether it names another address instead of itself, which FFmpeg does not follow."""
        return _REDIRECTED.search(self._text("rtsp", "http")) is not None

    @property
    def moves(self) -> int:
        """How often one was sent on by HTTP, which FFmpeg does itself."""
        return len(_MOVED.findall(self._text("http")))

    @property
    def location(self) -> str | None:
        """The address that it redirects to, where the log is of the finest level."""
        found = _LOCATION.findall(self._text("rtsp", "http"))
        return str(found[-1]) if found else None

    @property
    def login(self) -> str | None:
        """Which kind of login it wants, where that is one that FFmpeg cannot give."""
        challenges = _CHALLENGE.findall(self._text("rtsp", "http"))
        if not challenges:
            return None
        # FFmpeg takes the last one.
        wanted = {
            name.lower(): text or word for name, text, word in _WANTED.findall(challenges[-1])
        }
        if wanted.get("algorithm", "").upper() not in _KNOWN:
            return f"Digest {_shown(wanted['algorithm'])}"
        qop = [each.strip().lower() for each in wanted.get("qop", "auth").split(",")]
        return None if "auth" in qop else f"Digest with qop {_shown(','.join(qop))}"

    @property
    def refusal(self) -> tuple[str, int, str] | None:
        """What was asked for last and refused: the method, the status, and the camera's reason."""
        found = _REFUSED.findall(self._text("rtsp"))
        found += [("GET", status, "") for status in _CODE.findall(self._text("http"))]
        return (found[-1][0], int(found[-1][1]), _shown(found[-1][2])) if found else None

    @property
    def loudspeakers(self) -> set[int]:
        """Which of a camera's streams of sound, counted from 0, are for what it is to play (the
        backchannel of ONVIF): those that are sent to it, where its picture is not."""
        _, *media = re.split(r"^m=", self._text("rtsp"), flags=re.M)
        told = [(each.split(" ")[0], _DIRECTION.findall(each)) for each in media]
        if any("sendonly" in said for kind, said in told if kind == "video"):
            return set()  # it tells of its own side
        sounds = [said for kind, said in told if kind == "audio"]
        return {number for number, said in enumerate(sounds) if "sendonly" in said}

    def _text(self, *names: str) -> str:
        lines = (text for _, name, text in self._log if name in names)
        return "\n".join(re.sub(r"^(?:header|line)='(.*)'$", r"\1", line.strip()) for line in lines)


def _shown(words: str) -> str:
    return "".join(each for each in words if each.isprintable())[:_REASON]
