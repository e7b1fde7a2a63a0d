"""VapourSynth's frames and this program's: planes of any of its formats."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from filters import Coding, codes_of, to_rgb
from stream.colors import UNSPECIFIED, ColorTags
from stream.errors import UsageError
from stream.frame import Frame, Plane

_DEPTH: Final = 16
"""Bits that floating-point samples and R'G'B' are worked on with. What comes of that is added to
what they were, so that what does not change stays exact."""
Samples = NDArray[Any]


class Form:
    """How the frames of a clip become those of this program, and back."""

    def __init__(self, clip: Any, props: Mapping[str, Any]) -> None:
        """`props` are those of its first frame. Raises `UsageError`."""
        import vapoursynth as vs

        format = clip.format
        if format is None or not (clip.width and clip.height):
            raise UsageError("the clip changes its format or size on the way; split it, or resize")
        floating = format.sample_type == vs.FLOAT
        if not floating and format.bits_per_sample > _DEPTH:
            raise UsageError(f"{format.name} has more than {_DEPTH} bits; convert it with resize")
        across, down = 1 << format.subsampling_w, 1 << format.subsampling_h
        if max(across, down) > 2 or (down == 2 and across == 1):
            raise UsageError(
                f"{format.name} is not worked on; convert it with resize, as to YUV444"
            )
        if int(props.get("_FieldBased", 0)):
            raise UsageError("the clip is interlaced; deinterlace it first")
        self._rgb = format.color_family == vs.RGB
        self._bits = None if floating else int(format.bits_per_sample)
        full = _is_full(props, default=self._rgb)
        tags = ColorTags(int(props.get("_Matrix", UNSPECIFIED)))
        matrix = tags.matrix_of(clip.width, clip.height)
        whole = floating or self._rgb
        self.coding = Coding(
            matrix="bt709" if self._rgb else matrix,
            full_range=full or whole,
            depth=_DEPTH if whole else format.bits_per_sample,
            subsampling=(across, down),
            gray=format.color_family == vs.GRAY,
        )
        # Of R'G'B': the code of black, and how many there are from there to white.
        scale = 1 << ((self._bits or 8) - 8)
        limited = 16.0 * scale, 219.0 * scale
        self._black, self._span = (0.0, 1.0)
        if self._bits is not None:
            self._black, self._span = (0.0, float(2**self._bits - 1)) if full else limited

    def frame(self, planes: Sequence[Samples], number: int, *, cut: bool) -> Frame:
        """A frame with its number as its time; `planes` are not kept."""
        return Frame(self._codes(planes), self.coding, number, Fraction(1), cut=cut)

    def samples(self, restored: Frame, planes: Sequence[Samples]) -> list[Samples]:
        """The planes of a restored frame as the clip has them; `planes` are the frame's own."""
        if not self._rgb and self._bits is not None:
            return list(restored.planes)
        made = self._values(restored.planes)
        if made[0].shape != planes[0].shape:
            return [self._rounded(each) for each in made]
        were = self._values(self._codes(planes))
        return [
            self._rounded(own.astype(np.float32) + (new - old), own)
            for own, new, old in zip(planes, made, were, strict=True)
        ]

    def _codes(self, planes: Sequence[Samples]) -> tuple[Plane, ...]:
        if self._rgb:
            rgb = np.stack(
                [(each.astype(np.float32) - self._black) / self._span for each in planes]
            )
            return tuple(codes_of(rgb * self.coding.top, self.coding))
        if self._bits is not None:
            return tuple(np.array(each) for each in planes)
        coding = self.coding
        spans = coding.luma_span, coding.chroma_span, coding.chroma_span
        zeros = coding.black, coding.neutral, coding.neutral
        return tuple(
            np.clip(np.rint(each.astype(np.float64) * span + zero), 0, coding.top).astype(np.uint16)
            for each, span, zero in zip(planes, spans, zeros, strict=False)
        )

    def _values(self, codes: Sequence[Plane]) -> list[NDArray[np.float32]]:
        """Planes of codes in the clip's own units, not rounded."""
        if self._rgb:
            rgb = to_rgb([torch.from_numpy(each) for each in codes], self.coding)[0].numpy()
            return list(rgb * np.float32(self._span) + np.float32(self._black))
        coding = self.coding
        spans = coding.luma_span, coding.chroma_span, coding.chroma_span
        zeros = coding.black, coding.neutral, coding.neutral
        return [
            ((each.astype(np.float32) - zero) / span).astype(np.float32)
            for each, span, zero in zip(codes, spans, zeros, strict=False)
        ]

    def _rounded(self, values: NDArray[np.float32], like: Samples | None = None) -> Samples:
        if self._bits is None:
            return values if like is None else values.astype(like.dtype)
        dtype = np.uint8 if self._bits == 8 else np.uint16
        return np.clip(np.rint(values), 0, 2**self._bits - 1).astype(dtype)


def begins_scene(props: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether a frame is the first of its scene, by what is said of it and the one before."""
    ends = before is not None and int(before.get("_SceneChangeNext", 0))
    return bool(ends or int(props.get("_SceneChangePrev", 0)))


def _is_full(props: Mapping[str, Any], *, default: bool) -> bool:
    if "_Range" in props:
        return int(props["_Range"]) == 1
    if "_ColorRange" in props:  # as it was called, and numbered the other way round
        return int(props["_ColorRange"]) == 0
    return default
