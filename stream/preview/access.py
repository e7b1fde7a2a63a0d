"""Who may look: from which address, under which name, and with which token."""

import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from stream.errors import SinkError, UsageError
from stream.web.hosts import is_loopback, is_ours
from stream.web.login import same
from stream.web.tokens import TokenLimiter, check_chosen, given_token

DEFAULT_PORT = 9555


@dataclass(frozen=True)
class Access:
    """Where the page is served, and who gets it."""

    token: str = field(repr=False)
    """The password, or a random token."""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any that is free."""
    chosen: bool = False
    """Whether the token is the user's own, for which a browser can ask."""
    kept: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """What a browser that gave the token keeps, and sends to whatever else listens at this host: it
    tells nothing of the token, and is good until the program ends."""
    option: str = "--preview"
    """By which the port was given."""

    @classmethod
    def of(
        cls,
        host: str,
        port: int,
        password: str | None,
        token: str,
        *,
        options: tuple[str, str] = ("--preview", "--preview-host"),
    ) -> "Access":
        """`password` is the user's, `token` a random one, which will do on loopback; `options` are
        those that port and host were given by.

        Raises `UsageError`.
        """
        if not 0 <= port < 65536:
            raise UsageError(f"{options[0]} takes a port, got {port}")
        check_chosen(password, host, f"{options[1]} {host}", "viewers")
        return cls(password or token, host, port, chosen=password is not None, option=options[0])

    def address(self, port: int, random: bool, *, shown: bool) -> str:
        """Where the page at a port is, with the token where it is a `random` one, which nobody else
        has, and may be `shown`."""
        name = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        name = f"[{name}]" if ":" in name else name
        known = f"?token={self.token}" if random and shown else ""
        # Where lines are kept in a file, no token of ours is among them.
        hint = " (set DEBLUR_TOKEN to what opens it)" if random and not shown else ""
        return f"http://{name}:{port}/{known}{hint}"

    def listen(self) -> socket.socket:
        """The socket to serve at; the usual port of the preview gives way to any free one.

        Raises `SinkError`.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for port in (self.port, 0):
            try:
                return socket.create_server((self.host, port), family=family, backlog=64)
            except OSError as error:
                if (self.option, port) != ("--preview", DEFAULT_PORT):
                    where = f"{self.option} at {self.host}:{self.port}"
                    reason = error.strerror or str(error)
                    raise SinkError(f"cannot listen for {where}: {reason}") from None
        raise AssertionError("not reached")

    @property
    def only_here(self) -> bool:
        """Whether none but this machine can reach the page."""
        return is_loopback(self.host)


class Guard:
    """Lets in who may look."""

    def __init__(self, access: Access, port: int) -> None:
        """`port`: where the page really is."""
        self._access = access
        self._limiter = TokenLimiter(access.token)
        self._cookie = f"deblur-{port}"

    def check_names(self, request: web.Request) -> None:
        """Raise `HTTPForbidden` where the request comes by way of another site."""
        host = request.headers.get("Host", "")
        if not is_ours(host, self._access.host):
            raise web.HTTPForbidden(text="unknown host\n")
        origin = request.headers.get("Origin")
        if origin is not None and _place(origin) != host.lower():
            raise web.HTTPForbidden(text="unknown origin\n")
        site = request.headers.get("Sec-Fetch-Site", "none")
        top = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
        if site not in ("same-origin", "none") and not top:
            raise web.HTTPForbidden(text="unknown origin\n")

    async def check_token(self, request: web.Request) -> None:
        """Raise `HTTPUnauthorized` where the token is missing or wrong."""
        given = given_token(request)
        if given is None and same(request.cookies.get(self._cookie, ""), self._access.kept):
            return
        if given is not None and await self._limiter.right(request.remote or "", given):
            return
        asks = 'Basic realm="deblur", charset="UTF-8"' if self._access.chosen else "Bearer"
        text = "open the address that deblur printed\n"
        if self._access.chosen:
            text = "the password is what DEBLUR_TOKEN was set to, with any user name\n"
        raise web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": asks})

    def remember(self, response: web.StreamResponse) -> None:
        """Have the browser let in from now on."""
        response.set_cookie(
            self._cookie, self._access.kept, httponly=True, samesite="Lax", path="/"
        )


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
