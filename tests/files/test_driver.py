"""What a cluster's driver makes of places that fail, that are slow and that do not see the input.

The pieces are restored here, one after the other; Ray itself is tried by `tests.trials.cluster`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stream
from stream.cluster import driver as module
from stream.cluster import sending
from stream.cluster.driver import ClusterBatch, Driver
from stream.cluster.engine import Engine, connected
from stream.cluster.part import Done, parts_of
from stream.cluster.worker import Order, Place, Result, UnseenError, restore
from stream.files.tasks import Task
from tests.clips import make_clip
from tests.files.test_resume import hashes

SETTINGS = stream.Settings(model="none", strength=0, device="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


class Here(Engine):
    """Places in this process; `before` is called before each piece, and may raise an error."""

    gpus = False
    nodes = places = 2
    stuck = 0
    """The number of a task that never ends."""

    def __init__(self, before: Callable[[Order], Order] = lambda order: order) -> None:
        self.names: list[str] = []
        self.ended: list[Any] = []
        self._begun: dict[str, int] = {}
        self._before = before
        self._results: dict[int, Result | Exception] = {}

    def put(self, data: bytes) -> Any:
        return data

    def fetch(self, reference: Any) -> bytes:
        assert isinstance(reference, bytes)
        return reference

    def weights(self, model: str) -> Any:
        return None

    def submit(self, order: Order, attempt: str, name: str) -> Any:
        self.names.append(name)
        self._begun[attempt] = 0
        place = Place("here", self.put, self.fetch, lambda frames: None)
        try:
            self._results[len(self.names)] = restore(self._before(order), attempt, place)
        except Exception as error:
            self._results[len(self.names)] = error
        return len(self.names)

    def ready(self, references: Sequence[Any]) -> list[Any]:
        return [each for each in references if each != self.stuck][:1]

    def result(self, reference: Any) -> Result:
        found = self._results[reference]
        if isinstance(found, Exception):
            raise found
        return found

    def end(self, references: Sequence[Any]) -> None:
        self.ended += references

    def close(self) -> None:
        pass

    def told(self) -> dict[str, int]:
        return self._begun


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "in.mp4"
    path.parent.mkdir()
    return make_clip(path, frames=220, audio=("eng",), options={"bf": "2", "g": "40"})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST", 1)
    monkeypatch.setattr(module, "_BACKOFF_S", 0.01)
    monkeypatch.setattr(module, "_SLOW", 1e9)


def single(clip: Path, tmp_path: Path) -> list[Any]:
    stream.Job(clip, tmp_path / "single.mp4", SETTINGS).run()
    return hashes(tmp_path / "single.mp4")


def test_a_piece_that_fails_is_done_again(clip: Path, tmp_path: Path) -> None:
    output, failed = tmp_path / "out.mp4", set()

    def before(order: Order) -> Order:
        number = order.piece.number
        if number in (2, 3) and number not in failed:
            failed.add(number)
            raise RuntimeError("the node died")
        return order

    engine = Here(before)
    report = Driver(clip, output, SETTINGS, engine).run()
    assert report.conforms
    assert [each["tries"] for each in report.pieces] == [1, 2, 2, 1]
    assert len(engine.names) == 6
    assert "in.mp4 2/4" in engine.names
    assert hashes(output) == single(clip, tmp_path)
    assert not parts_of(output).exists()


def test_a_slow_piece_is_begun_a_second_time(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once no other waits; the first result wins, and the other attempt is ended."""
    monkeypatch.setattr(module, "_SLOW", 0)
    engine = Here()
    engine.stuck = 2
    report = Driver(clip, tmp_path / "out.mp4", SETTINGS, engine).run()
    assert report.conforms
    assert engine.names.count("in.mp4 2/4") == 2
    assert 2 in engine.ended
    assert [each["tries"] for each in report.pieces] == [1, 1, 1, 1]


