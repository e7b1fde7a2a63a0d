"""The sound of an output: as it comes, or coded anew."""

from collections import deque
from collections.abc import Callable

import av.error

from stream.ipc.sound_ring import Sound, SoundFormat, SoundRing
from stream.live.encoding.audio import SoundCoder

_LATE_NS = 1_000_000_000
"""Sound waits for its picture, but no longer than this."""
_LEAD_NS = 100_000_000
"""Sound goes out up to so much before its picture: FFmpeg keeps a picture back until it has seen
what comes after it in the other stream."""


class Sounds:
    """The packets that go out beside the pictures."""

    def __init__(
        self,
        ring: SoundRing,
        takes: Callable[[SoundFormat], bool],
        say: Callable[[str], None],
    ) -> None:
        """`takes`: whether sound of a format is written as it comes."""
        self._ring, self._takes, self._say = ring, takes, say
        self.format: SoundFormat | None = None
        """What the target gets; None where it gets none."""
        self._announced: SoundFormat | None = None
        """The format that was announced last, ..."""
        self._coder: SoundCoder | None = None
        """... and what makes sound of it that the target takes."""
        self._version = self._since = 0
        """Which announcement was the last, and which one first told this format."""
        self._heard = ring.count
        self._held: deque[Sound] = deque(maxlen=512)

    def listen(self) -> SoundFormat | None:
        """Take note of what the sound is; the new format, where it is another than before."""
        if (version := self._ring.version) == self._version:
            return None
        format = self._ring.format()
        if format is None:
            return None  # it may come back, and the output stays as it is until then
        self._version = version
        if format == self._announced:
            return None
        self._announced, self._since = format, version
        self._choose(format)
        self._held.clear()
        return format

    def due(self, timestamp: int) -> list[Sound]:
        """The sound that goes out before what follows a picture of this moment."""
        sounds, self._heard = self._ring.since(self._heard)
        self._held.extend(sound for sound in sounds if sound.version >= self._since)
        due: list[Sound] = []
        timestamp += _LEAD_NS
        while self._held and self._held[0].timestamp <= timestamp:
            sound = self._held.popleft()
            if sound.timestamp > timestamp - _LATE_NS:
                due += self._coder.push(sound) if self._coder is not None else [sound]
        return due

    def _choose(self, format: SoundFormat) -> None:
        """Have sound coded anew where the target does not take it."""
        self._coder, self.format = None, format
        if self._takes(format):
            return
        try:
            self._coder = SoundCoder(format)
        except (ValueError, av.error.FFmpegError):
            self.format = None
            self._say(f"{format.codec} sound is left out, as it cannot be decoded")
            return
        self.format = self._coder.format
        self._say(f"{format.codec} sound is coded anew as AAC")
