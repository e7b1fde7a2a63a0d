"""Timestamps of a camera on this machine's clock, whatever the camera does."""

import random
from itertools import pairwise

import pytest

from stream.live.input.clock_mapping import ClockMapping

MS = 1_000_000
S = 1_000_000_000
FRAME = 40 * MS
VIDEO, SOUND = 0, 1


def test_jitter_is_taken_out() -> None:
    """Frames that come when they like are shown evenly, as soon as one has come quickly."""
    dice = random.Random(1)
    timestamps = ClockMapping()
    found = []
    for index in range(500):
        arrived = S + index * FRAME + (dice.randrange(30 * MS) if index % 10 else 0)
        found.append(timestamps.place(VIDEO, index * FRAME, arrived, FRAME)[0])
    steps = [b - a for a, b in pairwise(found[10:])]
    assert all(abs(step - FRAME) < MS for step in steps)
    assert timestamps.jumps == 0


@pytest.mark.parametrize("speed", [0.999, 0.9999, 1.0001, 1.001, 1.01])
def test_drift_is_followed_without_jumps(speed: float) -> None:
    timestamps = ClockMapping()
    worst = 0
    for index in range(25 * 600):
        arrived = S + index * FRAME
        timestamp, jumped = timestamps.place(VIDEO, round(index * FRAME * speed), arrived, FRAME)
        assert not jumped
        worst = max(worst, arrived - timestamp)
    # A camera whose seconds are 0.1 % short falls behind by 20 ms before it is followed.
    assert worst <= abs(speed - 1) * 20 * S * 1.1 + MS


def test_a_start_in_arrears_is_made_good() -> None:
    """FFmpeg gives what it gathered at once: then each frame is shown as it comes."""
    timestamps = ClockMapping()
    now = 5 * S
    for index in range(60):
        now = max(now + 2 * MS, 4 * S + index * FRAME)
        timestamp, _ = timestamps.place(VIDEO, index * FRAME, now, FRAME)
    assert timestamp == 4 * S + 59 * FRAME


def test_sound_and_picture_stay_in_sync() -> None:
    dice = random.Random(2)
    timestamps = ClockMapping()
    events = [(index * FRAME, VIDEO) for index in range(250)]
    events += [(index * 21 * MS, SOUND) for index in range(470)]
    last: dict[int, int] = {}
    for pts, stream in sorted(events):
        # The picture takes a quarter of a second longer through the camera than the sound.
        delay = 250 * MS if stream == VIDEO else dice.randrange(20 * MS)
        step = FRAME if stream == VIDEO else 21 * MS
        timestamp, _ = timestamps.place(stream, pts, S + pts + delay, step)
        last[stream] = timestamp - pts
    assert abs(last[VIDEO] - last[SOUND]) < 5 * MS
    assert timestamps.jumps == 0


def test_both_jump_and_meet_again() -> None:
    timestamps = ClockMapping()
    cuts = []
    for index in range(200):
        jump = 7777 * S if index >= 100 else 0
        now = S + index * FRAME
        video, cut = timestamps.place(VIDEO, index * FRAME + jump, now, FRAME)
        cuts += [index] if cut else []
        sound, _ = timestamps.place(SOUND, index * FRAME + jump, now + 5 * MS, FRAME)
    assert cuts == [100]
    assert timestamps.jumps == 2
    assert abs(video - sound) < 6 * MS


def test_a_pause_is_a_jump_and_what_follows_is_on_time() -> None:
    timestamps = ClockMapping()
    for index in range(50):
        timestamps.place(VIDEO, index * FRAME, S + index * FRAME, FRAME)
    late = 3 * S
    timestamp, jumped = timestamps.place(VIDEO, 50 * FRAME, S + 50 * FRAME + late, FRAME)
    assert jumped
    assert timestamp == S + 50 * FRAME + late


def test_without_timestamps_the_arrival_counts() -> None:
    timestamps = ClockMapping()
    found = [timestamps.place(VIDEO, None, S + index * FRAME, FRAME)[0] for index in range(5)]
    assert found == [S + index * FRAME for index in range(5)]
    # What lies between others that have one goes on from the one before.
    timestamps.place(VIDEO, 0, 2 * S, FRAME)
    assert timestamps.place(VIDEO, None, 2 * S + 70 * MS, FRAME)[0] == 2 * S + FRAME


def test_another_connection_begins_its_own_count() -> None:
    timestamps = ClockMapping()
    timestamps.place(VIDEO, 9 * S, S, FRAME)
    timestamps.renew()
    timestamp, jumped = timestamps.place(VIDEO, 0, 2 * S, FRAME)
    assert (timestamp, jumped) == (2 * S, False)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_moments_rise_and_are_not_in_the_future(seed: int) -> None:
    dice = random.Random(seed)
    timestamps = ClockMapping()
    now, pts = 10 * S, dice.randrange(1 << 40)
    last: dict[int, int] = {}
    latest = {VIDEO: 0, SOUND: 0}
    for _ in range(400):
        now += dice.choice([0, 0, FRAME, FRAME, FRAME, dice.randrange(3 * S)])
        pts += dice.choice([FRAME, FRAME, FRAME, 0, -FRAME, dice.randrange(-(1 << 50), 1 << 50)])
        stream = dice.choice([VIDEO, VIDEO, SOUND])
        given = None if dice.random() < 0.1 else pts
        if dice.random() < 0.01:
            timestamps.renew()
        timestamp, _ = timestamps.place(stream, given, now, FRAME)
        # By enough for containers and RTP, which count in milliseconds and ticks.
        assert timestamp >= last.get(stream, 0) + 2 * MS
        latest[stream] = max(now, latest[stream] + 2 * MS)
        assert timestamp <= latest[stream]
        # Nor is anything put off into the past for long.
        assert timestamp >= now - 1.1 * S - 400 * FRAME * (given is None)
        last[stream] = timestamp
