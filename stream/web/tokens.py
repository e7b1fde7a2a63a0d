"""The token that those who ask over HTTP must know, and those who guess it."""

import asyncio
from base64 import b64decode

from aiohttp import web

from stream.errors import UsageError
from stream.web.hosts import SHORTEST, is_loopback
from stream.web.login import LoginLimiter, same

_MOST_WAITING = 16
"""Requests that wait for their turn; more are refused at once."""


def check_chosen(token: str | None, host: str, option: str, who: str) -> None:
    """Raise `UsageError` where the user's own token is too short, or is missing though others than
    this machine can reach `host`; `who` are those that must know it."""
    if token is not None and len(token) < SHORTEST:
        raise UsageError(f"DEBLUR_TOKEN must have at least {SHORTEST} characters")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"{option} can be reached from elsewhere; set the environment variable DEBLUR_TOKEN to "
            f"what {who} must know"
        )


class TokenLimiter:
    """Compares words with the right one; who gave wrong ones has to wait, at most one a second."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._attempts = LoginLimiter()
        self._waiting = 0

    async def right(self, host: str, given: str) -> bool:
        """Whether it is the token. Raises `HTTPTooManyRequests`."""
        # Between the last look at the delay and the answer nobody else has a turn.
        while delay_s := self._attempts.delay_s(host):
            if self._waiting >= _MOST_WAITING:
                raise web.HTTPTooManyRequests(text="too many wrong passwords\n")
            self._waiting += 1
            try:
                await asyncio.sleep(delay_s)
            finally:
                self._waiting -= 1
        if same(given, self._token):
            return True
        self._attempts.wrong(host)
        return False


def given_token(request: web.Request) -> str | None:
    """The token of a request: by Bearer, by Basic with any user, or in the query."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip()).decode().partition(":")[2]
        except ValueError:
            return ""
    return request.query.get("token")
