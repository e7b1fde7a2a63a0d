"""Cuts are told from all else that changes a picture."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.scene import Cuts
from tests.filters.test_fusion import scene

HEIGHT, WIDTH = 144, 192


def test_cuts_are_told_from_motion_flashes_and_fades() -> None:
    wide = cv2.cvtColor(scene(10, 200, 900), cv2.COLOR_RGB2GRAY)
    pan = [wide[:HEIGHT, 14 * n : 14 * n + WIDTH] for n in range(40)]
    flash = [np.clip(pan[0].astype(int) + (90 if n == 5 else 0), 0, 255) for n in range(10)]
    fade = [pan[0] * (1 - n / 30) for n in range(25)]
    other = cv2.cvtColor(scene(11, HEIGHT, WIDTH), cv2.COLOR_RGB2GRAY)

    def found(video: Sequence[NDArray[Any]]) -> list[int]:
        cuts = Cuts()
        return [n for n, each in enumerate(video) if cuts.push(np.asarray(each, np.uint8))]

    assert found(pan) == []
    assert found(flash) == []
    assert found(fade) == []
    assert found([*pan[:8], *[other] * 3, *pan[8:12]]) == [8, 11]


def test_cuts_are_the_same_after_going_on() -> None:
    one, other = (
        cv2.cvtColor(scene(seed, HEIGHT, WIDTH), cv2.COLOR_RGB2GRAY) // 2 for seed in (12, 13)
    )
    # Where the picture flickers a change of scene is nothing sudden, and later it is.
    flicker = [one + 90 * (n % 2) for n in range(8)]
    video = [*flicker, *[other] * 12, one, one]
    cuts = Cuts()
    states, found = [], []
    for each in video:
        found.append(cuts.push(each.astype(np.uint8)))
        states.append(cuts.state)
    assert [n for n, cut in enumerate(found) if cut] == [20]
    for done in range(1, len(video)):
        rest = Cuts(states[done - 1])
        assert [rest.push(each.astype(np.uint8)) for each in video[done:]] == found[done:]
