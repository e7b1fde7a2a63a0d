"""Servers that are none: one says nothing, one says garbage, one hangs up, others refuse."""

import argparse
import asyncio
from collections import Counter
from contextlib import suppress

from tests.rig.aside import Aside, obey

KINDS = ("silent", "garbage", "closing", "forbidding", "answering")
GARBAGE = bytes(range(256)) * 64
WRONG = (
    "RTSP/1.0 401 Unauthorized\r\nCSeq: {}\r\n"
    'WWW-Authenticate: Digest realm="rig", nonce="d41d8cd98f00b204", algorithm="MD5"\r\n\r\n'
)


class Fake:
    """A server that takes every link and then is `silent`, sends `garbage`, is `closing` it at
    once, is `forbidding`: answers each request with 401, whatever the login; or is `answering`
    each with the same `answer`, a status and header lines, in which PORT is its own port."""

    def __init__(self, kind: str, answer: str = "") -> None:
        self._aside = Aside("tests.rig.fakes", "--kind", kind, "--answer", answer)
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

    def __init__(self, kind: str, answer: str) -> None:
        self.counts = Counter(links=0, requests=0, logins=0)
        self._answer = getattr(self, f"_{kind}")
        self._always = answer

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
        await self._say(reader, writer, WRONG)

    async def _answering(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, *lines = self._always.split("\n")
        await self._say(
            reader, writer, "\r\n".join([f"RTSP/1.0 {status}", "CSeq: {}", *lines, "\r\n"])
        )

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: str
    ) -> None:
        while True:
            asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            number = asked.partition("cseq:")[2].split()[0]
            self.counts["requests"] += 1
            self.counts["logins"] += "authorization:" in asked
            writer.write(answer.replace("{}", number).encode())
            await writer.drain()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--answer", default="")
    options = parser.parse_args()
    server = Server(options.kind, options.answer.replace("PORT", str(options.port)))

    async def nothing(_wanted: dict[str, float]) -> None:
        pass

    async with await asyncio.start_server(server.link, "127.0.0.1", options.port):
        await obey(nothing, lambda: dict(server.counts))


if __name__ == "__main__":
    asyncio.run(main())
