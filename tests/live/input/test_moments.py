"""Timestamps of a camera on this machine's clock, whatever the camera does."""

import random
from itertools import pairwise

import pytest

from stream.live.input.clock_mapping import Moments

MS = 1_000_000
S = 1_000_000_000
FRAME = 40 * MS
VIDEO, SOUND = 0, 1


def test_jitter_is_taken_out() -> None:
    """Frames that come when they like are shown evenly, as soon as one has come quickly."""
    dice = random.Random(1)
    moments = Moments()
    found = []
    for index in range(500):
        arrived = S + index * FRAME + (dice.randrange(30 * MS) if index % 10 else 0)
        found.append(moments.place(VIDEO, index * FRAME, arrived, FRAME)[0])
    steps = [b - a for a, b in pairwise(found[10:])]
    assert all(abs(step - FRAME) < MS for step in steps)
    assert moments.jumps == 0


@pytest.mark.parametrize("speed", [0.999, 0.9999, 1.0001, 1.001, 1.01])
def test_drift_is_followed_without_jumps(speed: float) -> None:
    moments = Moments()
    worst = 0
    for index in range(25 * 600):
        arrived = S + index * FRAME
        moment, jumped = moments.place(VIDEO, round(index * FRAME * speed), arrived, FRAME)
        assert not jumped
        worst = max(worst, arrived - moment)
    # A camera whose seconds are 0.1 % short falls behind by 20 ms before it is followed.
    assert worst <= abs(speed - 1) * 20 * S * 1.1 + MS


def test_a_start_in_arrears_is_made_good() -> None:
    """FFmpeg gives what it gathered at once: then each frame is shown as it comes."""
    moments = Moments()
    now = 5 * S
    for index in range(60):
        now = max(now + 2 * MS, 4 * S + index * FRAME)
        moment, _ = moments.place(VIDEO, index * FRAME, now, FRAME)
    assert moment == 4 * S + 59 * FRAME


def test_sound_and_picture_stay_in_sync() -> None:
    dice = random.Random(2)
    moments = Moments()
    events = [(index * FRAME, VIDEO) for index in range(250)]
    events += [(index * 21 * MS, SOUND) for index in range(470)]
    last: dict[int, int] = {}
    for pts, stream in sorted(events):
        # The picture takes a quarter of a second longer through the camera than the sound.
        delay = 250 * MS if stream == VIDEO else dice.randrange(20 * MS)
        step = FRAME if stream == VIDEO else 21 * MS
        moment, _ = moments.place(stream, pts, S + pts + delay, step)
        last[stream] = moment - pts
    assert abs(last[VIDEO] - last[SOUND]) < 5 * MS
    assert moments.jumps == 0


def test_both_jump_and_meet_again() -> None:
    moments = Moments()
    cuts = []
    for index in range(200):
        jump = 7777 * S if index >= 100 else 0
        now = S + index * FRAME
        video, cut = moments.place(VIDEO, index * FRAME + jump, now, FRAME)
        cuts += [index] if cut else []
        sound, _ = moments.place(SOUND, index * FRAME + jump, now + 5 * MS, FRAME)
    assert cuts == [100]
    assert moments.jumps == 2
    assert abs(video - sound) < 6 * MS


def test_a_pause_is_a_jump_and_what_follows_is_on_time() -> None:
    moments = Moments()
    for index in range(50):
        moments.place(VIDEO, index * FRAME, S + index * FRAME, FRAME)
    late = 3 * S
    moment, jumped = moments.place(VIDEO, 50 * FRAME, S + 50 * FRAME + late, FRAME)
    assert jumped
    assert moment == S + 50 * FRAME + late


def test_without_timestamps_the_arrival_counts() -> None:
    moments = Moments()
    found = [moments.place(VIDEO, None, S + index * FRAME, FRAME)[0] for index in range(5)]
    assert found == [S + index * FRAME for index in range(5)]
    # What lies between others that have one goes on from the one before.
    moments.place(VIDEO, 0, 2 * S, FRAME)
    assert moments.place(VIDEO, None, 2 * S + 70 * MS, FRAME)[0] == 2 * S + FRAME


def test_another_connection_begins_its_own_count() -> None:
    moments = Moments()
    moments.place(VIDEO, 9 * S, S, FRAME)
    moments.renew()
    moment, jumped = moments.place(VIDEO, 0, 2 * S, FRAME)
    assert (moment, jumped) == (2 * S, False)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_moments_rise_and_are_not_in_the_future(seed: int) -> None:
    dice = random.Random(seed)
    moments = Moments()
    now, pts = 10 * S, dice.randrange(1 << 40)
    last: dict[int, int] = {}
    together = 0
    for _ in range(400):
        pause = dice.choice([0, 0, FRAME, FRAME, FRAME, dice.randrange(3 * S)])
        now += pause
        together = together + 1 if pause == 0 else 0
        pts += dice.choice([FRAME, FRAME, FRAME, 0, -FRAME, dice.randrange(-(1 << 50), 1 << 50)])
        stream = dice.choice([VIDEO, VIDEO, SOUND])
        given = None if dice.random() < 0.1 else pts
        if dice.random() < 0.01:
            moments.renew()
        moment, _ = moments.place(stream, given, now, FRAME)
        assert moment > last.get(stream, 0)
        assert moment <= now + 400
        # Nor is anything put off into the past for long.
        assert moment >= now - 1.1 * S - 400 * FRAME * (given is None)
        last[stream] = moment
