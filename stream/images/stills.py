"""Images to images: one, or a sequence, each of which keeps what it says beside the picture."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from stream.errors import UsageError
from stream.images.files import Image, check_of_video, check_outputs, read, write
from stream.iterators.restore import restored
from stream.options.settings import Settings
from stream.paths import check_input, check_output


@dataclass
class Stills:
    """Images to restore. `run` does it; `stop` and `cancel` may be called from elsewhere."""

    inputs: Sequence[Path]
    outputs: Sequence[Path]
    settings: Settings
    rate: Fraction = Fraction(25)
    lost: list[str] = field(default_factory=list)
    """What the outputs cannot hold, in words."""
    done: int = 0
    """How many are written."""
    seconds: float = 0.0
    stopped: bool = False

    def __post_init__(self) -> None:
        """Raises a `DeblurError` where nothing can be written."""
        span = self.settings.span
        if span.start or span.duration is not None:
            raise UsageError("--start, --end and --duration are of video; name fewer images")
        check_of_video(self.settings)
        for input in self.inputs:
            check_input(input)
        check_outputs(self.outputs, self.settings.overwrite)
        for input, output in zip(self.inputs, self.outputs, strict=True):
            check_output(input, output, overwrite=self.settings.overwrite)

    def run(self, show: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Restore them. `show` is told how many of how many are done. Raises a `DeblurError`."""
        begun = time.monotonic()
        waiting: deque[Image] = deque()

        def arrays() -> Iterator[Any]:
            for file in self.inputs:
                if self.stopped:
                    return
                image = read(file, self.settings.max_pixels)
                waiting.append(replace(image, rgb=image.rgb[:0]))  # what is said of it alone
                yield image.rgb

        made = restored(arrays(), self.settings, self.rate)
        for rgb, output in zip(made, self.outputs, strict=False):
            image = replace(waiting.popleft(), rgb=rgb)
            for lost in write(image, output, self.settings.overwrite):
                if lost not in self.lost:
                    self.lost.append(lost)
            self.done += 1
            self.seconds = time.monotonic() - begun
            show(self.done, len(self.inputs))
        made.close()

    def stop(self) -> None:
        """Read no more; those in hand are finished."""
        self.stopped = True

    def cancel(self) -> None:
        """The same: an image is short work."""
        self.stopped = True

    def to_json(self, output: Path) -> dict[str, Any]:
        """What `deblur run --json` prints."""
        return {
            "output": str(output),
            "images": self.done,
            "seconds": round(self.seconds, 3),
            "dropped": self.lost,
            "stopped": self.stopped,
        }
