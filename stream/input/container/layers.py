"""Layers of a video beside its picture, which FFmpeg decodes not at all or only in part."""

from collections.abc import Iterator
from typing import Final

from stream.frame import Packet
from stream.media.convert import has_alpha

ALPHA: Final = "transparency"
SECOND_VIEW: Final = "second view in the video"

_ALPHA_SEI = 165
"""The payload of alpha channel information (ITU-T H.265, annex F)."""


def hidden_layer(packet: Packet) -> str | None:
    """What else than the decoded picture a video's packet has: `ALPHA`, `SECOND_VIEW`, or nothing.

    Alpha that the decoder does give is not hidden.
    """
    context = packet.stream.codec_context
    codec, data = context.codec.canonical_name, bytes(packet)
    if context.format is not None and has_alpha(context.format):
        return None
    if codec == "dnxhd":
        # SMPTE ST 2019-1, the frame's header: a bit of its eighth byte.
        return ALPHA if len(data) > 8 and data[7] & 1 else None
    if codec == "h264":
        kinds = {each[0] & 0x1F for each in _units(data, context.extradata or b"", 4)}
        # Slices of auxiliary pictures, and of pictures in an extension: another view.
        return ALPHA if 19 in kinds else SECOND_VIEW if 20 in kinds else None
    if codec == "hevc":
        extradata = context.extradata or b""
        units = list(_units(data, extradata, 21))
        if not any(
            each[0] >> 1 & 0x3F < 32 and (each[0] & 1) << 5 | each[1] >> 3 for each in units
        ):
            return None
        alpha = any(map(_tells_alpha, [*units, *_told(extradata)]))
        return ALPHA if alpha else SECOND_VIEW
    return None


def _units(data: bytes, extradata: bytes, place: int) -> Iterator[bytes]:
    """The NAL units of a packet that have a header; `place` is where the configuration says how
    long their lengths are, in which MP4 and Matroska have them behind one another."""
    if extradata[:1] == b"\1" and len(extradata) > place:
        width, at = (extradata[place] & 3) + 1, 0
        while at + width < len(data):
            end = at + width + int.from_bytes(data[at : at + width], "big")
            if end > at + width + 2:
                yield data[at + width : end]
            at = end
    else:
        yield from (each for each in data.split(b"\0\0\1")[1:] if len(each) > 2)


def _told(extradata: bytes) -> Iterator[bytes]:
    """The NAL units in the configuration of HEVC (ISO/IEC 14496-15)."""
    if extradata[:1] != b"\1":
        yield from _units(extradata, b"", 0)
        return
    at, arrays = 23, extradata[22] if len(extradata) > 22 else 0
    for _ in range(arrays):
        count, at = int.from_bytes(extradata[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
            if end > at + 4:
                yield extradata[at + 2 : end]
            at = end


def _tells_alpha(unit: bytes) -> bool:
    """Whether a NAL unit of HEVC is the message that there is alpha."""
    return len(unit) > 2 and unit[0] >> 1 & 0x3F in (39, 40) and unit[2] == _ALPHA_SEI
