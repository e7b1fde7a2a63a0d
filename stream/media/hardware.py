"""Which encoders and decoders work on this machine: each is tried with a real frame."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import av.error
import av.logging
import numpy as np
from av.codec.hwaccel import HWAccel

from filters import Coding
from stream.colors import ColorTags
from stream.errors import DeviceError
from stream.frame import Frame
from stream.media.convert import Unpacker, coding_of, to_av
from stream.media.encoders import ENCODERS, NVENC, Encoder, keeps, ordinary_scheduling
from stream.options.encoding import EncoderSettings

_SIZE: Final = (256, 256)
"""Width and height of the frames tried with; NVENC takes none that are much smaller."""
_GRAY: Final = 128
"""The code of every sample of those frames, in 8 bits."""
_CUDA: Final = ("h264", "hevc", "vp8", "vp9")
"""Codecs whose decoders FFmpeg can run on an NVIDIA GPU, and that there is an encoder for here."""
_DECODERS: Final = {"av1": "libdav1d"}
"""Decoders that FFmpeg prefers to its own of the codec's name, which needs a GPU."""


@dataclass(frozen=True)
class Tried:
    """What became of one frame that was encoded, or decoded."""

    name: str
    """As FFmpeg calls the encoder; of decoders the codec, and where it was decoded."""
    works: bool
    why: str = ""
    """Why it does not work."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An encoder or a decoder does not work here; the text says why."""


def encoders() -> list[Tried]:
    """All encoders that the program knows, each tried with one small frame."""
    return [
        _tried(encoder.name, lambda encoder=encoder: _sample(encoder))  # type: ignore[misc]
        for encoder in (*ENCODERS, *NVENC)
    ]


def decoders() -> list[Tried]:
    """Decoders of the same codecs, each tried with one small frame."""
    found = []
    for encoder in ENCODERS:
        try:
            packets, header = _sample(encoder)
        except Refused as reason:
            found.append(Tried(f"{encoder.codec} (software)", False, f"no frame to try: {reason}"))
            continue
        for where in ("software", "cuda") if encoder.codec in _CUDA else ("software",):
            found.append(
                _tried(
                    f"{encoder.codec} ({where})",
                    lambda: _decode(encoder.codec, packets, header, where == "cuda"),  # noqa: B023
                )
            )
    return found


def encode(
    encoder: Encoder, coding: Coding, size: tuple[int, int], options: dict[str, str]
) -> tuple[list["av.Packet[Any]"], bytes | None]:
    """One frame of gray of this coding and size (width, height), through an encoder with these
    options: the packets, and the header that their decoder needs. Raises `Refused`."""
    # Else libsvtav1 prints its settings on stderr.
    os.environ.setdefault("SVT_LOG", "1")
    with told(), ordinary_scheduling():
        context = av.CodecContext.create(encoder.name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height = size
        context.pix_fmt = encoder.pix_fmt(coding)
        context.time_base = Fraction(1, 25)
        context.framerate = Fraction(25)
        context.options = dict(options)
        context.open()  # before there is a frame, which could be larger than memory
        frame = to_av(_gray(coding, size), ColorTags(), context.pix_fmt)
        packets = [*context.encode(frame), *context.encode(None)]
        if not packets:
            raise Refused("it gave nothing for a frame")
        return packets, context.extradata


def choose(
    order: Sequence[Encoder], asked: EncoderSettings, coding: Coding, size: tuple[int, int]
) -> tuple[Encoder, Coding]:
    """The first of these encoders that really encodes a frame of this size (width, height), and
    the coding in which it does.

    One that keeps all of the frames' own coding comes before one that does not. Raises
    `DeviceError` where none works, and `UsageError` for options that none of them has.
    """
    refused = ""
    tries = [(encoder, near) for encoder in order for near in encoder.codings(coding, *size)]
    tries.sort(key=lambda one: not keeps(one[1], coding))
    for encoder, near in tries:
        options = encoder.settings(asked)
        try:
            if not encoder.holds(size):
                raise Refused(f"it takes frames of up to {encoder.longest} pixels a side")
            encode(encoder, near, size, options)
        except Refused as reason:
            form = f"{size[0]}x{size[1]} {encoder.pix_fmt(near)}"
            refused = refused or f"{encoder.name} cannot encode {form} here: {reason}"
        else:
            return encoder, near
    raise DeviceError(f"{refused}; use --encoder software")


@contextmanager
def told() -> Iterator[None]:
    """FFmpeg's failures inside become `Refused` with the first thing that FFmpeg says of them.

    Nothing of that is printed. It is the whole program's log that is listened to meanwhile: what
    other threads make FFmpeg say is taken for an answer as well.
    """
    level, repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as said:
            try:
                yield
            except (av.error.FFmpegError, ValueError, OSError, NotImplementedError) as error:
                raise Refused(_why(error, [line for _, _, line in said])) from error
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(repeated)


def _why(error: Exception, said: list[str]) -> str:
    """In a few words, why FFmpeg failed."""
    first = said[0].strip().rstrip(".") if said else ""
    if isinstance(error, av.error.PermissionError):
        # FFmpeg's answer to all that needs an NVIDIA driver, where there is none.
        return f"no usable GPU ({first})" if first else "no usable GPU"
    return first or str(getattr(error, "strerror", None) or error)


def _tried(name: str, work: Callable[[], object]) -> Tried:
    try:
        work()
    except Refused as reason:
        return Tried(name, False, str(reason))
    return Tried(name, True)


def _sample(encoder: Encoder) -> tuple[list["av.Packet[Any]"], bytes | None]:
    coding = encoder.coding(coding_of("yuv420p", ColorTags(), *_SIZE), *_SIZE)
    return encode(encoder, coding, _SIZE, encoder.settings(EncoderSettings()))


def _decode(codec: str, packets: list["av.Packet[Any]"], header: bytes | None, cuda: bool) -> None:
    """Decode packets of gray, and look whether it is gray that comes out. Raises `Refused`."""
    with told():
        hwaccel = HWAccel("cuda", allow_software_fallback=False) if cuda else None
        context = av.CodecContext.create(_DECODERS.get(codec, codec), "r", hwaccel)
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height = _SIZE
        context.extradata = header
        context.thread_count = 1  # its threads would wait for Python to take their messages
        frames = [frame for packet in (*packets, None) for frame in context.decode(packet)]
    if not frames:
        raise Refused("it gave nothing for a frame")
    seen = Unpacker(frames[0]).unpack(frames[0], 0, Fraction(1, 25))
    if np.abs(seen.luma.astype(int) - _GRAY).max() > 8:
        raise Refused("what it gave is not what was encoded")


def _gray(coding: Coding, size: tuple[int, int]) -> Frame:
    value, dtype = _GRAY << (coding.depth - 8), np.uint8 if coding.depth == 8 else np.uint16
    width, height = size
    across, down = coding.subsampling
    chroma = [] if coding.gray else 2 * [(-(-height // down), -(-width // across))]
    planes = [np.full(shape, value, dtype) for shape in ((height, width), *chroma)]
    return Frame(tuple(planes), coding, 0, Fraction(1, 25))
