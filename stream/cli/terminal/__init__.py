"""What the command prints on the terminal, and how it ends. Imports none of the commands."""

import io
import json
import logging
import os
import signal
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from stream.files.estimate import Estimate, Forecast
    from stream.files.report import Report
    from stream.secrets import Secrets

_JOINERS = "\u200c\u200d"
"""Without these some scripts and emoji fall apart."""
_LONG_S = 600.0
"""What takes longer may be wanted quicker."""


def visible(text: str) -> str:
    r"""A text in which nothing moves the cursor, hides or turns around what follows: such letters
    of names, titles and addresses are written as `\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if each in _JOINERS or each in "\n\t" or not _acts(each) else _escaped(each)
        for each in text
    )


def _acts(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x10000:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return f"\\U{code:08x}"


class Terminal(Console):
    """What all output goes through."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As `Console` has it, with nothing in a text that a terminal would act upon."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


# Brackets and colons in names are what they are.
err = Terminal(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
out = Terminal(highlight=False, markup=False, emoji=False)


class TerminalLog(logging.Handler):
    """Says what is logged as everything else is said, without secrets."""

    secrets: "Secrets | None" = None
    """Those that are known; None: a password of the environment, and any address's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or more with a traceback."""
        say(self.known().hide(self.format(record)))

    def known(self) -> "Secrets":
        """What must not be shown."""
        if self.secrets is None:
            from stream.secrets import Secrets

            self.secrets = Secrets((), [os.environ.get("DEBLUR_TOKEN", "")])
        return self.secrets


log_handler = TerminalLog()
"""What the loggers of all modules write to."""


def log() -> None:
    """Show what modules log, from warnings on."""
    logging.basicConfig(format="deblur: %(message)s", level=logging.WARNING, handlers=[log_handler])


def be_verbose(wanted: bool) -> None:
    """Show all that modules log, with their names."""
    if wanted:
        from stream import diagnostics

        log_handler.setFormatter(logging.Formatter(diagnostics.FORMAT, diagnostics.TIME))
        diagnostics.be_verbose()


class _UnbreakableStream(io.RawIOBase):
    """A standard stream that takes what nobody reads, so that it takes away lines and no work."""

    def __init__(self, raw: io.RawIOBase, gone: type[OSError]) -> None:
        """`gone` is what may happen to it."""
        self._raw, self._gone = raw, gone

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: "Buffer") -> int:
        size = memoryview(data).nbytes
        try:
            written = self._raw.write(data)
        except self._gone:
            return size
        except OSError as error:
            # Said once; the rest has nowhere to go either, at the end of the program least of all.
            from stream.errors import WriteError

            self._gone = OSError
            raise WriteError(f"cannot write the output: {error.strerror}") from error
        return size if written is None else written  # None: it has no room now


