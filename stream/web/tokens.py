"""The word that those who ask over HTTP must know, and those who guess it."""

import asyncio
from base64 import b64decode

from aiohttp import web

from stream.errors import UsageError
from stream.web.hosts import SHORTEST, is_loopback
from stream.web.login import LoginLimiter, same

_MOST_WAITING = 16
"""Requests that wait for their turn; more are refused at once."""


def check_chosen(word: str | None, host: str, option: str, who: str) -> None:
    """Raise `UsageError` where the user's own word is too short, or is missing though others than
    this machine can reach `host`; `who` are those that must know it."""
    if word is not None and len(word) < SHORTEST:
        raise UsageError(f"DEBLUR_TOKEN must have at least {SHORTEST} characters")
    if word is None and not is_loopback(host):
        raise UsageError(
            f"{option} can be reached from elsewhere; set the environment variable DEBLUR_TOKEN to "
            f"what {who} must know"
        )


class TokenLimiter:
    """Compares words with the right one; who gave wrong ones has to wait, at most one a second."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._attempts = LoginLimiter()
        self._waiting = 0

    async def right(self, host: str, given: str) -> bool:
        """Whether it is the word. Raises `HTTPTooManyRequests`."""
        # Between the last look at the delay and the answer nobody else has a turn.
        while delay_s := self._attempts.delay_s(host):
            if self._waiting >= _MOST_WAITING:
                raise web.HTTPTooManyRequests(text="too many wrong passwords\n")
            self._waiting += 1
            try:
                await asyncio.sleep(delay_s)
            finally:
                self._waiting -= 1
        if same(given, self._word):
            return True
        self._attempts.wrong(host)
        return False


def given_word(request: web.Request) -> str | None:
    """The word of a request: by Bearer, by Basic with any user, or in the query."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip()).decode().partition(":")[2]
        except ValueError:
            return ""
    return request.query.get("token")
