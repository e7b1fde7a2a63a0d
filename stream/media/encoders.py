"""The encoders this program drives, and which one suits a video."""

import functools
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

import av

from filters import Coding
from stream.errors import SinkError, UsageError
from stream.media.convert import pix_fmt_of
from stream.options.encoding import EncoderSettings


@functools.cache
def _has_avx2() -> bool:
    import torch  # takes seconds to load; whoever encodes has it already

    return torch.backends.cpu.get_cpu_capability().startswith("AVX")


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders and how it is driven."""

    name: str
    codec: str
    quality: int = 0
    """The CRF that is visually lossless; nothing where `worst` is 0, which knows no CRF."""
    worst: int = 0
    preset: str = ""
    presets: tuple[str, ...] = ()
    """All presets it knows, fast ones first."""
    smallest: int = 1
    """The least width and height it takes, in pixels; smaller ones fail, or hang it."""
    options: tuple[tuple[str, str], ...] = ()
    longest: int = 16_384
    """The greatest width or height it takes."""
    pixels: int = 35_651_584
    """The most pixels of a frame: what the highest levels of H.264, HEVC, VP9 and AV1 allow their
    decoders to refuse beyond. 0 where there is no limit."""
    rate: str = "crf"
    """The option that takes the quality."""
    formats: tuple[tuple[str, str], ...] = ()
    """The planar formats that it takes, and the form in which it takes each; nothing: it takes
    what FFmpeg lists, as it is."""
    limited: bool = False
    """Whether its decoders take all codes for those of limited range, whatever is said."""
    alpha: str = ""
    """How the names of those formats begin that it keeps alpha of; nothing: it keeps none."""

    def holds(self, size: tuple[int, int]) -> bool:
        """Whether frames of this width and height are not too large for it."""
        few = not self.pixels or size[0] * size[1] <= self.pixels
        return max(size) <= self.longest and few

    def settings(self, asked: EncoderSettings) -> dict[str, str]:
        """FFmpeg's options for it. Raises `UsageError`."""
        chosen = dict(self.options)
        if self.worst:
            quality = self.quality if asked.quality is None else asked.quality
            if not 0 <= quality <= self.worst:
                raise UsageError(
                    f"--quality of {self.name} goes from 0 (best) to {self.worst}, got {quality}"
                )
            chosen[self.rate] = str(quality)
        elif asked.quality is not None:
            raise UsageError(f"{self.name} takes no --quality")
        if asked.preset is not None and asked.preset not in self.presets:
            # x264 itself would print a second line.
            known = f"it knows {', '.join(self.presets)}" if self.presets else "it has none"
            raise UsageError(f"unknown --encoder-preset {asked.preset} of {self.name}; {known}")
        if preset := asked.preset or self.preset:
            chosen["cpu-used" if self.name.startswith("libvpx") else "preset"] = preset
        if not _has_avx2():
            chosen = {name: value for name, value in chosen.items() if value != _AVX2}
        return chosen

    def coding(self, coding: Coding, width: int, height: int) -> Coding:
        """The coding nearest to the frames' own that it takes, losing nothing if it can."""
        least = replace(coding, depth=8, subsampling=(2, 2), gray=False, alpha=False)
        return next(self.codings(coding, width, height), least)

    def codings(self, coding: Coding, width: int, height: int) -> Iterator[Coding]:
        """All codings that it takes, the nearest to the frames' own first."""
        listed = av.Codec(self.name, "w").video_formats or ()
        taken = set(dict(self.formats)) or {format.name for format in listed}
        # Some are listed that its library refuses.
        kept = self.alpha or "none"
        taken -= {name for name in taken if "yuva" in name and not name.startswith(kept)}
        even = width % 2 == 0 and height % 2 == 0
        # H.264 and HEVC store subsampled chroma in whole pairs, so an odd size needs all of it.
        pairs = self.codec in ("h264", "hevc") and not even and coding.subsampling != (1, 1)
        depths = [depth for depth in (8, 9, 10, 12, 14, 16) if depth >= coding.depth]
        depths += [depth for depth in (14, 12, 10, 9, 8) if depth < coding.depth]
        chroma = (
            [(1, 1)] if pairs else [*dict.fromkeys((coding.subsampling, (1, 1), (2, 1), (2, 2)))]
        )
        if coding.gray:
            chroma = [(2, 2), (2, 1), (1, 1)]  # empty as it is, it may be as coarse as can be
        coding = replace(coding, full_range=coding.full_range and not self.limited)
        alphas = (True, False) if coding.alpha else (False,)
        grays = (True, False) if coding.gray else (False,)
        for alpha, depth, gray in product(alphas, depths, grays):
            if alpha and gray:
                continue
            for subsampling in chroma:
                near = replace(coding, depth=depth, subsampling=subsampling, gray=gray, alpha=alpha)
                if pix_fmt_of(near) in taken:
                    yield replace(near, subsampling=(1, 1)) if gray else near

    def pix_fmt(self, coding: Coding) -> str:
        """FFmpeg's name of the format in which it takes frames of a coding."""
        name = pix_fmt_of(coding)
        return dict(self.formats).get(name, name)


