"""Passwords in addresses: kept out of everything that is shown or written."""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"

_IN_ADDRESS = re.compile(r"(?<=://)[^\s/?#]*@")
_IN_QUERY = re.compile(
    r"(?i)\b(token|password|passwd|pwd|secret|key|auth|signature|sig)=[^&\s'\"]+"
)
_SHORTEST = 3
"""Characters; hiding shorter ones would blot out half of every line."""


class Secrets:
    """What must not be shown, and how to hide it."""

    def __init__(self, addresses: Iterable[str] = (), words: Iterable[str] = ()) -> None:
        """`addresses` are those whose users, passwords and tokens are secret; `words` are."""
        found = {word for word in words if word}
        for address in addresses:
            found |= _secrets_of(address)
        forms = {form for word in found for form in _forms(word)}
        self._words = sorted(
            (form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True
        )

    def hide(self, text: str) -> str:
        """`text` with every secret in any of its forms replaced, known ones and any address's."""
        for word in self._words:
            text = text.replace(word, HIDDEN)
        text = _IN_ADDRESS.sub(f"{HIDDEN}@", text)
        return _IN_QUERY.sub(rf"\1={HIDDEN}", text)


def hidden(address: str) -> str:
    """An address as it can be shown."""
    return Secrets([address]).hide(address)


def split_login(address: str) -> tuple[str, str | None, str | None]:
    """An address without its login, and the user and password, decoded, that it held.

    The login ends at the last @ before the path: passwords are often typed with one unescaped.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        scheme, mark, rest = "", "", address
    host, *path = re.split(r"(?=[/?#])", rest, maxsplit=1)
    if "@" not in host:
        return address, None, None
    login, _, host = host.rpartition("@")
    user, colon, password = login.partition(":")
    bare = f"{scheme}{mark}{host}{''.join(path)}"
    return bare, unquote(user), unquote(password) if colon else None


def _secrets_of(address: str) -> set[str]:
    if "://" not in address:
        address = address.removeprefix("serve:")
    _, _, password = split_login(address)
    found = {password} if password else set()
    query = urlsplit(address).query if "?" in address else ""
    for match in _IN_QUERY.finditer(query):
        found.add(unquote(match[0].partition("=")[2]))
    return found


def _forms(word: str) -> set[str]:
    """A word as it may be written in an address, in JSON, or by Python."""
    return {
        word,
        quote(word, safe=""),
        quote(word),
        quote(word, safe="!$&'()*+,;="),
        repr(word)[1:-1],
        word.encode("unicode_escape").decode(),
    }
