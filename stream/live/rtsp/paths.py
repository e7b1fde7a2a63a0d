"""The ways on which packets reach a reader: between the responses of its connection, or by UDP."""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

MOST_BYTES = 4 << 20
"""Waiting for a reader on its connection; beyond it pictures are left out."""
_LATE_S = 1.0
"""So long after it was queued a picture that was not sent makes the reader late."""
_CAUGHT_UP_S = 0.2
_BURST = 64
"""Packets sent by UDP at once; a key frame may have ten times as many, more than the buffers of
most readers hold, ..."""
_PAUSE_S = 0.002
"""... so that there is a pause after each burst: about 350 Mbit/s at most."""
_UDP_PACKETS = 4096
_TRIES = 64
_Address = tuple[Any, ...]
Pair = tuple[socket.socket, socket.socket]


class Backlog:
    """What a connection has still to send, and how old that is."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._queued = 0
        self._waiting: deque[tuple[int, float]] = deque()
        """Where each thing queued ended, in bytes, and when it was queued."""

    def write(self, data: bytes) -> None:
        """Queue data behind what is there; nothing, where the connection is at its end."""
        if self._transport.is_closing():
            return
        self._queued += len(data)
        self._waiting.append((self._queued, time.monotonic()))
        self._transport.write(data)

    @property
    def age_s(self) -> float:
        """How long the oldest thing that is not wholly sent has been waiting."""
        sent = self._queued - self._transport.get_write_buffer_size()
        while self._waiting and self._waiting[0][0] <= sent:
            self._waiting.popleft()
        return time.monotonic() - self._waiting[0][1] if self._waiting else 0.0

    @property
    def late(self) -> bool:
        """Whether too much waits for anything to be added."""
        return self.age_s > _LATE_S or self._transport.get_write_buffer_size() > MOST_BYTES

    @property
    def caught_up(self) -> bool:
        """Whether a reader that was late may begin again."""
        return self.age_s < _CAUGHT_UP_S


class InterleavedPath:
    """A pair of channels on the connection of the reader (RFC 2326, 10.12)."""

    def __init__(self, backlog: Backlog, channel: int) -> None:
        self.channel = channel
        self._backlog = backlog

    @property
    def description(self) -> str:
        """As the Transport header of the response has it."""
        return f"RTP/AVP/TCP;unicast;interleaved={self.channel}-{self.channel + 1}"

    def send(self, packets: Iterable[bytes]) -> None:
        """Send RTP packets."""
        self._backlog.write(b"".join(_framed(self.channel, packet) for packet in packets))

    def report(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        self._backlog.write(_framed(self.channel + 1, packet))

    def close(self) -> None:
        """The connection itself stays."""


class UdpPath:
    """A pair of ports of this machine, and one of the reader's."""

    def __init__(self, pair: Pair, remote: _Address, ports: tuple[int, int]) -> None:
        self._ports = ports
        self._own = tuple(end.getsockname()[1] for end in pair)
        # What follows the port is flow and scope of IPv6.
        self._remote, self._remote_control = ((remote[0], port, *remote[2:]) for port in ports)
        self._end = pair[0]
        self._control: asyncio.DatagramTransport | None = None
        self._queue: deque[bytes] = deque(maxlen=_UDP_PACKETS)
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls, local: _Address, remote: _Address, ports: tuple[int, int], heard: Callable[[], None]
    ) -> "UdpPath":
        """From the host of the address `local` to `ports` of `remote`; `heard` is called for
        every report that comes from there. Raises an `OSError`."""
        pair = _bound_pair(local)
        path = cls(pair, remote, ports)
        path._control, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Ear(remote[0], heard), sock=pair[1]
        )
        return path

    @property
    def description(self) -> str:
        """As the Transport header of the response has it."""
        theirs, ours = ("-".join(map(str, ports)) for ports in (self._ports, self._own))
        return f"RTP/AVP;unicast;client_port={theirs};server_port={ours}"

    def send(self, packets: Iterable[bytes]) -> None:
        """Send RTP packets, many of them with pauses between."""
        self._queue.extend(packets)
        if self._timer is None:
            self._go_on()

    def report(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        if self._control is not None:
            self._control.sendto(packet, self._remote_control)

    def close(self) -> None:
        """Give the ports back."""
        if self._timer is not None:
            self._timer.cancel()
        self._end.close()
        if self._control is not None:
            self._control.close()

    def _go_on(self) -> None:
        self._timer = None
        # What the system does not take now is sent later; what is refused is lost, as UDP is.
        with suppress(BlockingIOError):
            for _ in range(min(_BURST, len(self._queue))):
                with suppress(ConnectionError):
                    self._end.sendto(self._queue[0], self._remote)
                self._queue.popleft()
        if self._queue:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._go_on)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, host: str, heard: Callable[[], None]) -> None:
        self._host, self._heard = host, heard

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        if addr[0] == self._host:
            self._heard()


def _framed(channel: int, packet: bytes) -> bytes:
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet


def _bound_pair(local: _Address) -> Pair:
    """Two sockets at an even port and the one after it (RFC 3550, 11)."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    problem: OSError | None = None
    for _ in range(_TRIES):
        first, second = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        try:
            first.bind((local[0], 0, *local[2:]))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((local[0], port + 1, *local[2:]))
                first.setblocking(False)
                return first, second
        except OSError as error:
            problem = error
        first.close()
        second.close()
    raise problem or OSError("no pair of ports is free")
