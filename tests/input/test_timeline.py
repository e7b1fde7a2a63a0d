"""Times: every frame at its own, in order, and sound with the picture wherever a clock jumps."""

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

import stream
from stream.input.source import Source
from stream.options.reading import Reading
from tests.marked import Heard, film, hear, read, retimed

FRAME = Fraction(1, 25)
SECOND = 90000
"""Ticks of MPEG-TS."""
KEYS = {"g": "25"}

F = Fraction


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Twelve seconds of MPEG-TS, by number of B-frames."""
    folder = tmp_path_factory.mktemp("films")
    return {
        bf: film(folder / f"{bf}.ts", frames=300, options={**KEYS, "bf": str(bf)}) for bf in (0, 2)
    }


@pytest.fixture(scope="module")
def played(films: dict[int, Path]) -> dict[int, Heard]:
    return {bf: hear(path) for bf, path in films.items()}


def job(source: Path, output: Path, **options: Any) -> stream.Report:
    encoder = stream.EncoderSettings(preset="ultrafast")
    settings = stream.Settings(strength=0, device="cpu", encoder=encoder, **options)
    return stream.Job(source, output, settings).run()


def put_right(path: Path, reading: Reading | None = None) -> tuple[Heard, Source]:
    source = Source(path, reading)
    found = read(source)
    source.close()
    return found, source


def rising(timestamps: Sequence[Fraction | None]) -> bool:
    return all(a is not None and b is not None and a < b for a, b in pairwise(timestamps))


def moved(ours: Mapping[Any, Fraction], theirs: Mapping[Any, Fraction]) -> list[Fraction]:
    """By how much later things are than they were."""
    return [ours[key] - theirs[key] for key in theirs if key in ours]


def together(ours: Heard, theirs: Heard, tolerance: Fraction = Fraction(1, 1000)) -> Fraction:
    """By how much later all of a film is; sound and picture alike."""
    shown, heard = moved(ours.frames, theirs.frames), moved(ours.sound, theirs.sound)
    assert len(shown) == len(theirs.frames)
    assert len(heard) == len(theirs.sound)
    assert max(shown) - min(shown) <= tolerance
    for each in heard:
        assert abs(each - shown[0]) <= tolerance
    return shown[0]


def adrift(ours: Heard, theirs: Heard) -> list[Fraction]:
    """For each packet of sound, by how much it was moved against the picture beside it."""
    shown = sorted((theirs.frames[n], ours.frames[n] - theirs.frames[n]) for n in theirs.frames)
    found = []
    for key, timestamp in theirs.sound.items():
        if key in ours.sound:
            at = bisect_left(shown, (timestamp, F(0)))
            beside = shown[max(at - 3, 0) : at + 3]
            found.append(min(abs(ours.sound[key] - timestamp - later) for _, later in beside))
    return found


def splices(draw: random.Random) -> list[tuple[int, int]]:
    """When, in ticks, a clock is set anew, and by how much it is late from then on."""
    late, found = 0, []
    for second in sorted(draw.sample(range(1, 12), draw.randrange(4))):
        back, gap = -draw.randrange(SECOND // 5, 20 * SECOND), draw.randrange(9 * SECOND)
        late += draw.choice([back, gap, draw.randrange(11 * SECOND, 1000 * SECOND)])
        found.append((second * SECOND, late))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_any_list_of_times(
    seed: int, films: dict[int, Path], played: dict[int, Heard], tmp_path: Path
) -> None:
    draw = random.Random(seed)
    bf = draw.choice((0, 2))
    found = splices(draw)
    missing, doubled = draw.choice((0, 0, 0.05, 0.3)), draw.choice((0, 0, 0.03))
    last: dict[bool, int] = {}

    def change(seen: bool, number: int, time: int) -> int | None:
        # What was before zero is near the end of the clock.
        later = next(
            (by for at, by in reversed(found) if (time + SECOND) % (1 << 33) >= at + SECOND), 0
        )
        beside = any(abs(time - at) < SECOND // 2 for at, _ in found)
        if number and not beside and draw.random() < missing:
            return None
        if number and seen and not beside and draw.random() < doubled:
            return last[seen] - time
        last[seen] = time + later
        return later

    path = tmp_path / "in.ts"
    path.write_bytes(retimed(films[bf].read_bytes(), change))
    ours, source = put_right(path)
    plain = hear(path)
    assert ours.order == plain.order == list(range(300))
    assert rising(ours.timestamps)
    assert rising(ours.packets)
    assert len(ours.packets) == len(plain.packets)
    assert ours.timestamps[0] is not None
    assert ours.timestamps[0] >= 0
    assert source.jumps >= sum(b < a or b > a + 10 * SECOND for (_, a), (_, b) in pairwise(found))
    drift = adrift(ours, played[bf])
    if not missing and not doubled:
        assert max(drift) <= FRAME
    # What says no time, or a wrong one, is only about where it was.
    assert max(drift) <= 4 * FRAME
    assert sum(each > FRAME for each in drift) <= len(drift) // 50


def splice(jump_s: int, at_s: int = 6) -> Callable[[bool, int, int], int]:
    """A clock that is set anew after some seconds, in the middle of picture and sound alike."""
    # The film's own clock starts a little later than zero.
    return lambda seen, number, time: jump_s * SECOND if time > (at_s + 1) * SECOND else 0


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("jump_s", [-5, 7, 30, 50_000, -90_000])
def test_a_jump_leaves_sound_with_the_picture(
    jump_s: int, ending: str, films: dict[int, Path], played: dict[int, Heard], tmp_path: Path
) -> None:
    path, output = tmp_path / "in.ts", tmp_path / f"out{ending}"
    path.write_bytes(retimed(films[2].read_bytes(), splice(jump_s)))
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    ours = hear(output)
    assert ours.order == list(range(300))
    assert rising(ours.timestamps)
    # Seven seconds may be a pause; then it stays one, for picture and sound alike.
    assert max(adrift(ours, played[2])) <= FRAME
    length = ours.timestamps[-1] - ours.timestamps[0]  # type: ignore[operator]
    assert abs(length - (F(299, 25) + (7 if jump_s == 7 else 0))) <= FRAME


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_the_clock_of_a_transport_stream_runs_over(
    ending: str, films: dict[int, Path], played: dict[int, Heard], tmp_path: Path
) -> None:
    path, output = tmp_path / "in.ts", tmp_path / f"out{ending}"
    late = (1 << 33) - 5 * SECOND
    path.write_bytes(retimed(films[2].read_bytes(), lambda seen, number, time: late))
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    together(hear(output), played[2])


LATE = [F(0), F(3, 7), F(-3, 7), F(5), F(-1)]


@pytest.mark.parametrize("sound", LATE, ids=str)
@pytest.mark.parametrize("container", ["mp4", "mkv", "mov", "ts", "flv", "nut"])
def test_sound_that_starts_later_or_earlier(container: str, sound: F, tmp_path: Path) -> None:
    path, output = tmp_path / f"in.{container}", tmp_path / "out.mkv"
    film(path, move=2, sound=sound, options={"bf": "2"}, sound_s=3, base=F(1, 12800))
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    together(hear(output), hear(path), F(2, 1000))
    again = tmp_path / "again.mp4"
    report = job(path, again)
    assert report.conforms, report.conformance and report.conformance.summary
    together(hear(again), hear(path), F(1, 1000))


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov", "nut"])
@pytest.mark.parametrize("start", [F(0), F(100), F(-1), F(-1, 30)], ids=str)
def test_where_a_file_starts(container: str, start: F, tmp_path: Path) -> None:
    path, output = tmp_path / f"in.{container}", tmp_path / "out.mp4"
    film(path, move=start, options={"bf": "2"}, base=F(1, 12800))
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    ours = hear(output)
    together(ours, hear(path))
    assert ours.timestamps[0] is not None
    assert ours.timestamps[0] >= 0


def irregular(seed: int, count: int = 120) -> list[F]:
    """Moments as a phone that changes its mind gives them, pauses of half a minute included."""
    draw = random.Random(seed)
    steps = [draw.choice([F(1, 60), F(1, 30), F(1, 24), F(1, 15), F(1), F(30)]) for _ in range(30)]
    timestamps = [F(0)]
    while len(timestamps) < count:
        timestamps.append(timestamps[-1] + steps[len(timestamps) // 4])
    return [F(round(timestamp * 90000), 90000) for timestamp in timestamps]


@pytest.mark.parametrize(
    ("container", "ending"), [("mp4", ".mov"), ("mkv", ".mp4"), ("mov", ".mp4")]
)
def test_variable_rates_stay_as_they_are(container: str, ending: str, tmp_path: Path) -> None:
    path, output = tmp_path / f"in.{container}", tmp_path / f"out{ending}"
    timestamps = irregular(3)
    film(path, timestamps=timestamps, sound=None, options={"bf": "2"})
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    given = hear(path)
    assert hear(output).timestamps == given.timestamps
    if container != "mkv":
        assert given.timestamps == timestamps


@pytest.mark.parametrize("said", [1, 10, 25, 240, 1000])
def test_a_wrong_rate_in_the_header(said: int, tmp_path: Path) -> None:
    path, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    timestamps = [F(round(index * 1000 / 30), 1000) for index in range(60)]
    film(path, timestamps=timestamps, rate=said, sound=None, options={"bf": "2"})
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    assert hear(output).timestamps == timestamps
    if said >= 25:  # else the last frame says that it is shown for that long
        with av.open(str(output)) as container:
            rate = container.streams.video[0].average_rate
        assert float(rate or 0) == pytest.approx(30, rel=0.02)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(("start", "duration"), [(0, None), (1, None), (0, 4)])
def test_the_last_frame_stays_as_long(
    start: int, duration: int | None, ending: str, tmp_path: Path
) -> None:
    path, output = tmp_path / "in.mp4", tmp_path / f"out{ending}"
    film(tmp_path / "short.mp4", sound=None)
    with av.open(str(tmp_path / "short.mp4")) as short, av.open(str(path), "w") as longer:
        video = longer.add_stream_from_template(short.streams.video[0])
        packets = [packet for packet in short.demux(video=0) if packet.size]
        packets[-1].duration = int(100 * FRAME / packets[-1].time_base)
        for packet in packets:
            packet.stream = video
            longer.mux(packet)
    report = job(path, output, span=stream.Span(start, duration))
    assert report.conforms, report.conformance and report.conformance.summary
    with av.open(str(output)) as container:
        assert (container.duration or 0) / 1e6 == pytest.approx(duration or 5.96 - start, abs=0.01)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_stream_without_any_times(ending: str, tmp_path: Path) -> None:
    path, output = tmp_path / "in.h264", tmp_path / f"out{ending}"
    film(path, sound=None, container="h264", options={"bf": "2"})
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    ours = hear(output)
    assert ours.order == list(range(50))
    steps = {b - a for a, b in pairwise(ours.timestamps)}  # type: ignore[operator]
    assert max(steps) - min(steps) <= F(1, 1000)
    assert max(steps) == pytest.approx(FRAME, abs=0.001)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize("seed", range(3))
def test_avi_says_only_when_frames_are_decoded(seed: int, ending: str, tmp_path: Path) -> None:
    path, output = tmp_path / "in.avi", tmp_path / f"out{ending}"
    # Few B-frames to begin with, and many later: FFmpeg's guesses are right at first.
    types = {"x264-params": f"bframes=3:b-adapt=2:b-pyramid=normal:scenecut={40 * seed}"}
    film(path, frames=100, sound_codec="libmp3lame", base=FRAME, options={"bf": "3", **types})
    report = job(path, output)
    assert report.conforms, report.conformance and report.conformance.summary
    ours = hear(output)
    assert ours.order == list(range(100))
    steps = [b - a for a, b in pairwise(ours.timestamps)]  # type: ignore[operator]
    assert max(abs(step - FRAME) for step in steps) <= F(1, 1000)


SPANS = [(0, 2), (2, 3), (F(7, 2), None), (F(19, 3), 1), (11, 60)]


@pytest.mark.parametrize(("start", "duration"), SPANS, ids=str)
@pytest.mark.parametrize("container", ["ts", "mp4", "mkv"])
@pytest.mark.parametrize("sound", [0, 1])
def test_a_part(
    container: str, start: F, duration: F | None, sound: int, films: dict[int, Path], tmp_path: Path
) -> None:
    path, output = tmp_path / f"in.{container}", tmp_path / "out.mp4"
    if container == "ts" and not sound:
        path.write_bytes(films[2].read_bytes())
    else:
        film(path, frames=300, sound=sound, options={**KEYS, "bf": "2"}, base=F(1, 12800))
    whole = hear(path)
    span = stream.Span(float(start), None if duration is None else float(duration))
    report = job(path, output, span=span)
    assert report.conforms, report.conformance and report.conformance.summary
    ours = hear(output)
    with av.open(str(path)) as opened:
        # Where it begins is rounded to microseconds.
        begin = F((opened.start_time or 0) - 1, av.time_base) + start
    end = begin + duration if duration is not None else F(10**9)
    wanted = [number for number, timestamp in whole.frames.items() if begin <= timestamp < end]
    assert ours.order == wanted
    shown, heard = moved(ours.frames, whole.frames), moved(ours.sound, whole.sound)
    assert max(map(abs, [shift - shown[0] for shift in shown + heard])) <= F(1, 1000)
    inside = [timestamp for timestamp in whole.sound.values() if begin <= timestamp < end]
    assert len(heard) == len(inside)
