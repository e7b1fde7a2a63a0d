"""Passwords in addresses: kept out of everything that is shown or written."""

import html
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

HIDDEN = "***"

_LOGINS = (
    re.compile(r"(?<=://)[^\s/?#]*@"),
    # A password typed as it is, with a slash in it, does not work, and is hidden all the same.
    re.compile(r"(?<=://)[^\s'\"<>,]*@"),
)
_NAMED = re.compile(
    r"(?i)\b([\w.-]*(?:token|pass|password|passwd|pwd|psw|pas|pw|secret|key|auth|signature|sig|sid"
    r"|session|sessionid|credential|credentials|login|user|usr))=[^&;\s'\"]*[^&;\s'\"<>:,.)\]]"
)
"""What is secret by its name, wherever it stands."""
_QUERY = re.compile(r"(?<=[?&;#])([^=?&;#\s'\"<>]{1,64})=([^&;#\s'\"<>]*[^&;#\s'\"<>:,.)\]])")
"""A name and its value behind the path of an address."""
_HARMLESS = re.compile(
    r"(?i)action|audio|bitrate|cam|camera|ch|channel|channelno|channels|chn|chnl|cmd|codec"
    r"|compression|enablesrtp|format|fps|framerate|gop|h|height|input|live|mode|mtu|profile|proto"
    r"|protocol|quality|rate|res|resolution|rotation|size|source|stream|streamtype|subtype|track"
    r"|transport|transportmode|type|unicast|video|videocodec|videomaxbitrate|w|width"
)
"""Names whose values may be shown: they say which picture is wanted."""
_SHORT = 2
"""Characters of values that are no secrets, whatever their name."""
_PATH = re.compile(r"(?i)(\b[a-z]+)(://[^\s/?#'\"<>]+)([/?#][^\s'\"<>]*[^\s'\"<>:;,.)\]])")
_KEY = re.compile(r"[A-Za-z0-9]{16,}|[0-9A-Fa-f-]{32,}|[A-Za-z0-9_-]{24,}")
"""Parts of a path or query that look like keys, where they have both digits and letters."""
_RTSPS_KEY = re.compile(r"[\w~-]{12,}")
"""Of rtsps: there, who knows the path may see the picture."""
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
            if word in text:
                text = _replaced(word, text)
        for login in _LOGINS:
            text = login.sub(f"{HIDDEN}@", text)
        text = _STREAM_KEY.sub(rf"\1{HIDDEN}", text)
        text = _PATH.sub(_path, text)
        return _QUERY.sub(_value, _NAMED.sub(rf"\1={HIDDEN}", text))


def hidden(address: str) -> str:
    """An address as it can be shown."""
    return Secrets([address]).hide(address)


def path_of(address: str) -> str:
    """What stands behind the host of an address of HTTP: where something is told, who knows it may
    tell things too. Empty where there is none."""
    scheme, _, rest = address.partition("://")
    return rest.partition("/")[2] if scheme in ("http", "https") else ""


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
    found |= {match[0].partition("=")[2] for match in _NAMED.finditer(query)}
    if (match := _PATH.search(address)) and not match[1].lower().startswith("rtmp"):
        found |= {part for part in re.split("[/?&;#=]", match[3]) if _is_key(part, match[1])}
    if match := _STREAM_KEY.search(address):
        key = re.split(r"[?#]", address[match.end(1) :])[0]
        found |= {key} if len(key) >= _LONG_KEY else set()
    return {word for form in found for word in (form, unquote(form)) if word}


def _value(query: re.Match[str]) -> str:
    name, value = query.groups()
    harmless = _HARMLESS.fullmatch(name) or len(value) <= _SHORT
    return query[0] if harmless else f"{name}={HIDDEN}"


def _path(address: re.Match[str]) -> str:
    scheme, host, path = address.groups()
    parts = re.split(r"([/?&;#=])", path)
    return scheme + host + "".join(HIDDEN if _is_key(part, scheme) else part for part in parts)


def _is_key(part: str, scheme: str = "") -> bool:
    if scheme.lower() == "rtsps" and _RTSPS_KEY.fullmatch(part):
        return True
    mixed = re.search(r"\d", part) and re.search(r"[A-Za-z]", part)
    return bool(mixed and _KEY.fullmatch(part))


def _replaced(word: str, text: str) -> str:
    """`text` with a secret replaced, but not within the words of our own lines: a password such as
    "pass" would be told by the hole that it leaves in them."""
    if not word.isalnum():
        return text.replace(word, HIDDEN)

    def within(found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in _ours() else found[0].replace(word, HIDDEN)

    return re.sub(rf"[^\W_]*{re.escape(word)}[^\W_]*", within, text)


@cache
def _ours() -> frozenset[str]:
    """The words of the lines that this program says: those of texts with a space in them."""
    words = set[str]()
    for file in Path(__file__).parent.rglob("*.py"):
        for text in re.findall(
            r"(?<!\")\"(?!\")([^\"\n]* [^\"\n]*)\"(?!\")", file.read_text("utf-8")
        ):
            words |= set(re.findall(r"[^\W_]+", re.sub(r"\{[^{}]*\}", " ", text).lower()))
    return frozenset(words)


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
