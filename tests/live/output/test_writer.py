"""An output always gets something, in order, and is opened again where it fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise

import av
import numpy as np
import pytest

from stream.ipc.child import Control
from stream.ipc.mailbox import Picture, Size
from stream.ipc.messages import Heartbeat, Stop
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.output.pacing import Feed
from stream.live.output.writer import LoginRefusedError, Writer
from tests.feeds import MULAW, PATIENCE_S, SPAWN, Lane, gray

NS = 1_000_000_000
SHORT_S = 0.3


@dataclass
class Kept:
    """An output that keeps what it gets, and fails when it is told to."""

    resizes: bool = False
    square: bool = False
    repeats: bool = True
    name: str = "kept"
    readers: int = 0
    refused: int = 0
    sounds: tuple[str, ...] = "pcm_mulaw", "aac"
    """What it takes."""
    fails: list[Exception] = field(default_factory=list)
    """Raised by the next calls of `open`, one after the other."""
    breaks: Exception | None = None
    """Raised by the next `push`."""
    opened: list[tuple[Size, SoundFormat | None]] = field(default_factory=list)
    tried_s: list[float] = field(default_factory=list)
    pushed: list[Picture] = field(default_factory=list)
    heard: list[tuple[Sound, int]] = field(default_factory=list)
    """With the moment of the newest picture."""
    closed: int = 0

    def takes(self, sound: SoundFormat) -> bool:
        return sound.codec in self.sounds

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> "Kept":
        self.tried_s.append(time.monotonic())
        if self.fails:
            raise self.fails.pop(0)
        self.opened.append((first.size, sound))
        return self

    def push(self, picture: Picture) -> None:
        if self.breaks is not None:
            error, self.breaks = self.breaks, None
            raise error
        self.pushed.append(picture)

    def sound(self, sound: Sound) -> None:
        self.heard.append((sound, self.pushed[-1].timestamp))

    def close(self) -> None:
        self.closed += 1

    def run(self, control: Control, feed: Feed, size: Size | None) -> None:
        Writer(control, feed, self, size).run()

    @property
    def levels(self) -> list[int]:
        """The luma in a corner of each picture."""
        return [int(picture.planes[0][0, 0]) for picture in self.pushed]


@dataclass
class Told:
    """What a writer told."""

    heartbeats: list[Heartbeat] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def heartbeat(self) -> Heartbeat:
        return self.heartbeats[-1]


@contextmanager
def written(lane: Lane, target: Kept, size: Size | None = None) -> Iterator[Told]:
    """Let a writer work; at the end it is stopped, and what it told is there."""
    ours, theirs = SPAWN.Pipe()
    told = Told()
    work = threading.Thread(target=target.run, args=(Control(theirs), lane.feed, size))
    work.start()
    try:
        yield told
    finally:
        ours.send(Stop())
        work.join(PATIENCE_S)
        while ours.poll():
            message = ours.recv()
            if isinstance(message, Heartbeat):
                told.heartbeats.append(message)
            else:
                told.lines.append(message.text)
        ours.close()
        theirs.close()
    assert not work.is_alive()
    assert target.closed >= len(target.opened)
    for before, after in pairwise(target.pushed):
        assert after.timestamp > before.timestamp


def until(done: Callable[[], object]) -> None:
    """Wait for what has to come."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.fixture
def lane() -> Iterator[Lane]:
    with Lane() as lane:
        yield lane


