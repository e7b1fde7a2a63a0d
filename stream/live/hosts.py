"""Who can reach what listens here."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether what listens at a host can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
