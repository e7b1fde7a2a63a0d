"""The process that restores: takes the newest picture of the camera, again and again."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean, median

import torch

from stream.compute.models import deblurrers, load_model
from stream.errors import DeblurError, UsageError
from stream.ipc.backoff import RateLimiter
from stream.ipc.child import Control
from stream.ipc.mailbox import Mailbox, Picture
from stream.ipc.messages import Beyond, Heartbeat, InUse, State
from stream.ipc.window import Window
from stream.live.restore.chain import Chain, Load, RestoredPicture
from stream.live.restore.ladder import Ladder
from stream.options.live import LiveRestoreOptions, LiveSettings
from stream.options.restore import NONE

_WAIT_S = 0.1
_GAP_NS = 500_000_000
"""Pictures farther apart than this have nothing to do with each other."""
_SILENT_S = 2.0
"""After so long without a picture there is nothing live."""
_SHOWN = 50
"""Pictures of which the median time and the share from neighbors is told."""
_SLOWEST_S = 5.0
"""A process that says nothing for longer than a few seconds is taken for dead."""
_SLIDES_MS = 1000.0
_JUDGED = 5
"""Where no latency is asked for and so many pictures take longer, by their median, that is no
video: the camera's own are passed on instead."""
_READER = 0
"""This process's number among the readers of the camera's mailbox."""


def restore(
    control: Control,
    settings: LiveSettings,
    camera: Mailbox,
    restored: Mailbox,
    window: Window | None = None,
) -> None:
    """The work of the process: restore the newest picture of `camera` into `restored`, and show it
    in the `window` where one is open."""
    if (threads := torch.get_num_threads()) > 2:
        # One is left to what reads and writes.
        torch.set_num_threads(threads - 1)
    load = partial(
        load_model,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        late=False,
    )
    Restoration(control, settings, camera, restored, load, window).run()


@dataclass(frozen=True)
class _Recent:
    """Figures of the last pictures that were restored in one way."""

    costs_ms: deque[float] = field(default_factory=partial(deque, maxlen=_SHOWN))
    shares: deque[float] = field(default_factory=partial(deque, maxlen=_SHOWN))
    """Of the picture that came from neighboring ones."""


