"""One feed's pairs to all who watch it: taken once, encoded once, and only while anybody does."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any, Literal

import av

from stream.live.window import Window
from stream.preview.pair import Pairs, shown_size, side_by_side

Kind = Literal["video", "jpeg"]
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

    async def take(self) -> Any:
        """The next packet, or JPEG."""
        while not self._waiting:
            self._there.clear()
            await self._there.wait()
        return self._waiting.popleft()


class Broadcast:
    """Shows what comes through a window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._viewers: set[Viewer] = set()
        self._pairs = Pairs()
        self._number = 0
        self._task: asyncio.Task[None] | None = None

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

    async def still(self) -> bytes | None:
        """The newest pair as PNG; None where there is none."""
        before = 0 if self.window.open else self.window.count
        end = time.monotonic() + _STILL_S
        while (pair := self.window.newest(before)) is None:
            self.window.look()
            if time.monotonic() > end:
                pair = self.window.newest()
                break
            await asyncio.sleep(_POLL_S)
        return await asyncio.to_thread(Pairs().png, pair) if pair is not None else None

    async def close(self) -> None:
        """Show nothing any more."""
        self._viewers.clear()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
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
        joined = side_by_side(pair, shown_size(pair[1].size))
        made: dict[Kind, list[Any]] = {}
        if "video" in kinds:
            packets: list[av.Packet[Any]] = list(self._pairs.video(joined))
            made["video"] = packets
        if "jpeg" in kinds:
            made["jpeg"] = [self._pairs.jpeg(joined)]
        return made
