"""A few seconds of a video, restored with several settings and shown beside each other."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from stream.compare import Comparison, Showing, compare
from stream.errors import CancelledError, UsageError
from stream.files.job import Job
from stream.files.report import Progress, Report
from stream.files.several import JobSequence
from stream.input.source import Source
from stream.options.reading import Span
from stream.options.restore import AUTO, NONE, USUAL_MODEL
from stream.options.settings import Settings
from stream.paths import Overwrite, check_input, check_output, fitted, target_of
from stream.stages.build import reading_of

_LONGEST_S = 60.0


@dataclass(frozen=True)
class Tried:
    """What became of the seconds with some settings."""

    name: str
    """That of the file, as the page shows it."""
    options: str
    """Those of `deblur run` that differ from what was asked for."""
    report: Report


class Trial(JobSequence):
    """Restores some seconds of one file with a few settings. `stop` and `cancel` as for `Job`."""

    def __init__(
        self,
        input: Path,
        page: Path | None,
        settings: Settings,
        length_s: float,
        *,
        starts: bool = False,
    ) -> None:
        """`settings` hold for all but the model and the strength; without `starts` the seconds are
        those in the middle. The page is `NAME.try.html` beside the input unless given."""
        super().__init__()
        if not 0 < length_s <= _LONGEST_S:
            raise UsageError(f"--try takes up to {_LONGEST_S:g} seconds, got {length_s:g}")
        own: Overwrite = "own" if page is None else settings.overwrite
        self.input, self._overwrite = input, own
        self.page = target_of(page or fitted(input.parent, input.stem, ".try.html"))
        if self.page.suffix.lower() != ".html":
            raise UsageError(f"--try writes a page, and {self.page} does not end in .html")
        self.tried: list[Tried] = []
        self._settings, self._length_s, self._starts = settings, length_s, starts

    def run(self, progress: Callable[[str, Progress], None] | None = None) -> Comparison:
        """Restore, compare and write the page. Raises a `DeblurError`."""
        check_input(self.input)
        check_output(self.input, self.page, overwrite=self._overwrite)
        span = self._span()
        with tempfile.TemporaryDirectory(prefix="deblur-try-") as folder:
            outputs = []
            for options, settings in self._variants(span).items():
                output = Path(folder) / f"{options.replace('--', '').replace(' ', '-')}.mkv"
                self._job = Job(self.input, output, settings)
                if self._stopped:
                    raise CancelledError("stopped")
                show = None
                if progress is not None:
                    show = lambda seen, name=options: progress(name, seen)  # noqa: E731
                report = self._job.run(show)
                if report.stopped:
                    raise CancelledError("stopped before all settings were tried")
                self.tried.append(Tried(output.name, options, report))
                outputs.append(output)
            showing = Showing(
                "page",
                span=span,
                overwrite=self._overwrite,
                max_pixels=self._settings.max_pixels,
            )
            return compare(self.input, outputs, self.page, showing)

    def _span(self) -> Span:
        begin = self._settings.span.start
        if not self._starts:
            with closing(Source(self.input, reading_of(self._settings))) as source:
                begin = max(0.0, ((source.duration_s or 0.0) - self._length_s) / 2)
        return Span(begin, self._length_s)

    def _variants(self, span: Span) -> dict[str, Settings]:
        """What is tried, by the options that make it so."""
        asked = replace(self._settings, span=span, overwrite=False, resume=False)
        model = asked.model if asked.model not in (AUTO, NONE) else USUAL_MODEL
        network = replace(asked, model=model)
        return {
            f"--model {NONE}": replace(asked, model=NONE),
            f"--model {Path(model).stem}": network,
            f"--model {Path(model).stem} --strength auto": replace(network, strength="auto"),
        }
