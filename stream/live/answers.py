"""What a camera answers while FFmpeg opens it, from its log: its errors leave most of that out."""

import logging
import re

import av
import av.container
import av.logging

from stream.live.camera import Camera

_KEPT = 2_000
"""Messages; a camera that has FFmpeg say much more fills no memory with it."""
_REDIRECTED = re.compile(r"^Protocol '([\w.+-]+)' not on whitelist", re.M)
"""FFmpeg follows a camera anywhere, with the password and without end, where that is allowed."""
_LOCATION = re.compile(r"^line='location: *(\S+) *'$", re.M | re.I)
_REFUSED = re.compile(r"^method (\w+) failed: (\d{3}) \((.*)\)$", re.M)
_CHALLENGE = re.compile(r"www-authenticate: *digest\b(.*)$", re.M | re.I)
_WANTED = re.compile(r"\b(algorithm|qop) *= *(?:\"([^\"]*)\"|([\w-]+))", re.I)
_KNOWN = ("", "MD5", "MD5-SESS")
"""What FFmpeg can prove a password by."""
_REASON = 60
"""Characters of what a camera says of its own that are shown."""


class Answers:
    """One opening of a camera, and what was answered meanwhile."""

    def __init__(self, *, closely: bool = False) -> None:
        """`closely`: to learn where a camera by RTSP redirects to as well."""
        self._closely = closely
        self._log: list[tuple[int, str, str]] = []

    def open(self, camera: Camera) -> av.container.InputContainer:
        """Open the camera. Raises what FFmpeg has."""
        # HTTP's headers are told at the finest level only; of RTSP that has each single byte.
        fine = self._closely or camera.kind in ("http", "https")
        # What is told while nobody listens, as an opening that was given up goes on.
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
        av.logging.set_level(av.logging.TRACE if fine else av.logging.DEBUG)
        try:
            with av.logging.Capture(local=False) as self._log:
                return av.open(
                    camera.url,
                    format=camera.format,
                    options=dict(camera.options),
                    timeout=(camera.open_s, camera.stall_s + 1),
                    metadata_errors="replace",
                )
        finally:
            av.logging.set_level(None)

    def trim(self) -> None:
        """Forget what is old; to be called now and then while it opens."""
        del self._log[:-_KEPT]

    @property
    def redirect(self) -> str | None:
        """The protocol that it redirects to; None where it does not."""
        found = _REDIRECTED.search(self._text("rtsp"))
        return found[1].lower() if found else None

    @property
    def location(self) -> str | None:
        """The address that it redirects to."""
        found = _LOCATION.findall(self._text("rtsp"))
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
        return (found[-1][0], int(found[-1][1]), _shown(found[-1][2])) if found else None

    def _text(self, *names: str) -> str:
        lines = (text for _, name, text in self._log if name in names)
        return "\n".join(re.sub(r"^header='(.*)'$", r"\1", line.strip()) for line in lines)


def _shown(words: str) -> str:
    return "".join(each for each in words if each.isprintable())[:_REASON]
