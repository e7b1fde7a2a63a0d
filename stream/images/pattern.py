"""Names of the images of a sequence."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stream.errors import NoInputError, SourceError, UsageError

_PLACE = re.compile(r"%(?:0(\d{1,2}))?d")


@dataclass(frozen=True)
class Pattern:
    """A path with one %d or %04d in its name, which stands for a number."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> "Pattern | None":
        """The pattern that a path is; None where it is none."""
        return cls(path) if len(_PLACE.findall(path.name)) == 1 else None

    def file(self, number: int) -> Path:
        """The image of a number."""
        before, width, after = _PLACE.split(self.path.name)
        return self.path.with_name(f"{before}{number:0{int(width or 1)}}{after}")

    def numbers(self) -> list[int]:
        """The numbers of which there are images, in their order. Raises `NoInputError`."""
        before, _, after = _PLACE.split(self.path.name)
        known = re.compile(rf"{re.escape(before)}(\d{{1,18}}){re.escape(after)}")
        try:
            names = [each.name for each in self.path.parent.iterdir()]
        except OSError as error:
            raise NoInputError(f"cannot read {self.path.parent}: {error.strerror}") from error
        found = {int(match[1]) for name in names if (match := known.fullmatch(name))}
        return sorted(each for each in found if self.file(each).name in names)

    def there(self) -> list[tuple[int, Path]]:
        """All images and their numbers, of which none is missing between the others.

        Raises `NoInputError` where there are none, and `SourceError` where one is missing.
        """
        numbers = self.numbers()
        if not numbers:
            raise NoInputError(f"there is no image named as {self.path}")
        for before, after in pairwise(numbers):
            if after != before + 1:
                raise SourceError(
                    f"{self.file(before + 1)} is missing between {self.file(before).name} and "
                    f"{self.file(after).name}"
                )
        return [(number, self.file(number)) for number in numbers]


def pattern_of(path: Path, *, sequence: bool) -> Pattern | None:
    """The pattern of a sequence, where names may be one."""
    return Pattern.of(path) if sequence else None


def check_patterns(*found: Pattern | None) -> None:
    """Raise `UsageError` where none of the names is a pattern."""
    if not any(found):
        raise UsageError("--sequence needs an INPUT or OUTPUT such as shot%04d.png")
