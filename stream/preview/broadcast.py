"""One feed's pairs to all who watch it: taken once, encoded once, and only while anybody does."""

import asyncio
import random
import time
from collections import deque
from typing import Any, Literal

import av

from stream.ipc.window import Window
from stream.preview.pair import Pairs, shown_size, side_by_side

Kind = Literal["video", "jpeg"]
Presentation = Literal["both", "before", "after"]
_POLL_S = 0.008
_BEHIND = 50
"""Packets that a viewer may be behind; then it goes on at the next key frame."""
_STILL_S = 2.0
"""How long a still is waited for."""


class Viewer:
    """Somebody who watches; to be used in the loop alone."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self._waiting: deque[Any] = deque()
        self._there = asyncio.Event()
        self._begun = kind == "jpeg"
        self._ended = False

    def give(self, items: list[Any]) -> None:
        """Add what was encoded of one pair; a viewer that cannot keep up misses some."""
        if self.kind == "jpeg":
            self._waiting.clear()
        elif len(self._waiting) > _BEHIND:
            self._waiting.clear()
            self._begun = False
        for item in items:
            self._begun = self._begun or bool(item.is_keyframe)
            if self._begun:
                self._waiting.append(item)
        if self._waiting:
            self._there.set()

    def end(self) -> None:
        """Say that nothing comes any more."""
        self._ended = True
        self._there.set()

    async def take(self) -> Any:
        """The next packet, or JPEG. Raises `EOFError` where nothing comes any more."""
        while not self._waiting:
            if self._ended:
                raise EOFError
            self._there.clear()
            await self._there.wait()
        return self._waiting.popleft()


class Broadcast:
    """Shows what comes through a window."""

    def __init__(self, window: Window) -> None:
        self.number = random.getrandbits(48)
        """No other has it: who watches can tell that it is another one."""
        self.window = window
        self._viewers: set[Viewer] = set()
        self._pairs = Pairs()
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._stills: dict[Presentation, asyncio.Task[bytes | None]] = {}
        self._closed = False

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def join(self, kind: Kind) -> Viewer:
        """Watch from now on, until `leave`."""
        viewer = Viewer(kind)
        self._viewers.add(viewer)
        self._pairs.key()
        if self._task is None or self._task.done():
            if not self.window.open:
                # What was left when somebody looked last may be of yesterday.
                self._number = self.window.count
            self._task = asyncio.create_task(self._run())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    async def still(self, show: Presentation = "both") -> bytes | None:
        """The newest pair as PNG, or one of both as JPEG; None where there is none. Made once for
        all who ask meanwhile."""
        making = self._stills.get(show)
        if making is None or making.done():
            making = self._stills[show] = asyncio.create_task(self._made(show))
        return await asyncio.shield(making)

    async def _made(self, show: Presentation) -> bytes | None:
        before = 0 if self.window.open else self.window.count
        end = time.monotonic() + _STILL_S
        while self.window.count <= before and time.monotonic() < end and not self._closed:
            self.window.look()
            await asyncio.sleep(_POLL_S)
        return await asyncio.to_thread(self._picture, show)

    def _picture(self, show: Presentation) -> bytes | None:
        pair = self.window.newest()
        if pair is None:
            return None
        return Pairs().png(pair) if show == "both" else Pairs().one(pair, show)

    async def close(self) -> None:
        """Show nothing any more."""
        self._closed = True
        for viewer in self._viewers:
            viewer.end()
        self._viewers.clear()
        # What a thread has in hand is waited for: it copies from the window.
        at_work = [*self._stills.values(), *([] if self._task is None else [self._task])]
        await asyncio.gather(*at_work, return_exceptions=True)
        self.window.close()

    async def _run(self) -> None:
        while self._viewers:
            self.window.look()
            if self.window.count <= self._number:
                await asyncio.sleep(_POLL_S)
                continue
            kinds = {viewer.kind for viewer in self._viewers}
            made = await asyncio.to_thread(self._encode, kinds)
            for viewer in self._viewers:
                viewer.give(made.get(viewer.kind, []))

    def _encode(self, kinds: set[Kind]) -> dict[Kind, list[Any]]:
        pair = self.window.newest(self._number)
        if pair is None:
            return {}
        self._number = pair[1].number
        joined = side_by_side(pair, shown_size(pair[1]))
        made: dict[Kind, list[Any]] = {}
        if "video" in kinds:
            packets: list[av.Packet[Any]] = list(self._pairs.video(joined))
            made["video"] = packets
        if "jpeg" in kinds:
            made["jpeg"] = [self._pairs.jpeg(joined)]
        return made
