"""Containers that the pictures and the sound of a live feed are written to."""

import io
import struct
from dataclasses import replace
from fractions import Fraction

import av
import av.container

from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.encoding.video import Quality, VideoEncoder

_MPEG_TS = frozenset({"aac", "mp2", "mp3", "ac3", "eac3"})
_TAKEN = {
    "rtsp": frozenset({"aac", "opus", "pcm_mulaw", "pcm_alaw"}),
    "flv": frozenset({"aac", "mp3"}),
    "hls": frozenset({"aac", "mp3", "ac3", "eac3"}),
    "mpegts": _MPEG_TS,
    "mp4": _MPEG_TS | {"opus", "flac"},
    "mov": _MPEG_TS | {"pcm_mulaw", "pcm_alaw", "pcm_s16le"},
    "matroska": _MPEG_TS | {"opus", "vorbis", "flac", "pcm_s16le", "pcm_mulaw", "pcm_alaw"},
}
"""The sound that each container takes as it is, or without loss, and that others can play."""
_IN_MATROSKA = {
    "aac": "A_AAC",
    "mp2": "A_MPEG/L2",
    "mp3": "A_MPEG/L3",
    "ac3": "A_AC3",
    "eac3": "A_EAC3",
    "opus": "A_OPUS",
    "vorbis": "A_VORBIS",
    "flac": "A_FLAC",
    "pcm_s16le": "A_PCM/INT/LIT",
}
"""Matroska's names of codecs (RFC 9559 and its codec mappings)."""
_WAVE_TAGS = {"pcm_mulaw": 7, "pcm_alaw": 6}
"""Codecs that Matroska takes by the structure of Microsoft's WAV files."""


class LiveOutput:
    """A container that pictures and sound are written to as they come; its times begin at 0."""

    readers = refused = 0

    def __init__(
        self,
        container: av.container.OutputContainer,
        first: Picture,
        sound: SoundFormat | None,
        *,
        format: str = "",
        quality: Quality | None = None,
    ) -> None:
        """Write the beginning for pictures such as `first`, and connect where that is needed.

        `format` is the name of the container behind one that only passes on. Raises an
        `av.error.FFmpegError`.
        """
        self.origin = first.timestamp
        """The moment whose time is 0."""
        self._container = container
        self._video = VideoEncoder(container, first, quality)
        if format:
            # What passes on does not know what is behind it.
            self._video.stream.codec_context.flags |= av.codec.context.Flags.global_header
        self._video.ticks(self.origin)
        self._track: SoundTrack | None = None
        if sound is not None:
            self._track = SoundTrack(container, sound, self.origin)
        try:
            container.start_encoding()
        except BaseException:
            container.close()
            raise

    def push(self, picture: Picture) -> None:
        """Take one picture, shown later than the one before."""
        self._container.mux(self._video.encode(picture))

    def sound(self, sound: Sound) -> None:
        """Take one packet of sound."""
        if self._track is not None:
            self._track.push(sound)

    def close(self) -> None:
        """Finish."""
        try:
            self._container.mux(self._video.flush())
        finally:
            self._container.close()


class SoundTrack:
    """Sound that is encoded already, as a stream of a container."""

    def __init__(
        self, container: av.container.OutputContainer, format: SoundFormat, origin: int
    ) -> None:
        """Sound of the moment `origin` gets the time 0. Raises `ValueError` where the container
        does not take it."""
        self._container = container
        self._origin = origin
        self._base = Fraction(1, format.sample_rate)
        self._last = -1
        self._decoder: av.AudioCodecContext | None = None
        if container.format.name == "matroska" and format.codec in _WAVE_TAGS:
            # FFmpeg says that Matroska does not take these; as plain samples nothing is lost.
            decoder = av.CodecContext.create(format.codec, "r")
            assert isinstance(decoder, av.AudioCodecContext)
            decoder.sample_rate = format.sample_rate
            decoder.layout = "mono" if format.channels == 1 else "stereo"
            self._decoder = decoder
            format = replace(format, codec="pcm_s16le")
        with av.open(io.BytesIO(_described(format)), format="matroska") as described:
            self._stream = container.add_stream_from_template(described.streams.audio[0])

    def push(self, sound: Sound) -> None:
        """Write one packet, unless it is from before the beginning or not later than the last."""
        time = round((sound.timestamp - self._origin) * self._base.denominator / 1_000_000_000)
        if time <= self._last:
            return
        self._last = time
        packet = av.Packet(self._data(sound))
        packet.stream, packet.time_base = self._stream, self._base
        packet.pts = packet.dts = time
        packet.duration = round(sound.duration * self._base.denominator / 1_000_000_000)
        packet.is_keyframe = True
        self._container.mux(packet)

    def _data(self, sound: Sound) -> bytes:
        if self._decoder is None:
            return sound.data
        return b"".join(
            bytes(frame.planes[0])[: frame.samples * 2 * frame.layout.nb_channels]
            for frame in self._decoder.decode(av.Packet(sound.data))
        )


def takes(container: str, sound: SoundFormat) -> bool:
    """Whether a container, by FFmpeg's name, takes this sound as it is or without loss."""
    if container == "rtsp" and sound.codec == "aac" and not sound.extradata:
        return False  # its header is said beforehand there
    return sound.codec in _TAKEN[container]


def _described(format: SoundFormat) -> bytes:
    """A Matroska file without any sound in it, but all that has to be known about the sound.

    PyAV makes streams for packets that are encoded already after streams that it has read, and
    has no way to say otherwise what only the header of a stream tells. (RFC 9559)
    """
    codec, private = _IN_MATROSKA.get(format.codec, "A_MS/ACM"), format.extradata
    if tag := _WAVE_TAGS.get(format.codec):
        rate, channels = format.sample_rate, format.channels
        private = struct.pack("<HHIIHHH", tag, channels, rate, rate * channels, channels, 8, 0)
    audio = _element(0xB5, struct.pack(">d", format.sample_rate))
    audio += _element(0x9F, bytes([format.channels])) + _element(0x6264, b"\x10")
    track = _element(0xD7, b"\1") + _element(0x73C5, b"\1") + _element(0x83, b"\2")
    track += _element(0x86, codec.encode()) + _element(0xE1, audio)
    if private:
        track += _element(0x63A2, private)
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    cluster = _element(0x1F43B675, _element(0xE7, b"\0"))
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska"))
    return head + _element(0x18538067, tracks + cluster)


def _element(number: int, body: bytes) -> bytes:
    """An element of EBML (RFC 8794), its length in eight bytes."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + b"\1" + len(body).to_bytes(7, "big") + body
