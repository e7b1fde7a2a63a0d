"""The process of one output: takes what is newest, and never lets the output run dry."""

import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import av.error

from stream.errors import DeblurError, reason
from stream.ipc.backoff import LOGIN_S, back_off
from stream.ipc.child import Control, Heartbeat
from stream.ipc.mailbox import Mailbox, Picture, Size
from stream.ipc.sound_ring import Sound, SoundFormat, SoundRing
from stream.live.encoding.audio import SoundCoder
from stream.live.output.slate import Letterbox
from stream.options.scale import Scale

_RESTORED_NS = 1_000_000_000
"""Without a restored picture for so long the camera's own is shown: the network is starting."""
_LATE = 1.25
"""Frame times of the source after which the last picture is repeated: most players show a picture
only when the next one comes, which would otherwise be as long as restoring takes."""
_HOLD_S = 0.5
"""Without any new picture for so long that is done less often, ..."""
_REPEAT_S = 0.1
"""... namely after so long, ..."""
_SILENT_S = 2.0
"""... and at last a slate says that there is no signal."""
_RATES = 5.0, 30.0
"""Frames per second that are kept up by repeating. A repeat is at least half a frame time apart
from any other picture."""
_LAGS = 25
"""So many of the last pictures say how late the next one may be; repeats keep behind that."""
_LEAST_NS = 1_000_000
"""Between any two pictures: many containers count in milliseconds."""
_SETTLED_S = 2.0
"""Another size has to stay for so long to be worth opening an output anew."""
_OLD_NS = 10_000_000_000
"""Older pictures were left by a source that is gone, before this process started."""
_LATE_NS = 1_000_000_000
"""Sound waits for its picture, but no longer than this."""
_LEAD_NS = 100_000_000
"""Sound goes out up to so much before its picture: FFmpeg keeps a picture back until it has seen
what comes after it in the other stream."""
_OFTEN = 16
"""The same failure is told once, and then when it was there so many times, and twice as many."""
_GOOD_S = 10.0
"""An output that worked for so long is tried again at once."""


class LoginRefusedError(OSError):
    """The output wants another user or password."""


@dataclass(frozen=True)
class Feed:
    """What a writer takes its pictures and its sound from."""

    restored: Mailbox
    camera: Mailbox
    sounds: SoundRing
    reader: int
    """The number of the writer among the readers of `restored`."""
    upscale: Scale | None = None
    """How much larger than the camera's the restored pictures are; None: as large."""
    name: str = ""
    """The camera's, where it has one."""


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

    def run(self: Target, control: Control, feed: Feed, size: Size | None) -> None:
        """The work of the output's process."""
        Writer(control, feed, self, size).run()


