"""What the program tells of its work where it is asked to, and keeps of faults of its own."""

import logging
import os
import platform
import shlex
import sys
import time
import traceback
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import platformdirs

from stream.secrets import Secrets

PACKAGES: Final = ("stream", "filters", "mssnet", "weights")
"""The loggers that --verbose is about; those of libraries stay as quiet as they were."""
FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
TIME: Final = "%H:%M:%S"
MOST_KEPT = 20
"""Files of tracebacks; older ones are deleted."""

_log = logging.getLogger(__name__)


def be_verbose() -> None:
    """Have all that the program logs shown."""
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.DEBUG)


def is_verbose() -> bool:
    """Whether that was asked for."""
    return logging.getLogger("stream").level == logging.DEBUG


def folder() -> Path:
    """Where tracebacks are kept."""
    return platformdirs.user_log_path("deblur-stream", appauthor=False)


def fault(error: BaseException, secrets: Secrets) -> str:
    """Keep the traceback of an unexpected error; what to say of it, in one line without secrets."""
    _log.debug("unexpected", exc_info=error)
    text = str(error).splitlines()[0] if str(error) else ""
    said = f"unexpected {type(error).__name__}: {secrets.hide(text)}"
    kept = keep_traceback(error, secrets)
    where = f"its traceback is in {kept}, " if kept is not None else "its traceback is "
    return f"{said}; {where}{'above' if is_verbose() else 'shown with --verbose'}"


def keep_traceback(error: BaseException, secrets: Secrets) -> Path | None:
    """Write a traceback without secrets into a file that only its owner may read; None where that
    is not possible. The newest `MOST_KEPT` are kept."""
    lines = [
        f"deblur-stream {version('deblur-stream')}, Python {platform.python_version()}, "
        f"{platform.platform()}",
        f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, process {os.getpid()}",
        f"command: {shlex.join(sys.argv)}",
        "",
        *traceback.format_exception(error),
    ]
    text = secrets.hide("\n".join(line.rstrip("\n") for line in lines)) + "\n"
    # One look at the clock, and no summer time: names are in the order in which things happened.
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    name = f"fault-{now}-{nanoseconds:09}-{os.getpid()}.txt"
    try:
        folder().mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder() / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        for old in sorted(folder().glob("fault-*.txt"))[:-MOST_KEPT]:
            with suppress(FileNotFoundError):
                old.unlink()
    except OSError as failed:
        _log.debug("the traceback is not kept: %s", failed)
        return None
    return folder() / name