_X26 = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
_SVT = tuple(str(number) for number in range(13, -1, -1))
_VPX = tuple(str(number) for number in range(8, -1, -1))

# What x264 has for AVX-512 gives other bytes for the same small frames about once in twenty times
# (not without its macroblock tree); what it has for AVX2 did not in hundreds.
_AVX2 = "asm=avx2"
_X264 = (("bf", "0"), ("x264-params", _AVX2))
# Otherwise SVT-AV1 reorders frames and hides some, and on a busy machine now and then waits forever
# at the end of a segment ("no frame in undisplayed queue").
_IN_ORDER_SVT = (("svtav1-params", "pred-struct=1"),)
_NO_B_FRAMES_X265 = (("x265-params", "bframes=0:log-level=error"),)

ENCODERS: Final = (
    # No B-frames: decoding order is then showing order, and the crash-tolerant form of MP4 keeps
    # every timestamp. With them it loses the last frame or moves the picture against the sound.
    Encoder("libx264", "h264", 14, 51, "faster", _X26, options=_X264),
    Encoder("libx265", "hevc", 16, 51, "fast", _X26, 16, _NO_B_FRAMES_X265),
    Encoder("libsvtav1", "av1", 18, 63, "8", _SVT, 64, _IN_ORDER_SVT),
    Encoder(
        *("libvpx-vp9", "vp9", 18, 63, "5", _VPX),
        options=(("b", "0"), ("row-mt", "1")),
        alpha="yuva420p",
    ),
    Encoder(
        *("libvpx", "vp8", 6, 63, "5", _VPX),
        options=(("b", "40M"), ("auto-alt-ref", "0")),  # with it, it refuses alpha
        longest=16_383,
        alpha="yuva420p",
    ),
    Encoder("prores_ks", "prores", pixels=0, limited=True, alpha="yuva444p10le"),
    Encoder("ffv1", "ffv1", smallest=16, longest=32_768, pixels=0, alpha="yuva"),
)

_P = tuple(f"p{number}" for number in range(1, 8))
_NV420 = (("yuv420p", "yuv420p"), ("yuv420p10le", "p010le"))
_NV422 = (("yuv422p", "nv16"), ("yuv422p10le", "p210le"))
_NV444 = (("yuv444p", "yuv444p"), ("yuv444p10le", "yuv444p10msble"))
# One quantizer for all frames: anything that aims at a rate would start anew in each segment, and
# the picture would pulse. No B-frames, for the reason given above.
_CONSTANT = (("rc", "constqp"), ("bf", "0"))


def _nvenc(codec: str, quality: int, worst: int, longest: int, *more: tuple[str, str]) -> Encoder:
    formats = (*_NV420, *more)
    return Encoder(
        *(f"{codec}_nvenc", codec, quality, worst, "p5", _P),
        options=_CONSTANT,
        longest=longest,
        rate="qp",
        formats=formats,
    )