class Writer:
    """Writes a feed to a target until it is told to stop."""

    def __init__(
        self, control: Control, feed: Feed, target: Target, size: Size | None = None
    ) -> None:
        """`size` is that of the canvas; None: the first picture's."""
        self._control = control
        self._feed = feed
        self._target = target
        self._canvas = Letterbox(size) if size is not None else None
        self._resizes = target.resizes and size is None
        self._output: Output | None = None
        self._format: SoundFormat | None = None
        """The last one that was announced, ..."""
        self._coder: SoundCoder | None = None
        """What makes sound of it that the target takes, ..."""
        self._taken: SoundFormat | None = None
        """... and what the target gets then; None where it gets none."""
        self._version = self._since = 0
        """... what was announced last, and which announcement first told this format."""
        self._opened: Size | None = None
        self._size: Size | None = None
        self._size_s = 0.0
        """What the source's pictures measure, and since when."""
        self._last: Picture | None = None
        """The last picture of the source, fitted."""
        self._slate: Picture | None = None
        """What is made of it while there is no signal."""
        self._last_s = self._given_s = time.monotonic()
        """When that came, and when the output was last given anything, or would have been."""
        self._lags: deque[int] = deque([0], _LAGS)
        """Nanoseconds from a picture's moment until it comes here."""
        self._shown = 0
        """The moment of what was pushed last, ..."""
        self._moved = False
        """... and whether that is not when the source showed it: a repeat, or one that a repeat was
        in the way of."""
        self._restored: Picture | None = None
        self._camera = 0
        self._heard = feed.sounds.count
        self._held: deque[Sound] = deque(maxlen=512)
        self._retry_s = self._opened_s = 0.0
        self._tries = 0
        self._told = ""
        self._counts = Heartbeat(state="waiting")
        self._busy_s = 0.0

    def run(self) -> None:
        """Work until told to stop."""
        # A font is loaded when it is first used, which must not wait for the signal to be lost.
        Letterbox((64, 64)).slate(None, 0)
        while not self._control.stopping:
            picture = self._next()
            begun = time.monotonic()
            if picture is not None:
                self._given_s = begun
                if self._ready(picture):
                    self._push(picture)
            self._busy_s += time.monotonic() - begun
            self._tell()
        self._close()
        self._tell(now=True)

    def _next(self) -> Picture | None:
        """What to show now; None while there is nothing to do."""
        now = time.monotonic()
        # While the network gives nothing, the camera's own pictures are looked for.
        alone = self._restored is None or now - self._last_s > _HOLD_S or self._camera > 0
        wait_s = 0.01 if alone else _REPEAT_S
        if self._target.repeats:
            wait_s = min(wait_s, max(0.001, self._repeat_s(now) - now))
        self._feed.restored.wait(self._feed.reader, wait_s)
        seen = self._last.timestamp if self._last is not None else -1
        number = self._restored.number if self._restored is not None else 0
        found = self._feed.restored.newest(number)
        if found is not None:
            missed = found.number - number - 1 if number else 0
            self._count(dropped=missed)
            self._restored = found
            if found.timestamp > seen:
                self._camera = 0
                return self._fitted(found)
        elif alone:
            found = self._feed.camera.newest(self._camera)
            behind = self._restored.timestamp if self._restored is not None else seen - _RESTORED_NS
            if found is not None and found.timestamp > max(seen, behind + _RESTORED_NS):
                self._camera = found.number
                return self._fitted(found, raw=True)
        return self._again()

    def _fitted(self, picture: Picture, *, raw: bool = False) -> Picture | None:
        """The picture on the canvas; a `raw` one of the camera as large as it will be restored.

        An old one is only kept for the slate.
        """
        size = picture.size
        if raw and self._feed.upscale is not None:
            size = self._feed.upscale.of(size, even=True)
        now = time.monotonic()
        if size != self._size:
            self._size, self._size_s = size, now
        canvas = self._canvas
        if canvas is None or (self._resizes and now - self._size_s > _SETTLED_S):
            canvas = self._canvas = Letterbox(size)
        self._last, self._slate = canvas.fit(picture), None
        age = time.monotonic_ns() - picture.timestamp
        if age > _OLD_NS:
            self._last_s = time.monotonic() - _SILENT_S
            return None
        self._last_s = time.monotonic()
        self._lags.append(min(age, _RESTORED_NS))
        return self._last

    def _again(self) -> Picture | None:
        """The last picture once more, or a slate, where nothing has come for a while."""
        now = time.monotonic()
        silent_s = now - self._last_s
        if not self._target.repeats or now < self._repeat_s(now):
            return None
        timestamp = int(now * 1e9) - self._latest
        if silent_s < _SILENT_S and self._last is not None:
            return replace(self._last, timestamp=timestamp, cut=False)
        if self._canvas is None:
            return None
        if self._slate is None:
            seen_s = self._last.timestamp / 1e9 if self._last is not None else self._last_s
            since = time.localtime(time.time() - (now - seen_s))
            self._slate = self._canvas.slate(
                self._last,
                timestamp,
                name=self._feed.name,
                since=time.strftime("%Y-%m-%d %H:%M:%S", since),
            )
        return replace(self._slate, timestamp=timestamp)

    def _repeat_s(self, now: float) -> float:
        """When the last picture is shown again if no other comes until then, by the clock of `now`.

        Not before that can have a moment between the last picture's and that of its successor,
        which is already on its way, and may take as long as those before it did.
        """
        after = _REPEAT_S
        if self._last is not None and now - self._last_s < _HOLD_S:
            after = _LATE / self._rate
        return max(self._given_s + after, (self._shown + self._apart + self._latest) / 1e9)

    @property
    def _apart(self) -> int:
        """Nanoseconds between a repeat and the picture before or after it."""
        return round(5e8 / self._rate)

    @property
    def _rate(self) -> float:
        rate = self._last.rate if self._last is not None else _RATES[1]
        return min(max(rate, _RATES[0]), _RATES[1])

    @property
    def _latest(self) -> int:
        """How late, in ns, a repeat is shown: its successor comes earlier, as a rule."""
        return max(self._lags) + self._apart

    def _ready(self, picture: Picture) -> bool:
        """Whether the output is open, which is tried where it is not."""
        self._listen()
        if self._output is not None and self._opened != picture.size:
            width, height = picture.size
            self._control.say(f"begins anew, as the picture is now {width}x{height}")
            self._close()
        if self._output is not None:
            return True
        if time.monotonic() < self._retry_s:
            return False
        try:
            self._output = self._target.open(picture, self._taken, self._control)
        except DeblurError:
            raise
        except Exception as error:
            self._failed(error)
            return False
        self._opened, self._opened_s = picture.size, time.monotonic()
        self._count(connects=1)
        return True

    def _listen(self) -> None:
        """Take note of what the sound is; where it is another than before, the output is closed."""
        sounds = self._feed.sounds
        if (version := sounds.version) == self._version:
            return
        format = sounds.format()
        if format is None:
            return  # it may come back, and the output stays as it is until then
        self._version = version
        if format != self._format:
            self._format, self._since = format, version
            self._choose(format)
            self._held.clear()
            if self._output is not None:
                self._control.say(f"begins anew, as there is {format.codec} sound now")
            self._close()

    def _choose(self, format: SoundFormat) -> None:
        """Have sound coded anew where the target does not take it."""
        self._coder, self._taken = None, format
        if self._target.takes(format):
            return
        try:
            self._coder = SoundCoder(format)
        except (ValueError, av.error.FFmpegError):
            self._taken = None
            self._control.say(f"{format.codec} sound is left out, as it cannot be decoded")
            return
        self._taken = self._coder.format
        self._control.say(f"{format.codec} sound is coded anew as AAC")

    def _push(self, picture: Picture) -> None:
        assert self._output is not None
        fresh = picture is self._last
        timestamp = max(
            picture.timestamp, self._shown + (self._apart if self._moved else _LEAST_NS)
        )
        self._moved = not fresh or timestamp > picture.timestamp
        self._shown = timestamp
        picture = replace(picture, timestamp=timestamp)
        try:
            self._output.push(picture)
            for sound in self._due(picture.timestamp + _LEAD_NS):
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

    def _due(self, timestamp: int) -> list[Sound]:
        """The sound up to a moment."""
        sounds, self._heard = self._feed.sounds.since(self._heard)
        self._held.extend(sound for sound in sounds if sound.version >= self._since)
        due: list[Sound] = []
        while self._held and self._held[0].timestamp <= timestamp:
            sound = self._held.popleft()
            if sound.timestamp > timestamp - _LATE_NS:
                due += self._coder.push(sound) if self._coder is not None else [sound]
        return due

    def _failed(self, error: Exception) -> None:
        if self._opened_s and time.monotonic() - self._opened_s > _GOOD_S:
            self._tries = 0
        self._opened_s = 0.0
        refused = isinstance(error, LoginRefusedError)
        delay = random.uniform(*LOGIN_S) if refused else back_off(self._tries)
        told, self._told = self._told, reason(error)
        often = self._tries >= _OFTEN and self._tries & (self._tries - 1) == 0
        if self._tries == 0 or told != self._told or often:
            self._control.say(f"{self._told}; trying again")
        self._tries += 1
        self._retry_s = time.monotonic() + delay
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
        silent_s = time.monotonic() - self._last_s
        state = "live" if self._last is not None and silent_s < _SILENT_S else "no signal"
        if self._output is None:
            state = "connecting" if self._tries else "waiting"
        if self._output is not None:
            self._counts = replace(self._counts, refused=self._output.refused)
        facts = {}
        if self._opened is not None:
            facts["size"] = f"{self._opened[0]}x{self._opened[1]}"
        self._control.heartbeat(
            lambda latencies: replace(
                self._counts,
                state=state,
                readers=self._output.readers if self._output is not None else 0,
                busy_s=self._busy_s,
                latencies_ms=latencies,
                facts=facts,
            ),
            now=now,
        )
