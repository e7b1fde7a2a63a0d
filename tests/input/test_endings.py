"""Files that end too early, hide a part of themselves, or have a clock that stands still."""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.error
import pytest
from av.stream import Discard

import mssnet
import stream
from stream.verify import Facts, compare, facts, verify
from tests.clips import make_clip
from tests.harm import told as cues
from tests.marked import Heard, film, hear
from tests.tracks import told

FRAMES = 60
FORMS: Mapping[str, dict[str, str]] = {
    "mp4": {"movflags": "faststart"},
    "mov": {"movflags": "faststart"},
    "fragmented.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "unfinished.mp4": {"movflags": "frag_every_frame+empty_moov"},
    "mkv": {},
    "ts": {},
    "avi": {},
    "flv": {},
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Whole files, by their form."""
    folder = tmp_path_factory.mktemp("films")
    made = {}
    for form, options in FORMS.items():
        path = folder / f"whole.{form}"
        sound = "libmp3lame" if form == "avi" else "aac"
        film(path, frames=FRAMES, sound_codec=sound, options={"bf": "2"}, base=Fraction(1, 12800))
        if options:
            path = copied(path, folder / f"other.{form}", options)
        made[form] = path.read_bytes()
    return made


def copied(path: Path, output: Path, options: Mapping[str, str], move: float = 0) -> Path:
    """The same packets, earlier by `move` seconds."""
    with av.open(str(path)) as source, av.open(str(output), "w", options={**options}) as made:
        streams = [made.add_stream_from_template(each) for each in source.streams]
        for packet in source.demux():
            if packet.size and packet.time_base:
                ticks = int(move / packet.time_base)
                packet.pts, packet.dts = (packet.pts or 0) - ticks, (packet.dts or 0) - ticks
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
    return output


def decoded(path: Path) -> int:
    """How many frames decode, with a decoder that keeps none back, past all that does not."""
    frames = 0
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.thread_type = "NONE"
        for each in container.streams.audio:
            each.discard = Discard.all
        packets = container.demux(video)
        while True:
            try:
                frames += len(next(packets).decode())
            except StopIteration:
                return frames
            except av.error.FFmpegError:
                continue


def job(source: Path, output: Path, restore: mssnet.Deblurrer, **options: object) -> stream.Report:
    settings = stream.Settings(model="none", strength=0, device="cpu", **options)  # type: ignore[arg-type]
    return stream.Job(source, output, settings).run(restore=restore)


@pytest.mark.parametrize("share", [0.35, 0.62, 0.82])
@pytest.mark.parametrize("form", FORMS)
def test_all_that_a_cut_file_has_comes_out_and_what_lacks_is_said(
    form: str, share: float, films: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tmp_path / f"cut.{form}"
    if form == "avi":
        share = min(share, 0.65)  # where its index begins
    source.write_bytes(films[form][: int(share * len(films[form]))])
    ending = ".mkv" if form in ("avi", "flv") else source.suffix
    output = tmp_path / f"out{ending}"
    whole = source
    if form.startswith("fragmented") and share > 0.8:
        # Within the index of a fragment, for which FFmpeg opens none of the file.
        place = films[form].rindex(b"moof")
        source.write_bytes(films[form][: place - 4])
        whole = tmp_path / "whole.mp4"
        source.rename(whole)
        source.write_bytes(films[form][: place + 60])
    there = decoded(whole)
    assert 0 < there <= FRAMES
    with pytest.raises(stream.SourceError, match="ends early") as early:
        job(source, output, restore)
    assert early.value.exit_code == 65
    said = str(early.value)
    assert "\n" not in said
    assert re.search(r"ends early.* after \d+\.\d\d s( of \d+\.\d\d s|, in the middle)", said)
    assert f"the {there} frames that it has are in" in said
    assert not output.exists()
    kept = output.with_name(f"out.part{ending}")
    assert decoded(kept) == there
    # The comparison sees as much, and what would be lost if reading ended at the first gap.
    assert "the input" in " ".join(row.why for row in verify(source, kept).having("allowed"))
    assert verify(source, kept).conforms, verify(source, kept).summary
    shorter = tmp_path / f"shorter{ending}"
    shorter.write_bytes(
        copied(kept, shorter, {}).read_bytes()[: kept.stat().st_size * 4 // 940 * 188 + 90]
    )
    if form in ("mkv", "ts"):
        assert "reading ends early" in verify(source, shorter).summary


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_file_is_no_cut_one(
    form: str, films: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source, output = tmp_path / f"in.{form}", tmp_path / "out.mkv"
    source.write_bytes(films[form])
    report = job(source, output, restore)
    assert report.conforms, told(report)
    assert report.frames == FRAMES


ROWS = {
    "y4m": ("wrapped_avframe", "yuv420p", "yuv4mpegpipe", {}),
    "gif": ("gif", "rgb8", None, {}),
    "mjpeg": ("mjpeg", "yuvj420p", None, {}),
    "mxf": ("mpeg2video", "yuv420p", None, {}),
    "front.mkv": (
        "libx264",
        "yuv420p",
        None,
        {"cues_to_front": "1", "reserve_index_space": "2000"},
    ),
}


@pytest.mark.parametrize("form", ROWS)
def test_pictures_in_a_row_that_end_within_one_are_cut(
    form: str, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    codec, pix_fmt, container, mux = ROWS[form]
    whole, cut = tmp_path / f"whole.{form}", tmp_path / f"cut.{form}"
    make_clip(whole, codec=codec, pix_fmt=pix_fmt, container=container, mux=mux, frames=40)
    report = job(whole, tmp_path / "whole.out.mkv", restore)
    assert (report.frames, report.warnings) == (40, [])
    data = whole.read_bytes()
    if "mkv" in form:
        # Between two frames, the last of which are gone.
        with av.open(str(whole)) as opened:
            places = sorted(each.pos for each in opened.demux(video=0) if each.pos)
        cut.write_bytes(data[: places[-3]])
    else:
        cut.write_bytes(data[: int(len(data) * 0.7)])
    there = decoded(cut)
    with pytest.raises(stream.SourceError, match="ends early") as early:
        job(cut, tmp_path / "out.mkv", restore)
    assert f"the {there} frames that it has are in" in str(early.value)
    with pytest.raises(stream.SourceError, match="ends early"):
        job(cut, tmp_path / "late.mkv", restore, span=stream.Span(start=1.59))


def test_nut_without_its_index_is_said(tmp_path: Path, restore: mssnet.Deblurrer) -> None:
    whole = make_clip(tmp_path / "whole.nut", codec="ffv1", frames=20)
    assert not job(whole, tmp_path / "a.mkv", restore).warnings
    cut = tmp_path / "cut.nut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    assert "has no index" in " ".join(job(cut, tmp_path / "b.mkv", restore).warnings)


def test_a_jump_before_the_last_frame_is_not_its_length(
    tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    times = [*range(12), 90_000]
    source = make_clip(tmp_path / "in.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=13, pts=times)
    output = tmp_path / "out.mp4"
    assert job(source, output, restore).frames == 13
    with av.open(str(output)) as made:
        assert made.duration is not None
        assert made.duration / av.time_base == pytest.approx(3600.04, abs=0.1)


@pytest.mark.parametrize("form", ["mp4", "mkv"])
def test_a_download_that_was_not_finished_ends_with_zeros(
    form: str, films: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    whole = films[form]
    source = tmp_path / f"in.{form}"
    source.write_bytes(whole[: len(whole) * 3 // 4] + bytes(len(whole) - len(whole) * 3 // 4))
    with pytest.raises(stream.SourceError, match=r"ends early.* after 1\.\d\d s of 2\.\d\d s"):
        job(source, tmp_path / "out.mkv", restore)


def test_joined_files_are_whole(
    films: dict[str, bytes], tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    source = tmp_path / "in.ts"
    source.write_bytes(2 * films["ts"])
    report = job(source, tmp_path / "out.mkv", restore)
    assert report.conforms, told(report)
    assert report.frames == 2 * FRAMES


OUTPUTS = [".mp4", ".mov", ".mkv", ".ts", ".webm"]


def trimmed(path: Path, folder: Path, *, unmarked: bool = False) -> Path:
    """A clip that begins a second later, cut without encoding: an edit list hides the rest.

    `unmarked`: in fragments, for which FFmpeg marks nothing as hidden, and gives negative times.
    """
    options = {"use_editlist": "1"}
    if unmarked:
        options["movflags"] = "frag_keyframe+delay_moov"
    return copied(path, folder / "trimmed.mp4", options, 1.02)


def as_shown(path: Path) -> Heard:
    """What a player shows of an MP4: nothing before zero."""
    found = hear(path)
    shown = {n: timestamp for n, timestamp in found.frames.items() if timestamp >= 0}
    found.order, found.timestamps, found.frames = [*shown], [*shown.values()], shown
    return found


@pytest.mark.parametrize("unmarked", [False, True])
@pytest.mark.parametrize("ending", OUTPUTS)
def test_what_is_hidden_stays_hidden(
    ending: str, unmarked: bool, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    whole = film(tmp_path / "whole.mp4", frames=75, options={"bf": "0"}, base=Fraction(1, 12800))
    source, output = trimmed(whole, tmp_path, unmarked=unmarked), tmp_path / f"out{ending}"
    wanted = as_shown(source)
    assert wanted.order == list(range(26, 75))
    report = job(source, output, restore)
    assert report.conforms, told(report)
    assert report.frames == len(wanted.order)
    made = hear(output)
    assert made.order == wanted.order
    with av.open(str(output)) as container:
        starts = [float((s.start_time or 0) * (s.time_base or 1)) for s in container.streams]
    assert abs(starts[0] - starts[1]) < 0.04
    if ending != ".webm":
        moved = made.timestamps[0] - wanted.timestamps[0]  # type: ignore[operator]
        assert len(made.packets) in range(89, 96 if ending in (".mkv", ".ts") else 200)
        for key, timestamp in made.sound.items():
            assert abs(timestamp - wanted.sound[key] - moved) <= Fraction(2, 1000)
    assert verify(source, output).conforms, verify(source, output).summary


def still(path: Path, output: Path) -> Path:
    """The same film whose frames have all the time 0."""
    data = bytearray(path.read_bytes())
    place = data.index(b"stts") + 4
    assert struct.unpack_from(">2I", data, place + 4)[0] > 0
    struct.pack_into(">I", data, place + 12, 0)
    output.write_bytes(data)
    return output


@pytest.mark.parametrize("duration", [None, 1])
def test_times_that_stand_still_go_on_by_the_frame_rate(
    duration: int | None, tmp_path: Path, restore: mssnet.Deblurrer
) -> None:
    whole = film(tmp_path / "whole.mp4", frames=60, rate=30, base=Fraction(1, 30), timestamps=None)
    source, output = still(whole, tmp_path / "in.mp4"), tmp_path / "out.mp4"
    report = job(source, output, restore, span=stream.Span(0, duration))
    assert report.conforms, told(report)
    count = 60 if duration is None else 30
    assert report.frames == count
    assert ["frames had no time of their own" in line for line in report.warnings] == [True]
    times = hear(output).timestamps
    steps = {b - a for a, b in pairwise(times)}  # type: ignore[operator]
    assert max(abs(step - Fraction(1, 30)) for step in steps) <= Fraction(1, 1000)


def no_chunks(data: bytearray) -> None:
    place = data.index(b"stsc", data.rindex(b"trak")) + 8
    data[place : place + 4] = bytes(4)


def no_sizes(data: bytearray) -> None:
    place = data.index(b"stsz", data.rindex(b"trak")) + 12
    data[place : place + 4] = bytes(4)


def far_away(data: bytearray) -> None:
    place = data.index(b"stco", data.rindex(b"trak")) + 8
    count = int.from_bytes(data[place : place + 4], "big")
    struct.pack_into(f">{count}I", data, place + 4, *([0x7FFFFF00] * count))


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize(("harm", "code"), [(no_chunks, 1), (no_sizes, 1), (far_away, 65)])
def test_sound_with_a_broken_index_is_named(
    harm: Callable[[bytearray], None],
    code: int,
    ending: str,
    films: dict[str, bytes],
    tmp_path: Path,
    restore: mssnet.Deblurrer,
) -> None:
    data = bytearray(films["mp4"])
    harm(data)
    source = tmp_path / "in.mp4"
    source.write_bytes(data)
    output = tmp_path / f"out{ending}"
    if code == 1:
        said = told(job(source, output, restore))
        assert "audio stream 1 (aac, SoundHandler) cannot be read" in said
    else:
        said = r"its audio stream 1 \(aac, SoundHandler\) after 0\.00 s of 2\."
        with pytest.raises(stream.SourceError, match=said):
            job(source, output, restore)


def test_how_long_players_show_it_is_compared(tmp_path: Path) -> None:
    """The timecode of a clip that was cut without encoding goes on behind picture and sound."""
    seen = facts(film(tmp_path / "in.mp4"))
    assert seen.duration is not None

    def with_data(longer: Fraction) -> Facts:
        assert seen.duration is not None
        length = round(1000 * (seen.duration + longer))
        data = replace(cues("bin_data", (0, length, "")), kind="data", name="data stream 2")
        return replace(seen, duration=seen.duration + longer, tracks=(*seen.tracks, data))

    met = compare(with_data(Fraction(1, 4)), with_data(Fraction(0)))
    assert next(row for row in met.rows if row.what == "duration").verdict == "allowed"
