"""The videos that are compared, and what they are called."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from stream.compare.chart import COLORS
from stream.compare.measure.clip import Clip
from stream.errors import UsageError

MOST_OUTPUTS = len(COLORS) - 1
"""More lines could not be told apart."""
_SHAPE = 0.02
"""By how much, as a share, the shapes of two pictures of one scene may differ."""


@dataclass(frozen=True)
class Versions:
    """Videos of one scene: the input, what became of it and, where it is known, the truth."""

    clips: tuple[Clip, ...]
    names: tuple[str, ...]
    """What each is called: before, after, truth; several outputs have the names of their files."""
    truth: bool
    """Whether the last one is what the others should be."""

    @classmethod
    def of(
        cls, input: Path, outputs: Sequence[Path], truth: Path | None, max_pixels: int
    ) -> "Versions":
        """Look into the files. Raises a `SourceError` or `UsageError`."""
        if not 1 <= len(outputs) <= MOST_OUTPUTS:
            raise UsageError(
                f"1 to {MOST_OUTPUTS} videos can be compared with the input, got {len(outputs)}"
            )
        last = () if truth is None else (truth,)
        clips = tuple(Clip.of(path, max_pixels) for path in (input, *outputs, *last))
        for one, twin in (*combinations(outputs, 2), *product((input, *outputs), last)):
            if one.samefile(twin):
                raise UsageError(f"{twin} is given twice")
        for other in clips[1:]:
            _check_shapes(clips[0], other)
        called = ("after",) if len(outputs) == 1 else _told_apart(outputs)
        return cls(clips, ("before", *called, *("truth" for _ in last)), truth is not None)

    @property
    def input(self) -> Clip:
        return self.clips[0]

    @property
    def largest(self) -> Clip:
        """The one with the largest pictures."""
        return max(self.clips, key=lambda clip: clip.size)


def _told_apart(paths: Sequence[Path]) -> tuple[str, ...]:
    """The names of files, with their folders where they have the same."""
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: path.name,
        lambda path: f"{path.absolute().parent.name}/{path.name}",
    )
    for way in ways:
        names = tuple(map(way, paths))
        if max(Counter(names).values()) == 1:
            return names
    return tuple(map(str, paths))


def _check_shapes(one: Clip, other: Clip) -> None:
    """Refuse pictures of different shapes, as stored and as shown."""
    stored = (other.size[0] * one.size[1]) / (other.size[1] * one.size[0])
    shown = stored * float(other.aspect / one.aspect)
    if min(abs(stored - 1), abs(shown - 1)) > _SHAPE:
        sizes = [f"{clip.path} ({clip.size[0]}x{clip.size[1]})" for clip in (one, other)]
        raise UsageError(f"{sizes[0]} and {sizes[1]} have different shapes")
