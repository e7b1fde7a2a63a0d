"""What an output shows next: the newest picture, the last one once more, or a slate."""

import time
from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction

from stream.ipc.mailbox import Mailbox, Picture, Shape, Size
from stream.ipc.sound_ring import SoundRing
from stream.live.output.slate import Letterbox, square_size
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


class Canvas:
    """Fits pictures to the size that an output has."""

    def __init__(self, size: Size | None, *, resizes: bool, square: bool = False) -> None:
        """`size` of the canvas, whose pixels are then as wide as high; None: the first picture's,
        and where it `resizes` that of those that have come for a while. `square`: whether its
        pixels are always as wide as high."""
        self._canvas = Letterbox(size) if size is not None else None
        self._resizes = resizes and size is None
        self._square = square
        self._shape: Shape | None = None
        self._shape_s = 0.0
        """What the source's pictures and their pixels measure, and since when."""

    def fit(self, picture: Picture, size: Size) -> Picture:
        """A picture on the canvas, which is to be of a `size` as long as none is asked for."""
        now = time.monotonic()
        shape = size, picture.aspect
        if shape != self._shape:
            self._shape, self._shape_s = shape, now
        canvas = self._canvas
        if canvas is None or (self._resizes and now - self._shape_s > _SETTLED_S):
            if self._square:
                shape = square_size(*shape), Fraction(1)
            canvas = self._canvas = Letterbox(*shape)
        return canvas.fit(picture)

    def slate(
        self, last: Picture | None, timestamp: int, name: str, since_s: float
    ) -> Picture | None:
        """What is shown where there has been no signal for so many seconds; None where no size is
        known."""
        if self._canvas is None:
            return None
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - since_s))
        return self._canvas.slate(last, timestamp, name=name, since=since)


class Pictures:
    """The pictures of a feed, in the order in which an output shows them."""

    def __init__(self, feed: Feed, canvas: Canvas, *, repeats: bool) -> None:
        """`repeats`: whether the last one is shown again while no other comes, and then a slate."""
        self.dropped = 0
        """How many were not seen, as newer ones had come."""
        self._feed, self._canvas, self._repeats = feed, canvas, repeats
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

    @property
    def silent(self) -> bool:
        """Whether nothing has come for a while."""
        return self._last is None or time.monotonic() - self._last_s >= _SILENT_S

    def is_fresh(self, picture: Picture) -> bool:
        """Whether it is none that was shown before."""
        return picture is self._last

    def timed(self, picture: Picture) -> Picture:
        """A picture as it is shown now: later than the one before."""
        apart = self._apart if self._moved else _LEAST_NS
        timestamp = max(picture.timestamp, self._shown + apart)
        self._moved = not self.is_fresh(picture) or timestamp > picture.timestamp
        self._shown = timestamp
        return replace(picture, timestamp=timestamp)

    def next(self) -> Picture | None:
        """What to show now; None while there is nothing to do."""
        picture = self._next()
        if picture is not None:
            self._given_s = time.monotonic()
        return picture

    def _next(self) -> Picture | None:
        now = time.monotonic()
        # While the network gives nothing, the camera's own pictures are looked for.
        alone = self._restored is None or now - self._last_s > _HOLD_S or self._camera > 0
        wait_s = 0.01 if alone else _REPEAT_S
        if self._repeats:
            wait_s = min(wait_s, max(0.001, self._repeat_s(now) - now))
        self._feed.restored.wait(self._feed.reader, wait_s)
        seen = self._last.timestamp if self._last is not None else -1
        number = self._restored.number if self._restored is not None else 0
        found = self._feed.restored.newest(number)
        if found is not None:
            missed = found.number - number - 1 if number else 0
            self.dropped += missed
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
        self._last, self._slate = self._canvas.fit(picture, size), None
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
        if not self._repeats or now < self._repeat_s(now):
            return None
        timestamp = int(now * 1e9) - self._latest
        if silent_s < _SILENT_S and self._last is not None:
            return replace(self._last, timestamp=timestamp, cut=False)
        if self._slate is None:
            seen_s = self._last.timestamp / 1e9 if self._last is not None else self._last_s
            slate = self._canvas.slate(self._last, timestamp, self._feed.name, now - seen_s)
            if slate is None:
                return None
            self._slate = slate
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
