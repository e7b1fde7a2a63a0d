"""Before and after of a file, beside each other."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from filters import Coding
from stream.frame import Frame, Plane
from stream.ipc.window import Window
from stream.stages.preview_tap import PreviewTap, picture_of
from tests.feeds import SPAWN


def frame(
    level: int, pts: int = 0, coding: Coding | None = None, size: tuple[int, int] = (32, 16)
) -> Frame:
    coding = coding or Coding()
    (width, height), (across, down) = size, coding.subsampling
    parts = [((height, width), level)]
    if not coding.gray:
        parts += [((-(-height // down), -(-width // across)), int(coding.neutral))] * 2
    planes: list[Plane] = [
        np.full(shape, code, np.uint8) if coding.depth == 8 else np.full(shape, code, np.uint16)
        for shape, code in parts
    ]
    return Frame(tuple(planes), coding, pts, Fraction(1, 25))


class Late:
    """A stage that is two frames behind, and makes them brighter."""

    def __init__(self) -> None:
        self._held: deque[Frame] = deque()

    def push(self, frame: Frame) -> Iterator[Frame]:
        self._held.append(frame)
        if len(self._held) > 2:
            yield self._made()

    def flush(self) -> Iterator[Frame]:
        while self._held:
            yield self._made()

    def _made(self) -> Frame:
        before = self._held.popleft()
        return replace(before, planes=(before.planes[0] + 100, *before.planes[1:]))


@pytest.fixture
def window() -> Iterator[Window]:
    made = Window(SPAWN, 64 * 64, 64 * 64)
    yield made
    made.close(remove=True)


def test_each_after_is_beside_its_own_before(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.stages.preview_tap._EVERY_NS", 0)
    looked = PreviewTap(Late(), window)
    window.look()
    passed = []
    for number in range(8):
        out = [*looked.push(frame(20 + number, number))]
        passed += out
        if out:
            pair = window.newest()
            assert pair is not None
            before, after = (int(each.planes[0][0, 0]) for each in pair)
            assert before == 20 + out[-1].pts
            assert after == before + 100
    passed += looked.flush()
    assert [each.pts for each in passed] == list(range(8))
    assert window.count == 8


def test_nothing_is_copied_while_nobody_looks(window: Window) -> None:
    looked = PreviewTap(Late(), window)
    for number in range(8):
        list(looked.push(frame(20, number)))
    assert window.count == 0
    window.look()
    list(looked.push(frame(20, 9)))
    assert window.count == 1


def test_what_the_window_has_no_room_for_is_left_out(window: Window) -> None:
    """The job goes on."""
    looked = PreviewTap(Late(), window)
    window.look()
    for pts in range(4):
        made = list(looked.push(frame(60, pts, size=(80, 64))))
        assert len(made) == (pts > 1)
    assert window.count == 0


def test_no_more_than_can_be_seen(window: Window) -> None:
    looked = PreviewTap(Late(), window)
    window.look()
    for number in range(200):
        list(looked.push(frame(20, number)))
    assert 1 <= window.count < 20


@pytest.mark.parametrize(
    ("coding", "code", "shown"),
    [
        (Coding(), 120, 120),
        (Coding(depth=10), 480, 120),
        (Coding(depth=10, subsampling=(1, 1), matrix="bt2020"), 480, 120),
        (Coding(depth=12, full_range=True), 2056, 128),
        (Coding(gray=True), 120, 120),
    ],
)
@pytest.mark.parametrize("size", [(32, 16), (33, 17)])
def test_any_form_becomes_what_pages_show(
    coding: Coding, code: int, shown: int, size: tuple[int, int]
) -> None:
    made = picture_of(frame(code, coding=coding, size=size), 5)
    assert made.size == (32, 16)
    luma, *chroma = made.planes
    assert np.all(luma == shown)
    assert all(np.all(np.abs(each.astype(int) - 128) <= 1) for each in chroma)
    assert made.tags[0] == (9 if coding.matrix == "bt2020" else 1)
    assert made.tags[3] == (2 if coding.full_range else 1)
    assert made.timestamp == 5
