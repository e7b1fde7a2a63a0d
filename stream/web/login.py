"""Who may read: the digest login of RFC 7616, with MD5 and SHA-256."""

import hashlib
import hmac
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field

REALM = "deblur"
NONCE_S = 60.0
"""How long a challenge can be answered."""
_HASHES = {"SHA-256": "sha256", "MD5": "md5"}
"""The preferred one first, as RFC 7616 has it; FFmpeg knows MD5 only, and takes the last one."""
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_FREE = 5
"""Wrong answers that an address may give within a minute at no cost, ..."""
_PAUSE_S = 1.0
"""... after which each costs it this long."""
_ADDRESSES = 1024


@dataclass(frozen=True)
class Login:
    """A user, and what proves the password without holding it.

    The hashes are those of user, realm and password (RFC 7616, 3.4.2), and good for nothing else.
    """

    user: str
    md5: str = field(repr=False)
    sha256: str = field(repr=False)

    @classmethod
    def of(cls, user: str, password: str) -> "Login":
        """The login of a user with a password."""
        text = f"{user}:{REALM}:{password}"
        return cls(user, _hash("md5", text), _hash("sha256", text))

    def accepts(self, header: str, method: str, nonce: str) -> bool:
        """Whether an Authorization header answers the challenge with `nonce`."""
        scheme, _, rest = header.partition(" ")
        given = _parameters(rest)
        name = _HASHES.get(given.get("algorithm", "MD5").upper())
        if scheme.lower() != "digest" or name is None:
            return False
        request = _hash(name, f"{method}:{given.get('uri', '')}")
        known = self.sha256 if name == "sha256" else self.md5
        middle = [nonce]
        if given.get("qop"):
            middle += [given.get("nc", ""), given.get("cnonce", ""), given["qop"]]
        right = _hash(name, ":".join([known, *middle, request]))
        # All are compared, and each to its end, so that time tells nothing.
        answers = (
            same(given.get("username", ""), self.user),
            same(given.get("realm", ""), REALM),
            same(given.get("nonce", ""), nonce),
            same(given.get("response", "").lower(), right),
        )
        return all(answers)


class Challenge:
    """What a connection has to answer; no other connection can use that answer."""

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(16)
        self._made_s = time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether it is too old to be answered."""
        return time.monotonic() - self._made_s > NONCE_S

    def headers(self, *, stale: bool = False) -> list[tuple[str, str]]:
        """Those of the response that asks for the login; `stale`: the answer came too late."""
        more = ", stale=true" if stale else ""
        text = f'Digest realm="{REALM}", nonce="{self.nonce}"'
        return [("WWW-Authenticate", f"{text}, algorithm={name}{more}") for name in _HASHES]


class LoginLimiter:
    """Slows down those who guess passwords, by their address."""

    def __init__(self) -> None:
        self._wrong: dict[str, deque[float]] = {}

    def delay_s(self, host: str) -> float:
        """How long to wait before the next answer from `host` may be looked at."""
        now = time.monotonic()
        times = self._wrong.get(host, ())
        recent = [moment for moment in times if now - moment < 60]
        return max(0.0, recent[-1] + _PAUSE_S - now) if len(recent) >= _FREE else 0.0

    def wrong(self, host: str) -> None:
        """Note a wrong answer from `host`."""
        times = self._wrong.pop(host, None) or deque(maxlen=_FREE)
        times.append(time.monotonic())
        self._wrong[host] = times
        if len(self._wrong) > _ADDRESSES:
            del self._wrong[next(iter(self._wrong))]


def _parameters(text: str) -> dict[str, str]:
    found = {}
    for name, quoted, plain in _PARAMETER.findall(text):
        found[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return found


def _hash(name: str, text: str) -> str:
    return hashlib.new(name, text.encode("utf-8", "surrogateescape")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are the same; how long that takes does not tell how much of them is."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )
