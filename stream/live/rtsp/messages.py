"""Messages of RTSP 1.0: requests as readers send them, and responses (RFC 2326)."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

MAX_HEAD = 8 << 10
"""Bytes of the request line and the headers."""
MAX_BODY = 8 << 10
_VERSION = "RTSP/1.0"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version not supported",
    551: "Option not supported",
}


class RefusedError(Exception):
    """A request that is not answered with 200."""

    def __init__(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(_PHRASES[status])
        self.status = status
        self.headers = headers


class MalformedError(RefusedError):
    """What came is not a request; the connection cannot go on after it."""


@dataclass(frozen=True)
class Request:
    """What a reader asks for."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""

    @property
    def sequence(self) -> str:
        """The number that the response repeats."""
        return self.headers["cseq"]

    @property
    def session(self) -> str | None:
        """The session that it belongs to."""
        named = self.headers.get("session")
        return named.partition(";")[0].strip() if named is not None else None

    @property
    def path(self) -> str:
        """Of the address, decoded, without slashes at its ends."""
        try:
            return unquote(urlsplit(self.url).path).strip("/")
        except ValueError:
            raise MalformedError(400) from None


def parse(head: bytes) -> Request:
    """The request of a head, which ends with an empty line; raises `MalformedError`."""
    # Names and addresses may be in any encoding: what is no UTF-8 is kept as it came.
    first, *lines = head.decode("utf-8", "surrogateescape").removesuffix("\r\n\r\n").split("\r\n")
    if any(_CONTROL.search(line) for line in (first, *lines)):
        raise MalformedError(400)
    parts = first.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[1]:
        raise MalformedError(400)
    method, url, version = parts
    if version != _VERSION:
        raise MalformedError(505 if version.startswith("RTSP/") else 400)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise MalformedError(400)
        headers[name.lower()] = value.strip()
    if not re.fullmatch(r"[0-9]{1,10}", headers.get("cseq", "")):
        raise MalformedError(400)
    return Request(method, url, headers)


async def read(stream: asyncio.StreamReader) -> Request | bytes:
    """The next request, or the next RTCP packet that comes between requests (RFC 2326, 10.12).

    `stream` has a limit of `MAX_HEAD`. Raises `MalformedError`, and `asyncio.IncompleteReadError`
    at the end.
    """
    while (first := await stream.readexactly(1)) in b"\r\n":
        pass
    if first == b"$":
        header = await stream.readexactly(3)
        return await stream.readexactly(int.from_bytes(header[1:]))
    try:
        head = first + await stream.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise MalformedError(413) from None
    request = parse(head)
    length = request.headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,10}", length):
        raise MalformedError(400)
    if int(length) > MAX_BODY:
        raise MalformedError(413)
    # Nothing that this server is asked has a body that matters.
    await stream.readexactly(int(length))
    return request


def response(
    status: int,
    sequence: str = "0",
    headers: Sequence[tuple[str, str]] = (),
    body: str = "",
) -> bytes:
    """A response as it is sent; a header may be there several times."""
    lines = [f"{_VERSION} {status} {_PHRASES[status]}", f"CSeq: {sequence}"]
    lines += [f"{name}: {value}" for name, value in headers]
    content = body.encode()
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + content
