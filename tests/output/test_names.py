"""Names and paths: what is never replaced, what is no file, and what no file system takes."""

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import stream
from stream import provenance
from stream.cli import app
from stream.files.job import Job
from stream.files.report import Progress
from stream.files.tasks import Task, tasks_of
from stream.output.checkpoint import folder_of
from stream.paths import default_output
from tests.clips import look, make_clip

PLAIN = stream.Settings(model="none", strength=0, device="cpu")


def refused(*words: object) -> tuple[int, str]:
    """Run a command that ends before it works: its exit code and the one line that it says."""
    done = CliRunner().invoke(app, [*map(str, words)])
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return done.exit_code, line


def clip(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return make_clip(path, frames=4)


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_original_is_replaced_by_no_argument_that_stands_where_an_output_may(
    tmp_path: Path,
) -> None:
    a, b = clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4")
    (tmp_path / "link.mp4").symlink_to("b.mp4")
    (tmp_path / "twin.mp4").hardlink_to(b)
    before = kept(tmp_path)
    for name in ("b.mp4", "link.mp4", "twin.mp4"):
        for words in ([], ["--overwrite"], ["--overwrite", "--resume"]):
            code, line = refused("run", a, tmp_path / name, *words)
            assert code == 73
            assert "was not made by deblur" in line
            assert "-o" in line
    assert refused("run", a, b, tmp_path / "link.mp4", "--overwrite")[0] == 2
    assert kept(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "words"), [("a.deblurred.mp4", []), ("made/a.mp4", ["-o", "made"])]
)
def test_an_original_is_replaced_by_no_name_that_nobody_wrote(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a, mine = clip(tmp_path / "a.mp4"), clip(tmp_path / name)
    before = mine.read_bytes()
    given = ["run", str(a), *words, "--overwrite", "--strength", "0", "--fuse", "0"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code in (73, 3)
    assert "was not made by deblur" in done.stderr
    assert mine.read_bytes() == before


def test_what_the_program_made_is_known_in_another_folder(tmp_path: Path) -> None:
    a, out = clip(tmp_path / "a.mp4"), tmp_path / "made" / "out.mp4"
    out.parent.mkdir()
    Job(a, out, PLAIN).run()
    (tmp_path / "made").rename(tmp_path / "moved")
    assert provenance.by_us(tmp_path / "moved" / "out.mp4")
    clip(tmp_path / "moved" / "out.mp4")
    assert not provenance.by_us(tmp_path / "moved" / "out.mp4")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "a.mp4", "-o", "http://u:secret1@h/x.mp4?psw=secret1"], 73),
        (["run", "rtsp://u:secret1@h/x?loginpas=secret1", "-o", "o.mkv"], 66),
        (["run", "rtsps://h:7441/secret1secret1?enableSrtp"], 66),
        (["info", "http://h/x;jsessionid=secret1?pw=secret1"], 66),
        (["verify", "a.mp4", "rtsp://u:secret1@h/x"], 66),
        (["compare", "a.mp4", "rtsp://u:secret1@h/x"], 66),
        (["compare", "a.mp4", "a.mp4", "--to", "rtsp://u:secret1@h/x.html"], 73),
        (["adapt", "rtsp://u:secret1@h/x", "--name", "n"], 66),
        (["models", "import", "https://u:secret1@h/x.pt", "--name", "n"], 78),
    ],
)
def test_an_address_is_no_file_and_is_not_shown(
    words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "a.mp4")
    ended, line = refused(*words)
    assert ended == code, line
    assert "is an address" in line
    assert "secret1" not in line


def test_originals_in_a_folder_of_outputs_are_not_replaced(tmp_path: Path) -> None:
    a = clip(tmp_path / "in" / "a.mp4")
    mine = clip(tmp_path / "originals" / "a.mp4")
    before = mine.read_bytes()
    settings = stream.Settings(model="none", strength=0, device="cpu", overwrite="own")
    tasks = tasks_of([a, mine.parent])
    assert tasks == [Task(a, mine)]
    (outcome,) = stream.Batch(tasks, settings).run()
    assert outcome.state == "failed"
    assert "was not made by deblur" in outcome.said
    assert mine.read_bytes() == before


def test_what_the_program_made_may_be_replaced_until_someone_changes_it(tmp_path: Path) -> None:
    a, out = clip(tmp_path / "a.mp4"), tmp_path / "out.mp4"
    Job(a, out, PLAIN).run()
    again = stream.Settings(model="none", strength=0, device="cpu", overwrite="own")
    assert Job(a, out, again).run().conforms
    clip(out)
    with pytest.raises(stream.SinkError, match="was not made by deblur"):
        Job(a, out, again).run()
    forced = stream.Settings(model="none", strength=0, device="cpu", overwrite=True)
    assert Job(a, out, forced).run().conforms


