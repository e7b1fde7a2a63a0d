"""Pictures of the preview page for the README: on a desk, in the dark, on a phone, several cameras.

make demo && python -m tests.trials.screenshots --file demo/shaky.mp4 --folder docs
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import Browser

from tests.rig.browser import Watching, chromium
from tests.rig.command import DEBLUR, TOKEN, until
from tests.rig.ports import free_port, listens

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
    png = to.with_suffix(".png")
    page.screenshot(path=png)
    picture = cv2.imread(str(png))
    assert picture is not None
    cv2.imwrite(str(to), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    png.unlink()
    assert not seen.errors, seen.errors
    seen.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    played = [str(asked.file), "null:", "--realtime", "--loop"]
    with chromium() as browser:
        port = free_port()
        with feeds(played, port):
            for name, context in _SHOTS.items():
                shoot(browser, port, asked.folder / f"{name}.jpg", context, _PLAYED_MS)
        with tempfile.TemporaryDirectory() as folder:
            cameras = Path(folder) / "cameras.toml"
            tables = [
                f'[cameras.{name}]\nsource = "{asked.file.resolve()}"\noutputs = ["null:"]\n'
                for name in ("yard", "door")
            ]
            cameras.write_text("\n".join(["[defaults]\nrealtime = true\nloop = true\n", *tables]))
            port = free_port()
            with feeds(["--config", str(cameras)], port):
                context = {"viewport": {"width": 1280, "height": 520}, "color_scheme": "light"}
                shoot(browser, port, asked.folder / "preview-cameras.jpg", context, 5_000)


if __name__ == "__main__":
    main()
