"""Servers that are none: one says nothing, one says garbage, one hangs up, one knows nobody."""

import argparse
import asyncio
from collections import Counter
from contextlib import suppress

from tests.rig.aside import Aside, obey

KINDS = ("silent", "garbage", "closing", "forbidding")
GARBAGE = bytes(range(256)) * 64
WRONG = (
    "RTSP/1.0 401 Unauthorized\r\nCSeq: {}\r\n"
    'WWW-Authenticate: Digest realm="rig", nonce="d41d8cd98f00b204", algorithm="MD5"\r\n\r\n'
)


class Fake:
    """A server that takes every link and then is `silent`, sends `garbage`, is `closing` it at
    once, or is `forbidding`: answers each request with 401, whatever the login."""

    def __init__(self, kind: str) -> None:
        self._aside = Aside("tests.rig.fakes", "--kind", kind)
        self.port = self._aside.port

    def __enter__(self) -> "Fake":
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.__exit__()

    @property
    def url(self) -> str:
        """An address here, without a login."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    @property
    def counts(self) -> dict[str, int]:
        """So far: `links`, and `requests` that were forbidden, `logins` among them."""
        return self._aside.ask()


class Server:
    """The server itself, in its own process."""

    def __init__(self, kind: str) -> None:
        self.counts = Counter(links=0, requests=0, logins=0)
        self._answer = getattr(self, f"_{kind}")

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["links"] += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._answer(reader, writer)
        writer.close()

    async def _silent(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async def _garbage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(GARBAGE)
            await writer.drain()

    async def _closing(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async def _forbidding(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            number = asked.partition("cseq:")[2].split()[0]
            self.counts["requests"] += 1
            self.counts["logins"] += "authorization:" in asked
            writer.write(WRONG.format(number).encode())
            await writer.drain()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    options = parser.parse_args()
    server = Server(options.kind)

    async def nothing(_wanted: dict[str, float]) -> None:
        pass

    async with await asyncio.start_server(server.link, "127.0.0.1", options.port):
        await obey(nothing, lambda: dict(server.counts))


if __name__ == "__main__":
    asyncio.run(main())
