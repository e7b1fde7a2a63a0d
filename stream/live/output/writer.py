"""The process of one output: takes what is newest, and never lets the output run dry."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from stream.errors import DeblurError, reason
from stream.ipc.backoff import LOGIN_S, back_off
from stream.ipc.child import Control
from stream.ipc.mailbox import Picture, Shape, Size
from stream.ipc.messages import Heartbeat, State
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.output.pacing import Canvas, Feed, Pictures
from stream.live.output.slate import Letterbox
from stream.live.output.sounds import Sounds

_OFTEN = 16
"""The same failure is told once, and then when it was there so many times, and twice as many."""
_GOOD_S = 10.0
"""An output that worked for so long is tried again at once."""


class LoginRefusedError(OSError):
    """The output wants another user or password."""


class Output(Protocol):
    """An output that is open; all its pictures have one size."""

    def push(self, picture: Picture) -> None:
        """Take one picture, shown later than the one before.

        Any exception but a `DeblurError` means that the output failed and is to be opened again.
        """
        ...

    def sound(self, sound: Sound) -> None:
        """Take one packet of the sound that the output was opened with, each later than the one
        before, and up to a tenth of a second later than the newest picture."""
        ...

    def close(self) -> None:
        """Finish; may raise what `push` may."""
        ...

    @property
    def readers(self) -> int:
        """How many are connected, where the output is served."""
        ...

    @property
    def refused(self) -> int:
        """How many gave a wrong user or password."""
        ...


class Target(Protocol):
    """Where an output goes; passes to the writer's process."""

    @property
    def name(self) -> str:
        """As it can be shown: without passwords."""
        ...

    @property
    def resizes(self) -> bool:
        """Whether pictures of another size are written by opening the output anew; otherwise they
        are fitted onto a canvas of the first one's size."""
        ...

    @property
    def square(self) -> bool:
        """Whether all pixels have to be as wide as high, as others cannot be told of."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the last picture is repeated while no other comes, and then a slate; otherwise
        nothing is written meanwhile."""
        ...

    def takes(self, sound: SoundFormat) -> bool:
        """Whether sound is written as it comes; what is not is coded anew as AAC."""
        ...

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> Output:
        """Open for pictures such as `first`. Raises a `DeblurError` where trying again is
        pointless, `LoginRefusedError` where it is so for a while, anything else where it is not."""
        ...

    def run(self, control: Control, feed: Feed, size: Size | None) -> None:
        """The work of the output's process: `Writer(control, feed, self, size).run()`, and what
        else has to go on beside it."""
        ...


class PlainTarget:
    """A target with nothing beside its writing."""

    square = False

    def run(self: Target, control: Control, feed: Feed, size: Size | None) -> None:
        """The work of the output's process."""
        Writer(control, feed, self, size).run()


class Retry:
    """When an output that failed is tried again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.tries = 0
        """How often in a row it failed."""
        self._say = say
        self._retry_s = self._opened_s = 0.0
        self._told = ""

    @property
    def waits(self) -> bool:
        """Whether it is too early to try."""
        return time.monotonic() < self._retry_s

    def opened(self) -> None:
        """It works."""
        self._opened_s = time.monotonic()

    def failed(self, error: Exception) -> None:
        """It does not; the same failure is not told every time."""
        if self._opened_s and time.monotonic() - self._opened_s > _GOOD_S:
            self.tries = 0
        self._opened_s = 0.0
        refused = isinstance(error, LoginRefusedError)
        delay = random.uniform(*LOGIN_S) if refused else back_off(self.tries)
        told, self._told = self._told, reason(error)
        often = self.tries >= _OFTEN and self.tries & (self.tries - 1) == 0
        if self.tries == 0 or told != self._told or often:
            self._say(f"{self._told}; trying again")
        self.tries += 1
        self._retry_s = time.monotonic() + delay


class Writer:
    """Writes a feed to a target until it is told to stop."""

    def __init__(
        self, control: Control, feed: Feed, target: Target, size: Size | None = None
    ) -> None:
        """`size` is that of the canvas; None: the first picture's."""
        self._control = control
        self._target = target
        canvas = Canvas(size, resizes=target.resizes, square=target.square)
        self._pictures = Pictures(feed, canvas, repeats=target.repeats)
        self._sounds = Sounds(feed.sounds, target.takes, control.say)
        self._output: Output | None = None
        self._opened: Shape | None = None
        self._retry = Retry(control.say)
        self._counts = Heartbeat(State.WAITING)
        self._busy_s = 0.0

    def run(self) -> None:
        """Work until told to stop."""
        # A font is loaded when it is first used, which must not wait for the signal to be lost.
        Letterbox((64, 64)).slate(None, 0)
        while not self._control.stopping:
            picture = self._pictures.next()
            begun = time.monotonic()
            if picture is not None and self._ready(picture):
                self._push(picture)
            self._busy_s += time.monotonic() - begun
            self._tell()
        self._close()
        self._tell(now=True)

    def _ready(self, picture: Picture) -> bool:
        """Whether the output is open, which is tried where it is not."""
        self._listen()
        if self._output is not None and self._opened != picture.shape:
            self._control.say(f"begins anew, as the picture is now {picture.form}")
            self._close()
        if self._output is not None:
            return True
        if self._retry.waits:
            return False
        try:
            self._output = self._target.open(picture, self._sounds.format, self._control)
        except DeblurError:
            raise
        except Exception as error:
            self._failed(error)
            return False
        self._opened = picture.shape
        self._retry.opened()
        self._count(connects=1)
        return True

    def _listen(self) -> None:
        """Where the sound is another than before, the output is closed."""
        if (format := self._sounds.listen()) is None:
            return
        if self._output is not None:
            self._control.say(f"begins anew, as there is {format.codec} sound now")
        self._close()

    def _push(self, picture: Picture) -> None:
        assert self._output is not None
        fresh = self._pictures.is_fresh(picture)
        picture = self._pictures.timed(picture)
        try:
            self._output.push(picture)
            for sound in self._sounds.due(picture.timestamp):
                self._output.sound(sound)
        except DeblurError:
            raise
        except Exception as error:
            self._failed(error)
            return
        if fresh:
            self._count(frames=1)
            self._control.latency(picture.arrived)
        else:
            self._count(repeats=1)

    def _failed(self, error: Exception) -> None:
        self._retry.failed(error)
        self._close()

    def _close(self) -> None:
        if self._output is not None:
            output, self._output = self._output, None
            with suppress(Exception):
                output.close()

    def _count(self, **more: int) -> None:
        counts = self._counts
        self._counts = replace(counts, **{k: getattr(counts, k) + v for k, v in more.items()})

    def _tell(self, *, now: bool = False) -> None:
        state = State.NO_SIGNAL if self._pictures.silent else State.LIVE
        if self._output is None:
            state = State.CONNECTING if self._retry.tries else State.WAITING
        if self._output is not None:
            self._counts = replace(self._counts, refused=self._output.refused)
        facts = {}
        if self._opened is not None:
            (width, height), _ = self._opened
            facts["size"] = f"{width}x{height}"
        self._control.heartbeat(
            lambda latencies: replace(
                self._counts,
                state=state,
                dropped=self._pictures.dropped,
                readers=self._output.readers if self._output is not None else 0,
                busy_s=self._busy_s,
                latencies_ms=latencies,
                facts=facts,
            ),
            now=now,
        )
