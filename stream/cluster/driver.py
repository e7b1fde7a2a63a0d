"""A video restored by a Ray cluster, piece by piece, and joined here."""

import logging
import math
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stream.cluster.engine import Engine
from stream.cluster.part import Done, check_options, parts_of
from stream.cluster.plan import Piece, extent, index_of, pieces_of
from stream.cluster.sending import ranges_of
from stream.cluster.whole import Whole
from stream.cluster.worker import TOKEN, Order, Result, UnseenError
from stream.compute.models import load_model
from stream.errors import CancelledError, DeblurError, SinkError
from stream.files.batch import Batch
from stream.files.report import Progress, Report
from stream.files.restorer import Restorer
from stream.files.tasks import Task
from stream.input.packet_index import PacketIndex
from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.segment_sink import segment_of
from stream.paths import check_input, check_output, default_output, identity, target_of
from stream.stages.build import reading_of

_log = logging.getLogger(__name__)

_TRIES = 3
_BACKOFF_S = 1.0
_SLOW = 1.5
"""Times the median that a piece may take before it is begun a second time, near the end."""
_VAIN = 12
"""Frames that are restored in vain for a piece, about: those around it."""
_LEAST = 5
"""Segments in a piece, at least: what is decoded in vain before it must not count."""
_AHEAD = 0.25
"""Pieces that wait in the cluster itself, for each place: no place waits for the driver, and a
cluster that grows by itself sees that it should."""


@dataclass
class _Try:
    """A piece that is at work."""

    piece: Piece
    attempt: str
    begun: float | None = None
    """When it was first heard of; None: it may still wait for a place."""


