"""What processes tell becomes figures that outlive them."""

from dataclasses import replace

import pytest

from stream.ipc.messages import Heartbeat, State
from stream.ipc.stats import Meter, ProcessFigures, Snapshot, quantile


def test_counts_go_on_when_a_process_is_started_again() -> None:
    meter = Meter("source", "reader")
    meter.told(Heartbeat(State.LIVE, frames=100, damaged=3, connects=1))
    meter.died()
    assert meter.figures().frames == 100
    meter.told(Heartbeat(State.LIVE, frames=20, damaged=1, connects=2))
    figures = meter.figures()
    assert (figures.frames, figures.damaged, figures.connects) == (120, 4, 3)
    assert figures.restarts == 1


def test_rates_and_latencies_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    meter = Meter("model", "model")
    for second in range(30):
        now = 1000.0 + second
        slow = second < 15
        late = (900.0,) if slow else (40.0, 60.0)
        heartbeat = Heartbeat(
            State.LIVE, frames=25 * second, dropped=3 * second, busy_s=0.5 * second
        )
        meter.told(replace(heartbeat, latencies_ms=late))
    figures = meter.figures()
    assert figures.fps == pytest.approx(25)
    assert figures.busy == pytest.approx(0.5)
    assert figures.dropping == pytest.approx(3)
    assert (figures.latency_p50_ms, figures.latency_p95_ms) == (60.0, 60.0)
    now += 9
    assert meter.figures().fps < 15, "it fell silent"
    now += 9
    assert meter.figures().latency_p95_ms is None


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.95, 7.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 3.0)],
)
def test_quantiles(values: list[float], share: float, expected: float | None) -> None:
    assert quantile(values, share) == expected


def test_the_bottleneck_is_who_never_waits() -> None:
    idle = ProcessFigures("source", "reader", busy=0.1)
    for busy, name in ((0.97, "model"), (0.6, "source")):
        model = ProcessFigures("model", "model", busy=busy)
        assert Snapshot(State.LIVE, 1.0, (idle, model)).bottleneck == name


def test_the_bottleneck_is_who_drops_however_long_it_waits() -> None:
    source = ProcessFigures("source", "reader", busy=0.9)
    writer = ProcessFigures("yard", "writer", busy=0.2, dropping=0.3)
    for dropping, name in ((5.8, "model"), (0.1, "yard")):
        model = ProcessFigures("model", "model", busy=0.7, dropping=dropping)
        assert Snapshot(State.LIVE, 1.0, (source, model, writer)).bottleneck == name
