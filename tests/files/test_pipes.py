"""Video that comes and goes by pipes: frames as by files, and nothing left of what fails."""

import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.colors import UNTAGGED, ColorTags, tags_of
from stream.errors import DeblurError, ReaderLeftError, SourceError, UsageError
from stream.files.job import Job
from stream.files.report import Report
from stream.options.exposure import Exposure
from stream.options.reading import Span
from stream.options.settings import Settings
from stream.pipes.form import RawFormat
from stream.pipes.relay import Relay
from stream.pipes.whole import Elements
from stream.stages.build import reading_of
from tests.clips import look, make_clip, picture

DEBLUR = str(Path(sys.executable).with_name("deblur"))
PLAIN = Settings(model="none")
UNEVEN = (0, 3600, 5401, 10800, 14400, 21600, 25200, 28800)
"""Times of frames in 1/90000 s."""
FULL, LIMITED = 2, 1


def film(
    form: str,
    pix_fmt: str = "yuv420p",
    *,
    count: int = 8,
    pts: Sequence[int] | None = None,
    color_range: int = 0,
    colors: ColorTags = UNTAGGED,
    codec: str = "rawvideo",
    sound: bool = False,
) -> bytes:
    """A short film as FFmpeg would write it to a pipe."""
    out = io.BytesIO()
    base = Fraction(1, 25) if pts is None else Fraction(1, 90000)
    with av.open(out, "w", format=form, options={"strict": "-1"}) as container:
        video = container.add_stream(codec, rate=25)
        assert isinstance(video, av.VideoStream)
        context = video.codec_context
        context.width, context.height, context.pix_fmt = 64, 48, pix_fmt
        context.time_base = base
        colors._replace(range=color_range or colors.range).put(context)
        noise = container.add_stream("pcm_s16le", rate=8000) if sound else None
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, 64, 48), format="rgb24")
            frame = frame.reformat(format=pix_fmt, dst_color_range=color_range or None, threads=1)
            frame.pts, frame.time_base = index if pts is None else pts[index], base
            container.mux(video.encode(frame))
            if noise is not None:
                tone = np.full((1, 320), 100 * index, np.int16)
                heard = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
                heard.sample_rate, heard.pts = 8000, 320 * index
                heard.time_base = Fraction(1, 8000)
                container.mux(noise.encode(heard))
        container.mux(video.encode(None))
    return out.getvalue()


def frames_of(data: bytes | Path, **how: Any) -> list[tuple[Any, ...]]:
    """Of each frame when it is shown, its form and range, and all of its planes."""
    found = []
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data), **how) as container:
        for frame in container.decode(video=0):
            timestamp = (frame.pts or 0) * Fraction(frame.time_base or 1)
            size = 1 if frame.format.components[0].bits == 8 else 2
            planes = b"".join(seen(plane, size) for plane in frame.planes)
            found.append((timestamp, frame.format.name, int(frame.color_range), planes))
    return found


def seen(plane: Any, size: int) -> bytes:
    """The bytes of a plane, with samples of a size, without what is beside the picture."""
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return rows[:, : plane.width * size].tobytes()


def through(
    data: bytes,
    settings: Settings = PLAIN,
    *,
    form: str = "y4m",
    raw: RawFormat | None = None,
    colors: ColorTags = UNTAGGED,
) -> tuple[bytes, Report]:
    """What a relay makes of bytes, from a real pipe to another one."""
    (their_in, own_in), (own_out, their_out) = os.pipe(), os.pipe()
    names = Path(f"/dev/fd/{their_in}"), Path(f"/dev/fd/{their_out}")
    relay = Relay(*names, settings, form=form, raw=raw, colors=colors)
    os.close(their_in)  # it is open in the relay alone now
    made: list[bytes] = []

    def write() -> None:
        with os.fdopen(own_in, "wb") as file:
            file.write(data)

    def read() -> None:
        with os.fdopen(own_out, "rb") as file:
            made.append(file.read())

    threads = [threading.Thread(target=each) for each in (write, read)]
    for thread in threads:
        thread.start()
    try:
        report = relay.run()
    finally:
        os.close(their_out)
        for thread in threads:
            thread.join()
    return made[0], report


