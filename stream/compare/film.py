"""All videos in one: side by side, or a part of the picture from each of them."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import cv2
import numpy as np
import torch

from filters import Coding, to_planes
from stream.colors import ColorTags
from stream.compare.measure.matches import Match
from stream.compare.measure.pictures import Picture, fitted, labeled
from stream.compare.versions import Versions
from stream.errors import WriteError
from stream.frame import Frame, Packet
from stream.input.container.demux import earlier, when
from stream.input.source import Source
from stream.media.convert import pix_fmt_of, to_av
from stream.media.encoders import ENCODERS
from stream.media.remux import CopiedTrack, copy_stream
from stream.media.transcode import ConvertedAudio, ConvertedText, convert_stream
from stream.options.encoding import EncoderSettings
from stream.output.segment_sink import open_output

VIEWS = ("side-by-side", "split")
_LONGEST = 3840
"""Pixels of the longer side of the video: what players show."""
_CODING = Coding()


class VideoWriter:
    """Writes H.264 at the input's times, with the input's sound.

    Pictures have the size of the largest of the videos, as far as players show it.
    """

    def __init__(self, path: Path, source: Source, versions: Versions, view: str) -> None:
        """`source` is the part of the input that is shown; `view` is one of `VIEWS`.

        Raises a `SinkError`.
        """
        self._path = path
        self._source = source
        self._names = versions.names
        self._extra = view == "side-by-side"
        shown = versions.largest
        width, height = shown.size
        self._across, self._down = grid(len(self._names)) if self._extra else (1, 1)
        factor = min(1.0, _LONGEST / max(self._across * width, self._down * height))
        self._size = max(round(width * factor), 2), max(round(height * factor), 2)
        mp4 = path.suffix.lower() in (".mp4", ".mov")
        # Like this a picture that starts later than the sound keeps its place, to the tick.
        scale = {"use_editlist": "1", "movie_timescale": str(source.time_base.denominator)}
        self._container = open_output(path, scale if mp4 else None)
        self._video = self._add_video(shown.aspect)
        self._track = self._add_sound()
        self._sounds: Iterator[Packet] = iter(())
        self._sound: Packet | None = None
        self._begin: int | None = None
        """What is the zero of the film, in the source's ticks."""
        self._waiting: Packet | None = None
        """The last picture, until it is known how long it is shown."""

    def add(self, match: Match) -> None:
        """The next frame. Raises `WriteError`."""
        frame = match.frames[0]
        pictures = [fitted(each, self._size) for each in match.pictures]
        arranged = beside if self._extra else parts
        picture = _even(arranged(pictures, self._names))
        rgb = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        planes = tuple(plane.numpy() for plane in to_planes(rgb, _CODING))
        if self._begin is None:
            # A part begins with its first frame.
            self._begin = frame.pts if self._source.span.start else 0
            self._sounds = self._heard(self._begin * self._source.time_base)
            self._sound = next(self._sounds, None)
        made = Frame(planes, _CODING, frame.pts - self._begin, frame.time_base)
        try:
            self._write(self._video.encode(to_av(made, self._tags)))
        except (OSError, av.error.FFmpegError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Finish the file. Raises `WriteError`."""
        try:
            self._write(self._video.encode(None))
            if self._waiting is not None:
                end = when(self._waiting, 0.0, end=True)
                self._container.mux(self._waiting)
                self._play(end)
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            raise self._error(error) from error

    def abandon(self) -> None:
        """Let go of the file, after a failure."""
        with suppress(OSError, av.error.FFmpegError):
            self._container.close()

    def _add_video(self, aspect: Fraction) -> av.VideoStream:
        source = self._source
        encoder = next(each for each in ENCODERS if each.codec == "h264")
        rate = min(source.rate, Fraction(240))
        options = encoder.settings(EncoderSettings())
        video = self._container.add_stream(encoder.name, rate=rate, options=options)
        assert isinstance(video, av.VideoStream)
        width, height = self._size
        video.width, video.height = _up(self._across * width), _up(self._down * height)
        video.pix_fmt = pix_fmt_of(_CODING)
        context = video.codec_context
        context.time_base = source.time_base
        context.sample_aspect_ratio = aspect
        self._tags.put(context)
        return video

    def _add_sound(self) -> CopiedTrack | ConvertedAudio | ConvertedText | None:
        stream = self._source.container.streams.best("audio")
        if stream is None:
            return None
        return copy_stream(stream, self._container) or convert_stream(stream, self._container)

    @property
    def _tags(self) -> ColorTags:
        """What the source says of its light; the matrix is our own, and said."""
        own = self._source.info.tags
        return ColorTags(matrix=1, primaries=own.primaries, transfer=own.transfer, range=1)

    def _heard(self, begin: Fraction) -> Iterator[Packet]:
        """The sound from a moment of the source on."""
        stream = self._source.container.streams.best("audio")
        if self._track is None or stream is None:
            return
        for packet in self._source.others():
            if packet.stream_index != stream.index:
                continue
            if not self._source.span.start or when(packet, 0.0) >= begin:
                yield from self._track.push(earlier(packet, begin))
        yield from self._track.flush()

    def _write(self, pictures: list[Packet]) -> None:
        """Write each picture once the next one tells how long it is shown."""
        for picture in pictures:
            last, self._waiting = self._waiting, picture
            picture.duration = round(1 / (self._source.rate * (picture.time_base or 1)))
            if last is not None:
                if last.pts is not None and picture.pts is not None:
                    last.duration = picture.pts - last.pts
                self._play(when(last, 0.0))
                self._container.mux(last)

    def _play(self, until: float) -> None:
        """Write the sound up to a moment."""
        while self._sound is not None and when(self._sound, 0.0) <= until:
            # A damaged file may have times that a muxer takes for none.
            with suppress(av.error.ArgumentError):
                self._container.mux(self._sound)
            self._sound = next(self._sounds, None)

    def _error(self, error: Exception) -> WriteError:
        return WriteError(f"cannot write {self._path}: {getattr(error, 'strerror', error)}")


def grid(count: int) -> tuple[int, int]:
    """Columns and rows for so many pictures: all in a row, but four and more in a square."""
    columns = count if count <= 3 else math.ceil(math.sqrt(count))
    return columns, -(-count // columns)


def beside(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """Pictures of one size in a grid, with lines between them."""
    columns, rows = grid(len(pictures))
    height, width = pictures[0].shape[:2]
    whole = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        y, x = (index // columns) * height, (index % columns) * width
        whole[y : y + height, x : x + width] = labeled(picture, name)
    for column in range(1, columns):
        whole[:, column * width - 1 : column * width + 1] = 255
    for row in range(1, rows):
        whole[row * height - 1 : row * height + 1] = 255
    return whole


def parts(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """The left part of the first picture, the next part of the next one, and so on.

    Pictures have one size, and there are lines between the parts.
    """
    width = pictures[0].shape[1]
    edges = [round(width * index / len(pictures)) for index in range(len(pictures) + 1)]
    cut = [
        labeled(picture[:, left:right], name)
        for picture, name, left, right in zip(pictures, names, edges, edges[1:], strict=False)
    ]
    whole = np.hstack(cut)
    for edge in edges[1:-1]:
        whole[:, edge - 1 : edge + 1] = 255
    return whole


def _even(picture: Picture) -> Picture:
    """H.264 with halved chroma has whole pairs of pixels."""
    height, width = picture.shape[:2]
    margins = (0, _up(height) - height, 0, _up(width) - width)
    return np.asarray(cv2.copyMakeBorder(picture, *margins, cv2.BORDER_REPLICATE), np.uint8)


def _up(side: int) -> int:
    return side + side % 2
