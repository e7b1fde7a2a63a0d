"""Whether a file ends before the end that it promises: cut off, or never finished."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import av.container
from av.stream import Stream
from av.video.stream import VideoStream

from stream.input.container.demux import wanted
from stream.input.container.unfinished import (
    endless,
    half_cluster,
    half_element,
    half_frame,
    half_gif,
    half_jpeg,
    half_pack,
    half_page,
    half_partition,
)
from stream.media.remux import describe, is_cover

_BLANK = 1024
"""Bytes at the end of which not all are zero by chance."""
_LOOSE = {"mpegts", "mpeg", "avi", "asf", "ogg", "gif", "mjpeg", "jpeg_pipe", "yuv4mpegpipe"}
"""Formats that are written as pictures and sound come."""
_HALF: Mapping[str, Callable[[BinaryIO], bool]] = {
    "ogg": half_page,
    "mpeg": half_pack,
    "mxf": half_partition,
    "gif": half_gif,
    "mjpeg": half_jpeg,
    "jpeg_pipe": half_jpeg,
}
"""Whether a file of a format ends within something."""
_WHOLE = -1
"""Stands for the whole file beside the streams' indices."""


@dataclass(frozen=True)
class Truncated:
    """That a file ends too early, or one of its streams."""

    stream: Stream | None
    """The stream, where it is not the video."""
    after_s: float
    """When the last of it is over."""
    promised_s: float

    def __str__(self) -> str:
        """As it reads behind the name of the file."""
        of = f" of {self.promised_s:.2f} s" if self.promised_s > self.after_s else ""
        lengths = f"after {self.after_s:.2f} s{of or ', in the middle of a packet'}"
        if self.stream is None:
            return f"ends early, {lengths}"
        return f"ends early: its {describe(self.stream)} {lengths}"


def early_end(
    container: av.container.InputContainer,
    path: Path,
    ends: Mapping[int, float],
    video: int,
    *,
    frame_s: float,
    missing: bool,
    damaged: bool,
) -> Truncated | None:
    """Whether a file that was read to its end had less than it promises.

    `ends` is when each stream ended, by its index; `video` that of the picture, `frame_s` how long
    its frames are. `missing`: whether the last packets that it speaks of could not be read;
    `damaged`: whether some did not decode. A header may be wrong by a little, so that without such
    a reason, or bytes that are not there, only what lacks much of its length is called too short.
    """
    kinds = {*container.format.name.split(",")}
    whole_s = (container.duration or 0) / av.time_base
    slack = max(1.0, 0.02 * whole_s)
    if {"matroska", "avi"} & kinds:
        slack = 1.0  # whose writers count exactly
    with path.open("rb") as file:
        lacks = lacks_bytes(file, kinds)
        if lacks and "matroska" in kinds:
            missing = missing or half_cluster(file)
        if "yuv4mpegpipe" in kinds and container.streams.video:
            lacks = lacks or half_frame(file, _bytes_of(container.streams.video[0]))
    if damaged or lacks:
        slack = 1.5 * frame_s
    # What is written as it comes says little of its length, but ends with something whole.
    loose = bool(_LOOSE & kinds) or _open_ended(path, kinds)
    missing = missing or (lacks and loose)
    origin = (container.start_time or 0) / av.time_base
    promises = _promised(container)
    last = max(ends.values(), default=0.0)
    # The picture first: where that ends, the others have ended as well.
    for index in sorted(promises, key=lambda index: (index != video, index)):
        end = last if index == _WHOLE else ends.get(index, origin)
        if not missing and index not in {*ends, _WHOLE}:
            continue  # of what has a broken index, and no packet, is told elsewhere
        if promises[index] - end > (0.5 * frame_s if missing else slack):
            own = index in (video, _WHOLE)
            after = (ends.get(video, last) if own else end) - origin
            return Truncated(
                None if own else container.streams[index], after, promises[index] - origin
            )
    return Truncated(None, ends.get(video, last) - origin, 0.0) if missing else None


