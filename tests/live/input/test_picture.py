"""What passes between the processes of a live feed is whole, and the newest there is."""

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from stream.colors import ColorTags
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.sound_ring import SoundFormat, SoundRing
from stream.live.output.slate import Letterbox
from tests.feeds import MULAW, PATIENCE_S, SPAWN, gray

SIZES = (1920, 1080), *[(160, 90)] * 9
"""While somebody copies a large picture, the small ones behind it take its place."""
NS = 1_000_000_000


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox(SPAWN, 1920 * 1080, 2)
    yield mailbox
    mailbox.close(remove=True)


@pytest.fixture
def ring() -> Iterator[SoundRing]:
    ring = SoundRing()
    yield ring
    ring.close(remove=True)


def test_what_is_put_comes_out(mailbox: Mailbox) -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, (540, 640), np.uint8)
    said: dict[str, Any] = {"cut": True, "damaged": True, "aspect": Fraction(16, 11)}
    put = Picture(data, 7 * NS, 8 * NS, 29.97, ColorTags(1, 13, 1, 2), **said)
    assert mailbox.newest() is None
    assert mailbox.put(put) == 1
    got = mailbox.newest()
    assert got is not None
    assert got.number == 1
    assert np.array_equal(got.data, data)
    assert (got.timestamp, got.arrived, got.rate, got.tags) == (
        7 * NS,
        8 * NS,
        29.97,
        (1, 13, 1, 2),
    )
    assert {name: getattr(got, name) for name in said} == said
    luma, u, v = got.planes
    assert (luma.shape, u.shape, v.shape) == ((360, 640), (180, 320), (180, 320))
    assert np.array_equal(np.concatenate([luma.ravel(), u.ravel(), v.ravel()]), data.ravel())


def test_the_newest_takes_the_place_of_the_ones_before(mailbox: Mailbox) -> None:
    for level in range(1, 11):
        mailbox.put(gray(level, level * NS))
    got = mailbox.newest(3)
    assert got is not None
    assert (got.number, got.timestamp, int(got.data[0, 0])) == (10, 10 * NS, 10)
    assert mailbox.newest(10) is None
    assert mailbox.count == 10


def test_sizes_change(mailbox: Mailbox) -> None:
    for number, size in enumerate([(640, 360), (1920, 1080), (2, 2), (320, 180)]):
        mailbox.put(gray(number, size=size))
        got = mailbox.newest()
        assert got is not None
        assert got.size == size
        assert (got.planes[0] == number).all()
    with pytest.raises(ValueError, match="1922x1080 pixels are too many"):
        mailbox.put(gray(1, size=(1922, 1080)))
    assert mailbox.newest() is not None, "what was there stays"


def test_a_cut_is_not_lost_with_the_picture_that_told_of_it(mailbox: Mailbox) -> None:
    for number in range(1, 8):
        mailbox.put(gray(number, cut=number == 5))
    for after, cut in ((0, True), (4, True), (5, False), (6, False)):
        got = mailbox.newest(after)
        assert got is not None
        assert got.cut is cut, f"after {after}"
    mailbox.put(gray(8))
    got = mailbox.newest(7)
    assert got is not None
    assert not got.cut


def test_each_reader_is_waked(mailbox: Mailbox) -> None:
    assert not mailbox.wait(0, 0.01)
    for level in range(3):
        mailbox.put(gray(level))
    assert mailbox.wait(0, 0)
    assert not mailbox.wait(0, 0.01), "three pictures wake once"
    assert mailbox.wait(1, 0)