NVENC: Final = (
    # Not every GPU takes all of these: each is tried with a frame before it is used.
    _nvenc("h264", 17, 51, 4096, *_NV422, *_NV444),
    _nvenc("hevc", 18, 51, 8192, *_NV422, *_NV444),
    _nvenc("av1", 72, 255, 8192),
)
"""The encoders of NVIDIA's GPUs; largest sizes as in NVIDIA's Video Codec SDK, NVENC application
note. AV1's quantizer goes to 255."""
CODECS: Final = tuple(encoder.codec for encoder in ENCODERS)
"""What `--codec` takes; an encoder's own name does as well."""


def choose(
    asked: EncoderSettings,
    codec: str,
    coding: Coding,
    size: tuple[int, int],
    container: Collection[str],
    suffix: str,
) -> Encoder:
    """The encoder for a video of the given codec, coding and size (width, height).

    `container` holds the codecs that the output can hold. Without a wish it is the source's own
    codec if that can hold all of the frames, else the first one that can.
    """
    order = candidates(asked, codec, size, container, suffix)
    taken = [each.coding(coding, *size) for each in order]
    all_of_it = (each for each, near in zip(order, taken, strict=True) if keeps(near, coding))
    alpha = (each for each, near in zip(order, taken, strict=True) if near.alpha)
    return next(all_of_it, None) or next(alpha, order[0])


def candidates(
    asked: EncoderSettings,
    codec: str,
    size: tuple[int, int],
    container: Collection[str],
    suffix: str,
) -> list[Encoder]:
    """The encoders that `choose` chooses from, best first and at least one."""
    known = NVENC if asked.nvenc else ENCODERS
    if asked.codec is not None:
        for encoder in known:
            if asked.codec in (encoder.name, encoder.codec):
                if encoder.codec not in container:
                    raise SinkError(
                        f"{suffix} files cannot hold {encoder.codec} video; use .mkv, "
                        f"or --codec {' or '.join(sorted(container))}"
                    )
                if min(size) < encoder.smallest:
                    raise UsageError(
                        f"{encoder.name} takes no frames of {size[0]}x{size[1]}; "
                        "choose another --codec"
                    )
                return [encoder]
        codecs = ", ".join(encoder.codec for encoder in known)
        if asked.nvenc and asked.codec in {*CODECS, *(encoder.name for encoder in ENCODERS)}:
            raise UsageError(
                f"NVENC encodes no {asked.codec}; choose a --codec of {codecs}, "
                "or --encoder software"
            )
        raise UsageError(f"unknown --codec {asked.codec}; choose one of {codecs}")
    order = [encoder for encoder in known if encoder.codec in container]
    order.sort(key=lambda encoder: encoder.codec != codec)
    if not order:
        kind = "that NVENC encodes" if asked.nvenc else "that can be encoded here"
        raise SinkError(f"{suffix} files hold no kind of video {kind}")
    return [encoder for encoder in order if min(size) >= encoder.smallest] or order


def keeps(taken: Coding, own: Coding) -> bool:
    """Whether everything of the frames' own coding fits into the one an encoder takes."""
    finer = all(a <= b for a, b in zip(taken.subsampling, own.subsampling, strict=True))
    return taken.depth >= own.depth and (finer or own.gray) and taken.alpha >= own.alpha


_THREADS = Path("/proc/self/task")


@contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Have this thread, and those that start inside, keep the scheduling that it has.

    SVT-AV1, opened by root as in most containers, makes its threads and the caller's real-time
    ones of the highest priority. On a busy machine nothing else would ever run beside them; threads
    that the caller starts later inherit it, and some that wait for each other wait forever.
    """
    if not _THREADS.is_dir():  # nothing but Linux
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    before = {*_THREADS.iterdir()}
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)
        for thread in {*_THREADS.iterdir()} - before:
            with suppress(ProcessLookupError):  # it has ended since
                os.sched_setscheduler(int(thread.name), policy, parameter)
