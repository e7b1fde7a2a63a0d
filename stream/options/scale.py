"""How much larger a video is to become."""

import re
from dataclasses import dataclass

from stream.errors import UsageError

LARGEST = 4.0
"""Nothing here can tell what is in a picture that is enlarged further."""
_SHAPE = 0.01
"""By how much, as a share, the shape of the picture may change for the sake of whole pixels."""

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Scale:
    """What `--upscale` asks for: exactly one of a factor, a shorter side, or a size."""

    factor: float | None = None
    shorter: int | None = None
    """Pixels of the shorter side, as in 1080p."""
    size: Size | None = None

    def __str__(self) -> str:
        if self.size is not None:
            return f"{self.size[0]}x{self.size[1]}"
        return f"{self.shorter}p" if self.shorter is not None else f"{self.factor:g}"

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """Read `3`, `1.5`, `1080p` or `1920x1080`. Raises `UsageError`."""
        if match := re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", text):
            return cls(size=(int(match[1]), int(match[2])))
        if match := re.fullmatch(r"([1-9]\d{0,4})[pP]", text):
            return cls(shorter=int(match[1]))
        if re.fullmatch(r"\d+(\.\d*)?", text) and 1 <= float(text) <= LARGEST:
            return cls(factor=float(text))
        raise UsageError(
            f"--upscale takes a factor in 1..{LARGEST:g}, a height such as 1080p, or a size such "
            f"as 1920x1080, got {text}"
        )

    def of(self, size: Size, *, even: bool = False) -> Size:
        """The size that frames of `size` get; with `even` their even sides stay even.

        Raises `UsageError` where it would be smaller, too much larger, or of another shape.
        """
        if self.factor is not None:
            return self._scaled(size, self.factor, even)
        if self.shorter is not None:
            made = self._scaled(size, self.shorter / min(size), even)
        else:
            made = self.size or size
            if (made[0] > made[1]) != (size[0] > size[1]):
                # A phone held upright stores its pictures lying.
                made = made[1], made[0]
            across, down = (new / old for new, old in zip(made, size, strict=True))
            if abs(across / down - 1) > _SHAPE:
                fitting = self._scaled(size, min(across, down), even)
                raise UsageError(
                    f"{self} is another shape than the video's {_named(size)}; "
                    f"use --upscale {_named(fitting)}"
                )
        ratio = max(made) / max(size)
        if not 1 <= ratio <= LARGEST:
            raise UsageError(
                f"--upscale {self} would make {_named(size)} {ratio:.2g} times as large; "
                f"it can be 1 to {LARGEST:g} times"
            )
        return made

    @staticmethod
    def _scaled(size: Size, factor: float, even: bool) -> Size:
        def scaled(side: int) -> int:
            part = 2 if even and side % 2 == 0 else 1
            return max(1, round(side * factor / part)) * part

        return scaled(size[0]), scaled(size[1])


def _named(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
