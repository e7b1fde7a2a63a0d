"""What is told of faults of the program, and of its work where that is asked for."""

import logging
import multiprocessing
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stream import diagnostics
from stream.cli import app
from stream.cli.options import verbosely
from stream.cli.terminal import log_handler, reported
from stream.ipc.child import Control, enter
from stream.ipc.messages import Line
from stream.secrets import Secrets
from tests.clips import make_clip

SECRET = "hunter2hunter2"
ADDRESS = f"rtsp://admin:{SECRET}@cam.example/live"
COMMANDS = (
    *("run", "info", "verify", "live", "serve", "compare", "bench", "doctor"),
    *("models", "models import", "models export"),
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks go."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return diagnostics.folder()


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """As it was: loggers, and what writes their lines."""
    form, secrets = log_handler.formatter, log_handler.secrets
    yield
    log_handler.formatter, log_handler.secrets = form, secrets
    for name in diagnostics.PACKAGES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def broken() -> None:
    """A command with a fault."""
    with reported():
        names: dict[str, str] = {}
        raise KeyError(f"{names.get('none')} {ADDRESS}\nand a second line")


def faulty(control: Control) -> None:
    """A process of a live feed with a fault."""
    raise RuntimeError(f"no picture of {ADDRESS}")


def command() -> typer.Typer:
    made = typer.Typer()
    made.command()(verbosely(broken))
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_it(name: str) -> None:
    for option in ("-v", "--verbose"):
        done = CliRunner().invoke(app, [*name.split(), option, "--help"])
        assert done.exit_code == 0, done.output
        assert "--verbose" in done.output


def test_lines_have_the_names_of_modules(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=3)
    words = [sys.executable, "-m", "stream", "info", str(clip)]
    quiet, loud = (
        subprocess.run([*words, *more], capture_output=True, text=True, check=True)
        for more in ([], ["-v"])
    )
    assert quiet.stderr == ""
    opened = "DEBUG stream.input.container.opening: reading clip.mkv as matroska,webm\n"
    assert opened in loud.stderr
    assert quiet.stdout == loud.stdout


def test_an_unexpected_error_is_one_line_that_says_where_the_rest_is(kept: Path) -> None:
    done = CliRunner().invoke(command(), [])
    assert done.exit_code == 70
    (line,) = done.stderr.splitlines()
    assert line.startswith("deblur: unexpected KeyError: ")
    assert "shown with --verbose" in line
    (file,) = kept.iterdir()
    assert str(file) in line
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "in broken\n" in text
    assert "and a second line" in text
    assert "deblur-stream " in text
    assert SECRET not in text + done.output


def test_with_verbose_the_traceback_is_shown(kept: Path) -> None:
    """The option is the command's own; its handler is there only while the command runs."""
    logging.getLogger().addHandler(log_handler)
    try:
        done = CliRunner().invoke(command(), ["-v"])
    finally:
        logging.getLogger().removeHandler(log_handler)
    assert done.exit_code == 70
    assert "Traceback (most recent call last)" in done.stderr
    assert "in broken" in done.stderr
    assert "its traceback is in" in done.stderr
    assert "--verbose" not in done.stderr.splitlines()[-1]
    assert SECRET not in done.stderr


def test_a_fault_outside_of_commands_is_one_line_as_well(kept: Path) -> None:
    code = (
        "import stream.cli as cli\n"
        "def broken(*a, **k): raise RuntimeError('outside')\n"
        "cli.with_ports = broken\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert done.stderr.startswith("deblur: unexpected RuntimeError: outside; its traceback is in ")
    assert len(done.stderr.splitlines()) == 1


def test_few_tracebacks_are_kept(kept: Path) -> None:
    files = [
        diagnostics.keep_traceback(ValueError(str(number)), Secrets())
        for number in range(diagnostics.MOST_KEPT + 3)
    ]
    assert sorted(kept.iterdir()) == sorted(file for file in files[3:] if file is not None)


def test_where_none_can_be_kept_the_line_does_without(kept: Path) -> None:
    kept.parent.mkdir(parents=True)
    kept.write_text("a file in the way")
    said = diagnostics.fault(ValueError("x"), Secrets())
    assert said == "unexpected ValueError: x; its traceback is shown with --verbose"


@pytest.mark.parametrize("verbose", [False, True])
def test_a_process_of_a_live_feed_tells_of_its_fault(verbose: bool, kept: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=enter, args=(faulty, theirs, Secrets(), (), verbose))
    process.start()
    theirs.close()
    said: list[str] = []
    try:
        while True:
            message = ours.recv()
            assert isinstance(message, Line)
            said.append(message.text)
    except EOFError:
        process.join()
    assert process.exitcode == 1
    (file,) = kept.iterdir()
    line = (
        "unexpected RuntimeError: no picture of rtsp://***@cam.example/live; its traceback is in "
    )
    assert said[-1].startswith(f"{line}{file}, ")
    assert "in faulty" in file.read_text()
    assert SECRET not in file.read_text() + "".join(said)
    assert ("INFO stream.ipc.child: process" in said[0]) == verbose
    assert any("Traceback" in text for text in said) == verbose
    assert len(said) == (3 if verbose else 1)
