"""The command `deblur live`."""

import asyncio
import logging
import os
import secrets as random_secrets
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.live import Live
from rich.text import Text

from stream.cli import options
from stream.cli.options import arguments, live_only
from stream.cli.terminal import clock, err, log_handler, reported, say
from stream.options.live import DEFAULT_MAX_PIXELS
from stream.options.restore import USUAL_FUSE

if TYPE_CHECKING:
    from stream.ipc.stats import Snapshot
    from stream.live.cameras import Cameras
    from stream.live.description import Description
    from stream.live.http import Http
    from stream.live.notify.notifier import Notifier
    from stream.live.notify.targets import Target as Notified
    from stream.preview.host import Preview as Page
    from stream.secrets import Secrets

_EVERY_S = 60.0
"""How often figures are said where there is no terminal."""


@dataclass(frozen=True)
class _Private:
    """What must not be shown, and who gets in."""

    secrets: "Secrets"
    password: str | None
    """The user's own, for figures and preview."""
    token: str = field(repr=False)
    """That, or a random token."""

    @property
    def random(self) -> str | None:
        """The token, which may be shown to whoever started this."""
        return None if self.password is not None else self.token


@dataclass(frozen=True)
class _Watched:
    """By what feeds are watched, as it was asked for."""

    http: str
    notified: "list[Notified]"
    preview: int | None
    preview_host: str


def live(
    context: typer.Context,
    source: live_only.Source = None,
    outputs: live_only.Outputs = None,
    model: live_only.Model = "lite",
    strength: live_only.Strength = 1.0,
    fuse: live_only.Fuse = USUAL_FUSE,
    delay: live_only.Delay = 0,
    smooth: options.Smooth = None,
    shutter: options.Shutter = "auto",
    upscale: live_only.Upscale = None,
    upscaler: live_only.Upscaler = "auto",
    max_latency: live_only.MaxLatency = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    engine: options.Engine = "auto",
    transport: live_only.Transport = "tcp",
    stall: live_only.Stall = 5.0,
    realtime: live_only.Realtime = False,
    loop: live_only.Loop = False,
    size: live_only.Size = None,
    segment: live_only.Segment = 600.0,
    keep: live_only.Keep = "0",
    insecure_tls: live_only.InsecureTls = False,
    max_pixels: live_only.MaxPixels = DEFAULT_MAX_PIXELS,
    config: live_only.ConfigFile = None,
    http: live_only.HttpAddress = "9554",
    notify: live_only.Notify = None,
    preview: options.Preview = None,
    preview_host: options.PreviewHost = "127.0.0.1",
) -> None:
    """Restore a camera live; goes on until it is stopped."""
    hangs_up = _ignore_hang_up()
    told = notify or []
    _hide_arguments([*([source] if source is not None else []), *(outputs or [])], told)
    from stream.errors import UsageError
    from stream.live import config as configs
    from stream.live.description import DEFAULT_OUTPUT, Description

    with reported(lambda text: log_handler.known().hide(text)):
        if config is not None and source is None:
            described = dict(configs.read(config).cameras)
        elif source is not None and config is None:
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
        else:
            raise UsageError("name a SOURCE, or a file of cameras with --config")
        private, notified = _private(list(described.values()), told)
        for line in _without_effect(context, described, config, preview=preview is not None):
            say(f"note: {line}")
        watched = _Watched(http, notified, preview, preview_host)
        _keep_up(described, config, private, watched, hangs_up=hangs_up)


def _private(described: "list[Description]", told: list[str]) -> "tuple[_Private, list[Notified]]":
    """What must not be shown from now on, and whom to tell of news; `told` are their addresses.
    Raises `UsageError`."""
    from stream.live.input.camera import resolve
    from stream.live.notify.targets import parse
    from stream.secrets import Secrets, path_of

    addresses = [resolve(each) for each in told]
    notified = [parse(each) for each in addresses]
    password = os.environ.get("DEBLUR_TOKEN")
    token = password or random_secrets.token_urlsafe(24)
    known = [each for one in described for each in one.known]
    secrets = Secrets([*known, *addresses], [token, *map(path_of, addresses)])
    log_handler.secrets = secrets
    return _Private(secrets, password, token), notified


def _without_effect(
    context: typer.Context,
    described: "dict[str, Description]",
    config: Path | None,
    *,
    preview: bool,
) -> list[str]:
    written = arguments.given(context)
    if config is None:
        one = described["live"]
        return arguments.without_effect(written, one, preview=preview, more=_needs(one))
    apart = {"config", "http", "notify", "preview", "preview_host", "outputs"}
    return [
        f"--{name.replace('_', '-')} has no effect with --config; write it into {config}"
        for name in sorted(written - apart)
    ]


def _keep_up(
    described: "dict[str, Description]",
    config: Path | None,
    private: _Private,
    watched: _Watched,
    *,
    hangs_up: bool,
) -> None:
    """Restore until it is stopped. Raises a `DeblurError`, and `typer.Exit` when stopped at
    once."""
    from stream.live.cameras import Cameras
    from stream.live.http import Address, Http
    from stream.live.notify.notifier import Notifier
    from stream.preview.access import Access
    from stream.preview.host import Preview as Page

    address = None
    if watched.http != "off":
        address = Address.parse(watched.http, private.password, private.token)

    def tell(who: str, text: str) -> None:
        who = who.removeprefix("live: ") if config is None else who
        say(f"{time.strftime('%H:%M:%S')} {who}: {text}")

    page = None
    if watched.preview is not None:
        host = watched.preview_host
        access = Access.of(host, watched.preview, private.password, private.token)
        page = Page(access, secrets=private.secrets, say=tell)

    def show() -> None:
        if page is not None:
            page.show(list(cameras.feeds))

    cameras = Cameras(
        described,
        tokens=[private.token],
        say=tell,
        named=config is not None,
        preview=page is not None,
        changed=show,
    )
    beside = page.processes if page is not None else tuple
    figures = Http(cameras.watched, address, beside) if address is not None else None
    notifier = None
    if watched.notified:
        notifier = Notifier(
            *(cameras.watched, watched.notified),
            lambda text: tell("notify", private.secrets.hide(text)),
        )
    asyncio.run(_run(cameras, config, figures, notifier, page, private.random, hangs_up))
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
    network = described.model != "none" and described.strength != 0
    return {
        "segment": (records, "a recording"),
        "keep": (records, "a recording"),
        "shutter": (network, "a network and --strength above 0"),
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


def _ignore_hang_up() -> bool:
    """Let the end of the terminal pass until it is known what it asks for, and for good in what
    Python starts to clear up; whether it would end this command."""
    if not hasattr(signal, "SIGHUP"):
        return False
    return signal.signal(signal.SIGHUP, signal.SIG_IGN) is not signal.SIG_IGN


def _hide_arguments(addresses: Sequence[str], told: Sequence[str]) -> None:
    """Take passwords out of what is shown of this process, in lists of processes too; `told` are
    the addresses that news go to."""
    from setproctitle import setproctitle

    from stream.secrets import Secrets, path_of

    log_handler.secrets = Secrets([*addresses, *told], map(path_of, told))
    setproctitle(" ".join(["deblur", *map(log_handler.secrets.hide, sys.argv[1:])]))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
