"""The command `deblur live`."""

import asyncio
import logging
import os
import secrets as random_secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from stream.cli import arguments, options
from stream.cli.options import (
    Device,
    Engine,
    LiveModel,
    Precision,
    Preview,
    PreviewHost,
    Shutter,
    Smooth,
)
from stream.cli.terminal import clock, err, log_handler, reported, say
from stream.options.live import DEFAULT_MAX_PIXELS
from stream.options.settings import MOST_DELAY, MOST_FUSE, USUAL_FUSE

if TYPE_CHECKING:
    from stream.ipc.stats import Snapshot
    from stream.live.cameras import Cameras
    from stream.live.description import Description
    from stream.live.http import Http
    from stream.live.notify.notifier import Notifier
    from stream.preview.host import Preview as Page

_EVERY_S = 60.0
"""How often figures are said where there is no terminal."""


def live(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="webcam:0, /dev/video0, rtsp://..., http(s)://..., rtmp://..., screen:, testsrc:, "
            "a file with --realtime, or env:NAME for an address in an environment variable.",
            show_default=False,
        ),
    ] = None,
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
    model: LiveModel = "lite",
    strength: Annotated[
        float, typer.Option(help="0 leaves the picture as it is, 1 restores it fully.")
    ] = 1.0,
    fuse: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_FUSE,
            help="With how many frames before it each one is fused; 0: with none.",
        ),
    ] = USUAL_FUSE,
    delay: Annotated[
        int,
        typer.Option(
            metavar="FRAMES",
            min=0,
            max=MOST_DELAY,
            help="Wait for so many frames, so that each one is fused with them too.",
        ),
    ] = 0,
    smooth: Smooth = None,
    shutter: Shutter = "auto",
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
        str,
        typer.Option(
            help="Delete recordings older than so many hours, or the oldest where all are larger "
            "than a size such as 200GB, or both: 48,200GB; 0 keeps all."
        ),
    ] = "0",
    insecure_tls: Annotated[
        bool, typer.Option("--insecure-tls", help="Do not check certificates.")
    ] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger frames.")] = DEFAULT_MAX_PIXELS,
    config: Annotated[
        Path | None,
        options.Option(
            help="Restore the cameras that this file describes (see docs/cameras.md) instead of "
            "SOURCE; it is read again on SIGHUP.",
            show_default=False,
        ),
    ] = None,
    http: Annotated[
        str, typer.Option(help="[HOST:]PORT of /healthz and /metrics, or off.")
    ] = "9554",
    notify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Tell this address when a camera is lost, back, too slow or in time again: "
            "https://... (gets JSON), mqtt://HOST/TOPIC, or env:NAME. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    preview: Preview = None,
    preview_host: PreviewHost = "127.0.0.1",
) -> None:
    """Restore a camera live; goes on until it is stopped."""
    hangs_up = False
    if hasattr(signal, "SIGHUP"):
        # Until it is known what it asks for; and for good in what Python starts to clear up.
        hangs_up = signal.signal(signal.SIGHUP, signal.SIG_IGN) is not signal.SIG_IGN
    given = [*([source] if source is not None else []), *(outputs or [])]
    told = notify or []
    _hide_arguments(given, told)
    from stream.errors import UsageError
    from stream.live import config as configs
    from stream.live.cameras import Cameras
    from stream.live.description import DEFAULT_OUTPUT, Description
    from stream.live.http import Address, Http
    from stream.live.input.camera import resolve
    from stream.live.notify.notifier import Notifier
    from stream.live.notify.targets import parse
    from stream.preview.access import Access
    from stream.preview.host import Preview as Page
    from stream.secrets import Secrets, path_of

    log_handler.secrets = Secrets([*given, *told], map(path_of, told))
    hide = log_handler.secrets.hide
    with reported(lambda text: hide(text)):
        if (config is None) == (source is None):
            raise UsageError("name a SOURCE, or a file of cameras with --config")
        if config is not None:
            described = dict(configs.read(config).cameras)
        else:
            assert source is not None
            one = Description(
                source,
                tuple(outputs or [DEFAULT_OUTPUT]),
                model=model,
                strength=strength,
                fuse=fuse,
                delay=delay,
                smooth=smooth,
                shutter=shutter,
                upscale=upscale,
                upscaler=upscaler,
                max_latency=max_latency,
                device=device,
                precision=precision,
                engine=engine,
                transport=transport,
                stall=stall,
                realtime=realtime,
                loop=loop,
                size=size,
                segment=segment,
                keep=keep,
                insecure_tls=insecure_tls,
                max_pixels=max_pixels,
            )
            described = {"live": one}
        addresses = [resolve(each) for each in told]
        notified = [parse(each) for each in addresses]
        token = os.environ.get("DEBLUR_TOKEN")
        own = token or random_secrets.token_urlsafe(24)
        known = [each for one in described.values() for each in one.known]
        secrets = Secrets([*known, *addresses], [own, *map(path_of, addresses)])
        hide, log_handler.secrets = secrets.hide, secrets
        written = arguments.given(context)
        if config is not None:
            apart = {"config", "http", "notify", "preview", "preview_host", "outputs"}
            lines = [
                f"--{name.replace('_', '-')} has no effect with --config; write it into {config}"
                for name in sorted(written - apart)
            ]
        else:
            lines = arguments.without_effect(
                written,
                model=model,
                strength=strength,
                fuse=fuse,
                smooth=smooth,
                upscale=upscale,
                preview=preview is not None,
                more=_needs(one),
            )
        for line in lines:
            say(f"note: {line}")
        address = None if http == "off" else Address.parse(http, token, own)

        def tell(who: str, text: str) -> None:
            who = who.removeprefix("live: ") if config is None else who
            say(f"{time.strftime('%H:%M:%S')} {who}: {text}")

        page = None
        if preview is not None:
            page = Page(Access.of(preview_host, preview, token, own), secrets=secrets, say=tell)

        def show() -> None:
            if page is not None:
                page.show(list(cameras.feeds))

        cameras = Cameras(described, words=[own], say=tell, preview=page is not None, changed=show)
        beside = page.processes if page is not None else tuple
        shown = Http(cameras.watched, address, beside) if address is not None else None
        notifier = None
        if notified:
            notifier = Notifier(
                cameras.watched, notified, lambda text: tell("notify", secrets.hide(text))
            )
        random = own if token is None else None
        asyncio.run(_run(cameras, config, shown, notifier, page, random, hangs_up))
        if cameras.killed:
            raise typer.Exit(130)