def numbered(number: int) -> Picture:
    """A picture that says in each of its bytes which one it is, and by its moment and rate too."""
    width, height = SIZES[number % 10]
    data = np.full((height * 3 // 2, width), number % 251, np.uint8)
    return Picture(data, number, number, number)


def put_for_ever(mailbox: Mailbox) -> None:
    number = mailbox.count
    while True:
        number += 1
        mailbox.put(numbered(number))


def test_pictures_are_whole_and_survive_a_killed_process(mailbox: Mailbox) -> None:
    """The process that puts is killed again and again, most likely in the midst of a picture."""
    seen = taken = 0
    for _ in range(3):
        process = SPAWN.Process(target=put_for_ever, args=(mailbox,), daemon=True)
        process.start()
        begun, end = mailbox.count, time.monotonic() + PATIENCE_S
        while mailbox.count < begun + 1000 and time.monotonic() < end:
            if not mailbox.wait(1, 1):
                continue
            picture = mailbox.newest(seen)
            if picture is None:
                continue
            assert picture.number == picture.timestamp == picture.rate > seen
            assert (picture.data == picture.number % 251).all(), "torn"
            assert picture.size == SIZES[picture.number % 10]
            seen, taken = picture.number, taken + 1
        process.kill()
        process.join()
        last = mailbox.newest()
        assert last is not None
        assert (last.data == last.number % 251).all(), "torn by the end of the process"
        assert mailbox.put(numbered(last.number + 1)) == last.number + 1
    assert taken > 30


def test_sound_comes_in_order_and_once(ring: SoundRing) -> None:
    ring.announce(MULAW)
    for number in range(10):
        ring.put(bytes([number]) * 160, number * NS, NS // 50)
    first, at = ring.since(4)
    assert [sound.data[0] for sound in first] == [4, 5, 6, 7, 8, 9]
    assert {sound.version for sound in first} == {ring.version}
    assert [sound.timestamp for sound in first] == [number * NS for number in range(4, 10)]
    assert ring.since(at) == ([], at)
    with pytest.raises(ValueError, match="16385 bytes is too large"):
        ring.put(bytes(16385), 0)


def test_late_readers_get_the_newest_sound(ring: SoundRing) -> None:
    for number in range(1000):
        ring.put(number.to_bytes(2, "big"), number)
    sounds, at = ring.since(0)
    assert at == 1000
    assert [sound.timestamp for sound in sounds] == list(range(872, 1000))


def test_formats_are_told_with_each_packet(ring: SoundRing) -> None:
    assert ring.format() is None
    formats = MULAW, SoundFormat("aac", 48_000, 2, b"\x11\x90\xff", 1024)
    for format in formats:
        ring.announce(format)
        assert ring.format() == format
        ring.put(b"x", 0)
    ring.announce(None)
    assert ring.format() is None
    assert [sound.version for sound in ring.since(0)[0]] == [1, 2]


def beep(number: int) -> tuple[bytes, int, int]:
    """A packet that says in each of its bytes which one it is, and by its moment and length too."""
    return bytes([number % 251]) * (1 + number % 5000), number, number


def sound_for_ever(ring: SoundRing) -> None:
    number = ring.count
    while True:
        number += 1
        if number % 50 == 0:
            ring.announce(replace(MULAW, extradata=bytes([number % 251]) * (number % 900)))
        ring.put(*beep(number))


def test_sound_is_whole_and_survives_a_killed_process(ring: SoundRing) -> None:
    seen = taken = 0
    for _ in range(3):
        process = SPAWN.Process(target=sound_for_ever, args=(ring,), daemon=True)
        process.start()
        begun, end = ring.count, time.monotonic() + PATIENCE_S
        while ring.count < begun + 2000 and time.monotonic() < end:
            sounds, seen = ring.since(seen)
            for sound in sounds:
                assert (sound.data, sound.timestamp, sound.duration) == beep(sound.timestamp), (
                    "torn"
                )
            taken += len(sounds)
            format = ring.format()
            if format is not None:
                assert len(set(format.extradata)) <= 1, "torn"
        process.kill()
        process.join()
        ring.announce(MULAW)
        assert ring.format() == MULAW
        ring.put(*beep(ring.count + 1))
    assert taken > 500


@pytest.mark.parametrize("old", [False, True])
def test_a_name_of_any_letters_is_shown(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenCV 4 as well, whose letters are those of ASCII."""
    if old:
        monkeypatch.delattr(cv2, "FontFace", raising=False)
    names = ["yard", "Stra\u00dfe", "Su\u0308d", "\u0414\u0432\u043e\u0440", "\u5ead\u9662-2"]
    slates = [Letterbox((640, 360)).slate(None, 0, name=name).planes[0] for name in names]
    assert all((slate[60:140] > 200).any() for slate in slates)
    assert len({slate.tobytes() for slate in slates}) == len(names)


def test_without_a_signal_it_is_said_of_which_camera_and_since_when() -> None:
    def rows(**words: str) -> list[bool]:
        """Which of a third of the picture has letters."""
        slate = Letterbox((640, 360)).slate(None, 0, **words)
        return [bool((part > 200).any()) for part in np.split(slate.planes[0][60:300], 3)]

    assert rows() == [False, True, False]
    assert rows(name="yard") == [True, True, False]
    assert rows(name="yard", since="2026-11-29 14:03:12") == [True, True, True]
    assert rows(name="Hof-Süd")[0]
    long = Letterbox((160, 120)).slate(None, 0, name="n" * 64)
    assert not (long.planes[0][:, :4] > 200).any(), "it does not fit"
