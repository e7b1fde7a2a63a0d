"""What is compared of a video file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from stream.verify.seen import Seen
from stream.verify.timestamps import Timestamps

Turn = tuple[float, float, float, float]
UPRIGHT: Final[Turn] = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Track:  # each attribute is one thing that is compared
    """A stream and its packets."""

    index: int
    kind: str
    """video, cover, audio, subtitle, attachment or data."""
    codec: str
    name: str
    """In words, for messages."""
    title: str
    tags: Mapping[str, str]
    disposition: frozenset[str]
    rate: int
    """Samples a second."""
    channels: int
    layout: str
    size: tuple[int, int]
    annexb: bool
    """Whether packets of video begin with start codes, as in MPEG-TS, instead of lengths."""
    timestamps: Timestamps
    durations: Sequence[int]
    """Of each packet, in ticks of the same clock; 0 where it is not known."""
    digests: Sequence[int]
    """Of each packet's content."""
    texts: Sequence[str]
    """What each packet of a text subtitle says, without its styling."""
    bytes: int
    whole: str
    """Digest of all content in a row, however it is cut into packets."""
    hidden: Sequence[int]
    """Digests of packets that an edit list hides; they count nowhere else."""
    undecoded: int
    """How many of the first packets of sound do not decode."""
    promised: bool
    """Whether the file speaks of packets of it."""
    skipped: tuple[int, int]
    """Samples that the file tells players to skip, at the start and at the end."""

    @property
    def end(self) -> Fraction | None:
        """When the last packet ends."""
        pairs = zip(self.timestamps.ticks, self.durations, strict=True)
        step = self._step
        ends = [tick + (length or step) for tick, length in pairs if tick is not None]
        return max(ends) * self.timestamps.base if ends else None

    @property
    def longest_s(self) -> Fraction:
        """How long the longest packet is."""
        return max(max(self.durations, default=0), self._step) * self.timestamps.base

    @property
    def _step(self) -> int:
        """How long packets of sound are that do not say it, by how they follow one another."""
        if self.kind != "audio" or all(self.durations):
            return 0
        return self.timestamps.step


@dataclass(frozen=True)
class Picture:  # each attribute is one thing that is compared
    """The video that is restored, as its decoder gives it."""

    track: Track
    nth: int
    """Which of the file's moving pictures it is."""
    timestamps: Timestamps
    damaged: int
    """Packets that did not decode and frames marked as corrupt, of what was decoded."""
    resized: int
    """Frames with another size than the first one's."""
    width: int
    height: int
    aspect: Fraction
    turn: Turn
    """The linear part of the display matrix: how it is turned and mirrored."""
    format: str
    bits: int
    chroma: tuple[int, int]
    """Samples of chroma to 16 of luma, across and down; (0, 0) is gray."""
    rgb: bool
    transparent: bool
    """Whether a frame that was decoded is, somewhere."""
    alpha: bool
    """Whether frames may be transparent."""
    seen: Seen | None
    """What is seen of the first frame, coarsely."""
    range: int
    """0 not said, 1 limited, 2 full."""
    matrix: int
    primaries: int
    transfer: int
    rate: Fraction | None
    """Frames a second as the file states it."""
    interlaced: bool
    top_first: bool | None
    fixed: Mapping[str, bytes]
    """What frames carry beside the picture for the whole video, by name."""
    moving: frozenset[str]
    """Names of what frames carry beside the picture and changes with them."""

    @property
    def last_s(self) -> Fraction:
        """How long the last frame is shown."""
        track = self.track
        pairs = zip(track.timestamps.ticks, track.durations, strict=True)
        known = [(tick, length) for tick, length in pairs if tick is not None and length]
        if known:
            return max(known)[1] * track.timestamps.base
        return 1 / self.rate if self.rate else Fraction(0)


@dataclass(frozen=True)
class Chapter:
    """A chapter; times in seconds on the file's clock."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True)
class Facts:
    """All that is compared of a file."""

    path: Path
    kind: str
    """mp4, mov, matroska, webm, mpegts, or FFmpeg's name of another container."""
    origin: Fraction
    """Where the file's own clock starts, in seconds."""
    duration: Fraction | None
    """As its header says."""
    tags: Mapping[str, str]
    chapters: tuple[Chapter, ...]
    picture: Picture
    tracks: tuple[Track, ...]
    """All streams but the picture."""
    failure: str
    """What could not be read of it, in words."""
    early: bool
    """Whether it ends before the end that it promises."""
    jumps: bool = False
    """Whether the file's clock jumps."""

    @property
    def end(self) -> Fraction | None:
        """When the last of what players show ends: data may go on beyond it, as a timecode does."""
        shown = [track for track in self.tracks if track.kind in ("video", "audio", "subtitle")]
        ends = [track.end for track in (self.picture.track, *shown)]
        return max((end for end in ends if end is not None), default=None)