def make_mp4() -> bytes:
    """One whose index is at its end."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "0"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv444p"
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, index, 0), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return out.getvalue()


FORMATS = (
    *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray"),
    *("yuv420p10le", "yuv422p12le", "yuv444p14le", "yuv444p16le", "gray10le", "gray16le"),
)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_y4m_gives_the_frames_that_files_give(pix_fmt: str, tmp_path: Path) -> None:
    data = film("yuv4mpegpipe", pix_fmt, color_range=FULL)
    (tmp_path / "in.y4m").write_bytes(data)
    Job(tmp_path / "in.y4m", tmp_path / "out.mkv", codec("ffv1")).run()
    made, report = through(data)
    expected = frames_of(tmp_path / "out.mkv")
    assert frames_of(made) == expected
    assert report.frames == len(expected) == 8
    assert {form[2] for form in expected} == {FULL}


def codec(name: str) -> Settings:
    from stream.options.encoding import EncoderSettings

    return Settings(model="none", encoder=EncoderSettings(codec=name))


@pytest.mark.parametrize("color_range", [0, LIMITED, FULL])
def test_y4m_keeps_what_is_said_of_the_range(color_range: int) -> None:
    made, _ = through(film("yuv4mpegpipe", color_range=color_range))
    assert {each[2] for each in frames_of(made)} == {color_range}


@pytest.mark.parametrize(("name", "depth"), [("bt2020,full", ""), ("hlg", "10le"), ("full", "")])
def test_colors_that_a_pipe_does_not_tell_can_be_told(
    name: str, depth: str, tmp_path: Path
) -> None:
    colors, clip = ColorTags.parse(name), tmp_path / "in.mkv"
    clip.write_bytes(film("matroska", f"yuv420p{depth}", codec="ffv1", colors=colors))
    Job(clip, tmp_path / "out.mkv", codec("ffv1")).run()
    wanted = frames_of(tmp_path / "out.mkv")
    untold = film("nut", f"yuv420p{depth}")
    (tmp_path / "in.nut").write_bytes(untold)
    assert [each[3] for each in frames_of(through(untold)[0])] != [each[3] for each in wanted]
    for raw in (None, RawFormat((64, 48), Fraction(25), f"yuv420p{depth}")):
        data = b"".join(each[3] for each in frames_of(untold)) if raw is not None else untold
        made, _ = through(data, form="mkv", raw=raw, colors=colors)
        assert frames_of(made) == wanted
        assert look_at_colors(made) == look_at_colors((tmp_path / "out.mkv").read_bytes())


def look_at_colors(data: bytes) -> ColorTags:
    with av.open(io.BytesIO(data), "r") as container:
        return tags_of(next(container.decode(video=0)))


def test_what_a_pipe_tells_of_its_colors_counts() -> None:
    colors = ColorTags.parse("bt709,limited")
    made, _ = through(film("yuv4mpegpipe", color_range=FULL), form="mkv", colors=colors)
    assert look_at_colors(made) == ColorTags.parse("bt709,full")


@pytest.mark.parametrize("form", ["nut", "mkv"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_times_are_kept(form: str, pix_fmt: str, tmp_path: Path) -> None:
    data = film("nut", pix_fmt, pts=UNEVEN)
    (tmp_path / "in.nut").write_bytes(data)
    Job(tmp_path / "in.nut", tmp_path / "out.mov", codec("prores")).run()
    Job(tmp_path / "in.nut", tmp_path / "out.mkv", codec("ffv1")).run()
    made, _ = through(data, form=form)
    frames, timestamps = frames_of(made), look(tmp_path / "out.mov").timestamps
    if form == "mkv":
        timestamps = [Fraction(round(1000 * each), 1000) for each in timestamps]
    assert [each[0] for each in frames] == timestamps
    assert [each[3] for each in frames] == [each[3] for each in frames_of(tmp_path / "out.mkv")]


def test_times_that_y4m_does_not_know_are_named() -> None:
    made, report = through(film("nut", pts=UNEVEN))
    assert len(frames_of(made)) == 8
    assert any("--format nut keeps them" in each for each in report.warnings)


@pytest.mark.parametrize("form", ["nut", "mkv"])
def test_sound_goes_along(form: str) -> None:
    data = film("nut", sound=True)
    made, _ = through(data, form=form)
    assert sound_of(made) == sound_of(data)
    made, report = through(data)
    assert report.dropped == ["audio stream 1 (pcm_s16le)"]


def sound_of(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_raw_video_is_what_it_is_said_to_be() -> None:
    y4m = film("yuv4mpegpipe", "yuv422p10le")
    raw = b"".join(each[3] for each in frames_of(y4m))
    made, report = through(raw, form="raw", raw=RawFormat((64, 48), Fraction(25), "yuv422p10le"))
    assert made == b"".join(each[3] for each in frames_of(through(y4m)[0]))
    assert any("64x48 in yuv422p10le at 25" in each for each in report.warnings)


def test_a_part_is_the_part_that_files_give(tmp_path: Path) -> None:
    data = film("yuv4mpegpipe", count=24)
    (tmp_path / "in.y4m").write_bytes(data)
    part = Settings(model="none", span=Span(0.4, 0.24))
    made, _ = through(data, part)
    Job(tmp_path / "in.y4m", tmp_path / "out.mkv", ffv1_of(part)).run()
    assert frames_of(made) == frames_of(tmp_path / "out.mkv")
    assert len(frames_of(made)) == 6


def ffv1_of(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, encoder=codec("ffv1").encoder)


@pytest.mark.parametrize("shutter", ["auto", "180deg"])
def test_the_network_is_told_what_it_is_told_of_files(shutter: str, tmp_path: Path) -> None:
    told = Settings(model="lite", device="cpu", shutter=Exposure(shutter))
    data = film("yuv4mpegpipe", count=12)
    (tmp_path / "in.y4m").write_bytes(data)
    Job(tmp_path / "in.y4m", tmp_path / "out.mkv", ffv1_of(told)).run()
    assert frames_of(through(data, told)[0]) == frames_of(tmp_path / "out.mkv")


def test_a_file_goes_out_by_a_pipe(tmp_path: Path) -> None:
    """With its shape of pixels, its sound and its tags where the form has them."""
    clip = make_clip(
        tmp_path / "in.mp4", audio=("eng",), aspect=Fraction(4, 3), metadata={"title": "t"}
    )
    Job(clip, tmp_path / "out.mkv", codec("ffv1")).run()
    expected = frames_of(tmp_path / "out.mkv")
    for form in ("y4m", "mkv"):
        output = tmp_path / form
        os.mkfifo(output)
        made: list[bytes] = []
        reader = threading.Thread(target=lambda o=output, m=made: m.append(o.read_bytes()))
        reader.start()
        report = Relay(clip, output, PLAIN, form=form).run()
        reader.join()
        assert [each[3] for each in frames_of(made[0])] == [each[3] for each in expected]
        with av.open(io.BytesIO(made[0])) as container:
            told = container.streams.video[0].sample_aspect_ratio
            assert told == (Fraction(4, 3) if form == "y4m" else None)
            assert ("4/3" in str(report.warnings)) == (form == "mkv")
            if form == "mkv":
                assert container.metadata["title"] == "t"
                assert container.streams.audio[0].metadata["language"] == "eng"
    sound = sound_of((tmp_path / "out.mkv").read_bytes())
    assert sound_of(made[0]) == sound


def test_a_pipe_becomes_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "in.y4m"
    os.mkfifo(fifo)
    data = film("yuv4mpegpipe", "yuv420p10le")
    writer = threading.Thread(target=lambda: fifo.write_bytes(data))
    writer.start()
    report = Relay(fifo, tmp_path / "out.mp4", PLAIN).run()
    writer.join()
    found = look(tmp_path / "out.mp4")
    assert found.format[0] == "yuv420p10le"
    assert found.timestamps == [Fraction(index, 25) for index in range(8)]
    assert report.output == tmp_path / "out.mp4"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.y4m", "out.mp4"]


def test_a_writer_that_dies_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    for form in ("yuv4mpegpipe", "nut", "matroska"):
        data = film(form, codec="ffv1" if form == "matroska" else "rawvideo")
        fifo, output = tmp_path / f"{form}.in", tmp_path / f"{form}.mkv"
        os.mkfifo(fifo)
        cut = data[: len(data) * 6 // 10]
        writer = threading.Thread(target=lambda f=fifo, c=cut: f.write_bytes(c))
        writer.start()
        with pytest.raises(SourceError, match=r"cut off .* frames that came are in .*\.part\.mkv"):
            Relay(fifo, output, PLAIN).run()
        writer.join()
        assert not output.exists()
        kept = tmp_path / f"{form}.part.mkv"
        assert 3 <= len(frames_of(kept)) < 8
        assert not (tmp_path / f"{form}.mkv.part").exists()


def test_matroska_that_is_cut_anywhere_is_seen_to_be() -> None:
    data = film("matroska", codec="ffv1", count=3)
    whole = []
    for cut in range(200, len(data) + 1):
        elements = Elements()
        for start in range(0, cut, 1000):
            elements.push(data[start : min(start + 1000, cut)])
        if elements.whole:
            whole.append(cut)
    assert whole[-1] == len(data)
    assert len(whole) < 20  # where it could have ended: between its elements


def test_ffmpeg_seeks_nothing_and_nobody_reads_twice(tmp_path: Path) -> None:
    """A pipe's bytes are handed to FFmpeg once, in their order."""
    from stream.pipes.ends import Incoming
    from stream.pipes.source import PipeSource

    data = film("nut", sound=True)
    fifo = tmp_path / "in.nut"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(data))
    writer.start()
    incoming = Incoming(fifo)
    passed: list[bytes] = []
    read = incoming.read
    incoming.read = lambda size: passed.append(read(size)) or passed[-1]  # type: ignore[method-assign,func-returns-value]
    source = PipeSource(incoming, reading_of(PLAIN))
    assert len(list(source)) == 8
    writer.join()
    source.close()
    assert b"".join(passed) == data


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-", "-", "--resume"], "--resume"),
        (["-", "-", "--json"], "--json"),
        (["-", "-", "--try", "1s"], "--try"),
        (["-", "a.mp4", "b.mp4", "out/"], "- stands for"),
        (["-", "-", "--format", "avi"], "--format must be"),
        (["a.mp4", "b.mkv", "--format", "nut"], "--format is for a pipe"),
        (["-", "-", "--rate", "25"], "needs --size"),
        (["-", "-", "--color", "red"], "--color takes"),
        (["-", "-", "--color", "bt709,hlg"], "--color takes"),
        (["a.mp4", "b.mkv", "--color", "hlg"], "--color is for"),
        (["a.mp4", "-", "--color", "hlg"], "--color is for"),
        (["-", "-", "--size", "big"], "--size takes"),
        (["-", "-", "--size", "64x48", "--pix-fmt", "yuv"], "unknown --pix-fmt"),
        (["-", "-", "--size", "64x48", "--rate", "1/0"], "--rate takes"),
    ],
)
def test_options_that_do_not_fit_are_named(words: list[str], said: str) -> None:
    from typer.testing import CliRunner

    from stream.cli import app

    done = CliRunner().invoke(app, ["run", *words])
    assert done.exit_code == UsageError.exit_code
    assert said in " ".join(one_line(done.stderr_bytes or b"").split())
    assert not done.stdout


