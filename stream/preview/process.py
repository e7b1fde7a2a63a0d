"""The process of the preview: apart from all that restores, so that it can do no harm."""

import asyncio
import logging
import socket
from dataclasses import replace

import cv2

from stream.ipc.child import BEAT_S, Control
from stream.ipc.messages import Heartbeat, Introduce, State
from stream.preview.access import Access, Guard
from stream.preview.rtc import use_addresses
from stream.preview.server import Page
from stream.preview.site import runner_of
from stream.web.admission import LimitedListener


def serve(control: Control, listening: socket.socket, access: Access) -> None:
    """The work of the process: show what it is told of, until it is told to stop."""
    cv2.setNumThreads(1)
    # Of viewers that are gone; each is one line, and no news.
    for name in ("aiortc", "aioice", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    use_addresses(access.host, only_here=access.only_here)
    asyncio.run(_serve(control, listening, access))


async def _serve(control: Control, listening: socket.socket, access: Access) -> None:
    page = Page(Guard(access, listening.getsockname()[1]), control.ask)
    runner = runner_of(page)
    await runner.setup()
    listener = page.listener = LimitedListener(runner)
    await listener.listen(listening)
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(control.fileno(), news.set)
    # Whoever starts this process tells what there is to show.
    control.ask(Introduce())
    try:
        while not control.stopping:
            for message in control.orders():
                await page.told(message)
            count = page.viewers
            control.heartbeat(
                lambda _, count=count: replace(Heartbeat(State.LIVE), readers=count)  # type: ignore[misc]
            )
            try:
                await asyncio.wait_for(news.wait(), BEAT_S)
            except TimeoutError:
                continue
            news.clear()
    finally:
        loop.remove_reader(control.fileno())
        await page.close()
        await listener.close()