def test_restored_pictures_are_preferred(lane: Lane) -> None:
    target = Kept()
    with written(lane, target) as told:
        for _ in range(10):
            timestamp = time.monotonic_ns()
            lane.restored.put(gray(200, timestamp - NS // 5))
            lane.camera.put(gray(50, timestamp))
            until(lambda: target.pushed)
            time.sleep(0.04)
        until(lambda: target.pushed and target.pushed[-1].timestamp >= timestamp - NS // 5)
    assert set(target.levels) == {200}
    assert told.heartbeat.frames + told.heartbeat.dropped == 10
    assert told.heartbeat.connects == 1


def test_the_cameras_own_picture_is_shown_while_the_network_gives_none(lane: Lane) -> None:
    target = Kept()
    with written(lane, target):

        def shown(level: int, restored: bool) -> bool:
            timestamp = time.monotonic_ns()
            lane.camera.put(gray(50, timestamp))
            if restored:
                lane.restored.put(gray(200, timestamp - NS // 5))
            time.sleep(0.04)
            return level in target.levels[-1:]

        until(lambda: shown(50, restored=False))
        until(lambda: shown(200, restored=True))
        changed_s = time.monotonic()
        until(lambda: shown(50, restored=False))
        assert time.monotonic() - changed_s > 0.7, "not at once"
    levels = [after for before, after in pairwise([0, *target.levels]) if after != before]
    assert levels == [50, 200, 50]


def test_without_a_signal_the_last_picture_is_repeated_and_then_a_slate_shown(lane: Lane) -> None:
    target = Kept()
    with written(lane, target) as told:
        lane.restored.put(gray(200))
        begun = time.monotonic()
        until(lambda: target.levels[:3] == [200] * 3)
        until(lambda: target.levels[-1] < 100)
        assert time.monotonic() - begun > 1.9
        until(lambda: max(target.levels[-5:]) < 100)
        lane.restored.put(gray(201))
        until(lambda: target.levels[-1] == 201)
    slates = [picture for picture in target.pushed if picture.planes[0][0, 0] < 100]
    assert all((picture.planes[0] > 220).sum() > 20 for picture in slates), "the words are missing"
    assert told.heartbeat.frames == 2
    assert told.heartbeat.repeats == len(target.pushed) - 2
    assert {"live", "no signal"} <= {heartbeat.state for heartbeat in told.heartbeats}
    assert sum(len(heartbeat.latencies_ms) for heartbeat in told.heartbeats) == 2


def test_with_a_size_the_slate_is_up_before_the_camera(lane: Lane) -> None:
    target = Kept()
    with written(lane, target, (320, 180)):
        until(lambda: target.pushed)
        lane.restored.put(gray(200))
        until(lambda: 200 in target.levels)
    assert target.opened == [((320, 180), None)]


def test_pictures_left_by_a_source_that_is_gone_are_no_signal(lane: Lane) -> None:
    lane.restored.put(gray(200, time.monotonic_ns() - 60 * NS))
    target = Kept()
    with written(lane, target) as told:
        until(lambda: len(target.pushed) > 3)
    assert max(target.levels) < 100
    assert told.heartbeat.frames == 0
    assert all(not heartbeat.latencies_ms for heartbeat in told.heartbeats)
    assert time.monotonic_ns() - target.pushed[0].timestamp < 30 * NS


def test_another_size_is_fitted_onto_the_canvas(lane: Lane) -> None:
    target = Kept()
    with written(lane, target):
        lane.restored.put(gray(200, size=(320, 180)))
        until(lambda: target.pushed)
        lane.restored.put(gray(201, size=(160, 120)))
        until(lambda: len(target.pushed) > 1)
    assert target.opened == [((320, 180), None)]
    luma, u, _ = target.pushed[1].planes
    assert luma.shape == (180, 320)
    assert (luma[:, 40:280] == 201).all()
    assert (luma[:, :40] == 16).all()
    assert (luma[:, 280:] == 16).all()
    assert (u == 128).all()


@pytest.mark.parametrize("square", [False, True])
def test_a_canvas_has_pixels_of_one_shape(lane: Lane, square: bool) -> None:
    target = Kept(square=square)
    with written(lane, target):
        lane.restored.put(replace(gray(200, size=(320, 180)), aspect=Fraction(3, 2)))
        until(lambda: target.pushed)
        lane.restored.put(gray(201, size=(320, 180)))
        until(lambda: len(target.pushed) > 1)
    first, second = target.pushed[:2]
    # What was as wide as 480 pixels of the second one is one and a half times as wide.
    width, left = (480, 80) if square else (320, 54)
    shape = (width, 180), Fraction(1) if square else Fraction(3, 2)
    assert first.shape == second.shape == shape
    assert (first.planes[0] == 200).all()
    assert (second.planes[0][:, left:-left] == 201).all()
    assert (second.planes[0][:, : left - 2] == 16).all()


def test_outputs_that_can_are_opened_anew_for_another_shape_of_pixels(lane: Lane) -> None:
    target = Kept(resizes=True)
    with written(lane, target) as told:
        lane.restored.put(replace(gray(200), aspect=Fraction(16, 11)))
        until(lambda: target.pushed)
        lane.show(lambda: len(target.opened) > 1)
        lane.show(lambda: target.pushed[-1].aspect == 1)
    assert told.lines == ["begins anew, as the picture is now 160x90"]


def test_outputs_that_can_are_opened_anew_for_another_size(lane: Lane) -> None:
    target = Kept(resizes=True)
    with written(lane, target) as told:
        lane.restored.put(gray(200, size=(320, 180)))
        until(lambda: target.pushed)
        lane.show(lambda: len(target.opened) > 1, size=(160, 120))
    assert [size for size, _ in target.opened] == [(320, 180), (160, 120)]
    assert told.lines == ["begins anew, as the picture is now 160x120"]


def test_a_size_that_does_not_last_is_fitted_into_what_is_open(lane: Lane) -> None:
    target = Kept(resizes=True)
    with written(lane, target):
        lane.restored.put(gray(200, size=(320, 180)))
        until(lambda: target.pushed)
        begun = time.monotonic()
        while time.monotonic() - begun < 2.5:
            for size in ((320, 180), (160, 120), (64, 64)):
                lane.restored.put(gray(200, size=size))
                time.sleep(0.02)
    assert target.opened == [((320, 180), None)]
    assert {picture.size for picture in target.pushed} == {(320, 180)}


def test_a_repeat_is_never_at_the_moment_of_the_picture_after_it(lane: Lane) -> None:
    """The network takes 2.5 to 4 frame times, so that repeats come."""
    target, step, own = Kept(), NS // 25, set()
    chance = np.random.default_rng(1)
    with written(lane, target) as told:
        lane.restored.put(gray(99, time.monotonic_ns() - 4 * step))
        until(lambda: target.pushed)
        for number in range(40):
            time.sleep(chance.uniform(0.1, 0.16))
            # What the camera had filmed when the network took it up.
            taken = time.monotonic_ns() - round(chance.uniform(2.5, 4.0) * step)
            picture = gray(100 + number, taken // step * step)
            lane.restored.put(picture)
            own.add(picture.timestamp)
    timestamps = [picture.timestamp for picture in target.pushed]
    assert told.heartbeat.repeats > 20
    assert min(np.diff(timestamps)) >= 0.4 * step
    assert len(own.intersection(timestamps)) > 30, "repeats keep out of the way"


def test_nothing_is_repeated_where_it_is_not_wanted(lane: Lane) -> None:
    target = Kept(repeats=False)
    with written(lane, target):
        lane.restored.put(gray(200))
        until(lambda: target.pushed)
        time.sleep(1.0)
    assert target.levels == [200]


def test_a_failing_output_is_opened_again_after_longer_and_longer_times(lane: Lane) -> None:
    target = Kept(fails=[OSError("no server"), OSError("no server"), ValueError("other")])
    with written(lane, target) as told:
        lane.show(lambda: len(target.pushed) > 3)
        target.breaks = BrokenPipeError(32, "Broken pipe")
        lane.show(lambda: len(target.opened) == 2)
    first, second, third = (after - before for before, after in pairwise(target.tried_s[:4]))
    assert 0.2 <= first < second < third
    assert told.lines == [
        "no server; trying again",
        "other; trying again",
        "Broken pipe; trying again",
    ]
    assert told.heartbeat.connects == 2


def test_back_off_begins_anew_only_after_a_while_that_was_good(lane: Lane) -> None:
    target = Kept()
    with written(lane, target):
        for times in (1, 2, 3, 4):
            lane.show(partial(lambda times: len(target.opened) == times, times), rate=50)
            target.breaks = OSError("closed")
    waits = [after - before for before, after in pairwise(target.tried_s)]
    assert waits == sorted(waits), "it grows, though each time the output could be opened"


def test_a_refused_login_is_not_hammered(lane: Lane) -> None:
    target = Kept(fails=[LoginRefusedError("the server refuses the user or password")] * 9)
    with written(lane, target) as told:
        lane.show(seconds=1.5)
    assert len(target.tried_s) == 1
    assert told.heartbeat.state == "connecting"


def test_sound_goes_with_its_pictures(lane: Lane) -> None:
    target = Kept()
    with written(lane, target):
        lane.hear(MULAW, [bytes([number]) * 160 for number in range(250)])
        lane.show(lambda: len(target.heard) > 60)
    assert target.opened == [((160, 90), MULAW)]
    timestamps = [sound.timestamp for sound, _ in target.heard]
    assert np.diff(timestamps).tolist() == [20_000_000] * (len(timestamps) - 1), "none is missing"
    assert all(sound.timestamp <= picture + NS // 10 for sound, picture in target.heard)


def test_sound_waits_for_pictures_that_are_late(lane: Lane) -> None:
    target = Kept()
    with written(lane, target):
        lane.sounds.announce(MULAW)
        begun = time.monotonic_ns()
        for number in range(30):
            lane.sounds.put(b"x" * 160, begun + number * 20_000_000, 20_000_000)
        lane.restored.put(gray(200, begun + 200_000_000))
        until(lambda: target.heard)
        assert target.heard[-1][0].timestamp <= begun + 300_000_000
        lane.restored.put(gray(201, begun + 500_000_000))
        until(lambda: len(target.heard) == 30)


def test_sound_that_comes_later_opens_the_output_again(lane: Lane) -> None:
    target = Kept()
    other = SoundFormat("aac", 48_000, 1, b"\x11\x88", 1024)
    with written(lane, target, (160, 90)) as told:
        until(lambda: target.pushed)
        lane.hear(MULAW, [b"m" * 160])
        lane.show(lambda: len(target.heard) > 3)
        lane.sounds.announce(None)
        lane.show(seconds=SHORT_S)
        lane.hear(replace(MULAW, frame_size=160), [b"m" * 160])
        lane.show(seconds=SHORT_S)
        assert len(target.opened) == 2, "the same sound again is no reason"
        heard = len(target.heard)
        lane.hear(other, [b"a" * 160])
        lane.show(lambda: any(sound.data[0] == ord("a") for sound, _ in target.heard))
    assert told.lines == [
        f"begins anew, as there is {each} sound now" for each in ("pcm_mulaw", "aac")
    ]
    assert [sound for _, sound in target.opened] == [None, MULAW, other]
    assert all(sound.data[0] == ord("m") for sound, _ in target.heard[:heard])
    assert target.heard[-1][0].data[0] == ord("a")


@pytest.mark.parametrize(
    ("codec", "rate", "channels"),
    [
        ("pcm_s16le", 48_000, 1),
        ("pcm_mulaw", 8000, 1),
        ("pcm_s16be", 44_100, 2),
        ("pcm_u8", 6000, 1),
    ],
)
def test_sound_that_is_not_taken_is_coded_anew(
    codec: str, rate: int, channels: int, lane: Lane
) -> None:
    """Its tone is heard when it was, without gaps."""
    target = Kept(sounds=("aac",))
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    samples = rate // 50
    wave = np.sin(np.arange(samples) * 2 * np.pi * 500 / rate) * 0.5
    encoder.layout, encoder.sample_rate = "mono" if channels == 1 else "stereo", rate
    encoder.format, encoder.time_base = "u8" if codec == "pcm_u8" else "s16", Fraction(1, rate)
    whole = 128 + wave * 127 if codec == "pcm_u8" else wave * 32_767
    kind = np.uint8 if codec == "pcm_u8" else np.int16
    frame = av.AudioFrame.from_ndarray(
        np.repeat(whole.astype(kind), channels)[None], encoder.format.name, encoder.layout.name
    )
    frame.sample_rate = rate
    (packet,) = encoder.encode(frame)
    with written(lane, target) as told:
        lane.sounds.announce(SoundFormat(codec, rate, channels))
        begun = time.monotonic_ns()
        lane.restored.put(gray(1, begun))
        until(lambda: target.pushed)
        for number in range(100):
            lane.sounds.put(bytes(packet), begun + number * NS // 50, NS // 50)
        for number in range(1, 70):
            lane.restored.put(gray(number, begun + number * NS // 25))
            time.sleep(0.01)
        until(lambda: target.heard[-1:] and target.heard[-1][0].timestamp > begun + 1.7 * NS)
    assert told.lines == [f"{codec} sound is coded anew as AAC"]
    ((_, format),) = target.opened
    assert format is not None
    assert (format.codec, format.channels) == ("aac", channels)
    timestamps = [sound.timestamp for sound, _ in target.heard]
    assert abs(np.diff(timestamps) - 1024e9 / format.sample_rate).max() < 10_000
    decoder = av.CodecContext.create("aac", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = format.extradata
    heard = [
        decoded.to_ndarray()[0]
        for sound, _ in target.heard
        for decoded in decoder.decode(av.Packet(sound.data))
    ]
    tone = np.concatenate(heard)[format.sample_rate // 2 : format.sample_rate * 3 // 2]
    assert np.argmax(abs(np.fft.rfft(tone))) == pytest.approx(500, abs=2)
    assert np.sqrt((tone**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_sound_that_nobody_can_decode_is_left_out_and_said(lane: Lane) -> None:
    target = Kept(sounds=())
    with written(lane, target) as told:
        lane.hear(SoundFormat("no-such-codec", 8000, 1), [b"x" * 160])
        lane.show(lambda: len(target.pushed) > 3)
    assert told.lines == ["no-such-codec sound is left out, as it cannot be decoded"]
    assert target.opened == [((160, 90), None)]
    assert target.closed