def command(words: Sequence[object], data: bytes, **how: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [DEBLUR, "run", *map(str, words)],
        input=data,
        capture_output=True,
        check=False,
        timeout=250,
        **how,
    )


def one_line(said: bytes) -> str:
    lines = said.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("deblur: ")
    return lines[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "nothing on standard input"),
        (np.random.default_rng(1).bytes(100_000), "is not a video that can be read"),
    ],
)
def test_garbage_gets_one_line_and_leaves_nothing(data: bytes, said: str, tmp_path: Path) -> None:
    done = command(["-", "out.mkv", "--model", "none"], data, cwd=tmp_path)
    assert done.returncode == SourceError.exit_code
    assert said in one_line(done.stderr)
    assert not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!doctype html><html>404</html>", "a web page, not a video"),
        (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n123", "can be decoded"),
        (b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n", "(more than|can be decoded|not a video)"),
        (make_mp4(), "without seeking"),
    ],
)
def test_what_else_comes_is_called_by_its_name(data: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        through(data)


def test_one_command_feeds_another(tmp_path: Path) -> None:
    """As a shell joins them: standard output has the video alone, all that is said is elsewhere."""
    data = film("yuv4mpegpipe")
    done = command(["-", "-", "--model", "none"], data)
    assert done.returncode == 0, done.stderr
    assert done.stdout == through(data)[0]
    assert b"8 frames" in done.stderr
    again = command(
        ["-", "out.mkv", "--model", "none", "--codec", "ffv1"], done.stdout, cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert len(frames_of(tmp_path / "out.mkv")) == 8


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    data = film("yuv4mpegpipe", count=400)
    words = [DEBLUR, "run", "-", "-", "--strength", "0"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        assert job.stdin is not None
        assert job.stdout is not None
        assert job.stderr is not None
        feed = threading.Thread(target=pour, args=(job.stdin, data))
        feed.start()
        assert job.stdout.read(9) == b"YUV4MPEG2"
        job.stdout.close()
        said = job.stderr.read()
        assert job.wait(60) == ReaderLeftError.exit_code == 141
        feed.join()
    assert "whoever read standard output has left, after" in one_line(said)


def pour(file: Any, data: bytes) -> None:
    try:
        file.write(data)
        file.close()
    except BrokenPipeError:
        pass


def test_ctrl_c_finishes_what_came_so_far(tmp_path: Path) -> None:
    """Also where nothing more comes and nobody closes the pipe."""
    data = film("yuv4mpegpipe", count=20)
    # More frames than come would be waited for to tell the shutter.
    words = [DEBLUR, "run", "-", "out.mkv", "--model", "none", "--shutter", "180deg"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as job:
        assert job.stdin is not None
        assert job.stderr is not None
        job.stdin.write(data)
        job.stdin.flush()
        begun = tmp_path / "out.mkv.part" / "whole.mkv"
        until = time.monotonic() + 120
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.05)
        job.send_signal(signal.SIGINT)
        said = job.stderr.read().decode()
        assert job.wait(60) == 130, said
    assert "out.part.mkv" in said
    assert frames_of(tmp_path / "out.part.mkv")
    assert [each.name for each in tmp_path.iterdir()] == ["out.part.mkv"]


def test_video_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv")
    terminal, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [DEBLUR, "run", str(clip), "-", "--model", "none"],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == UsageError.exit_code
        assert "not written to a terminal" in one_line(done.stderr)
        done = subprocess.run(
            [DEBLUR, "run", "-", "out.mkv"], stdin=theirs, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == UsageError.exit_code
        assert "standard input is a terminal" in one_line(done.stderr)
    finally:
        os.close(theirs)
        os.close(terminal)


def test_an_output_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").write_bytes(b"mine")
    with pytest.raises(DeblurError, match="exists already"):
        Relay(Path("-"), tmp_path / "out.mkv", PLAIN)
    assert (tmp_path / "out.mkv").read_bytes() == b"mine"


PIPED = [
    line.partition("#")[0].strip()
    for page in ("README.md", "docs/pipes.md")
    for line in (Path(__file__).parents[2] / page).read_text().splitlines()
    if " | " in line and line.startswith(("deblur ", "ffmpeg "))
]


@pytest.mark.docs
@pytest.mark.commands
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg program here")
def test_rows_of_pipes_that_the_pages_show_work(tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(96, 64), time_base=Fraction(1, 10), audio=("eng",))
    assert len(PIPED) >= 6
    for line in PIPED:
        bash = ["bash", "-o", "pipefail", "-c", line]
        path = f"{Path(DEBLUR).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            bash, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        made = re.findall(r"\b(?!shaky)\w+\.(?:mkv|mp4|mov)", line)[-1]
        assert len(frames_of(tmp_path / made)) == 12, line
