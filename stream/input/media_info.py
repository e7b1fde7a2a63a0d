"""What a file says of its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import av

from stream.colors import ColorTags, tags_of
from stream.input.deinterlace import top_first
from stream.media.orientation import Orientation, display_matrix, orientation_of
from stream.options.reading import Reading


@dataclass(frozen=True)
class MediaInfo:
    """What the container and the first frames say, which all others are taken to be like."""

    first: av.VideoFrame
    """The first frame that can be decoded."""
    tags: ColorTags
    interlaced: bool
    """Whether most of the frames at the beginning are flagged as interlaced."""
    deinterlaced: bool
    """Whether frames become progressive."""
    top_first: bool | None
    """Of frames that stay interlaced, whether the upper field is the earlier one."""
    matrix: tuple[int, ...] | None
    """How the output asks to be turned when it is shown (ISO/IEC 14496-12)."""
    turn: Orientation | None
    """How frames are turned instead."""

    @classmethod
    def of(cls, peeked: Sequence[av.VideoFrame], reading: Reading) -> Self:
        """By the first frames, decoded: rotation, tags and format are certain only then."""
        first = peeked[0]
        interlaced = 2 * sum(frame.interlaced_frame for frame in peeked) > len(peeked)
        mode = reading.deinterlace
        deinterlaced = mode == "on" or (mode == "auto" and interlaced)
        matrix = display_matrix(first)
        turn = orientation_of(matrix) if matrix and reading.apply_rotation else None
        upper = None
        if interlaced and not deinterlaced and turn is None:
            upper = top_first(next(each for each in peeked if each.interlaced_frame))
        return cls(
            first=first,
            tags=tags_of(first),
            interlaced=interlaced,
            deinterlaced=deinterlaced,
            top_first=upper,
            matrix=matrix if turn is None else None,
            turn=turn,
        )

    @property
    def turned(self) -> bool:
        """Whether frames are turned upright."""
        return self.turn is not None

    @property
    def transposed(self) -> bool:
        """Whether frames are turned so that width becomes height."""
        return self.turn is not None and self.turn.transposed
