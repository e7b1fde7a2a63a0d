"""What goes through a pipe, and how the restored video is coded for it."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Final

import av

from stream.errors import UsageError
from stream.input.source import Source
from stream.media.encoders import Encoder
from stream.options.encoding import EncoderSettings
from stream.options.scale import Scale
from stream.output.segment_sink import Plan, plan, size_of

FORMS: Final = {"y4m": "yuv4mpegpipe", "nut": "nut", "mkv": "matroska", "raw": "rawvideo"}
"""What `--format` takes, and FFmpeg's names of it."""
TIMELESS: Final = ("y4m", "raw")
"""Forms in which frames follow at one rate, and have no times of their own."""

_DEPTHS = ("", "9le", "10le", "12le", "14le", "16le")
_COLORS = tuple(f"yuv{chroma}p{d}" for chroma, d in product(("420", "422", "444"), _DEPTHS))
_GRAYS = tuple(f"gray{depth}" for depth in _DEPTHS if depth != "14le")
_ALPHAS = tuple(
    f"yuva{chroma}p{depth}"
    for chroma, depth in product(("420", "422", "444"), ("", "9le", "10le", "12le", "16le"))
    if (chroma, depth) != ("420", "12le")
)
_PLAIN = tuple((name, name) for name in (*_COLORS, *_GRAYS))
_Y4M = Encoder("rawvideo", "rawvideo", pixels=0, longest=1 << 15, formats=_PLAIN)
_WITH_ALPHA = replace(_Y4M, formats=(*_PLAIN, *((n, n) for n in _ALPHAS)), alpha="yuva")
_CENTERED = {"mjpeg", "mpeg1video"}
"""Codecs whose chroma lies between pixels; that of others does as in MPEG-2, beside them."""


@dataclass(frozen=True)
class RawFormat:
    """What raw video does not say of itself."""

    size: tuple[int, int]
    """Width and height."""
    rate: Fraction = Fraction(25)
    """Frames per second."""
    pix_fmt: str = "yuv420p"
    """FFmpeg's name of how pixels are stored."""

    def __post_init__(self) -> None:
        try:
            av.VideoFormat(self.pix_fmt)
        except ValueError:
            raise UsageError(
                f"unknown --pix-fmt {self.pix_fmt}; use such as yuv420p, yuv422p10le or rgb24"
            ) from None
        if not 0 < self.rate <= 1000:
            raise UsageError(f"--rate must be above 0 and up to 1000, got {self.rate}")
        if min(self.size) < 1:
            raise UsageError(f"--size must be above 0, got {self.size[0]}x{self.size[1]}")

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's, to read it."""
        width, height = self.size
        rate = f"{self.rate.numerator}/{self.rate.denominator}"
        return {"video_size": f"{width}x{height}", "pixel_format": self.pix_fmt, "framerate": rate}


def plan_for(
    form: str, source: Source, settings: EncoderSettings, scale: Scale | None, siting: str
) -> Plan:
    """How the restored video is coded in a form. Raises `UsageError` and `SinkError`.

    `siting` is where the chroma of the source lies, in FFmpeg's words, if that is known.
    """
    if form == "mkv":
        # Whoever reads a pipe codes it again: as fast as can be, and without any loss.
        codec = settings.codec or "ffv1"
        return plan(Path("pipe.mkv"), source, replace(settings, codec=codec), scale)
    for name, given in (("codec", settings.codec), ("quality", settings.quality)):
        if given is not None:
            raise UsageError(f"{form} is raw video; --{name} needs --format mkv")
    size = size_of(source, scale)
    encoder = _Y4M if form == "y4m" else _WITH_ALPHA
    wanted = source.coding if form != "y4m" else replace(source.coding, alpha=False)
    coding = encoder.coding(wanted, *size)
    options = {}
    if siting and coding.subsampling == (2, 2) and not coding.gray:
        options["chroma_sample_location"] = siting
    return Plan(encoder, coding, source.info.tags, options, 1, size, source.info.top_first)


def siting_of(source: Source) -> str:
    """Where the chroma of a source lies, in FFmpeg's words; nothing where nobody says it."""
    codec = source.video.codec_context.codec.canonical_name
    if codec in ("rawvideo", "wrapped_avframe"):
        return ""
    return "center" if codec in _CENTERED else "left"