class Restoration:
    """Restores the newest picture until it is told to stop."""

    def __init__(
        self,
        control: Control,
        settings: LiveSettings,
        camera: Mailbox,
        restored: Mailbox,
        load: Load,
        window: Window | None = None,
    ) -> None:
        """`load` loads models by their names. Raises a `DeblurError` where that fails."""
        self._control = control
        self._bound_ms = settings.max_latency_ms
        self._camera = camera
        self._restored = restored
        self._load = load
        self._window = window
        self._counts = Heartbeat(state=State.LOADING)
        self._recent = _Recent()
        self._beyond_ms = 0.0
        self._refused = RateLimiter()
        """Sizes that are not enlarged: a camera may change its own all the time."""
        self._last: Picture | None = None
        """The picture taken up last."""
        self._last_s = 0.0
        control.heartbeat(lambda latencies: replace(self._counts, latencies_ms=latencies), now=True)
        self._chain = self._begun_with = self._new_chain(settings.restoring)
        self._ladder = Ladder(len(self._chain.rungs), self._bound_ms or _SLIDES_MS)
        self._say_what_is_in_use()

    def run(self) -> None:
        """Work until told to stop. Raises `UsageError` where no picture can be as asked for."""
        while not self._control.stopping:
            self.turn()
        self._hand_on(self._chain.forget())
        self._tell(now=True)

    def turn(self) -> None:
        """Take up what changed and the newest picture; wait a moment where there is none."""
        wanted = None
        for change in self._control.orders():
            if isinstance(change, Beyond):
                self._beyond_ms = change.ms
            elif isinstance(change, LiveRestoreOptions):
                wanted = change  # those before it are of yesterday
        if wanted is not None:
            self._change(wanted)
        if (picture := self._next()) is not None:
            self._take(picture)
        elif self._chain.waits and time.monotonic() - self._last_s > _GAP_NS / 1e9:
            # What comes next will be no neighbor.
            self._hand_on(self._chain.forget())
        self._tell()

    def _new_chain(self, restoring: LiveRestoreOptions, before: Chain | None = None) -> Chain:
        ladder = self._bound_ms is not None
        return Chain(restoring, self._load, self._restored.max_pixels, ladder=ladder, before=before)

    def _change(self, restoring: LiveRestoreOptions) -> None:
        """Work with other settings from now on, or go on as before where that cannot be."""
        before = self._counts
        self._counts = replace(before, state=State.LOADING)
        self._tell(now=True)
        try:
            chain = self._new_chain(restoring, self._chain)
            if self._last is not None:
                _check(chain, self._last)
        except DeblurError as error:
            self._control.say(f"{error}; going on as before")
            self._counts = before
            self._say_what_is_in_use()
            return
        self._use(chain)

    def _use(self, chain: Chain) -> None:
        if chain.rungs != self._chain.rungs:
            self._ladder = Ladder(len(chain.rungs), self._bound_ms or _SLIDES_MS)
        self._hand_on(self._chain.forget())
        chain.use(chain.rungs[self._ladder.step])
        self._chain = chain
        self._begin_figures()
        self._say_what_is_in_use()

    def _say_what_is_in_use(self) -> None:
        self._control.ask(InUse(self._chain.in_use, (*deblurrers(), NONE)))

    def _next(self) -> Picture | None:
        """The newest picture, where there is one that is to be taken up."""
        taken = self._last.number if self._last is not None else 0
        every = self._chain.rungs[self._ladder.step].every
        after = taken + every - 1 if taken else 0
        if self._camera.count <= after:
            self._camera.wait(_READER, _WAIT_S)
        return self._camera.newest(after)

    def _take(self, picture: Picture) -> None:
        if self._counts.state is State.LOADING:
            # What comes first takes longest; meanwhile there are newer ones.
            self._try(picture)
            picture = self._camera.newest(picture.number) or picture
        before, self._last, self._last_s = self._last, picture, time.monotonic()
        begun = time.monotonic()
        if before is None or picture.timestamp - before.timestamp > _GAP_NS or picture.cut:
            self._hand_on(self._chain.forget())
        made = self._push(picture)
        self._hand_on(made)
        spent_s = time.monotonic() - begun
        counts = self._counts
        self._counts = replace(
            counts,
            state=State.LIVE,
            dropped=counts.dropped + (picture.number - before.number - 1 if before else 0),
            busy_s=counts.busy_s + spent_s,
        )
        if not made:
            return  # it waits for those after it
        late_ms = (time.monotonic_ns() - made[-1].picture.arrived) / 1e6 + self._beyond_ms
        self._recent.costs_ms.append(1e3 * spent_s)
        if self._bound_ms is None:
            if len(self._recent.costs_ms) < _JUDGED:
                return
            late_ms = median(list(self._recent.costs_ms)[-_JUDGED:])
        cost_ms = median(self._recent.costs_ms)
        if why := self._ladder.push(time.monotonic(), late_ms, 1e3 * spent_s):
            rung = self._chain.rungs[self._ladder.step]
            self._hand_on(self._chain.use(rung))
            self._begin_figures()
            if rung.own:
                why = f"no step keeps up, the last one takes {cost_ms:.0f} ms a picture"
            elif self._bound_ms is None:
                why = "restoring is tried again"
            self._control.say(f"{why}: now {rung}")

    def _hand_on(self, made: Iterable[RestoredPicture]) -> None:
        for each in made:
            self._restored.put(each.picture)
            if self._window is not None and self._window.open:
                self._window.put(each.source, each.picture)
            self._control.latency(each.picture.arrived)
            self._recent.shares.append(each.from_neighbors)
            self._counts = replace(self._counts, frames=self._counts.frames + 1)

    def _begin_figures(self) -> None:
        self._recent = _Recent()

    def _try(self, picture: Picture) -> None:
        """Restore a first picture. Raises `UsageError` where that cannot be as was asked for at
        the start; what was asked for since is given up instead."""
        try:
            if not self._restored.count:
                _check(self._chain, picture)
            self._tell(now=True)
            self._push(picture)
        except UsageError as error:
            if self._chain is self._begun_with:
                raise
            self._control.say(f"{error}; going on as before")
            self._use(self._begun_with)
            self._try(picture)
        self._chain.forget()

    def _push(self, picture: Picture) -> list[RestoredPicture]:
        try:
            return self._chain.push(picture)
        except UsageError as error:
            if not self._restored.count:
                raise
            self._refused.note()
            if self._refused.due():
                self._control.say(f"{error}; pictures of this size are not enlarged")
            self._chain.as_they_are.add(picture.size)
            return self._chain.push(picture)

    def _tell(self, *, now: bool = False) -> None:
        self._control.heartbeat(self._heartbeat, now=now)

    def _heartbeat(self, latencies: tuple[float, ...]) -> Heartbeat:
        counts = self._counts
        state = counts.state
        if state is State.LIVE and time.monotonic() - self._last_s > _SILENT_S:
            state = State.WAITING
        return replace(counts, state=state, latencies_ms=latencies, facts=self._facts())

    def _facts(self) -> dict[str, str]:
        chain, step = self._chain, self._ladder.step
        facts = {
            "model": chain.restoring.model,
            "device": f"{chain.device}, {str(chain.dtype).removeprefix('torch.')}",
            "step": f"{step + 1} of {len(chain.rungs)}: {chain.rungs[step]}",
        }
        if self._recent.costs_ms:
            facts["ms per frame"] = f"{median(self._recent.costs_ms):.0f}"
        if self._recent.shares and chain.rungs[step].fuse:
            facts["from neighbors"] = f"{100 * fmean(self._recent.shares):.0f} %"
        return facts


def _check(chain: Chain, picture: Picture) -> None:
    """Raise `UsageError` where pictures of this size take so long that nothing is live."""
    seconds = chain.seconds(picture.size)
    if seconds > _SLOWEST_S:
        raise UsageError(
            f"a picture of {picture.width}x{picture.height} takes about {seconds:.0f} s with "
            f"{chain.restoring.model} here, which is too long; use a lighter --model"
        )
