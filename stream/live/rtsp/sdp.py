"""What DESCRIBE answers: the session description of what is served (RFC 8866)."""

import base64
import re

from stream.live.rtsp.track import Presentation

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_SPS, _PPS = 7, 8


def control(track: int) -> str:
    """The address of a track, relative to that of the show."""
    return f"trackID={track}"


def describe(show: Presentation, *, ipv6: bool) -> str:
    """The description of a show."""
    family, anywhere = ("IP6", "::") if ipv6 else ("IP4", "0.0.0.0")
    lines = [
        "v=0",
        f"o=- {show.id} 1 IN {family} {anywhere}",
        f"s={show.title}",
        f"c=IN {family} {anywhere}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
    ]
    for number, track in enumerate(show.tracks):
        media = track.media
        lines += [
            f"m={media.kind} 0 RTP/AVP {media.payload_type}",
            f"a=rtpmap:{media.payload_type} {media.encoding}",
        ]
        if media.parameters:
            lines.append(f"a=fmtp:{media.payload_type} {media.parameters}")
        lines.append(f"a=control:{control(number)}")
    return "\r\n".join([*lines, ""])


def h264(extradata: bytes) -> str:
    """The parameters of H.264 (RFC 6184, 8.1), from its SPS and PPS in Annex B form."""
    units = [unit for unit in _START_CODE.split(extradata) if unit]
    sets = [unit for unit in units if unit[0] & 31 in (_SPS, _PPS)]
    found = ["packetization-mode=1"]
    # Profile, constraints and level are the three bytes after the type of the SPS.
    found += [f"profile-level-id={unit[1:4].hex()}" for unit in sets if unit[0] & 31 == _SPS][:1]
    if sets:
        coded = ",".join(base64.b64encode(unit).decode() for unit in sets)
        found.append(f"sprop-parameter-sets={coded}")
    return ";".join(found)