def _needs(described: "Description") -> dict[str, tuple[bool, str]]:
    """What options of one camera need to have an effect, and whether it is there."""
    from stream.live.output.publish import Publisher
    from stream.live.output.record import Recorder

    camera, targets = described.camera, described.targets
    records = any(isinstance(each, Recorder) for each in targets)
    publishes = any(isinstance(each, Publisher) for each in targets)
    played = (camera.kind == "file", "a file as the source")
    return {
        "segment": (records, "a recording"),
        "keep": (records, "a recording"),
        "realtime": played,
        "loop": played,
        "transport": (publishes or camera.kind.startswith("rtsp"), "RTSP"),
        "insecure_tls": (publishes or camera.kind in ("rtsps", "https", "rtmps"), "TLS"),
    }


async def _run(
    cameras: "Cameras",
    config: Path | None,
    http: "Http | None",
    notifier: "Notifier | None",
    page: "Page | None",
    token: str | None,
    hangs_up: bool,
) -> None:
    """`hangs_up`: the end of the terminal is this command's as well, which nohup would forbid."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, cameras, page)
    if config is not None and hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, _reload, cameras, config)
    elif hangs_up:
        loop.add_signal_handler(signal.SIGHUP, _stop, cameras, page)
    if http is not None:
        await http.start()
        # Where lines are kept in a file, no token of ours is among them.
        known = f"?token={token}" if token is not None and err.is_terminal else ""
        say(f"figures: http://127.0.0.1:{http.port}/metrics{known}")
    beside = [asyncio.create_task(_show(cameras))]
    if notifier is not None:
        beside.append(asyncio.create_task(notifier.run()))
    if page is not None:
        beside.append(asyncio.create_task(page.run()))
        say(f"preview: {page.address(token is not None, shown=err.is_terminal)}")
    try:
        await cameras.run()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if http is not None:
            await http.stop()


def _reload(cameras: "Cameras", config: Path) -> None:
    from stream.errors import DeblurError
    from stream.live import config as configs

    try:
        found = configs.read(config)
    except DeblurError as error:
        say(f"{time.strftime('%H:%M:%S')} {' '.join(str(error).split())}; going on as before")
        return
    say(f"{time.strftime('%H:%M:%S')} {config} is read again")
    cameras.become(found.cameras)


def _stop(cameras: "Cameras", page: "Page | None") -> None:
    say("stopping (again to stop at once)")
    cameras.stop()
    if page is not None:
        page.stop(at_once=cameras.killed)


async def _show(cameras: "Cameras") -> None:
    """Keep a line of figures for each feed on the terminal; elsewhere say them once a minute."""
    if not err.is_terminal:
        while True:
            await asyncio.sleep(_EVERY_S)
            for line in _lines(cameras):
                say(f"{time.strftime('%H:%M:%S')} {line}")
    with Live(console=err, auto_refresh=False, transient=True) as shown:
        while True:
            shown.update(Text("\n".join(_lines(cameras)), no_wrap=True), refresh=True)
            await asyncio.sleep(0.5)


def _lines(cameras: "Cameras") -> list[str]:
    lines = [(feed.name, status_line(feed.snapshot())) for feed in cameras.feeds]
    alone = len(lines) == 1 and lines[0][0] == "live"
    return [line if alone else f"{name}: {line}" for name, line in lines]


def status_line(snapshot: "Snapshot") -> str:
    """The figures that matter, in one line."""
    parts = [f"{snapshot.state} {clock(snapshot.uptime_s)}"]
    fps = [snapshot.reader.fps, snapshot.model.fps, *(each.fps for each in snapshot.writers)]
    step = snapshot.model.facts.get("step", "1 of")
    done = "passed on unrestored" if "own picture" in step else "restored and out"
    parts.append(f"{fps[0]:.1f} fps in, {min(fps[1:]):.1f} {done}")
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
    if not step.startswith("1 of"):
        parts.append(f"step {step}")
    return " | ".join(parts)


def _hide_arguments(addresses: Sequence[str], told: Sequence[str]) -> None:
    """Take passwords out of what the list of processes shows of this one; `told` are the addresses
    that news go to."""
    from setproctitle import setproctitle

    from stream.secrets import Secrets, path_of

    secrets = Secrets([*addresses, *told], map(path_of, told))
    setproctitle(" ".join(["deblur", *map(secrets.hide, sys.argv[1:])]))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
