"""What a comparison found."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stream import provenance
from stream.compare.chart import Chart, charts
from stream.compare.measure.figures import Each, Figure, means
from stream.compare.versions import Versions
from stream.errors import SinkError, WriteError
from stream.paths import Overwrite, fitted, publish, target_of


@dataclass(frozen=True)
class Comparison:
    """What was found."""

    versions: Versions
    shifts_s: tuple[float, ...]
    """By how much the input's clock is later than that of each of the others."""
    figures: list[Figure]
    """Of each frame that was measured."""
    runs: int
    """Runs of frames that were measured; 1 where that is all of them."""
    skipped: int
    """Frames without a partner."""

    @cached_property
    def means(self) -> dict[str, Each]:
        """Each figure's mean over all frames that have it, of each video."""
        return means(self.figures)

    def ratio(self, name: str, video: int = 1) -> float | None:
        """A mean of a video by that of the input; None where there is nothing in the input."""
        mean = self.means.get(name)
        return mean[video] / mean[0] if mean is not None and mean[0] > 0 else None

    @property
    def summary(self) -> str:
        """The means in words: one line, or one for each output and one more."""
        outputs = range(1, len(self.versions.clips) - self.versions.truth)
        if len(outputs) == 1:
            return f"{self._told(1, and_before=True)}, over {self.extent}"
        lines = [f"{self.versions.names[video]}: {self._told(video)}" for video in outputs]
        if self.versions.truth:
            lines.insert(0, f"before: {self._right(0)}")
        return "\n".join([*lines, self.extent])

    @property
    def charts(self) -> list[Chart]:
        """The figures over time."""
        return charts(
            self.figures,
            self.versions.names,
            whole=self.runs == 1,
            truth=self.versions.truth,
        )

    @property
    def extent(self) -> str:
        """Over what was measured, in words."""
        said = f"{len(self.figures)} frames"
        said += f" in {self.runs} runs" if self.runs > 1 else ""
        return said + (f"; {self.skipped} had no partner" if self.skipped else "")

    def _told(self, video: int, *, and_before: bool = False) -> str:
        """What was found of a video."""
        found = {name: self.ratio(name, video) for name in ("sharpness", "flicker")}
        told = [f"{name} {ratio:.2f} times" for name, ratio in found.items() if ratio is not None]
        said = f"{', '.join(told)} that of the input" if told else "nothing to measure in the input"
        if self.versions.truth:
            said += f"; {self._right(video)}"
            said += f" (before: {self._right(0)})" if and_before else ""
        return said

    def _right(self, video: int) -> str:
        """How near a video is to the truth."""
        return f"PSNR {self.means['psnr'][video]:.2f} dB, SSIM {self.means['ssim'][video]:.3f}"

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write everything as JSON. Raises `SinkError`."""
        with whole(target_of(path), overwrite=overwrite) as part:
            part.write_text(json.dumps(self.to_json(), indent=2))

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON; lists have one value for each video."""
        named = zip(self.versions.names, self.versions.clips, (0.0, *self.shifts_s), strict=True)
        return {
            "videos": [
                {"name": name, "path": str(clip.path), "shift_s": shift}
                for name, clip, shift in named
            ],
            "skipped": self.skipped,
            "runs": self.runs,
            "means": self.means,
            "frames": [
                {name: value for name, value in asdict(each).items() if value is not None}
                for each in self.figures
            ],
        }


@contextmanager
def whole(path: Path, *, overwrite: Overwrite) -> Iterator[Path]:
    """Another name for a file that is being written; it gets its own when it is whole."""
    # Not .part: what a stopped run has left may lie there. A name of its own replaces no file.
    part = fitted(path.parent, path.stem, f".{secrets.token_hex(4)}{path.suffix}")
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield part
        publish(part, path, overwrite=overwrite)
        provenance.note(path, {})
    except FileExistsError as error:
        raise SinkError(f"{path} came while this was at work and is left as it is") from error
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
