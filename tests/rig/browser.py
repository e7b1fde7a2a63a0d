"""A real browser: Debian's Chromium, without a screen, driven by Playwright."""

import os
import shutil
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

_FLAGS = (
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
)


def why_not() -> str | None:
    """Why there is no browser here."""
    return None if _program() else "Chromium is missing: apt-get install chromium"


def _program() -> str | None:
    return os.environ.get("DEBLUR_CHROMIUM") or shutil.which("chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=list(_FLAGS))
        yield browser
        browser.close()


class Watching:
    """A page, and all that goes wrong with it."""

    def __init__(self, browser: Browser, **context: Any) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._context = browser.new_context(accept_downloads=True, **context)
        self.page: Page = self._context.new_page()
        # Browsers draw in software beside feeds that take every core.
        self.page.set_default_timeout(120_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on(
            "console",
            lambda line: self.errors.append(line.text) if line.type != "log" else None,
        )

    def close(self) -> None:
        self._context.close()


def pixels(page: Page) -> NDArray[np.uint8]:
    """What the canvas shows now, (H, W, 3)."""
    data = page.evaluate("document.querySelector('.stage canvas').toDataURL('image/png')")
    picture = cv2.imdecode(np.frombuffer(b64decode(data.partition(",")[2]), np.uint8), 1)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def until_shown(page: Page, true: Callable[[], object], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        page.wait_for_timeout(100)