def test_an_output_named_by_an_option_leaves_all_arguments_to_inputs(tmp_path: Path) -> None:
    a, b, folder = clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4"), tmp_path / "made"
    assert tasks_of([a, b], None, folder) == [Task(a, folder / "a.mp4"), Task(b, folder / "b.mp4")]
    assert tasks_of([a], None, tmp_path / "o.mp4") is None
    assert tasks_of([a], None, tmp_path) == [Task(a, tmp_path / "a.mp4")]
    with pytest.raises(stream.UsageError, match="need a folder"):
        tasks_of([a, b], None, tmp_path / "o.mp4")
    assert refused("run", "-o", tmp_path / "o.mp4")[0] == 2


def test_files_of_the_user_with_names_of_ours_stay(tmp_path: Path) -> None:
    a = clip(tmp_path / "a.mp4")
    (tmp_path / "out.part.mp4").write_text("mine")
    assert Job(a, tmp_path / "out.mp4", PLAIN).run().conforms
    assert (tmp_path / "out.part.mp4").read_text() == "mine"
    job = Job(a, tmp_path / "stopped.mp4", PLAIN)
    (tmp_path / "stopped.part.mp4").write_text("mine")

    def stop(progress: Progress) -> None:
        if progress.phase == "restoring" and progress.frames:
            job.stop()

    report = job.run(stop)
    if report.stopped:
        assert report.output.name == "stopped.part-2.mp4"
    assert (tmp_path / "stopped.part.mp4").read_text() == "mine"


@pytest.mark.parametrize("content", ["file", "folder", "folder with a lock"])
def test_what_lies_where_the_work_would_is_not_touched(content: str, tmp_path: Path) -> None:
    a, place = clip(tmp_path / "a.mp4"), tmp_path / "out.mp4.part"
    if content == "file":
        place.write_text("mine")
    else:
        clip(place / "mine.mkv")
        if content != "folder":
            (place / "lock").touch()
    before = kept(tmp_path)
    for overwrite in (False, True):
        settings = stream.Settings(model="none", strength=0, device="cpu", overwrite=overwrite)
        with pytest.raises(stream.SinkError, match="in the way"):
            Job(a, tmp_path / "out.mp4", settings).run()
    assert kept(tmp_path) == before


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_comes_while_a_run_is_at_work_stays(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on FAT

        def refuse(*paths: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    a, out = clip(tmp_path / "a.mp4"), tmp_path / "out.mp4"
    job = Job(a, out, PLAIN)

    def come(progress: stream.Progress) -> None:
        out.write_text("mine")

    with pytest.raises(stream.SinkError, match=r"is whole, in .*out-2\.mp4"):
        job.run(come)
    assert out.read_text() == "mine"
    assert len(look(tmp_path / "out-2.mp4").timestamps) == 4
    assert provenance.by_us(tmp_path / "out-2.mp4")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mp4", "out-2.mp4", "out.mp4"]
    out.unlink()
    assert Job(a, out, PLAIN).run().conforms


@pytest.mark.parametrize(
    "name", ["名" * 80 + ".mp4", "n" * 251 + ".mp4", "é" * 125 + ".mkv", "w" * 251 + ".avi"]
)
def test_long_names(name: str, tmp_path: Path) -> None:
    source = clip(tmp_path / ("s.mkv" if name.endswith("mkv") else "s.mp4"))
    source = source.rename(tmp_path / name)
    output = default_output(source)
    assert len(os.fsencode(output.name)) <= 255
    assert ".deblurred." in output.name
    assert Job(source, None, PLAIN).run().output == output
    (task,) = tasks_of([source, tmp_path]) or []
    assert len(os.fsencode(task.output.name)) <= 255
    whole = tmp_path / f"{'o' * 251}.mp4"
    assert len(os.fsencode(folder_of(whole).name)) <= 255
    assert Job(source, whole, PLAIN).run().conforms
    code, line = refused("run", source, tmp_path / f"{'o' * 252}.mp4")
    assert code == 73
    assert "name too long" in line


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    names = {default_output(tmp_path / f"{'n' * 249}{end}.mp4") for end in "ab"}
    assert len(names) == 2


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made_here:
        folder = os.open(path.parent, os.O_RDONLY)
        try:  # such names must be short
            made_here.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "kind"), [(pipe, "named pipe"), (unix_socket, "socket"), (device, "device")]
)
def test_what_is_no_file(make: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    a, odd = clip(tmp_path / "a.mp4"), tmp_path / "odd.mp4"
    make(odd)
    refusing = [("info", odd), ("verify", a, odd), ("compare", odd, a)]
    if kind != "named pipe":  # which is waited for
        refusing += [("run", odd)]
    for words in refusing:
        code, line = refused(*words)
        assert (code, kind in line) == (66, True), line
    code, line = refused("models", "import", odd, "--name", "odd")
    assert (code, kind in line) == (78, True), line
    for more in ((), ("--overwrite",)) if kind != "named pipe" else ():
        code, line = refused("run", a, odd, *more)
        assert (code, kind in line) == (73, True), line


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone may enter, while this process is nobody in particular."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        yield Path(name)
        if root:
            os.seteuid(0)


def test_what_may_not_be_read(open_folder: Path) -> None:
    a, locked = clip(open_folder / "a.mp4"), open_folder / "locked"
    clip(locked / "b.mp4")
    secret = clip(open_folder / "secret.mp4")
    secret.chmod(0)
    locked.chmod(0)
    try:
        for words in (
            *(("run", secret), ("run", locked / "b.mp4"), ("run", locked), ("info", secret)),
            *(("verify", a, secret), ("compare", a, secret), ("run", "--list", secret, "out")),
        ):
            code, line = refused(*words)
            assert (code, "Permission denied" in line) == (66, True), line
        code, line = refused("run", a, locked / "o.mp4")
        assert (code, "Permission denied" in line) == (73, True), line
        code, line = refused("models", "import", secret, "--name", "x")
        assert (code, "Permission denied" in line) == (78, True), line
    finally:
        locked.chmod(0o755)


def test_an_output_that_is_a_link_is_written_through_it(tmp_path: Path) -> None:
    a = clip(tmp_path / "a.mp4")
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.mp4").symlink_to("disk/far.mp4")
    for _ in range(2):
        settings = stream.Settings(model="none", strength=0, device="cpu", overwrite="own")
        Job(a, tmp_path / "out.mp4", settings).run()
        assert (tmp_path / "out.mp4").readlink() == Path("disk/far.mp4")
        assert [*(tmp_path / "disk").iterdir()] == [tmp_path / "disk/far.mp4"]
    with pytest.raises(stream.SinkError, match="--overwrite"):
        Job(a, tmp_path / "out.mp4", PLAIN).run()
    for target, said in (("loop.mp4", "symbolic links"), ("no/x.mp4", "no does not exist")):
        (tmp_path / "loop.mp4").unlink(missing_ok=True)
        (tmp_path / "loop.mp4").symlink_to(target)
        code, line = refused("run", a, tmp_path / "loop.mp4", "--overwrite")
        assert (code, said in line) == (73, True), line
    (tmp_path / "there.mp4").symlink_to("disk")
    assert tasks_of([a, tmp_path / "there.mp4"]) == [Task(a, tmp_path / "there.mp4" / "a.mp4")]


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    a, out = clip(tmp_path / "a.mp4"), tmp_path / "out.mp4"
    begun, ended = threading.Event(), threading.Event()

    def wait(progress: stream.Progress) -> None:
        begun.set()
        assert ended.wait(60)

    first = threading.Thread(target=lambda: Job(a, out, PLAIN).run(wait))
    first.start()
    try:
        assert begun.wait(60)
        for words in ([], ["--resume"], ["--overwrite"]):
            code, line = refused("run", a, out, *words)
            assert (code, "another run is writing this output" in line) == (73, True), line
    finally:
        ended.set()
        first.join()
    assert look(out).timestamps


def test_a_list_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, "a.mp4\n\n# a word\nb \u2028 c.mp4\n".encode())
    os.close(write)
    with os.fdopen(read) as given:
        monkeypatch.setattr("sys.stdin", given)
        tasks = tasks_of([tmp_path], Path("-")) or []
    assert [task.input for task in tasks] == [Path("a.mp4"), Path("b \u2028 c.mp4")]


