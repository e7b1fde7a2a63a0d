"""The reader of a live feed at work in this process, and what it tells."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from stream.ipc.child import Control
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.messages import Heartbeat, Line, Stop
from stream.ipc.sound_ring import SoundRing
from stream.live.input.camera import Camera
from stream.live.input.reader import read
from stream.options.live import LiveSettings

PIXELS = 1280 * 720
DEADLINE_S = 120.0
"""For what takes a second at most where the machine has nothing else to do."""


class Reading:
    """Runs `read` in a thread until it is left.

    with Reading("testsrc:") as reading:
        picture = reading.picture()
    """

    def __init__(self, source: str, **settings: Any) -> None:
        self.settings = LiveSettings(**{"max_pixels": PIXELS} | settings)
        self.heartbeats: list[Heartbeat] = []
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self.box = Mailbox(multiprocessing.get_context("spawn"), PIXELS, 1)
        self.sounds = SoundRing()
        self._number = 0
        self._ours, theirs = multiprocessing.Pipe()
        camera = Camera.parse(source, self.settings)
        self._work = threading.Thread(target=self._read, args=(theirs, camera))
        self._listener = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._listener.start()
        self._work.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._listener.join()
        self.box.close(remove=True)
        self.sounds.close(remove=True)

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self._work.is_alive()

    @property
    def heartbeat(self) -> Heartbeat:
        """The last one."""
        return self.heartbeats[-1] if self.heartbeats else Heartbeat()

    def stop(self) -> float:
        """Tell it to stop, and return how many seconds that took."""
        begun = time.monotonic()
        if self.alive:
            self._ours.send(Stop())
        self._work.join(DEADLINE_S)
        assert not self.alive
        return time.monotonic() - begun

    def picture(self, deadline_s: float = DEADLINE_S) -> Picture:
        """The next picture."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            self.box.wait(0, 0.1)
            found = self.box.newest(self._number)
            if found is not None:
                self._number = found.number
                return found
        raise AssertionError(f"no picture; {self.heartbeat}; {self.lines}")

    def cut(self, deadline_s: float = DEADLINE_S) -> Picture:
        """The next picture that is the first one after a gap."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            picture = self.picture(deadline_s)
            if picture.cut:
                return picture
        raise AssertionError(f"no cut; {self.heartbeat}; {self.lines}")

    def until(self, holds: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        """Wait until something holds."""
        end = time.monotonic() + deadline_s
        while not holds():
            assert time.monotonic() < end, (self.heartbeat, self.lines, self.error)
            time.sleep(0.02)

    def says(self, words: str) -> bool:
        """Whether a line with these words was said."""
        return any(words in line for line in self.lines)

    def _read(self, line: Connection, camera: Camera) -> None:
        try:
            read(Control(line), camera, self.settings, self.box, self.sounds)
        except Exception as error:
            self.error = error
        finally:
            line.close()

    def _listen(self) -> None:
        while True:
            try:
                message = self._ours.recv()
            except (EOFError, OSError):
                return
            if isinstance(message, Heartbeat):
                self.heartbeats.append(message)
            elif isinstance(message, Line):
                self.lines.append(message.text)
