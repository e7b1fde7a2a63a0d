"""The command `deblur live`."""

import asyncio
import logging
import os
import secrets as random_secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from stream.cli.options import Device, Engine, Model, Precision, Preview, PreviewHost, Smooth
from stream.cli.terminal import clock, err, reported, say

if TYPE_CHECKING:
    from stream.live.figures import Snapshot
    from stream.live.http import Http
    from stream.live.supervisor import Supervisor
    from stream.preview.host import Preview as Page

_EVERY_S = 60.0
"""How often figures are said where there is no terminal."""


def live(
    source: Annotated[
        str,
        typer.Argument(
            help="webcam:0, /dev/video0, rtsp://..., http(s)://..., rtmp://..., screen:, testsrc:, "
            "a file with --realtime, or env:NAME for an address in an environment variable.",
            show_default=False,
        ),
    ],
    outputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OUTPUT]...",
            help="serve:[HOST:]PORT/NAME, rtsp://... or rtmp://... to publish to, a file to record "
            "to, hls:FOLDER, camera: for a virtual webcam, or env:NAME; serve:8554/live by "
            "default.",
            show_default=False,
        ),
    ] = None,
    model: Model = "lite",
    strength: Annotated[
        float, typer.Option(help="0 leaves the picture as it is, 1 restores it fully.")
    ] = 1.0,
    smooth: Smooth = None,
    upscale: Annotated[
        str | None,
        typer.Option(
            help="Enlarge: a factor in 1..4, a height such as 1080p, or a size.",
            show_default=False,
        ),
    ] = None,
    upscaler: Annotated[
        str, typer.Option(help="What enlarges: auto, a .safetensors file, lanczos or bicubic.")
    ] = "auto",
    max_latency: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Restore less well, step by step, where frames take longer than this.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    transport: Annotated[
        str, typer.Option(help="tcp or udp, to RTSP sources and servers.")
    ] = "tcp",
    stall: Annotated[
        float, typer.Option(help="Connect again after so many seconds without a frame.")
    ] = 5.0,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a file as if it were a camera.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Play that file for ever.")] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="The size of the outputs: they are up before the camera is. The first picture's "
            "by default.",
            show_default=False,
        ),
    ] = None,
    segment: Annotated[float, typer.Option(help="Seconds of each file of a recording.")] = 600.0,
    keep: Annotated[
        float, typer.Option(help="Delete recordings older than so many hours; 0 keeps all.")
    ] = 0.0,
    insecure_tls: Annotated[
        bool, typer.Option("--insecure-tls", help="Do not check certificates.")
    ] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger frames.")] = 4096 * 2304,
    http: Annotated[
        str, typer.Option(help="[HOST:]PORT of /healthz and /metrics, or off.")
    ] = "9554",
    preview: Preview = None,
    preview_host: PreviewHost = "127.0.0.1",
) -> None:
    """Restore a camera live; goes on until it is stopped."""
    _hide_arguments([source, *(outputs or [])])
    from stream.errors import UsageError
    from stream.live import targets
    from stream.live.camera import Camera, resolve
    from stream.live.http import Address, Http
    from stream.live.settings import LiveSettings, Restoring
    from stream.live.supervisor import Supervisor
    from stream.live.targets import OutputSettings
    from stream.preview.access import Access
    from stream.preview.host import Preview as Page
    from stream.scale import Scale
    from stream.secrets import Secrets

    hide = Secrets([source, *(outputs or [])]).hide
    with reported(lambda text: hide(text)):
        settings = LiveSettings(
            restoring=Restoring(
                model,
                strength,
                smooth,
                Scale.parse(upscale) if upscale is not None else None,
                upscaler,
            ),
            device=device,
            precision=precision,
            engine=engine,
            max_latency_ms=max_latency,
            transport=transport,
            stall_s=stall,
            realtime=realtime,
            loop=loop,
            size=_size(size),
            insecure_tls=insecure_tls,
            max_pixels=max_pixels,
        )
        addresses = [resolve(each) for each in (source, *(outputs or ["serve:8554/live"]))]
        token = os.environ.get("DEBLUR_TOKEN")
        own = token or random_secrets.token_urlsafe(24)
        secrets = Secrets(addresses, [own])
        hide = secrets.hide
        camera = Camera.parse(addresses[0], settings)
        aims = [
            targets.parse(each, OutputSettings(transport, insecure_tls, segment, keep * 3600))
            for each in addresses[1:]
        ]
        names = [aim.name for aim in aims]
        if len(set(names)) < len(names):
            raise UsageError("two outputs are the same")
        address = None if http == "off" else Address.parse(http, token, own)

        def tell(who: str, text: str) -> None:
            say(f"{time.strftime('%H:%M:%S')} {who}: {text}")

        page = None
        if preview is not None:
            page = Page(Access.of(preview_host, preview, token, own), secrets=secrets, say=tell)
        feed = Supervisor(
            camera, aims, settings, secrets=secrets, say=tell, preview=page is not None
        )
        shown = Http([feed], address) if address is not None else None
        asyncio.run(_run(feed, shown, page, own if token is None else None))
        if feed.killed:
            raise typer.Exit(130)