def test_too_many_failures_end_the_job_and_keep_the_rest(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"

    def before(order: Order) -> Order:
        if order.piece.number == 4:
            raise stream.DeviceError("the GPU is lost")
        return order

    with pytest.raises(
        stream.DeviceError,
        match=r"piece 4/4 failed 3 times: the GPU is lost; 3 pieces are done and kept, go on",
    ):
        Driver(clip, output, SETTINGS, Here(before)).run()
    assert sorted(each.name for each in parts_of(output).iterdir()) == [
        "1-of-4",
        "2-of-4",
        "3-of-4",
        "index.npz",
    ]
    with pytest.raises(stream.SinkError, match="go on with --resume"):
        Driver(clip, output, SETTINGS, Here()).run()
    engine = Here()
    lines: list[str] = []
    again = Driver(clip, output, replace(SETTINGS, resume=True), engine)
    report = again.run(say=lines.append)
    assert engine.names == ["in.mp4 4/4"]
    assert "resuming: 3 of 4 pieces are done already" in lines
    assert report.conforms
    assert [each["piece"] for each in report.pieces] == ["4/4"]
    assert 0 < report.earlier < report.frames
    assert hashes(output) == single(clip, tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_nodes_that_see_no_folder_are_sent_what_they_need(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results come back; what is sent of the input is found by its checksums."""
    # As much as a file is known by.
    monkeypatch.setattr(sending, "_HEAD", 1 << 20)
    monkeypatch.setattr(sending, "_AROUND", 1 << 15)
    options = {"qp": "1", "g": "4"}
    clip = make_clip(tmp_path / f"in{suffix}", size=(240, 180), frames=220, options=options)
    output = tmp_path / "out.mp4"
    sent: dict[int, int] = {}

    def before(order: Order) -> Order:
        if order.sent is None:
            raise UnseenError
        sent[order.piece.number] = sum(len(data) for _, data in order.sent)
        return replace(order, input=Path("/nowhere") / clip.name, parts=Path("/nowhere"))

    report = Driver(clip, output, SETTINGS, Here(before)).run()
    assert report.conforms
    assert set(sent) == {1, 2, 3, 4}
    if suffix == ".ts":  # in which nothing can be searched for
        assert set(sent.values()) == {clip.stat().st_size}
    else:
        assert min(sent.values()) < clip.stat().st_size
    assert hashes(output) == single(clip, tmp_path)
    assert not parts_of(output).exists()


def test_files_are_restored_one_after_the_other(clip: Path, tmp_path: Path) -> None:
    """One that is no video does not stop the rest, and what is there stays."""
    bad = tmp_path / "in" / "bad.mp4"
    bad.write_bytes(b"no video" * 50)
    tasks = [Task(each, tmp_path / "out" / each.name) for each in (bad, clip)]
    engine = Here()
    outcomes = list(ClusterBatch(tasks, SETTINGS, engine).run())
    assert [each.state for each in outcomes] == ["failed", "done"]
    assert outcomes[1].report is not None
    assert len(outcomes[1].report.pieces) == len(engine.names) == 4
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["in.mp4"]
    assert hashes(tmp_path / "out" / "in.mp4") == single(clip, tmp_path)
    again = ClusterBatch(tasks[1:], SETTINGS, engine)
    assert [each.state for each in again.run()] == ["skipped"]
    assert len(engine.names) == 4


@pytest.mark.parametrize("places", [2, 4])
def test_ctrl_c_leaves_what_is_done(
    places: int, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no place has begun is not begun any more, also where no piece waits here."""
    output, engine = tmp_path / "out.mp4", Here(lambda order: job.stop() or order)  # type: ignore[func-returns-value]
    engine.places = places
    monkeypatch.setattr(engine, "told", dict)
    job = Driver(clip, output, SETTINGS, engine)
    with pytest.raises(stream.CancelledError, match=r"stopped; .+ done and kept, go on with --res"):
        job.run()
    left = sorted(parts_of(output).iterdir())
    assert [each.name for each in left if each.is_dir()]
    assert all(Done.read(each) for each in left if each.is_dir())
    assert not list(tmp_path.glob("**/deblur-piece-*"))
    assert not output.exists()


@pytest.mark.parametrize("address", ["", "local:0", "http://head:1", "ray://head"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(stream.UsageError, match="--cluster takes auto"), connected(address):
        pass
