"""Copies of clips with some harm done to them, for what compares two files to find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import AttachmentStream, Disposition

from stream.verify.facts import Track
from stream.verify.timestamps import Timestamps
from tests.clips import make_clip

INTRA = {"g": "1"}
"""Every frame alone, so that one can be left out without harm to the next ones."""


@dataclass
class Corruption:
    """How a copy differs from its original."""

    without: Sequence[int] = ()
    """Streams left out."""
    order: Sequence[int] = ()
    drop: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Packets left out, by number, of each stream."""
    alter: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Packets with another byte in them."""
    delay: Mapping[int, Fraction] = field(default_factory=dict)
    """Seconds by which streams are late."""
    late: Mapping[int, Mapping[int, Fraction]] = field(default_factory=dict)
    """Seconds by which single packets are late."""
    said: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Other tags of streams."""
    disposition: Mapping[int, Disposition] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    chapters: Callable[[list[Any]], list[Any]] = lambda chapters: chapters
    mux: Mapping[str, str] = field(default_factory=dict)
    matrix: Sequence[int] = ()
    """The display matrix of the picture."""


def copied(source: Path, output: Path, harm: Corruption) -> Path:
    """Copy a file packet by packet, with some harm done to it."""
    with av.open(str(source)) as a, av.open(str(output), "w", options=dict(harm.mux)) as b:
        b.metadata.update({**a.metadata, **harm.tags})
        if chapters := harm.chapters(a.chapters()):
            b.set_chapters(chapters)
        added: dict[int, Any] = {}
        kept = [s for s in a.streams if s.index not in harm.without]
        for old in sorted(kept, key=lambda s: list(harm.order or range(99)).index(s.index)):
            if isinstance(old, AttachmentStream):
                new: Any = b.add_attachment(old.name or "", old.mimetype or "", old.data)
            else:
                new = added[old.index] = b.add_stream_from_template(old)
                if harm.matrix and old.type == "video":
                    new.set_display_matrix(list(harm.matrix))
            # What MP4 calls a stream is read as its name and written as its title.
            title = {"title": old.metadata["name"]} if "name" in old.metadata else {}
            new.metadata.update({**old.metadata, **title, **harm.said.get(old.index, {})})
            new.disposition = harm.disposition.get(old.index, old.disposition)
        counts = dict.fromkeys(added, -1)
        for packet in a.demux():
            index = packet.stream_index
            if not packet.size or index not in added:
                continue
            counts[index] += 1
            number = counts[index]
            if number in harm.drop.get(index, ()):
                continue
            late = harm.delay.get(index, Fraction(0)) + harm.late.get(index, {}).get(number, 0)
            ticks = round(late / packet.time_base)
            if number in harm.alter.get(index, ()):
                content = bytearray(bytes(packet))
                content[-1] ^= 1
                other: av.Packet[Any] = av.Packet(bytes(content))
                other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
                other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
                packet = other
            packet.pts = (packet.pts or 0) + ticks
            packet.dts = packet.pts
            packet.stream = added[index]
            b.mux(packet)
    return output


def clip(folder: Path, name: str, **options: Any) -> Path:
    return make_clip(folder / name, **{"frames": 3, "options": INTRA, **options})


def part_of(source: Path, output: Path, start: Fraction, end: Fraction, move: Fraction) -> Path:
    """The packets of a part, all earlier by the same time."""
    with av.open(str(source)) as a, av.open(str(output), "w") as b:
        added = [b.add_stream_from_template(old) for old in a.streams]
        for old, new in zip(a.streams, added, strict=True):
            new.metadata.update(old.metadata)
        for packet in a.demux():
            if not packet.size or packet.pts is None:
                continue
            if start <= packet.pts * packet.time_base < end:
                packet.pts -= round(move / packet.time_base)
                packet.dts = packet.pts
                packet.stream = added[packet.stream_index]
                b.mux(packet)
    return output


def sounding(path: Path, codec: str, *, seconds: float = 1.0, rate: int = 48000) -> Path:
    """A clip of a second with a tone in some codec."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libvpx", rate=25, options=INTRA)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(sound, av.AudioStream)
        sound.bit_rate = 128_000
        for _ in range(25):
            gray = np.full((48 * 3 // 2, 64), 128, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(gray, "yuv420p")))
        out.mux(video.encode(None))
        size = sound.codec_context.frame_size or 1024
        tone = np.sin(np.arange(int(rate * seconds)) / 20)
        for start in range(0, len(tone), size):
            both = np.stack([tone, tone])[:, start : start + size].astype(np.float32)
            samples = np.ascontiguousarray(both)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def told(codec: str, *cues: tuple[int, int, str]) -> Track:
    """A subtitle stream with texts from one millisecond to another."""
    return Track(
        index=1,
        kind="subtitle",
        codec=codec,
        name="subtitle stream 1",
        title="",
        tags={},
        disposition=frozenset(),
        rate=0,
        channels=0,
        layout="",
        size=(0, 0),
        annexb=False,
        timestamps=Timestamps([start for start, _, _ in cues], Fraction(1, 1000)),
        durations=[end - start for start, end, _ in cues],
        digests=[hash(cue) for cue in cues],
        texts=[text for _, _, text in cues],
        bytes=1,
        whole=str(cues),
        hidden=(),
        undecoded=0,
        promised=True,
        skipped=(0, 0),
    )