@dataclass
class _State:
    """What is known of a job's pieces."""

    waiting: list[Piece]
    not_before: dict[int, float] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    running: dict[Any, _Try] = field(default_factory=dict)
    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Where each piece ran."""

    def at_work(self, piece: Piece) -> list[Any]:
        """The attempts at a piece."""
        return [key for key, each in self.running.items() if each.piece == piece]


class Driver(Restorer):
    """Restores a file on a cluster. `stop` and `cancel` may be called from elsewhere."""

    def __init__(
        self, input: Path, output: Path | None, settings: Settings, engine: Engine
    ) -> None:
        super().__init__(settings)
        self.input, self.output = input, target_of(output or default_output(input))
        self.folder = parts_of(self.output)
        self._engine, self._asked = engine, settings
        self._token = uuid.uuid4().hex
        self._sends = False
        """Whether some node does not see the input."""

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        say: Callable[[str], None] | None = None,
    ) -> Report:
        """Restore the file. Raises a `DeblurError`; what is done is kept for `Settings.resume`."""
        say = say or (lambda line: None)
        check_input(self.input)
        check_output(self.input, self.output, overwrite=self.settings.overwrite)
        with ExitStack() as held:
            self._hold(held)
            held.callback(self._sweep)
            settings = self.settings = self.settings.settled()
            check_options(settings)
            source = held.enter_context(closing(Source(self.input, reading_of(settings))))
            settings = self._suited(source, say)
            index = index_of(source, self.folder)
            pieces = pieces_of(source, index, self._count(source, index), settings.reach)
            state = _State([each for each in pieces if not self._is_done(each)])
            if earlier := len(pieces) - len(state.waiting):
                say(f"resuming: {earlier} of {len(pieces)} pieces are done already")
            begin, frames = extent(source, index)
            order = Order(
                self.input.absolute(),
                identity(self.input),
                self.output,
                replace(settings, overwrite=False),
                pieces[0],
                self._engine.put(index.to_bytes()),
                self._share(source, say) if state.waiting else None,
                self.folder.absolute(),
                self._token,
                weights=self._engine.weights(settings.model),
            )
            show = _Shown(self._engine, state, len(pieces), frames, progress)
            with self._ending(state):
                self._work(state, partial(self._submit, state, order, (index, begin)), show)
        overwrite = self.settings.overwrite
        report = Whole(self.input, self.output, overwrite=overwrite, asked=self._asked).join(show)
        return replace(
            report,
            earlier=show.earlier,
            seconds=time.monotonic() - show.begun,
            pieces=[state.done[number] for number in sorted(state.done)],
        )

    @contextmanager
    def _ending(self, state: _State) -> Iterator[None]:
        """End what is at work, and say of an error what is kept."""
        try:
            try:
                yield
            finally:
                self._engine.end(list(state.running))
                self._engine.close()
        except DeblurError as error:
            raise type(error)(f"{error}; {self._kept()}") from error

    def _work(
        self, state: _State, submit: Callable[[Piece], None], show: Callable[[str], None]
    ) -> None:
        while state.waiting or state.running:
            if self._cancelled or (self._stopped and not state.running):
                raise CancelledError("stopped")
            self._hear(state)
            if self._stopped:
                self._leave(state)
            else:
                self._begin(state, submit)
            for reference in self._engine.ready(list(state.running)):
                tried = state.running.pop(reference)
                try:
                    self._take(tried.piece, self._engine.result(reference), state)
                except UnseenError:
                    self._sends = True
                    state.waiting.insert(0, tried.piece)
                except Exception as error:
                    # Whatever a task raises, and whatever becomes of the node that it runs on.
                    self._again(tried.piece, error, state)
            show("restoring")

    def _hear(self, state: _State) -> None:
        """Note which attempts have begun."""
        told, now = self._engine.told(), time.monotonic()
        for tried in state.running.values():
            if tried.begun is None and tried.attempt in told:
                tried.begun = now

    def _leave(self, state: _State) -> None:
        """Have no place begin anything more."""
        ended = {key: each.piece for key, each in state.running.items() if each.begun is None}
        self._end(state, list(ended))
        state.waiting += [each for each in ended.values() if not state.at_work(each)]

    def _begin(self, state: _State, submit: Callable[[Piece], None]) -> None:
        """Hand pieces to free places, and near the end slow ones once more."""
        places, now = self._engine.places, time.monotonic()
        ready = [each for each in state.waiting if state.not_before.get(each.number, 0) <= now]
        most = places + max(math.ceil(_AHEAD * places), 1)
        for piece in ready[: max(most - len(state.running), 0)]:
            state.waiting.remove(piece)
            submit(piece)
        free = places - len(state.running)
        if state.waiting or free <= 0 or not state.done:
            return
        usual = statistics.median(each["seconds"] for each in state.done.values())
        slow = [
            each.piece
            for each in state.running.values()
            if each.begun is not None
            and now - each.begun > _SLOW * usual
            and len(state.at_work(each.piece)) == 1
        ]
        for piece in slow[:free]:
            submit(piece)

    def _submit(
        self, state: _State, order: Order, known: tuple[PacketIndex, int], piece: Piece
    ) -> None:
        sent = None
        if self._sends:
            (index, begin), failed = known, state.failed.get(piece.number, 0)
            around = order.settings.reach + 2
            # What a camera noted beside the pictures lies all over the file.
            whole = failed > 0 or self._measured is not None
            parts = ranges_of(self.input, index, piece, begin, around, whole=whole)
            sent = [(place, self._engine.put(data)) for place, data in parts]
        order = replace(order, piece=piece, sent=sent)
        attempt = uuid.uuid4().hex[:8]
        reference = self._engine.submit(order, attempt, f"{self.input.name} {piece}")
        state.running[reference] = _Try(piece, attempt)

    def _take(self, piece: Piece, result: Result, state: _State) -> None:
        """Take what came of a piece; the first result wins."""
        if piece.number in state.done:
            return
        if result.files is not None:
            self._write(piece, result.files)
        state.done[piece.number] = {
            "piece": str(piece),
            "frames": result.frames,
            "seconds": result.seconds,
            "node": result.node,
            "host": result.host,
            "tries": state.failed.get(piece.number, 0) + 1,
        }
        self._end(state, state.at_work(piece))

    def _end(self, state: _State, attempts: list[Any]) -> None:
        """Give up attempts that nobody waits for any more."""
        for each in attempts:
            del state.running[each]
        self._engine.end(attempts)

    def _again(self, piece: Piece, error: Exception, state: _State) -> None:
        """Have a piece that failed done again, a while later; too often is too often."""
        if piece.number in state.done or state.at_work(piece):
            return
        failed = state.failed[piece.number] = state.failed.get(piece.number, 0) + 1
        if failed >= _TRIES:
            kind = type(error) if isinstance(error, DeblurError) else DeblurError
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise kind(f"piece {piece} failed {failed} times: {said}")
        _log.info("piece %s failed and is done again: %s", piece, error)
        state.not_before[piece.number] = time.monotonic() + _BACKOFF_S * 2 ** (failed - 1)
        state.waiting.append(piece)

    def _write(self, piece: Piece, files: list[tuple[str, Any]]) -> None:
        written, place = self.folder / f"{piece.name}.{self._token}", self.folder / piece.name
        written.mkdir()
        for name, reference in files:
            (written / Path(name).name).write_bytes(self._engine.fetch(reference))
        shutil.rmtree(place, ignore_errors=True)
        written.rename(place)

    def _share(self, source: Source, say: Callable[[str], None]) -> float | None:
        """The shutter, told once for all pieces."""
        restore = load_model(self.settings.model, device="cpu", engine="eager")
        shutter = self._told_shutter(source, restore, say)
        return None if shutter is None else shutter.share

    def _hold(self, held: ExitStack) -> None:
        """Be the only one at work on this output. Raises `SinkError`."""
        try:
            self.folder.mkdir(exist_ok=True)
            held.enter_context(FileLock(self.folder / "driver", timeout=0))
            found = [each for each in self.folder.glob("*-of-*") if each.is_dir()]
            if found and self.settings.overwrite and not self.settings.resume:
                for each in found:
                    shutil.rmtree(each)
            elif found and not self.settings.resume:
                raise SinkError(
                    f"there is unfinished work for {self.output}; go on with --resume, or begin "
                    "anew with --overwrite"
                )
            self._drop_halves()
            (self.folder / TOKEN).write_text(self._token)
        except Timeout:
            raise SinkError(f"another run is at work on {self.output} already") from None
        except OSError as error:
            raise SinkError(f"cannot write to {self.folder}: {error.strerror}") from error

    def _drop_halves(self) -> None:
        """Remove what is of no piece that is whole."""
        for each in self.folder.glob("*-of-*.*"):
            shutil.rmtree(each, ignore_errors=True)

    def _sweep(self) -> None:
        """Leave nothing but pieces that are whole, and what finds them."""
        self._drop_halves()
        for name in (TOKEN, "driver"):
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        if not any(each.is_dir() for each in self.folder.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _count(self, source: Source, index: PacketIndex) -> int:
        """How many pieces: as many as earlier, else by how many can be done at once."""
        earlier = next(iter(sorted(self.folder.glob("*-of-*"))), None)
        if earlier is not None:
            return int(earlier.name.rpartition("-")[2])
        frames, segment = extent(source, index)[1], segment_of(source)
        # Many restore many frames in vain; of few, each place loses half a one at the end.
        places = max(self._engine.places, 1)
        wanted = min(math.sqrt(frames * places / (2 * _VAIN)), frames / (_LEAST * segment))
        return max(1, min(round(wanted), math.ceil(frames / segment)))

    def _is_done(self, piece: Piece) -> bool:
        return Done.read(self.folder / piece.name) is not None

    def _kept(self) -> str:
        found = [each for each in self.folder.glob("*-of-*") if Done.read(each) is not None]
        said = "1 piece is" if len(found) == 1 else f"{len(found)} pieces are"
        return f"{said} done and kept, go on with --resume"


class ClusterBatch(Batch):
    """Files to restore on a cluster, one after the other."""

    def __init__(self, tasks: Sequence[Task], settings: Settings, engine: Engine) -> None:
        super().__init__(tasks, settings)
        self._engine = engine

    def _restorer(self) -> Callable[[Task, Callable[[Progress], None] | None], Report]:
        def restored(task: Task, show: Callable[[Progress], None] | None) -> Report:
            driver = self._job = Driver(task.input, task.output, self.settings, self._engine)
            return driver.run(show)

        return restored


class _Shown:
    """Tells how far all pieces are."""

    def __init__(
        self,
        engine: Engine,
        state: _State,
        pieces: int,
        frames: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.begun = time.monotonic()
        self._engine, self._state, self._progress = engine, state, progress
        self._pieces, self._frames = pieces, frames
        left = sum((each.end or frames) - each.first for each in state.waiting)
        self.earlier = max(frames - left, 0)
        """Frames that an earlier run had done, about."""

    def __call__(self, phase: str) -> None:
        if self._progress is None:
            return
        state, told = self._state, self._engine.told()
        # Of a piece that is at work twice, what the faster one has done.
        under_way: dict[int, int] = {}
        for each in state.running.values():
            number = each.piece.number
            under_way[number] = max(told.get(each.attempt, 0), under_way.get(number, 0))
        done = sum(each["frames"] for each in state.done.values()) + sum(under_way.values())
        count = self._pieces - len(state.waiting) - len(under_way)
        nodes = self._engine.nodes
        where = f"{count}/{self._pieces} pieces on {nodes} node{'s' * (nodes != 1)}"
        self._progress(
            Progress(
                phase=phase,
                frames=self.earlier + done,
                earlier=self.earlier,
                expected_frames=self._frames,
                position_s=0.0,
                duration_s=None,
                elapsed_s=max(time.monotonic() - self.begun, 1e-9),
                busy={where: len(state.running) / max(self._engine.places, 1)},
                runs_on=where,
            )
        )
