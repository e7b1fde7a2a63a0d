"""Passwords in addresses: kept out of everything that is shown or written."""

import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

HIDDEN = "***"

_LOGINS = (
    re.compile(r"(?<=://)[^\s/?#]*@"),
    # A password typed as it is, with a slash in it, does not work, and is hidden all the same.
    re.compile(r"(?<=://)[^\s'\"<>,]*@"),
)
_IN_QUERY = re.compile(
    r"(?i)\b([\w.-]*(?:token|pass|password|passwd|pwd|secret|key|auth|signature|sig))=[^&\s'\"]+"
)
_STREAM_KEY = re.compile(r"(?i)(\brtmp\w*://[^\s/?#]+/[^\s/?#]+/)[^\s'\"]*[^\s'\":;,.]")
"""Who knows what an address of RTMP has behind its application may publish there."""
_LONG_KEY = 8
"""Characters of such keys from which on they are hidden without their address as well."""
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
        for login in _LOGINS:
            text = login.sub(f"{HIDDEN}@", text)
        text = _STREAM_KEY.sub(rf"\1{HIDDEN}", text)
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
    """The passwords, tokens and keys of an address, as they are written there and decoded."""
    found = set()
    _, mark, rest = address.partition("://")
    rest = rest if mark else address.removeprefix("serve:")
    for login in (re.split(r"[/?#]", rest)[0].rpartition("@")[0], rest.rpartition("@")[0]):
        found.add(login.partition(":")[2])
    _, _, query = address.partition("?")
    found |= {match[0].partition("=")[2] for match in _IN_QUERY.finditer(query)}
    if match := _STREAM_KEY.search(address):
        key = re.split(r"[?#]", address[match.end(1) :])[0]
        found |= {key} if len(key) >= _LONG_KEY else set()
    return {word for form in found for word in (form, unquote(form)) if word}


def _forms(word: str) -> set[str]:
    """A word as it may be written in an address, in JSON, in HTML, or by Python."""
    return {
        word,
        quote(word, safe=""),
        quote(word),
        quote(word, safe="!$&'()*+,;="),
        repr(word)[1:-1],
        word.encode("unicode_escape").decode(),
        json.dumps(word)[1:-1],
        json.dumps(word, ensure_ascii=False)[1:-1],
        html.escape(word),
    }
