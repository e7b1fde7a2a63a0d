"""Sound that an output does not take as it came, coded anew."""

from fractions import Fraction

import av
import av.error
from av.codec.context import Flags

from stream.ipc.sound_ring import Sound, SoundFormat

_RATES = 32_000, 44_100, 48_000
"""Samples per second; with fewer a packet of AAC would last longer than pictures do."""
_BITS = 64_000
"""Per second and channel."""
_APART_NS = 100_000_000
"""Sound that comes by more than this off its time is set in anew."""


class SoundCoder:
    """Decodes packets of one format and encodes them as AAC, which all outputs take."""

    def __init__(self, format: SoundFormat) -> None:
        """Raises `ValueError` or an `av.error.FFmpegError` where there is no decoder for it."""
        decoder = av.CodecContext.create(format.codec, "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate = format.sample_rate
        decoder.layout = {1: "mono", 2: "stereo"}.get(format.channels, f"{format.channels}c")
        if format.extradata:
            decoder.extradata = format.extradata
        decoder.open()
        self._decoder = decoder
        self._rate = format.sample_rate if format.sample_rate in _RATES else _RATES[-1]
        self._channels = min(format.channels, 2)
        self._last = -1
        self._begin(0)
        extradata, frame_size = self._encoder.extradata or b"", self._encoder.frame_size or 0
        self.format = SoundFormat("aac", self._rate, self._channels, extradata, frame_size)
        """Of what `push` gives."""

    def push(self, sound: Sound) -> list[Sound]:
        """Take one packet; what does not decode is left out."""
        try:
            frames = self._decoder.decode(av.Packet(sound.data))
        except av.error.FFmpegError:
            return []
        made = []
        for frame in frames:
            assert isinstance(frame, av.AudioFrame)
            if abs(self._origin + round(self._heard_s * 1e9) - sound.timestamp) > _APART_NS:
                self._begin(sound.timestamp)
            frame.pts = None  # counted here, by the samples
            self._heard_s += Fraction(frame.samples, frame.sample_rate)
            for piece in self._resampler.resample(frame):
                made += self._encode(piece)
        return made

    def _begin(self, timestamp: int) -> None:
        """Set in at a moment."""
        encoder = av.CodecContext.create("aac", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        layout = "mono" if self._channels == 1 else "stereo"
        encoder.sample_rate, encoder.layout, encoder.format = self._rate, layout, "fltp"
        encoder.time_base = Fraction(1, self._rate)
        encoder.bit_rate = _BITS * self._channels
        encoder.flags |= Flags.global_header
        encoder.open()
        self._encoder = encoder
        self._resampler = av.AudioResampler("fltp", layout, self._rate, encoder.frame_size)
        self._origin = timestamp
        self._heard_s, self._coded = Fraction(0), 0

    def _encode(self, piece: av.AudioFrame) -> list[Sound]:
        piece.pts, piece.time_base = self._coded, Fraction(1, self._rate)
        self._coded += piece.samples
        made = []
        for packet in self._encoder.encode(piece):
            # The encoder's first packets are from before what it was given.
            timestamp = self._origin + (packet.pts or 0) * 1_000_000_000 // self._rate
            duration = (packet.duration or 0) * 1_000_000_000 // self._rate
            if timestamp > self._last:
                self._last = timestamp
                made.append(Sound(bytes(packet), timestamp, duration))
        return made