def _promised(container: av.container.InputContainer) -> dict[int, float]:
    """When picture and sound end, by what the file's header and index say."""
    streams = wanted(container)
    kinds = {*container.format.name.split(",")}
    ends = {}
    # Of streams in other formats FFmpeg only says what it knows of the file.
    for stream in streams if {"mov", "avi"} & kinds else ():
        if stream.type not in ("video", "audio") or is_cover(stream) or not stream.time_base:
            continue
        times = [entry.timestamp for entry in stream.index_entries if not entry.is_discard]
        if "mov" in kinds and len(times) > 1:
            # Headers count what an edit list hides, or not.
            ends[stream.index] = float((2 * times[-1] - times[-2]) * stream.time_base)
        elif "avi" in kinds and stream.type == "video" and stream.average_rate:
            # FFmpeg makes the duration fit what is there.
            start = float((stream.start_time or 0) * stream.time_base)
            ends[stream.index] = start + float(stream.frames / stream.average_rate)
    # Others say it of the file alone, which may have more streams that last longer. Matroska counts
    # from zero, not from where the streams start. Of all further formats FFmpeg guesses it.
    alone = not ends and len(streams) == len(container.streams)
    if alone and container.duration and {"matroska", "avi", "flv", "asf", "mxf"} & kinds:
        start = 0 if "matroska" in kinds else container.start_time or 0
        ends = {_WHOLE: (start + container.duration) / av.time_base}
    return ends


def _bytes_of(video: VideoStream) -> int:
    """Of a frame that is not compressed."""
    form = video.format
    planes = form.components if form else ()
    return sum(each.width * each.height * (-(-each.bits // 8)) for each in planes)


def lacks_bytes(file: BinaryIO, kinds: set[str]) -> bool:
    """Whether a file, of a format with these names, has fewer bytes than it says.

    So it has as well where its last ones are all zero, as those of a download that was not
    finished.
    """
    end = file.seek(0, 2)
    if not any(_at(file, max(0, end - _BLANK), _BLANK)):
        return True
    if "avi" in kinds:
        place = 0
        while len(head := _at(file, place, 12)) == 12:
            size = int.from_bytes(head[4:8], "little")
            if head[:4] == b"LIST" and head[8:] == b"movi" and place + 8 + size > end:
                return True
            # Behind the header of what holds others is the first of them.
            place += 12 if head[:4] == b"RIFF" else 8 + size + size % 2
    elif "matroska" in kinds:
        head = _at(file, 0, 128)
        place = head.find(b"\x18\x53\x80\x67") + 4  # the segment, which holds all else
        if place >= 4 and head[place : place + 1] > b"\0":
            width = 9 - head[place].bit_length()
            unknown = (1 << 7 * width) - 1
            size = int.from_bytes(head[place : place + width], "big") & unknown
            return half_element(file) if size == unknown else place + width + size > end
    elif "mov" in kinds:
        return whole_boxes(file)[1] < end
    elif "flv" in kinds:
        # Behind each tag is its length.
        length = int.from_bytes(_at(file, end - 4, 4), "big")
        head = _at(file, max(0, end - 4 - length), 4)
        return int.from_bytes(head[1:], "big") + 11 != length
    elif "asf" in kinds:
        head = _at(file, 0, 4096)
        place = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 40
        return place >= 40 and int.from_bytes(head[place : place + 8], "little") > end
    elif "mpegts" in kinds:
        # Packets of 188 bytes, or on Blu-ray of 192, which begin with four of their own.
        starts = [[end - n * size + skip for n in (1, 2)] for size, skip in ((188, 0), (192, 4))]
        return not any(all(_at(file, each, 1) == b"G" for each in pair) for pair in starts)
    return any(ends_within(file) for kind, ends_within in _HALF.items() if kind in kinds)


def whole_boxes(file: BinaryIO) -> tuple[bool, int]:
    """Whether an MP4 file is in fragments, and where the last of its boxes ends that is whole."""
    end, place, fragmented = file.seek(0, 2), 0, False
    while len(head := _at(file, place, 16)) >= 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        fragmented = fragmented or kind == b"moof"
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return fragmented, end  # it reaches to the end
        if place + size > end:
            break
        place += size
    return fragmented, place


def _open_ended(path: Path, kinds: set[str]) -> bool:
    """Whether a file was written as it came: in fragments, or without a length."""
    with path.open("rb") as file:
        if "mov" in kinds:
            return whole_boxes(file)[0]
        return "matroska" in kinds and endless(file)


def _at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(max(0, place))
    return file.read(length)
