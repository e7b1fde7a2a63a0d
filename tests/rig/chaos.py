"""A proxy that spoils RTSP over TCP: loss, damage, delay, silence, cut links, closed doors.

python -m tests.rig.chaos --port 8555 --target 127.0.0.1:8554

takes lines of JSON on its standard input, such as {"drop": 0.05}, and answers each with its counts.
"""

import argparse
import asyncio
import random
import socket
import struct
from collections import Counter
from urllib.parse import urlsplit, urlunsplit

from tests.rig.aside import Aside, obey

RTP_HEADER = 12
"""Bytes that are left as they are: a packet of damaged content, not one that nobody takes."""


class Chaos:
    """Stands before a server; the faults hit both directions, RTP over UDP goes past it.

    with Chaos(server.port) as chaos:
        play(chaos.url(server.url("cam")))
        chaos.set(drop=0.05)
    """

    def __init__(self, target: int, **faults: float) -> None:
        self._aside = Aside("tests.rig.chaos", "--target", f"127.0.0.1:{target}")
        self.port = self._aside.port
        self.set(**faults)

    def __enter__(self) -> "Chaos":
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.__exit__()

    def url(self, address: str) -> str:
        """An address of the server, by way of this proxy."""
        parts = urlsplit(address)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}"))

    def set(self, **faults: float) -> None:
        """Change faults: `drop` and `corrupt`, the share of RTP packets (0 to 1), and `delay`, in
        seconds."""
        self._aside.ask(**faults)

    def stall(self) -> None:
        """Let nothing more through, with all links open; new ones are taken too."""
        self._aside.ask(stall=1)

    def resume(self) -> None:
        """Let through again, beginning with what was held."""
        self._aside.ask(stall=0)

    def cut(self) -> None:
        """Reset all links; new ones are taken."""
        self._aside.ask(cut=1)

    def refuse(self) -> None:
        """Take no new links."""
        self._aside.ask(refuse=1)

    def accept(self) -> None:
        """Take new links again."""
        self._aside.ask(refuse=0)

    @property
    def counts(self) -> dict[str, int]:
        """So far: `links`, `packets` of RTP seen, `dropped` and `corrupted` of them."""
        return self._aside.ask()


class Proxy:
    """The proxy itself, in its own process."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.counts = Counter(links=0, packets=0, dropped=0, corrupted=0)
        self._port, self._target = port, target
        self._faults = {"drop": 0.0, "corrupt": 0.0, "delay": 0.0}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()

    async def do(self, wanted: dict[str, float]) -> None:
        for name, value in wanted.items():
            if name == "stall":
                (self._flowing.clear if value else self._flowing.set)()
            elif name == "cut":
                self._cut()
            elif name == "refuse":
                await self.listen(not value)
            else:
                assert name in self._faults, name
                self._faults[name] = value

    async def listen(self, wanted: bool = True) -> None:
        if wanted and self._server is None:
            self._server = await asyncio.start_server(self._link, "127.0.0.1", self._port)
        elif not wanted and self._server is not None:
            self._server.close()
            self._server = None

    def _cut(self) -> None:
        for writer in self._links:
            # With no time to linger, what closes is reset.
            link = writer.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["links"] += 1
        self._links.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            self._links.discard(writer)
            return
        self._links.add(to_writer)
        both = [
            asyncio.create_task(self._pump(reader, to_writer)),
            asyncio.create_task(self._pump(to_reader, writer)),
        ]
        # As soon as one side is gone, the other is told.
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        for end in (writer, to_writer):
            self._links.discard(end)
            end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
        out = asyncio.create_task(self._send(held, writer))
        try:
            while True:
                await held.put((loop.time() + self._faults["delay"], await self._next(reader)))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            await held.put((0.0, b""))
            await out
        finally:
            out.cancel()

    async def _send(
        self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - loop.time())
            await self._flowing.wait()
            if not data:
                return
            if data[0] == ord("$") and data[1] % 2 == 0:
                data = self._spoiled(data)
            try:
                writer.write(data)
                await writer.drain()
            except OSError:
                return

    def _spoiled(self, packet: bytes) -> bytes:
        self.counts["packets"] += 1
        if random.random() < self._faults["drop"]:
            self.counts["dropped"] += 1
            return b""
        if random.random() < self._faults["corrupt"] and len(packet) > 4 + RTP_HEADER:
            self.counts["corrupted"] += 1
            spoiled = bytearray(packet)
            for _ in range(max(1, len(packet) // 200)):
                spoiled[random.randrange(4 + RTP_HEADER, len(packet))] ^= 1 << random.randrange(8)
            return bytes(spoiled)
        return packet

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The next message or packet; raises an IncompleteReadError at the end."""
        first = await reader.readexactly(1)
        if first == b"$":
            header = await reader.readexactly(3)
            return first + header + await reader.readexactly(int.from_bytes(header[1:], "big"))
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("no RTSP") from error
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head + await reader.readexactly(length)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    proxy = Proxy(options.port, (host, int(port)))
    await proxy.listen()
    await obey(proxy.do, lambda: dict(proxy.counts))


if __name__ == "__main__":
    asyncio.run(main())
