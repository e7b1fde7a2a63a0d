"""What a preview page holds on to: figures, pictures, and settings that change."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from stream.errors import DeblurError, ModelError
from stream.live.input.camera import Camera
from stream.live.output.targets import parse
from stream.live.supervisor import Supervisor
from stream.options.live import LiveRestoreOptions, LiveSettings
from stream.secrets import Secrets

SOURCE = "testsrc:?size=160x120"
DEADLINE_S = 120.0


def supervise(
    watch: Callable[[Supervisor, list[str]], Coroutine[Any, Any, None]],
    restoring: LiveRestoreOptions | None = None,
) -> list[str]:
    """A feed to nowhere, watched until `watch` returns; what was said."""
    said: list[str] = []

    async def run() -> None:
        settings = LiveSettings(restoring or LiveRestoreOptions())
        feed = Supervisor(
            Camera.parse(SOURCE, settings),
            [parse("null:")],
            settings,
            secrets=Secrets(),
            say=lambda who, text: said.append(f"{who}: {text}"),
        )
        running = asyncio.create_task(feed.run())
        watching = asyncio.create_task(watch(feed, said))
        done, _ = await asyncio.wait(
            {running, watching}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
        )
        feed.stop()
        watching.cancel()
        await running
        assert done, "nothing happened"
        await watching

    asyncio.run(run())
    return said


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.05)


def test_figures_pictures_and_settings_that_change() -> None:
    async def watch(feed: Supervisor, said: list[str]) -> None:
        await until(lambda: feed.snapshot().model.frames > 5)
        snapshot = feed.snapshot()
        assert snapshot.state in ("live", "starting")
        assert snapshot.reader.facts["size"] == "160x120"
        assert snapshot.model.pid
        assert snapshot.model.memory_bytes > 100e6
        await until(lambda: feed.snapshot().writers[0].latency_p95_ms)

        taken, restored = feed.newest()
        assert taken is not None
        assert restored is not None
        assert taken.size == restored.size == (160, 120)

        feed.change(LiveRestoreOptions(strength=0, smooth=0))
        timestamp = time.monotonic_ns()
        await until(lambda: same(feed, timestamp))

        feed.change(LiveRestoreOptions(model="none", smooth=1, fuse=2))
        facts = feed.snapshot().model.facts
        while facts.get("step") != "1 of 2: none, fused with 2 before":
            await asyncio.sleep(0.05)
            facts = feed.snapshot().model.facts
        await until(lambda: "from neighbors" in feed.snapshot().model.facts)
        assert feed.in_use is not None
        assert "none" in feed.in_use.models

        feed.change(LiveRestoreOptions(model="no-such-model"))
        await until(lambda: any("no-such-model" in line for line in said))
        frames = feed.snapshot().model.frames
        await until(lambda: feed.snapshot().model.frames > frames + 3)
        assert feed.snapshot().model.restarts == 0, "it goes on as before"

    def same(feed: Supervisor, timestamp: int) -> bool:
        """Whether what comes out now is what comes in."""
        taken, restored = feed.newest()
        if taken is None or restored is None or restored.timestamp < timestamp:
            return False
        return taken.timestamp == restored.timestamp and np.array_equal(taken.data, restored.data)

    supervise(watch)


def test_what_was_changed_stays_when_a_process_dies() -> None:
    async def watch(feed: Supervisor, said: list[str]) -> None:
        # Before the model is there, and again before it has answered.
        feed.change(LiveRestoreOptions(strength=0.5))
        feed.change(LiveRestoreOptions(strength=0.25))
        await until(lambda: feed.in_use and feed.in_use.restoring.strength == 0.25)
        await until(lambda: feed.snapshot().model.frames > 3)
        feed.in_use = None
        feed._model.kill()
        await until(lambda: feed.in_use is not None)
        assert feed.in_use is not None
        assert feed.in_use.restoring.strength == 0.25
        assert feed.snapshot().model.restarts == 1

    supervise(watch)


def test_what_cannot_work_ends_it() -> None:
    async def wait(feed: Supervisor, said: list[str]) -> None:
        await asyncio.sleep(DEADLINE_S)

    with pytest.raises(ModelError, match="no-such-model"):
        supervise(wait, LiveRestoreOptions(model="no-such-model"))


def test_errors_keep_their_kind() -> None:
    from stream.live.supervisor import _kinds

    codes = [kind.exit_code for kind in _kinds(DeblurError)]
    assert len(codes) == len(set(codes)), "an exit code belongs to one kind of error"
