"""Pictures of the pages for the README: on a desk, in the dark, on a phone, several cameras.

make demo && python -m tests.trials.screenshots --file demo/shaky.mp4 --folder docs
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import Browser, Page

from tests.rig.browser import Watching, chromium
from tests.rig.command import DEBLUR, TOKEN, until
from tests.rig.ports import free_port, listens
from tests.rig.service import service

_PLAYED_MS = 20_000
"""Until the plot has something to show."""
_SHOTS: dict[str, dict[str, Any]] = {
    "preview": {"viewport": {"width": 1280, "height": 1010}, "color_scheme": "light"},
    "preview-dark": {"viewport": {"width": 1280, "height": 1010}, "color_scheme": "dark"},
    "preview-phone": {
        "viewport": {"width": 390, "height": 1180},
        "color_scheme": "dark",
        "is_mobile": True,
        "has_touch": True,
    },
}


@contextmanager
def feeds(words: list[str], port: int) -> Iterator[None]:
    """`deblur live` with these words and a preview."""
    command = [DEBLUR, "live", *words, "--http", "off", "--preview", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"DEBLUR_TOKEN": TOKEN})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def shoot(browser: Browser, port: int, to: Path, context: dict[str, Any], played_ms: int) -> None:
    """One picture of the page, as JPEG."""
    seen = Watching(browser, **context)
    page = seen.page
    until(lambda: listens(port), "it does not listen")
    page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
    stage = page.locator(".stage").first
    while int(stage.get_attribute("data-frames") or 0) < 20:
        page.wait_for_timeout(100)
    page.wait_for_timeout(played_ms)
    _save(page, to)
    assert not seen.errors, seen.errors
    seen.close()


def _save(page: Page, to: Path) -> None:
    png = to.with_suffix(".png")
    page.screenshot(path=png)
    picture = cv2.imread(str(png))
    assert picture is not None
    cv2.imwrite(str(to), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    png.unlink()


def shoot_queue(browser: Browser, file: Path, to: Path) -> None:
    """Pictures of the queue, with jobs of all kinds, and of before and after."""
    with tempfile.TemporaryDirectory() as name:
        holiday = Path(name) / "in" / "holiday"
        holiday.mkdir(parents=True)
        for clip in ("beach.mp4", "harbor.mp4", "station.mp4"):
            shutil.copyfile(file, holiday / clip)
        with service(Path(name), "--max-upload", "50GB", "--", "--fuse", "3") as running:
            done = running.submit("holiday/beach.mp4").json["number"]
            running.upload("voice memo.mp4", b"no video" * 4000)
            at_work = running.submit("holiday/harbor.mp4", upscale="2").json["number"]
            running.submit("holiday/station.mp4", strength=0.5)
            running.until_ended(done, 600)
            for kind, context in _SHOTS.items():
                shot = {**context, "viewport": {**context["viewport"], "height": 860}}
                seen = Watching(browser, **shot)
                page = seen.page
                page.goto(f"{running.address}/?token={TOKEN}")
                until(lambda: running.job(at_work)["progress"], "it does not begin", 300)
                page.wait_for_timeout(6_000)
                _save(page, to / f"{kind.replace('preview', 'serve')}.jpg")
                if kind == "preview":
                    page.get_by_text("Before and after").click()
                    page.frame_locator("#frame").locator(".stage canvas").wait_for(timeout=300_000)
                    page.wait_for_timeout(1_000)
                    _save(page, to / "serve-pair.jpg")
                assert not seen.errors, seen.errors
                seen.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    parser.add_argument("--page", choices=["preview", "serve"], help="only this one")
    asked = parser.parse_args()
    with chromium() as browser:
        if asked.page != "preview":
            shoot_queue(browser, asked.file, asked.folder)
        if asked.page != "serve":
            shoot_feeds(browser, asked.file, asked.folder)


def shoot_feeds(browser: Browser, file: Path, to: Path) -> None:
    """Pictures of the preview."""
    played = [str(file), "null:", "--realtime", "--loop"]
    port = free_port()
    with feeds(played, port):
        for name, context in _SHOTS.items():
            shoot(browser, port, to / f"{name}.jpg", context, _PLAYED_MS)
    with tempfile.TemporaryDirectory() as folder:
        cameras = Path(folder) / "cameras.toml"
        tables = [
            f'[cameras.{name}]\nsource = "{file.resolve()}"\noutputs = ["null:"]\n'
            for name in ("yard", "door")
        ]
        cameras.write_text("\n".join(["[defaults]\nrealtime = true\nloop = true\n", *tables]))
        port = free_port()
        with feeds(["--config", str(cameras)], port):
            context = {"viewport": {"width": 1280, "height": 520}, "color_scheme": "light"}
            shoot(browser, port, to / "preview-cameras.jpg", context, 5_000)


if __name__ == "__main__":
    main()
