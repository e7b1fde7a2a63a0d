"""The preview of files that are being restored."""

import asyncio
import os
import secrets as random_secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from stream.cli.terminal import clock, err, rate, say
from stream.limits import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from stream.files.report import Progress
    from stream.ipc.messages import InUse
    from stream.ipc.window import Window
    from stream.options.live import LiveRestoreOptions


class PreviewedFile:
    """A file at work, as the preview's page has it."""

    in_use: "InUse | None" = None
    settled = True

    def __init__(self, window: "Window") -> None:
        self.name = "file"
        self.window = window
        self._progress: Progress | None = None
        from stream.files.estimate import RateEstimate

        self._pace = RateEstimate()

    def see(self, progress: "Progress", name: str) -> None:
        """Take note of how far it is."""
        self._progress, self.name = progress, name
        self._pace.see(progress)

    def figures(self) -> dict[str, object]:
        """What the page shows."""
        progress = self._progress
        if progress is None:
            return {"state": "loading", "rows": [], "plot": {}, "fps": 0.0}
        done = str(progress.frames)
        if progress.expected_frames:
            done += f" of {progress.expected_frames}"
        fps, left_s = self._pace.fps, self._pace.left_s(progress.expected_frames)
        rows = [
            ("frames", done),
            ("speed", f"{rate(fps)} fps" if fps else "-"),
            *([("left", clock(left_s))] if left_s is not None else []),
            ("bottleneck", progress.bottleneck),
            *((name, f"{share:.0%} busy") for name, share in progress.busy.items()),
            ("runs on", progress.runs_on),
        ]
        plot = {"label": "frames per second, last minute", "values": {"speed": fps}}
        return {"state": progress.phase, "rows": rows, "plot": plot, "fps": fps or 0.0}

    def change(self, restoring: "LiveRestoreOptions") -> None:
        """A file is restored in one way from its beginning to its end."""


class PreviewThread:
    """The preview beside jobs of this process, looked after by a thread of its own."""

    def __init__(self, port: int, host: str) -> None:
        """Begin to show. Raises `UsageError` or `SinkError`."""
        import multiprocessing

        from stream.ipc.window import Window
        from stream.preview.access import Access
        from stream.preview.host import Preview
        from stream.secrets import Secrets

        token = os.environ.get("DEBLUR_TOKEN")
        own = token or random_secrets.token_urlsafe(24)
        access = Access.of(host, port, token, own)
        self._page = Preview(
            access, secrets=Secrets((), [own]), say=lambda who, text: say(f"{who}: {text}")
        )
        most = DEFAULT_MAX_PIXELS
        self.window = Window(multiprocessing.get_context("spawn"), most, most)
        self._showing = PreviewedFile(self.window)
        self._loop = asyncio.new_event_loop()
        self._page.show([self._showing])
        self._running = self._loop.create_task(self._page.run())
        self._thread = threading.Thread(target=self._keep, name="deblur-preview")
        self._thread.start()
        say(f"preview: {self._page.address(token is None, shown=err.is_terminal)}")

    def see(self, progress: "Progress", name: str) -> None:
        """Show how far a job is."""
        before = self._showing.name
        self._showing.see(progress, name)
        if name != before:
            self._call(self._page.show, [self._showing])

    def close(self) -> None:
        """Show nothing any more."""
        self._call(self._running.cancel)
        self._thread.join()
        self.window.close(remove=True)

    def _call(self, what: Callable[..., object], *arguments: object) -> None:
        """In the thread. Whatever became of that is no matter to the jobs."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def _keep(self) -> None:
        # Its process lives as long as the thread that starts it.
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._running)
        self._loop.close()


@contextmanager
def beside(port: int | None, host: str) -> Iterator[PreviewThread | None]:
    """A preview, where a port is given."""
    shown = PreviewThread(port, host) if port is not None else None
    try:
        yield shown
    finally:
        if shown is not None:
            shown.close()
