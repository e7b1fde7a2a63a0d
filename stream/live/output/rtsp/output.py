"""An output that is served: pictures and sound become RTP packets."""

from collections.abc import Callable

import av
from av.codec.context import Flags

from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import Sound
from stream.live.encoding.video import TIME_BASE, VideoEncoder
from stream.live.output.rtsp.sound import SoundPackets
from stream.live.rtsp import sdp
from stream.live.rtsp.stage import Stage
from stream.live.rtsp.track import Batch, Media, Presentation, Track, fields

PAYLOAD_TYPE = 96
_PACKET_BYTES = 1400
"""Of RTP: fits an Ethernet frame, also inside of a tunnel."""


class RtspOutput:
    """Encodes in the writer's thread, and hands packets to the event loop of the readers."""

    def __init__(
        self,
        stage: Stage,
        first: Picture,
        sound: SoundPackets | None,
        say: Callable[[str], None],
    ) -> None:
        self._stage, self._say = stage, say
        self._sound = sound
        self._packets: list[bytes] = []
        options = {
            "packetsize": str(_PACKET_BYTES),
            "payload_type": str(PAYLOAD_TYPE),
            # Its reports say that a picture is shown when it comes here, which is not so.
            "rtpflags": "skip_rtcp",
        }
        self._container = av.open(self, "w", format="rtp", options=options)
        self._encoder = VideoEncoder(self._container, first)
        self._encoder.stream.codec_context.flags |= Flags.global_header
        self._container.start_encoding()
        self._show: Presentation | None = None

    @property
    def readers(self) -> int:
        """How many are playing."""
        return self._stage.readers

    @property
    def refused(self) -> int:
        """How many logins were wrong."""
        return self._stage.refused

    def write(self, packet: bytes) -> int:
        """Called by the muxer with one RTP packet after the other."""
        self._packets.append(bytes(packet))
        return len(packet)

    def push(self, picture: Picture) -> None:
        """Send a picture to whoever reads."""
        key = False
        for packet in self._encoder.encode(picture):
            key = key or packet.is_keyframe
            self._container.mux(packet)
        packets, self._packets = tuple(self._packets), []
        if not packets:
            return
        batch = Batch(0, picture.timestamp, key, packets)
        if self._show is None:
            self._show = self._begun(batch)
            self._stage.call(self._stage.begin, self._show)
        self._stage.call(self._stage.send, batch)
        while self._stage.notes:
            self._say(self._stage.notes.popleft())

    def sound(self, sound: Sound) -> None:
        """Send a packet of sound to whoever reads."""
        if self._sound is not None and sound.data:
            self._stage.call(self._stage.send, self._sound.batch(sound))

    def close(self) -> None:
        """Send all readers away."""
        self._stage.call(self._stage.end)
        self._container.close()

    def _begun(self, batch: Batch) -> Presentation:
        extradata = self._encoder.stream.codec_context.extradata or b""
        media = Media(
            "video", PAYLOAD_TYPE, "H264/90000", TIME_BASE.denominator, sdp.h264(extradata)
        )
        _, timestamp, ssrc = fields(batch.packets[0])
        tracks = [Track(media, batch.moment, timestamp, ssrc)]
        if self._sound is not None:
            tracks.append(self._sound.track)
        return Presentation(self._stage.path, tracks, self._encoder.key)
