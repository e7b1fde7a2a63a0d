"""The file of which all pieces are done: joined, compared with its input, and given its name."""

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stream.cluster.part import Done, parts_of
from stream.cluster.plan import Piece, forget
from stream.errors import SinkError, SourceError
from stream.files.job import Job
from stream.files.report import Report, warnings_of
from stream.input.piece import GatheredSource
from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.checkpoint import JobCheckpoint
from stream.output.segment_sink import plan
from stream.paths import Overwrite, check_input, check_output, check_space, identity
from stream.stages.build import reading_of

_NAME = re.compile(r"(\d+)-of-(\d+)")
_OWN = ("part", "frames")
"""What differs from piece to piece of what makes a job."""


@dataclass(frozen=True)
class Found:
    """A piece that is whole."""

    piece: Piece
    done: Done
    work: JobCheckpoint


class Whole(Job):
    """Joins pieces. What they were made with is what they say."""

    def __init__(
        self,
        input: Path,
        output: Path,
        *,
        parts: Sequence[Path] = (),
        overwrite: Overwrite = False,
        asked: Settings | None = None,
    ) -> None:
        """`parts` are the pieces' folders, where these do not lie in the one beside `output`;
        `asked` are the settings as they were given, None: those of the pieces."""
        super().__init__(input, output, Settings(overwrite=overwrite))
        self._parts, self._given = parts, asked
        self.folder = parts_of(self.output)
        self.part = self.folder / f"whole{self.output.suffix}"

    def join(self, seen: Callable[[str], None] = lambda phase: None) -> Report:
        """Write the file; the pieces are removed once it is whole. `seen` is called with the name
        of each phase. Raises a `DeblurError`."""
        begun = time.monotonic()
        check_input(self.input)
        check_output(self.input, self.output, overwrite=self.settings.overwrite)
        with ExitStack() as held:
            self._hold(held)
            found = self._found(held)
            asked = found[0].done.settings
            self.settings = replace(asked, overwrite=self.settings.overwrite)
            self._asked = self._given or self.settings
            source = GatheredSource(self.input, reading_of(self.settings))
            held.enter_context(closing(source))
            self._check_input(source, found)
            source.gather(each.done.seen for each in found)
            source.decoding.check()
            chosen = plan(self.output, source, self.settings.encoder, self.settings.upscale)
            check_space(self.input, self.folder.parent)
            segments = [segment for each in found for segment in each.work.segments]
            seen("writing")
            joined = self._join(source, segments, chosen)
            work = _PieceFolders([each.work for each in found])
            if source.ended_early is not None:
                kept = self._leave()
                work.remove()
                raise SourceError(
                    f"{self.input} {source.ended_early}; it is truncated or damaged; the frames "
                    f"that it has are in {kept}"
                )
            seen("verifying")
            conformance = self._verify(source, segments)
            output = self._commit(work)  # type: ignore[arg-type]
        self._tidy()
        frames = sum(each.done.frames for each in found)
        gains = [each.done.gain for each in found if each.done.gain is not None]
        shares = sum(each.done.from_neighbors * each.done.frames for each in found)
        return Report(
            output=output,
            frames=frames,
            earlier=0,
            model=self.settings.model,
            from_neighbors=shares / max(frames, 1),
            seconds=time.monotonic() - begun,
            damaged=source.decoding.damaged,
            dropped=joined.dropped,
            warnings=warnings_of(self.output.suffix, source, joined),
            stopped=False,
            conformance=conformance,
            gain=sum(gains) / len(gains) if gains else None,
            busy={},
        )

    def _hold(self, held: ExitStack) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            held.enter_context(FileLock(self.folder / "lock", timeout=0))
        except Timeout:
            raise SinkError(
                f"another run is at work on this output already ({self.folder} is in use)"
            ) from None
        except OSError as error:
            raise SinkError(f"cannot write to {self.folder}: {error.strerror}") from error

    def _found(self, held: ExitStack) -> list[Found]:
        """All pieces, in order. Raises `SinkError` where one is missing or of another job."""
        folders = self._parts or [
            each for each in self.folder.iterdir() if _NAME.fullmatch(each.name)
        ]
        found: dict[int, Found] = {}
        jobs: list[dict[str, Any]] = []
        for folder in folders:
            job, done = _job(folder), Done.read(folder)
            if job is None or done is None:
                continue
            number, of = map(int, str(job["part"]).split("/"))
            work = JobCheckpoint.resume(folder)
            held.callback(work.close)
            if work.in_segments != done.frames:
                continue
            found[number] = Found(Piece(number, of, *job["frames"]), done, work)
            jobs.append({key: value for key, value in job.items() if key not in _OWN})
            if other := [key for key in jobs[0] if jobs[0][key] != jobs[-1].get(key)]:
                raise SinkError(
                    f"the pieces were made with another {', '.join(sorted(other))}, so they do "
                    f"not fit together ({folder}); make them again with the same options, on "
                    "machines that are alike"
                )
        counts = sorted({each.piece.of for each in found.values()})
        if len(counts) > 1:
            raise SinkError(
                f"there are pieces of {' and of '.join(map(str, counts))} in {self.folder}; "
                "remove those that are not to be joined"
            )
        of = counts[0] if counts else 0
        missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in found]
        if missing or not found:
            what = f"of the pieces {', '.join(missing)} is missing" if missing else "there are none"
            raise SinkError(
                f"{self.folder} is not complete: {what}; make them with deblur run ... --part, "
                "then join again"
            )
        return [found[number] for number in sorted(found)]

    def _check_input(self, source: Source, found: Sequence[Found]) -> None:
        if identity(self.input) != found[0].work.job["input"]:
            raise SourceError(
                f"{self.input} is not the file that the pieces were made of; name that one"
            )

    def _tidy(self) -> None:
        forget(self.folder)
        for name in ("lock", "job.json"):
            (self.folder / name).unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # something else lies there


@dataclass(frozen=True)
class _PieceFolders:
    """The pieces' folders, removed together."""

    works: Sequence[JobCheckpoint]

    def remove(self) -> None:
        for work in self.works:
            work.remove()


def _job(folder: Path) -> dict[str, Any] | None:
    try:
        job = json.loads((folder / "job.json").read_bytes())
        return dict(job) if "part" in job else None
    except (OSError, ValueError):
        return None
