"""Video files out: encoding, muxing, and a name that appears only when the file is whole."""

import logging
import os
from pathlib import Path

import av
import av.error
from av.stream import Stream
from av.video.reformatter import VideoReformatter

from stream.convert import coding_of, pix_fmt_of, planar_format, to_av
from stream.encoders import ENCODERS, EncoderSettings, choose, ordinary_scheduling
from stream.errors import SinkError, WriteError
from stream.frame import Copied, Frame, Item
from stream.remux import carry_tags, copy_stream, holds, is_cover
from stream.source import Source

_log = logging.getLogger(__name__)

# A fragmented file while it is written, an ordinary one once it is closed. The edit list keeps a
# stream that does not start at zero where it was.
_MP4 = {
    "movflags": "hybrid_fragmented",
    "use_editlist": "1",
    "frag_duration": "1000000",
    "flush_packets": "1",
}
_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}
_CRASH_TOLERANT = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MP4,
    ".mkv": _MATROSKA,
    ".webm": _MATROSKA,
}


class FileSink:
    """Encodes the frames, and copies everything else, into a file beside `path`.

    The file has `.part` in its name, and a form that survives a crash (all but the last second
    can be played), until `commit` gives it its own name.
    """

    def __init__(
        self, path: str | os.PathLike[str], source: Source, settings: EncoderSettings
    ) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix}")
        self.frames = 0
        self.refused = 0
        """Copied packets that the muxer did not take."""
        self.dropped: list[str] = []
        """What the output cannot hold, in words."""
        suffix = self.path.suffix.lower()
        if not suffix:
            raise SinkError(f"{self.path} has no ending that says the format, such as .mp4 or .mkv")
        if not self.path.parent.is_dir():
            raise SinkError(f"the folder {self.path.parent} does not exist; create it first")
        options = _CRASH_TOLERANT.get(suffix, {})
        if options is _MP4 and any(is_cover(stream) for stream in source.container.streams):
            # FFmpeg would leave an empty track beside the cover.
            options = {}
        if suffix in (".mp4", ".m4v", ".mov") and source.time_base.denominator > 1000:
            # A late start is stored in this clock; by default it would be cut to milliseconds.
            options = {**options, "movie_timescale": str(source.time_base.denominator)}
        try:
            # FFmpeg opens the file only when the first packet is written.
            self.part.touch()
            # Without the file: prefix FFmpeg would take a colon in a name for a protocol.
            self._container = av.open(
                f"file:{self.part.absolute()}",
                "w",
                format="mp4" if suffix == ".m4v" else None,
                options=options,
            )
        except (av.error.MuxerNotFoundError, ValueError) as error:
            self.part.unlink(missing_ok=True)
            raise SinkError(
                f"no container is known by the ending {suffix}; use .mp4, .mov, .mkv or .webm"
            ) from error
        except OSError as error:
            raise SinkError(f"cannot write to {self.path.parent}: {error.strerror}") from error
        try:
            self._reformatter = VideoReformatter()
            self._copies: dict[int, Stream] = {}
            for stream in source.container.streams:
                if stream.index == source.video.index:
                    self._video = self._add_video(source, settings)
                elif (copy := copy_stream(stream, self._container, self.dropped)) is not None:
                    self._copies[stream.index] = copy
            carry_tags(source.container, self._container)
        except BaseException:
            self.discard()
            raise

    def _add_video(self, source: Source, settings: EncoderSettings) -> av.VideoStream:
        width, height = source.first.width, source.first.height
        own = coding_of(planar_format(source.first.format), source.tags, width, height)
        encoder = choose(
            settings,
            source.video.codec_context.codec.canonical_name,
            own,
            (width, height),
            [encoder.codec for encoder in ENCODERS if holds(self._container, encoder.codec)],
            self.path.suffix,
        )
        self._coding = encoder.coding(own, width, height)
        options = encoder.settings(settings)
        # Else libsvtav1 prints its settings on stderr.
        os.environ.setdefault("SVT_LOG", "1")
        added = self._container.add_stream(encoder.name, rate=source.rate, options=options)
        assert isinstance(added, av.VideoStream)
        context = added.codec_context
        context.width, context.height = width, height
        context.pix_fmt = pix_fmt_of(self._coding)
        context.time_base = source.time_base
        # A key frame every two seconds keeps the file easy to seek in.
        context.gop_size = max(1, min(250, round(2 * source.rate)))
        context.color_range = source.tags.range
        context.colorspace = source.tags.matrix
        context.color_primaries = source.tags.primaries
        context.color_trc = source.tags.transfer
        if source.video.sample_aspect_ratio:
            context.sample_aspect_ratio = source.video.sample_aspect_ratio
        if source.rotation:
            added.set_display_rotation(source.rotation)
        added.metadata.update({k: v for k, v in source.video.metadata.items() if k != "encoder"})
        added.disposition = source.video.disposition
        self.encoder = encoder
        try:
            # Now, not at the first frame: what it refuses is the user's to know at once.
            with ordinary_scheduling():
                context.open()
        except av.error.FFmpegError as error:
            raise SinkError(
                f"{encoder.name} cannot encode {width}x{height} {context.pix_fmt} "
                f"({error.strerror}); choose another --codec"
            ) from error
        return added

    def push(self, item: Item) -> None:
        """Encode a frame, or copy a packet. Raises `WriteError`."""
        try:
            if isinstance(item, Frame):
                self._encode(item)
            else:
                self._copy(item)
        except OSError as error:
            raise self._write_error(error) from error
        except av.error.FFmpegError as error:
            raise WriteError(f"{self.encoder.name} failed on {self.path}: {error}") from error

    def flush(self) -> None:
        """Write what the encoder still holds and close the file."""
        try:
            self._container.mux(self._video.encode(None))
            self._container.close()
        except OSError as error:
            raise self._write_error(error) from error
        except av.error.FFmpegError as error:
            raise WriteError(f"{self.encoder.name} failed on {self.path}: {error}") from error

    def commit(self) -> None:
        """Give the finished file its own name."""
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise WriteError(
                f"cannot rename {self.part} to {self.path.name}: {error.strerror}"
            ) from error

    def abandon(self) -> bool:
        """Close what was written after a failure; keep the part if it holds frames, and say so."""
        try:
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            # The failure itself is being reported already; a full disk fails here once more.
            _log.debug("closing %s: %s", self.part, error)
        if self.frames and self.part.exists():
            return True
        self.part.unlink(missing_ok=True)
        return False

    def discard(self) -> None:
        """Close and remove the part."""
        self.frames = 0
        self.abandon()

    def _encode(self, frame: Frame) -> None:
        made = to_av(frame)
        if frame.coding != self._coding:
            made = self._reformatter.reformat(made, format=pix_fmt_of(self._coding), threads=1)
        packets = self._video.encode(made)
        self._container.mux(packets)
        self.frames += 1

    def _copy(self, item: Copied) -> None:
        copy = self._copies.get(item.stream)
        packet = item.packet
        if copy is None or not packet.size:
            return
        if packet.dts is None:
            # Cover art has no time at all.
            packet.dts = packet.pts = packet.pts or 0
        packet.stream = copy
        try:
            self._container.mux(packet)
        except av.error.ArgumentError as error:
            # Timestamps that go backwards; a muxer refuses them, and the next ones may be fine.
            self.refused += 1
            _log.debug("a packet of stream %d was refused: %s", item.stream, error.strerror)

    def _write_error(self, error: OSError) -> WriteError:
        return WriteError(f"cannot write {self.part}: {error.strerror}; free some space")
