"""Encoded sound as RTP, as it came: AAC, Opus, MP3 and G.711.

FFmpeg's muxer would do it for sound that PyAV encoded; sound that is passed along has no encoder.
"""

import secrets
import struct

from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.rtsp.track import HEADER_BYTES, Batch, Media, Track, packet

PAYLOAD_TYPE = 97
_ROOM = 1400 - HEADER_BYTES
"""Bytes of payload, as in the packets of the picture."""
_OPUS_RATE = 48_000
_MPEG_RATE = 90_000
_G711 = {"pcm_mulaw": "PCMU", "pcm_alaw": "PCMA"}
_MPEG = ("mp2", "mp3", "mp3float")


def media(format: SoundFormat) -> Media | None:
    """What SDP says of sound of a format; None where there is no way to send it."""
    rate, channels = format.sample_rate, format.channels
    if format.codec == "aac" and format.extradata:
        # RFC 3640, 3.3.6
        parameters = (
            "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;"
            f"indexdeltalength=3;config={format.extradata.hex()}"
        )
        return _audio(f"mpeg4-generic/{rate}/{channels}", rate, parameters)
    if format.codec in ("opus", "libopus") and channels <= 2:
        # RFC 7587, 7: always 48000 and 2, whatever is inside
        stereo = f"sprop-stereo={channels - 1}"
        return _audio(f"opus/{_OPUS_RATE}/2", _OPUS_RATE, stereo)
    if format.codec in _G711:
        return _audio(f"{_G711[format.codec]}/{rate}/{channels}", rate)
    if format.codec in _MPEG:
        return _audio(f"MPA/{_MPEG_RATE}", _MPEG_RATE)
    return None


class SoundPackets:
    """Makes RTP packets of sound of one format."""

    def __init__(self, format: SoundFormat, media: Media, moment: int) -> None:
        """`moment` is any, in ns of the monotonic clock."""
        self._codec = format.codec
        self._frame = max(1, format.channels)
        self._sequence = secrets.randbits(16)
        self._ssrc = secrets.randbits(32)
        timestamp = secrets.randbits(32)
        # Not the track that counts what is sent, which belongs to another thread.
        self._clock = Track(media, moment, timestamp, self._ssrc)
        self.track = Track(media, moment, timestamp, self._ssrc)

    def batch(self, sound: Sound) -> Batch:
        """The packets of one packet of sound."""
        timestamp = self._clock.timestamp(sound.timestamp)
        made = []
        for offset, payload, last in self._payloads(sound.data):
            # The marker ends a unit of AAC (RFC 3640, 3.1); elsewhere it has other meanings.
            marker = last and self._codec == "aac"
            at = (timestamp + offset) & 0xFFFFFFFF
            made.append(
                packet(payload, PAYLOAD_TYPE, self._sequence, at, self._ssrc, marker=marker)
            )
            self._sequence = (self._sequence + 1) & 0xFFFF
        return Batch(1, sound.timestamp, False, tuple(made))

    def _payloads(self, data: bytes) -> list[tuple[int, bytes, bool]]:
        """Of each packet: how much later it begins, in ticks; the payload; if it is the last."""
        if self._codec in _G711:
            step = _ROOM // self._frame * self._frame
            starts = range(0, len(data), step)
            return [(at // self._frame, data[at : at + step], True) for at in starts]
        if self._codec == "aac":
            # Length in bits of the headers, and the one header: size of the unit, index 0.
            head = struct.pack(">HH", 16, (len(data) & 0x1FFF) << 3)
            parts = _cut(data, _ROOM - len(head))
            return [(0, head + part, at + len(part) == len(data)) for at, part in parts]
        if self._codec in _MPEG:
            # RFC 2250, 3.5: zero, and where in the frame the packet begins.
            return [
                (0, struct.pack(">HH", 0, at) + part, True) for at, part in _cut(data, _ROOM - 4)
            ]
        return [(0, data, True)]


def _cut(data: bytes, step: int) -> list[tuple[int, bytes]]:
    return [(at, data[at : at + step]) for at in range(0, len(data), step)]


def _audio(encoding: str, clock_rate: int, parameters: str = "") -> Media:
    return Media("audio", PAYLOAD_TYPE, encoding, clock_rate, parameters)
