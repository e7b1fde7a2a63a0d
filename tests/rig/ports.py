"""Ports for servers of the rig."""

import random
import socket

LOWEST, HIGHEST = 12_000, 20_000
"""Below what the system gives to whoever connects: a client that tries again and again while a
server is down must not be given the server's own port, or it would be connected to itself."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def listens(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
