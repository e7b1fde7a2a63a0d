"""`stream.open_live`: the restored picture of a camera, frame by frame."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from filters import to_rgb
from stream.errors import UsageError
from stream.ipc.mailbox import Picture
from stream.live.description import Description
from stream.live.restore.chain import frame_of
from stream.live.supervisor import Supervisor
from stream.options.live import DEFAULT_MAX_PIXELS
from stream.secrets import Secrets

_log = logging.getLogger(__name__)
_LOOK_S = 0.004
"""How often it is looked whether there is another picture."""


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One restored picture of a camera."""

    picture: Picture
    """As planes of 8 bits, 4:2:0."""
    cut: bool
    """Whether it is the first one, or the first after a gap."""
    dropped: int
    """How many restored pictures before it were not taken, because newer ones had come."""

    @property
    def seconds(self) -> Fraction:
        """When it was shown, on this machine's monotonic clock."""
        return Fraction(self.picture.timestamp, 1_000_000_000)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        frame = frame_of(self.picture)
        rgb = to_rgb([torch.from_numpy(plane) for plane in frame.planes], frame.coding)
        scaled = rgb[0].clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy())


class LiveFrames(Iterator[LiveFrame]):
    """The newest restored picture of a camera, each time it is asked for. `close`, or the end of a
    `with` block, ends the processes that read and restore."""

    _closed = True

    def __init__(self, described: Description, say: Callable[[str], None]) -> None:
        secrets = Secrets(described.known, [])
        self._loop = asyncio.new_event_loop()
        self._feed = Supervisor(
            *(described.camera, (), described.settings),
            secrets=secrets,
            say=lambda who, text: say(f"{who}: {text}"),
        )
        self._run: asyncio.Task[None] | None = None
        self._number = 0
        self._closed = False

    def __iter__(self) -> "LiveFrames":
        return self

    def __next__(self) -> LiveFrame:
        if self._closed:
            raise StopIteration
        try:
            picture = self._loop.run_until_complete(self._next())
        except BaseException:
            self.close(at_once=True)
            raise
        if picture is None:
            self.close()
            raise StopIteration
        before, self._number = self._number, picture.number
        if not before:
            return LiveFrame(picture, cut=True, dropped=0)
        return LiveFrame(picture, cut=picture.cut, dropped=picture.number - before - 1)

    def __enter__(self) -> "LiveFrames":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self.close(at_once=True)

    def close(self, *, at_once: bool = False) -> None:
        """End the feed, within a few seconds or `at_once`."""
        if self._closed:
            return
        self._closed = True
        if self._run is not None and not self._run.done():
            self._feed.stop(at_once=at_once)
            self._loop.run_until_complete(asyncio.wait([self._run]))
        self._loop.close()

    async def _next(self) -> Picture | None:
        """The next picture; None where the feed has ended. Raises why it cannot work."""
        if self._run is None:
            self._run = self._loop.create_task(self._feed.run())
        while not self._run.done():
            if (picture := self._feed.restored(self._number)) is not None:
                return picture
            await asyncio.sleep(_LOOK_S)
        self._run.result()
        return None


def open_live(  # noqa: PLR0913 (its keywords are its interface)
    source: str,
    *,
    model: str = "lite",
    strength: float = 1.0,
    fuse: int = 3,
    delay: int = 0,
    smooth: float | None = None,
    shutter: str = "auto",
    upscale: str | None = None,
    upscaler: str = "auto",
    max_latency: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    transport: str = "tcp",
    stall: float = 5.0,
    realtime: bool = False,
    loop: bool = False,
    size: str | None = None,
    insecure_tls: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    say: Callable[[str], None] | None = None,
) -> LiveFrames:
    """Restored frames from a camera: the newest one, each time one is asked for.

        with stream.open_live("rtsp://192.168.1.20/stream1") as frames:
            for frame in frames:
                show(frame.rgb)

    `source` and the options are those of `deblur live`; files need `realtime`, and end. The camera
    is connected to again whenever it is lost; what is told meanwhile goes to `say`, or else to the
    log. Processes of their own read and restore, so a program that is run as a file needs `if
    __name__ == "__main__":` around what it does. Raises a `DeblurError` for what makes no sense at
    once, and where nothing can work with the first frame.
    """
    if say is None:
        say = _log.info
    if not source:
        raise UsageError("there is no source; see deblur live --help")
    described = Description(
        source,
        (),
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
        insecure_tls=insecure_tls,
        max_pixels=max_pixels,
    )
    return LiveFrames(described, say)
