"""Lists of moments and how far they agree."""

from fractions import Fraction

from stream.verify.timestamps import Timestamps, agree, best_shift, meet

HALF = Fraction(1, 2000)
FRAMES = Timestamps(range(250), Fraction(1, 25))


def test_they_are_exact_across_clocks() -> None:
    film = Timestamps([0, 1001, 2002], Fraction(1, 24000))
    rounded = Timestamps([0, 42, 83], Fraction(1, 1000))
    assert agree(film, rounded, Fraction(0), HALF).deviating == 0
    assert agree(film, rounded, Fraction(0), Fraction(0)).deviating == 2
    assert agree(film, film, Fraction(0), Fraction(0)).worst == 0
    again = Timestamps.of([Fraction(1001 * index, 24000) for index in range(3)])
    assert agree(film, again, Fraction(0), Fraction(0)).deviating == 0


def test_what_is_missing_is_found() -> None:
    rest = FRAMES.pick([*range(100), *range(101, 250)])
    assert meet(FRAMES, rest, Fraction(0), HALF).missing == (100,)
    assert meet(rest, FRAMES, Fraction(0), HALF).added == (100,)


def test_a_shift_of_all_is_found() -> None:
    later = Timestamps([1000 + 40 * index for index in range(250)], Fraction(1, 1000))
    step = later.base
    assert best_shift(FRAMES, later, step / 2, step, Fraction(0)) == 1
    without_last = later.pick(range(249))
    assert best_shift(FRAMES, without_last, step / 2, step, Fraction(1)) == 1
    assert best_shift(Timestamps([], step), later, step / 2, step, Fraction(0)) == 0


def test_order() -> None:
    assert FRAMES.orderly
    assert not Timestamps([0, 2, 2], Fraction(1)).orderly
    assert not Timestamps([0, None, 2], Fraction(1)).orderly
    assert Timestamps([None, 1, None, 3, None], Fraction(1)).last == 3
