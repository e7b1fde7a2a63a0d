"""A piece of a job: its segments in a folder, from which `stream.cluster.whole` makes the file."""

import json
import platform
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import mssnet
from filters import Shutter
from stream.cluster.plan import Piece, index_of, pieces_of
from stream.errors import CancelledError, SinkError, UsageError
from stream.files.job import Job, Restored
from stream.input.packet_index import PacketIndex
from stream.input.piece import PieceSource, Seen
from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.checkpoint import check_free
from stream.output.join import Joined
from stream.output.segment_sink import Plan
from stream.paths import check_input, check_output, fitted, target_of
from stream.stages.build import asks_shutter, reading_of
from stream.stages.seen import measured_of
from stream.verify import Conformance

SETTINGS = TypeAdapter(Settings)
DONE = "done.json"
"""The file in a piece's folder that says that all of it is there."""


@dataclass(frozen=True)
class KnownPiece:
    """What is known of a piece before it is begun, where its video was planned elsewhere."""

    piece: Piece
    index: PacketIndex
    shutter: float | None
    """The share of the frame interval for which the shutter is open; None: nothing asks for it."""


@dataclass(frozen=True)
class Done:
    """What a piece that is whole says of itself."""

    settings: Settings
    frames: int
    from_neighbors: float
    gain: float | None
    seconds: float
    host: str
    seen: Seen

    @classmethod
    def read(cls, folder: Path) -> "Done | None":
        """What lies in a piece's folder; None where it is not whole."""
        try:
            said = json.loads((folder / DONE).read_bytes())
            settings = SETTINGS.validate_python(said.pop("settings"))
            return cls(settings=settings, seen=Seen(**said.pop("seen")), **said)
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None


class Part(Job):
    """One piece of many to restore; `run` does it, and goes on with what is done of it."""

    def __init__(
        self,
        input: Path,
        output: Path,
        settings: Settings,
        number: int,
        of: int,
        *,
        given: KnownPiece | None = None,
        folder: Path | None = None,
    ) -> None:
        """Piece `number` of as many as `of` of the job that makes `output`. It lies in a folder
        beside that, or in `folder`. Raises `UsageError`."""
        check_options(settings)
        if not 1 <= number <= of:
            raise UsageError(f"--part takes such as 2/5, from 1/5 to 5/5, got {number}/{of}")
        super().__init__(input, output, replace(settings, resume=not settings.overwrite))
        self._number, self._of, self._given = number, of, given
        self._extra = folder is None
        self.folder = folder or parts_of(self.output) / f"{number}-of-{of}"
        self._piece: Piece | None = None
        self._begun = time.monotonic()

    def _check_paths(self) -> None:
        check_input(self.input)
        if self._extra:
            check_output(self.input, self.output, overwrite=self.settings.overwrite)
            try:
                self.folder.parent.mkdir(exist_ok=True)
            except OSError as error:
                where = self.folder.parent
                raise SinkError(f"cannot write to {where}: {error.strerror}") from error
        check_free(self.folder)

    def _source(self) -> Source:
        reading = reading_of(self.settings)
        if self._given is None:
            with closing(Source(self.input, reading)) as whole:
                around = self._suited(whole, None).reach
                index = index_of(whole, self.folder.parent)
                self._piece = pieces_of(whole, index, self._of, around)[self._number - 1]
        else:
            index, self._piece = self._given.index, self._given.piece
        return PieceSource(self.input, reading, index, self._piece.first, self._piece.end)

    def _told_shutter(
        self, source: Source, restore: mssnet.Deblurrer, say: Callable[[str], None] | None
    ) -> Shutter | None:
        if self._given is not None:
            share = self._given.shutter
            if share is None or not asks_shutter(self.settings, restore):
                return None
            with closing(Source(self.input, source.reading)) as whole:
                noted = self._noted(whole, say)
                self._measured = measured_of(whole, self.settings, noted, say)
            return Shutter(share=share)
        # As the whole video shows it, which is the same for every piece.
        with closing(Source(self.input, source.reading)) as whole:
            return super()._told_shutter(whole, restore, say)

    def _described(
        self, source: Source, chosen: Plan, restore: mssnet.Deblurrer, shutter: Shutter | None
    ) -> dict[str, Any]:
        job = super()._described(source, chosen, restore, shutter)
        assert self._piece is not None
        return job | {"part": str(self._piece), "frames": [self._piece.first, self._piece.end]}

    def _end(self, done: Restored) -> tuple[Joined, Conformance | None, Path]:
        sink, work = done.sink, done.work
        if done.stopped:
            raise CancelledError("stopped")
        said = {
            "settings": SETTINGS.dump_python(self.settings, mode="json", warnings=False),
            "frames": sink.frames,
            "from_neighbors": sink.from_neighbors,
            "gain": self._gain,
            "seconds": round(time.monotonic() - self._begun, 3),
            "host": platform.node(),
            "seen": Seen.of(done.source).to_json(),
        }
        written = work.folder / f"{DONE}.tmp"
        written.write_text(json.dumps(said))
        written.replace(work.folder / DONE)
        return Joined(), None, work.folder


def parts_of(output: Path) -> Path:
    """The folder for the pieces of an output."""
    output = target_of(output)
    return fitted(output.parent, output.name, ".parts")


def check_options(settings: Settings) -> None:
    """Refuse what pieces cannot have. Raises `UsageError`."""
    if settings.stabilize:
        raise UsageError(
            "--stabilize goes with no pieces, as it follows the camera through the whole video; "
            "stabilize what is joined, with --stabilize --strength 0"
        )
