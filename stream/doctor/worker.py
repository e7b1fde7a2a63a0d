"""Runs checks in a process of their own: what crashes or hangs there is a finding, and no more."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection

from stream.doctor.checks.finding import Finding, Group, failed
from stream.doctor.clean import cleaner
from stream.ipc.workers import uninterrupted

LIMIT_S = 60.0
"""How long a check may take: on a GPU that is new to it, PyTorch loads and builds much."""
_FAREWELL_S = 2.0


def examine(names: Sequence[str], limit_s: float = LIMIT_S) -> Iterator[Group]:
    """The findings of checks, one group after the other; each is a module with a function `look`.

    They share one process, as loading what they need takes longer than they do. Where it dies, or
    one of them takes too long, another process goes on with the next one.
    """
    context = multiprocessing.get_context("spawn")
    left = list(names)
    while left:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(tuple(left), theirs))
        with uninterrupted():
            process.start()
        theirs.close()
        try:
            while left:
                try:
                    found = ours.recv() if ours.poll(limit_s) else None
                except (EOFError, OSError):
                    process.join(_FAREWELL_S)
                    yield _gone(left.pop(0), f"the check {_death(process.exitcode)}")
                    break
                if found is None:
                    yield _gone(left.pop(0), f"the check took longer than {limit_s:.0f} s")
                    break
                left.pop(0)
                yield found
        finally:
            if left:
                process.kill()
            process.join(_FAREWELL_S)
            if process.is_alive():
                process.kill()
                process.join()
            ours.close()


def _gone(name: str, why: str) -> Group:
    return Group(_short(name), (Finding(_short(name), "failed", why),))


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
    return f"ended early (code {code})"


def _work(names: Sequence[str], line: Connection) -> None:
    # Nobody but us is to say anything: drivers and encoders print about what they do not find.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    clean = cleaner()
    # The parent is gone, or has had enough.
    with suppress(BrokenPipeError, KeyboardInterrupt):
        for name in names:
            line.send(Group(_short(name), tuple(each.cleaned(clean) for each in _look(name))))


def _look(name: str) -> list[Finding]:
    try:
        look: Callable[[], list[Finding]] = import_module(name).look
        return look()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what ends programs: nothing a check does shall end us
        return [failed(_short(name), error)]
