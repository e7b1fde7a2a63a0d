"""The ladder of a live feed, on machines that are simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from stream.live.restore.ladder import Ladder, Rung, percentile, rungs

COSTS = 50.0, 15.0, 5.0, 5.0
"""Milliseconds of a picture at each step, on a machine that does nothing else."""
INTERVAL_S = 0.04
BEYOND_MS = 20.0
Load = Callable[[float], float]
"""How many times as long everything takes, at a time in seconds."""


@dataclass
class Machine:
    """Takes the newest picture of a camera, as the model's process does."""

    ladder: Ladder
    slow: Load
    costs: Sequence[float] = COSTS
    noise: float = 0.0
    now_s: float = 100.0
    begun_s: float = 100.0
    moved: list[tuple[float, int]] = field(default_factory=list)
    """When, and to which step."""
    late: list[tuple[float, float]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(4)
        self._taken = -1

    def run(self, seconds: float) -> "Machine":
        end = self.now_s + seconds
        while self.now_s < end:
            number = int(self.now_s / INTERVAL_S)
            if number <= self._taken:
                number = self._taken + 1
                self.now_s = number * INTERVAL_S + 1e-6
            self._taken = number
            since = self.now_s - self.begun_s
            cost = self.costs[self.ladder.step] * self.slow(since)
            cost *= float(np.exp(self._draw.normal(0, self.noise)))
            self.now_s += cost / 1e3
            late = 1e3 * (self.now_s - number * INTERVAL_S) + BEYOND_MS
            self.late.append((self.now_s - self.begun_s, late))
            if reason := self.ladder.push(self.now_s, late, cost):
                self.moved.append((self.now_s - self.begun_s, self.ladder.step))
                self.reasons.append(reason)
        return self

    def steps_in_a_minute(self) -> int:
        """The most there were within any minute."""
        times = [when for when, _ in self.moved]
        return max((sum(a <= b < a + 60 for b in times) for a in times), default=0)

    def p95(self, begin_s: float, end_s: float) -> float:
        return percentile([late for when, late in self.late if begin_s <= when < end_s], 0.95)


def machine(slow: Load, bound_ms: float = 200.0, noise: float = 0.0) -> Machine:
    return Machine(Ladder(len(COSTS), bound_ms), slow, noise=noise)


def test_a_machine_that_keeps_up_stays_at_the_top() -> None:
    assert not machine(lambda _: 1.0, noise=0.2).run(120).moved


def test_ten_times_too_slow_is_bounded_and_recovers() -> None:
    found = machine(lambda s: 10.0 if 10 <= s < 70 else 1.0, noise=0.1).run(180)
    first = found.moved[0][0]
    assert 10 < first < 13, "three pictures of half a second each"
    assert found.p95(16, 70) < 200
    assert found.ladder.step == 0
    assert [step for _, step in found.moved][-1] == 0
    back = min(when for when, step in found.moved if when > 70 and step == 0)
    assert back < 90
    assert found.p95(95, 180) < 200
    assert found.steps_in_a_minute() <= 6


def test_pictures_of_seconds_are_not_waited_for() -> None:
    found = machine(lambda _: 80.0).run(25)
    assert found.moved[0][0] < 9, "after the second picture, of 4 seconds each"
    assert found.moved[1][0] < 13
    assert found.ladder.step == 3


def test_slow_from_the_start_recovers_as_well() -> None:
    """What a step cost on the slow machine must not be held against it forever."""
    found = machine(lambda s: 10.0 if s < 8 else 1.0).run(200)
    assert found.moved[0][1] == 1
    assert found.ladder.step == 0


def test_a_load_that_ends_just_when_the_ladder_steps_down() -> None:
    """The step below seems many times as cheap; a step up is tried once all has long been calm."""
    found = machine(lambda s: 10.0 if s < 2.4 else 1.0).run(200)
    assert found.moved[0][1] == 1
    assert found.ladder.step == 0


def test_single_slow_pictures_change_nothing() -> None:
    """One in two seconds takes as long as ten."""
    taken = -1

    def slow(second: float) -> float:
        nonlocal taken
        first, taken = int(second / 2.5) != taken, int(second / 2.5)
        return 6.0 if first else 1.0

    assert not machine(slow).run(120).moved


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("times", [2.0, 2.5, 3.0, 4.0, 8.0])
def test_nothing_flaps_where_the_top_step_nearly_fits(times: float, noise: float) -> None:
    found = machine(lambda _: times, noise=noise).run(600)
    assert found.steps_in_a_minute() <= 6
    assert len(found.moved) <= 30
    late = [when for when, _ in found.moved if when > 300]
    assert len(late) <= 8, "what failed is tried ever more seldom"


def test_a_load_that_comes_and_goes() -> None:
    found = machine(lambda s: 10.0 if int(s / 15) % 2 else 1.0).run(600)
    assert found.steps_in_a_minute() <= 12
    assert len(found.moved) <= 60


def test_a_bound_that_cannot_be_kept_leads_to_the_last_step_once() -> None:
    found = machine(lambda _: 100.0).run(300)
    assert [step for _, step in found.moved] == [1, 2, 3]


def test_a_pause_of_the_camera_is_no_step() -> None:
    found = machine(lambda _: 1.0).run(10)
    found.now_s += 3600
    assert not found.run(10).moved


def test_each_step_is_told_with_figures() -> None:
    found = machine(lambda s: 10.0 if s < 20 else 1.0).run(60)
    assert "200 are allowed" in found.reasons[0]
    assert "the step above would be about" in found.reasons[-1]
    for (_, before), (_, after) in pairwise([(0.0, 0), *found.moved]):
        assert abs(before - after) == 1


def test_the_ladder_of_a_small_model() -> None:
    assert rungs("lite", 2, fuse=3) == [
        Rung("lite", 1, 2, 3),
        Rung("lite", 0, 2, 3),
        Rung("none", 0, 0, 3),
        Rung("none", 0, 0, 1),
        Rung("none", 0, 0, 1, half=True),
        Rung("none", 0, 0, 1, half=True, every=2),
        Rung("none", 0, 0, 0, plain=True, own=True),
    ]


def test_the_ladder_of_a_large_model_that_enlarges() -> None:
    ladder = rungs("base", 5, ("lite", 2), fuse=3, delay=2, enlarges=True)
    assert [rung.exit for rung in ladder[:5]] == [4, 3, 2, 1, 0]
    assert [rung.model for rung in ladder] == ["base"] * 5 + ["lite"] * 2 + ["none"] * 6
    assert [rung.fuse for rung in ladder] == [3] * 8 + [1] * 4 + [0]
    assert [rung.delay for rung in ladder] == [2] * 8 + [0] * 5
    assert [rung.plain for rung in ladder] == [False] * 9 + [True] * 4
    assert [rung.half for rung in ladder] == [False] * 10 + [True] * 2 + [False]
    assert [rung.every for rung in ladder] == [1] * 11 + [2, 1]
    assert str(ladder[1]) == "base (4 of 5 stages), fused with 3 before and 2 after"
    assert str(ladder[7]) == "none, fused with 3 before and 2 after"
    assert str(ladder[-2]) == (
        "none, fused with 1 before, plainly enlarged, at half size, every second frame"
    )
    assert ladder[-1].own


def test_steps_that_cannot_help_are_left_out() -> None:
    assert rungs("lite", 2, early=True, fuse=3)[0] == Rung("lite", 0, 2, 3)
    assert len(rungs("lite", 2, early=True, fuse=3)) == 6
    assert [str(rung) for rung in rungs("lite", 2)] == [
        "lite",
        "lite (1 of 2 stages)",
        "lite (1 of 2 stages), at half size",
        "lite (1 of 2 stages), at half size, every second frame",
        "the camera's own picture",
    ], "without fusion there would be nothing left"
    assert [rung.fuse for rung in rungs("lite", 2, fuse=1)] == [1] * 5 + [0], "fewer is none"
    nothing = rungs("base", 5, ("lite", 2), restores=False)
    assert nothing == [Rung("base", 4, 5), Rung("base", 4, 5, every=2)]
    smoothed = rungs("base", 5, ("lite", 2), fuse=3, restores=False)
    assert [rung.half for rung in smoothed] == [False, False, True, True, False]
    assert {rung.model for rung in smoothed} == {"base"}


def test_the_ladder_without_a_network() -> None:
    assert [str(rung) for rung in rungs("none", 0, fuse=3, delay=1, restores=False)] == [
        "none, fused with 3 before and 1 after",
        "none, fused with 1 before",
        "none, fused with 1 before, at half size",
        "none, fused with 1 before, at half size, every second frame",
        "the camera's own picture",
    ]
    assert rungs("none", 0, restores=False) == [Rung("none", 0, 0), Rung("none", 0, 0, every=2)]
