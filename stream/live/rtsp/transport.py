"""How packets shall reach a reader, as SETUP asks for it (RFC 2326, 12.39)."""

import re
from dataclasses import dataclass

_PAIR = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class Interleaved:
    """Between the responses, on the connection itself."""

    channel: int | None
    """Of RTP; RTCP has the next one. None: the server chooses."""


@dataclass(frozen=True)
class Unicast:
    """By UDP to the host that asks, and to no other, whatever it may name."""

    port: int
    """Of RTP."""
    control_port: int
    """Of RTCP."""


def choose(header: str) -> Interleaved | Unicast | None:
    """The first of the ways in a Transport header that can be gone; None: there is none."""
    for offer in header.split(","):
        found = _way(offer)
        if found is not None:
            return found
    return None


def _way(offer: str) -> Interleaved | Unicast | None:
    profile, *fields = (part.strip() for part in offer.split(";"))
    given = {}
    for each in fields:
        name, _, value = each.partition("=")
        given[name.lower()] = value.strip('"')
    if "multicast" in given or given.get("mode", "PLAY").upper() != "PLAY":
        return None
    if profile.upper() == "RTP/AVP/TCP":
        if "interleaved" not in given:
            return Interleaved(None)
        pair = _pair(given["interleaved"], 0, 255)
        # Any other pair is allowed, but nobody uses it.
        return Interleaved(pair[0]) if pair is not None and pair[1] == pair[0] + 1 else None
    if profile.upper() in ("RTP/AVP", "RTP/AVP/UDP"):
        pair = _pair(given.get("client_port", ""), 1024, 65535)
        return Unicast(*pair) if pair is not None else None
    return None


def _pair(text: str, least: int, most: int) -> tuple[int, int] | None:
    match = _PAIR.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    return (first, second) if least <= first < second <= most else None