def keep_streams() -> None:
    """Let the command go on without whoever reads its output and without its terminal.

    What it says on standard error may also be lost on a full disk; results may not.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed; what is opened next must not become it
            os.open(os.devnull, os.O_RDWR)
    for name, gone in (("stdout", BrokenPipeError), ("stderr", OSError)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            raw: Any = getattr(stream.buffer, "raw", stream.buffer)
            lasting = io.TextIOWrapper(
                io.BufferedWriter(_UnbreakableStream(raw, gone)),
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, lasting)


class Stoppable(Protocol):
    """A job, or many."""

    def stop(self) -> None:
        """Finish the frames in hand."""
        ...

    def cancel(self) -> None:
        """End at once."""
        ...


def say(text: str) -> None:
    """Print a line on standard error, where all but results goes."""
    err.print(text)


def plain(value: object) -> str:
    """A value as tables show it."""
    if isinstance(value, dict):
        return visible(", ".join(f"{key}={text}" for key, text in value.items()))
    # Here, so that a table knows how wide it is.
    return str(value).lower() if isinstance(value, bool) else visible(str(value))


def spoken(seconds: float) -> str:
    """A time as people say it, no finer than it is known."""
    whole = round(seconds) if seconds < 60 else 10 * round(seconds / 10)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    parts = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0 or not minutes)
    return " ".join(parts)


def estimated(estimate: "Estimate") -> str:
    """What a job will take, in one line."""
    size = f"; about {_size(estimate.bytes)}" if estimate.bytes is not None else ""
    runs_on = estimate.runs_on
    how = "without a network" if runs_on == "no network" else f"on {runs_on}"
    # On CPUs that compute in nothing less than float32 the network takes most of the time.
    slow = estimate.seconds > _LONG_S and runs_on.endswith("float32")
    hint = "; --model none is quicker, and gains less" if slow else ""
    return (
        f"about {spoken(estimate.seconds)} for {estimate.frames} frames "
        f"({rate(estimate.fps)} fps {how}){size}{hint}"
    )


def forecast(name: str = "", *, longer_than_s: float = 30.0, least_s: float = 1.0) -> "Forecast":
    """What says, once, how long a job will take, where that is longer than so many seconds."""
    from stream.files.estimate import Forecast

    return Forecast(
        lambda estimate: say(f"{name}{estimated(estimate)}"),
        longer_than_s=longer_than_s,
        least_s=least_s,
    )


def rate(fps: float) -> str:
    """Frames per second, no finer than they are known."""
    return f"{fps:.0f}" if fps >= 10 else f"{fps:.2g}"


def _size(count: int) -> str:
    size, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    if size < 10:
        return f"{size:.1f} {unit}"
    return f"{10 * round(size / 10) if size >= 100 else round(size)} {unit}"


def done(report: "Report") -> str:
    """What was restored, in words."""
    said = f"{report.frames} frames in {clock(report.seconds)} ({report.fps:.1f} fps)"
    if report.from_neighbors:
        said += f", {100 * report.from_neighbors:.0f} % of the picture from neighboring frames"
    return said


def ended(report: "Report", output: object, *, stopped: str = "") -> None:
    """Say what was restored into what, and what is to be noted of it; `stopped` is what to do where
    it was stopped, which raises `typer.Exit`."""
    from stream.stages.advice import said_of

    for warning in report.warnings:
        say(f"note: {warning}")
    if report.stopped:
        say(f"stopped early: {done(report)} -> {output}{stopped}")
        raise typer.Exit(130)
    say(f"{done(report)} -> {output}")
    if (poor := said_of(report.gain)) is not None:
        say(f"note: {poor}")


def concluded(report: "Report", as_json: bool) -> None:
    """Say how a whole file differs from its input. Raises `typer.Exit` where it does."""
    from stream.errors import DiffersError

    if report.conformance is not None:
        say(report.conformance.summary)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    if not report.conforms:
        raise typer.Exit(DiffersError.exit_code)


def clock(seconds: float) -> str:
    """A time such as 1:30 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def reported(hide: "Callable[[str], str]" = str) -> Iterator[None]:
    """Say what went wrong in one line and end with the exit code of its kind.

    `hide` takes out of the line what must not be shown.
    """
    import stream

    try:
        yield
    except stream.DeblurError as error:
        fail(hide(str(error)), error.exit_code)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except typer.Exit:
        raise
    except Exception as error:
        unexpected(error)


def unexpected(error: BaseException) -> NoReturn:
    """Say that the program has a fault, and end."""
    from stream import diagnostics
    from stream.errors import DeblurError

    said = diagnostics.fault(error, log_handler.known())
    fail(
        f"{said}; please report this with the command and the output of `deblur doctor`",
        DeblurError.exit_code,
    )


def fail(text: str, code: int) -> NoReturn:
    """Say what went wrong in one line, and end."""
    say(f"deblur: {' '.join(text.split())}")
    raise typer.Exit(code)


def handle_signals(job: Stoppable) -> None:
    """First signal: finish the file properly. Second: stop at once."""
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 1:
            say("stopping: finishing the frames in hand (again to stop at once)")
            job.stop()
        else:
            job.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


@contextmanager
def quiet_end() -> Iterator[None]:
    """What is done is done: a signal while Python ends must not turn it into a failure."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
