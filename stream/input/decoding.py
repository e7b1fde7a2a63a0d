"""Where a file's frames are decoded: in software, or by the GPU's own decoder (NVDEC).

Frames decoded on the GPU come down to memory with U and V interleaved; `Unpacker` takes them apart.
"""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.container
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel

from stream.errors import DeviceError, SourceError
from stream.frame import Packet
from stream.input.container.opening import (
    choose_video,
    decoder_of,
    disordered,
    first_frames,
    open_input,
)
from stream.media.convert import Unpacker, has_alpha
from stream.media.hardware import Refused, told
from stream.options.reading import Reading

_log = logging.getLogger(__name__)

_MANY = 300
"""Packets after which a video that is damaged throughout is given up."""
_EXACT: Final = ("h264", "hevc", "vp8", "vp9")
"""Codecs whose standards say to the last bit what a decoder gives. Those of MPEG-2 and MPEG-4
leave the rounding open, so that later pictures may differ where the first ones do not."""


class PacketDecoder:
    """Decodes a video, and counts what does not."""

    def __init__(self, video: av.VideoStream, path: Path, where: str) -> None:
        """`where`: "software" or "cuda"."""
        self.where = where
        self.packets = 0
        self.failed = 0
        """Packets that did not decode."""
        self.corrupt = 0
        """Frames that FFmpeg marked as damaged."""
        self._path = path
        self._decoder = decoder_of(video)

    def decode(self, packet: Packet) -> list[av.VideoFrame]:
        """What comes out; an empty packet is the end. Raises a `SourceError` where nearly nothing
        does."""
        self.packets += bool(packet.size)
        try:
            frames = self._decoder.decode(packet if packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self.failed += 1
            _log.debug("a packet did not decode: %s", error)
            if self.packets >= _MANY:
                self.check()
            return []
        self.corrupt += sum(frame.is_corrupt for frame in frames)
        return [frame for frame in frames if frame.width and frame.height]

    @property
    def damaged(self) -> int:
        """Packets that did not decode, and frames that FFmpeg marked as damaged."""
        return self.failed + self.corrupt

    def check(self) -> None:
        """Raise a `SourceError` if more was damaged than can be called a concealed fault."""
        # FFmpeg's own limit, -max_error_rate.
        if 3 * self.failed > 2 * self.packets:
            raise SourceError(
                f"{self._path} is damaged: {self.failed} of {self.packets} packets "
                "of its video do not decode"
            )


def pts_of(frame: av.VideoFrame) -> int:
    """The timestamp of a frame, which a source gives to each that has none."""
    assert frame.pts is not None
    return frame.pts


def open_decoding(
    path: Path, reading: Reading, peeked: list[av.VideoFrame]
) -> tuple[av.container.InputContainer, str]:
    """Open a file to be decoded as `reading` asks, and say where: "software" or "cuda".

    `peeked` are its first frames, decoded in software. Raises `DeviceError` where the GPU is asked
    for and cannot decode this file, and a `SourceError`.
    """
    if reading.decoder != "software":
        try:
            same = _agrees(path, reading, peeked)
        except Refused as reason:
            if reading.decoder == "cuda":
                raise DeviceError(
                    f"--decoder cuda cannot decode {path}: {reason}; use --decoder software"
                ) from reason
            _log.info("decoding in software, as the GPU does not: %s", reason)
        else:
            if same or reading.decoder == "cuda":
                _log.info("decoding on the GPU%s", "" if same else ", with other pictures")
                # A form that it has no decoder for can still come on the way.
                return open_input(
                    path, max_pixels=reading.max_pixels, hwaccel=_accel(reading, fallback=True)
                ), "cuda"
            _log.info("decoding in software, as the GPU gives other pictures")
    return open_input(path, max_pixels=reading.max_pixels), "software"


def _agrees(path: Path, reading: Reading, peeked: list[av.VideoFrame]) -> bool:
    """Whether the GPU gives the very pictures that software does. Raises `Refused` if none."""
    if any(has_alpha(frame.format) for frame in peeked):
        raise Refused("it gives no transparency")
    with open_input(path, max_pixels=reading.max_pixels) as container:
        codec = choose_video(container, path, reading.max_pixels).codec_context.codec
    if not any(config.device_type.name == "cuda" for config in codec.hardware_configs or ()):
        raise Refused(f"{codec.canonical_name} is not decoded by a GPU here")
    with told():
        # Opened with the file it would fail as if the file were damaged.
        _accel(reading, fallback=False).create(codec)
    try:
        with open_input(
            path, max_pixels=reading.max_pixels, hwaccel=_accel(reading, fallback=False)
        ) as container:
            video = choose_video(container, path, reading.max_pixels)
            decoded = first_frames(container, video, path)
            by_dts = disordered(peeked, avi=container.format.name == "avi")
    except SourceError as error:
        raise Refused("it gives no frame") from error
    if by_dts and any(a.dts != b.dts for a, b in zip(peeked, decoded, strict=False)):
        raise Refused("it gives the frames other times")
    return codec.canonical_name in _EXACT and same_pictures(peeked, decoded)


def same_pictures(first: list[av.VideoFrame], other: list[av.VideoFrame]) -> bool:
    """Whether two decoders' frames have the same times and codes, as far as there are both."""
    unpacker = Unpacker(first[0])
    for one, two in zip(first, other, strict=False):
        if one.pts != two.pts:
            return False
        if (one.width, one.height) != (two.width, two.height):
            return False
        planes = (unpacker.unpack(frame, 0, Fraction(1)).planes for frame in (one, two))
        if not all(map(np.array_equal, *planes)):
            return False
    return not unpacker.recoded


def _accel(reading: Reading, *, fallback: bool) -> HWAccel:
    return HWAccel("cuda", str(reading.gpu), allow_software_fallback=fallback)
