"""Who can reach what listens here, and under which names."""

import ipaddress
import re
import socket
from contextlib import suppress

SHORTEST = 8
"""Characters of a word that keeps others out of what they can reach."""


def is_loopback(host: str) -> bool:
    """Whether what listens at a host can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ours(header: str, listens_at: str) -> bool:
    """Whether a request's `Host` names what listens at a host.

    A page on the web could have its own name resolve to this machine, and read along.
    """
    name = re.sub(r":\d+$", "", header).strip("[]").lower()
    if name in ("localhost", listens_at.lower()):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback or not is_loopback(listens_at)
    return not is_loopback(listens_at) and name == socket.gethostname().lower()