async def _run(
    feed: "Supervisor", http: "Http | None", page: "Page | None", token: str | None
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, feed)
    if http is not None:
        await http.start()
        # Where lines are kept in a file, no token of ours is among them.
        known = f"?token={token}" if token is not None and err.is_terminal else ""
        say(f"figures: http://127.0.0.1:{http.port}/metrics{known}")
    beside = [asyncio.create_task(_show(feed))]
    if page is not None:
        page.show([feed])
        beside.append(asyncio.create_task(page.run()))
        say(f"preview: {page.address(token is not None, shown=err.is_terminal)}")
    try:
        await feed.run()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if http is not None:
            await http.stop()


def _stop(feed: "Supervisor") -> None:
    say("stopping (again to stop at once)")
    feed.stop()


async def _show(feed: "Supervisor") -> None:
    """Keep one line of figures on the terminal; elsewhere say them once a minute."""
    if not err.is_terminal:
        while True:
            await asyncio.sleep(_EVERY_S)
            say(f"{time.strftime('%H:%M:%S')} {status_line(feed.snapshot())}")
    with Live(console=err, auto_refresh=False, transient=True) as shown:
        while True:
            shown.update(Text(status_line(feed.snapshot()), no_wrap=True), refresh=True)
            await asyncio.sleep(0.5)


def status_line(snapshot: "Snapshot") -> str:
    """The figures that matter, in one line."""
    parts = [f"{snapshot.state} {clock(snapshot.uptime_s)}"]
    fps = [snapshot.reader.fps, snapshot.model.fps, *(each.fps for each in snapshot.writers)]
    parts.append(f"{fps[0]:.1f} fps in, {min(fps[1:]):.1f} restored and out")
    if snapshot.dropped:
        parts.append(f"{snapshot.dropped} dropped")
    slowest = snapshot.slowest
    if slowest is not None:
        parts.append(
            f"latency {slowest.latency_p50_ms:.0f}/{slowest.latency_p95_ms:.0f} ms (p50/p95)"
        )
    if snapshot.reconnects:
        parts.append(f"{snapshot.reconnects} reconnects")
    parts.append(f"bottleneck {snapshot.bottleneck}")
    step = snapshot.model.facts.get("step", "1 of")
    if not step.startswith("1 of"):
        parts.append(f"step {step}")
    return " | ".join(parts)


def _size(text: str | None) -> tuple[int, int] | None:
    from stream.errors import UsageError

    if text is None:
        return None
    width, mark, height = text.lower().partition("x")
    if not (mark and width.isdigit() and height.isdigit()):
        raise UsageError(f"--size takes WxH such as 1280x720, got {text}")
    size = int(width), int(height)
    if min(size) < 16 or size[0] % 2 or size[1] % 2 or size[0] * size[1] > 4096 * 2304:
        raise UsageError(f"--size must be even, at least 16x16 and at most 4096x2304, got {text}")
    return size


def _hide_arguments(addresses: Sequence[str]) -> None:
    """Take passwords out of what the list of processes shows of this one."""
    from setproctitle import setproctitle

    from stream.secrets import Secrets

    secrets = Secrets(addresses)
    setproctitle(" ".join(["deblur", *map(secrets.hide, sys.argv[1:])]))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