def test_a_second_run_over_a_folder_tells_what_is_out_of_date(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        clip(tmp_path / "in" / f"{name}.mp4")
    tasks = tasks_of([tmp_path / "in", tmp_path / "out"]) or []
    usual = stream.Settings(model="none", strength=0, device="cpu")
    assert [each.state for each in stream.Batch(tasks, usual).run()] == ["done"] * 4
    assert {each.state for each in stream.Batch(tasks, usual).run()} == {"skipped"}
    os.utime(tmp_path / "in" / "a.mp4")  # the same content
    make_clip(tmp_path / "in" / "b.mp4", frames=5)
    make_clip(tmp_path / "out" / "c.mp4", frames=5)  # another one's by now: not known
    (tmp_path / "in" / "d.mp4").unlink()
    before = kept(tmp_path)
    states = {each.task.input.stem: each for each in stream.Batch(tasks, usual).run()}
    assert {name: each.state for name, each in states.items()} == {
        **dict.fromkeys("ac", "skipped"),
        "b": "outdated",
        "d": "failed",
    }
    assert "b.mp4 was another file then" in states["b"].said
    changed = stream.Settings(model="none", strength=0, device="cpu", smooth=0.5, fuse=2)
    (first, *_) = stream.Batch(tasks, changed).run()
    assert first.state == "outdated"
    assert "it was made with another --fuse, --smooth" in first.said
    assert "--overwrite" in first.said
    assert kept(tmp_path) == before
    elsewhere = stream.Settings(model="none", strength=0, device="cpu", decoder="software", tile=99)
    assert next(iter(stream.Batch(tasks, elsewhere).run())).state == "skipped"


def test_whoever_writes_into_a_pipe_that_is_refused_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    writer = subprocess.Popen(["sh", "-c", f"echo > {tmp_path / 'a.mp4'}"], stderr=subprocess.PIPE)
    refusals = 0
    while writer.poll() is None:
        assert refused("info", tmp_path / "a.mp4")[0] == 66
        refusals += 1
    writer.communicate()
    assert refusals
