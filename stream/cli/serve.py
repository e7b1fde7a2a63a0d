"""The command `deblur serve`."""

import asyncio
import os
import re
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import Option
from stream.cli.run import run
from stream.cli.terminal import err, reported, say

if TYPE_CHECKING:
    from stream.serve.server import Server

_PORT = 8080
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def serve(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- OPTION...]",
            help="Behind --: options of deblur run that every job has unless it says otherwise, "
            "such as -- --model lite --upscale 2.",
            show_default=False,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        Option("--in", help="The folder of the files that jobs may name.", show_default=False),
    ] = None,
    outputs: Annotated[
        Path | None,
        Option(
            "--out",
            help="The folder for outputs, and for the queue, uploads and unfinished work.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="The port to serve at; 0: any that is free.")] = _PORT,
    host: Annotated[
        str,
        typer.Option(
            help="The address to serve at; beyond this machine only with a password of yours in "
            "DEBLUR_TOKEN."
        ),
    ] = "127.0.0.1",
    watch: Annotated[
        Path | None,
        Option(help="Take every video that appears in this folder, which is in that of --in."),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(help="Seconds for which a file must not have grown to be taken.", min=0),
    ] = 5.0,
    max_upload: Annotated[
        str, typer.Option(metavar="SIZE", help="Refuse larger uploads, such as 50GB.")
    ] = "50GB",
    device: Annotated[
        str,
        typer.Option(help="As of deblur run; of several GPUs each works on a job of its own."),
    ] = "auto",
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ray://HOST:PORT|local:N",
            help="Have a Ray cluster restore each job's video in pieces, as deblur run has it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take jobs over HTTP and on a page, and do one after the other; goes on until stopped."""
    every = [*(words or []), *([f"--cluster={cluster}"] if cluster is not None else [])]
    with reported():
        _check(words or [])
        if cluster is not None:
            from stream.cluster.engine import checked

            checked(cluster)
    _parse(every)
    with reported():
        from stream.errors import UsageError
        from stream.preview.access import Access
        from stream.serve.folders import Folders
        from stream.serve.server import Server, Serving

        if inputs is None or outputs is None:
            raise UsageError("name the two folders: deblur serve --in DIR --out DIR")
        given = os.environ.get("DEBLUR_TOKEN")
        access = Access.of(
            host, port, given, secrets.token_urlsafe(24), options=("--port", "--host")
        )
        devices = device.split(",")
        serving = Serving(
            access,
            Folders.of(inputs, outputs),
            [[f"--device={each.strip()}", *every] for each in devices],
            _size(max_upload),
            watch,
            settle,
        )
        # It listens from here on, so whoever started it may end it in order from here on.
        signal.signal(signal.SIGTERM, _leave)
        server = Server(serving, lambda text: say(f"{time.strftime('%H:%M:%S')} {text}"))
        say(f"serving: {access.address(server.port, given is None, shown=err.is_terminal)}")
        if server.waiting:
            say(f"going on with {server.waiting} jobs from before")
        asyncio.run(_run(server))


def _leave(number: int, frame: object) -> None:
    """End before anything is at work."""
    raise SystemExit(0)


async def _run(server: "Server") -> None:
    serving = asyncio.create_task(server.run())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        say("stopping; what is at work goes on at the next start")
        serving.cancel()
        # The next one ends it at once, which loses at most two seconds of work.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        await serving


def _check(words: Sequence[str]) -> None:
    """Raise where options of every job make no sense."""
    from stream.errors import UsageError

    alone = {"--json", "--resume", "--progress", "-o", "--output", "--list", "--try", "--preview"}
    alone |= {"--format", "--size", "--rate", "--pix-fmt", "--color", "--sequence"}
    alone |= {"--part", "-v", "--verbose"}
    for word in words:
        if not word.startswith("-") and word == words[0]:
            raise UsageError(f"behind -- come options of deblur run, got {word}")
        if word.partition("=")[0] in alone:
            raise UsageError(f"{word} is the service's own matter")


def _parse(words: Sequence[str]) -> None:
    """Have Typer raise what is wrong with options of every job, before anything is written."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    typer.main.get_command(app).make_context("deblur run", [*words, "--", "input"])


def _size(text: str) -> int:
    """Bytes, of a text such as 50GB. Raises `UsageError`."""
    from stream.errors import UsageError

    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?B)?", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"--max-upload takes a size such as 50GB, got {text}")
    unit = (match[2] or "").upper()
    return int(float(match[1]) * _UNITS.get(unit, 1))
