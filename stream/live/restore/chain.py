"""What a live picture passes through: the parts of `deblur run`, as the ladder wants them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Final

import numpy as np
import torch

import mssnet
from filters import Enlarger, Shutter, Upscaler
from stream.colors import MATRIX_CODES, UNSPECIFIED
from stream.compute.models import Passthrough, find_upscaler, usual_upscaler
from stream.errors import UsageError
from stream.frame import Frame
from stream.ipc.mailbox import Picture, Size, packed
from stream.live.restore.half_size import HalfSize, through
from stream.live.restore.ladder import Rung, rungs
from stream.media.convert import coding_of
from stream.media.encoders import ENCODERS
from stream.options.live import LiveRestoreOptions
from stream.options.restore import NONE, RestoreOptions
from stream.pipeline import Stage
from stream.stages.build import asks_shutter, stages_of
from stream.stages.shutter import shutter_net

Load = Callable[[str], mssnet.Deblurrer]
"""Loads a model by its name; raises a `DeblurError`."""

LIGHTEST: Final = "lite"
"""The model that takes the place of larger ones."""
_PLAIN = "bicubic"
_AS_IT_IS = RestoreOptions(strength=0, smooth=0)
_SAMPLE = 128
"""Pixels each way of what tells how long whole pictures take, ..."""
_TURNS = 4
"""... and how often it is timed."""
_TIME_BASE = Fraction(1, 1_000_000_000)
"""Of the matrices that are guessed where none is said."""
_ENCODER = next(encoder for encoder in ENCODERS if encoder.name == "libx264")


@dataclass(frozen=True, eq=False)
class RestoredPicture:
    """A picture that is restored."""

    source: Picture
    """What it was made of."""
    picture: Picture
    from_neighbors: float
    """The share of it that comes from neighboring pictures, 0..1."""


class Chain:
    """Restores pictures one by one, at one step of the ladder."""

    def __init__(
        self,
        restoring: LiveRestoreOptions,
        load: Load,
        max_pixels: int,
        *,
        ladder: bool = True,
        before: "Chain | None" = None,
    ) -> None:
        """Loads what `restoring` names; raises a `DeblurError`.

        Enlarged pictures have up to `max_pixels`. Without a `ladder` there are its top and the
        camera's own picture alone.
        What the one `before` has found out about the camera's shutter is known from the start.
        """
        self.restoring = restoring
        self._load = load
        self._max_pixels = max_pixels
        model = load(restoring.model)
        self.device, self.dtype = model.device, model.dtype
        self._models = {restoring.model: model}
        self._shutter: Shutter | None = before._shutter if before is not None else None
        """As it is found out, as long as the feed lasts, whatever else changes."""
        self._upscaler: Upscaler | str = _PLAIN
        if restoring.upscale is not None:
            name = usual_upscaler(restoring.upscaler, model.device)
            self._upscaler = find_upscaler(name, model.engine)
        every = self._rungs(model)
        own = [rung for rung in every if rung.own]
        self.rungs: Sequence[Rung] = every if ladder else every[:1] + own
        """The steps of the ladder, from the top."""
        self.as_they_are: set[Size] = set()
        """Sizes of pictures that are not enlarged, though others are."""
        self._rung = self.rungs[0]
        self._exits: dict[str, mssnet.Exit | None] = {}
        """Where each network is left; frames that wait are restored by the one they came to."""
        self._stages: list[Stage[Frame]] = []
        self._size: Size | None = None
        self._waiting: deque[Picture] = deque()
        """Those that were pushed and not handed on yet."""
        self.use(self._rung)

    def _rungs(self, model: mssnet.Deblurrer) -> list[Rung]:
        restoring, lighter = self.restoring, None
        restores = restoring.strength != 0 and not isinstance(model, Passthrough)
        fuses = bool(restoring.passes)
        if restores and fuses:
            self._models[NONE] = Passthrough(model.engine)
        if restoring.model != LIGHTEST and restores:
            lite = self._load(LIGHTEST)
            if _parameters(lite) < _parameters(model):
                self._models[LIGHTEST] = lite
                lighter = LIGHTEST, len(lite.exits)
        return rungs(
            restoring.model,
            len(model.exits),
            lighter,
            fuse=restoring.fuse if fuses else 0,
            delay=(restoring.delay or 0) if fuses else 0,
            early=restoring.early,
            restores=restores,
            enlarges=isinstance(self._upscaler, Upscaler),
        )

    @property
    def in_use(self) -> LiveRestoreOptions:
        """What is asked for, with what is usual where nothing was said."""
        return replace(self.restoring, smooth=self.restoring.smoothing)

    @property
    def waits(self) -> bool:
        """Whether there are pictures that were not handed on yet."""
        return bool(self._waiting)

    def use(self, rung: Rung) -> list[RestoredPicture]:
        """Go on at this step; returns what waited, where pictures so far are no neighbors of those
        that follow. Where only the network is left elsewhere they are."""
        before, self._rung = self._rung, rung
        exits = self._models[rung.model].exits
        self._exits[rung.model] = exits[rung.exit] if exits else None
        # Where the network is left is asked for each frame.
        return [] if replace(before, exit=rung.exit, every=rung.every) == rung else self.forget()

    def forget(self) -> list[RestoredPicture]:
        """Begin anew: no picture so far is a neighbor of those that follow. Returns what waited."""
        waited = self._made(through(self._stages, (), end=True)) if self._waiting else []
        self._stages = []
        return waited

    def seconds(self, size: Size) -> float:
        """About how long the network takes for a picture, told by a piece of one."""
        if self.restoring.strength == 0:
            return 0.0
        model = self._models[self._rung.model]
        piece = torch.zeros(1, 3, _SAMPLE, _SAMPLE)
        took = []
        # The first one is slower, and on a busy machine any of them may have to wait for its turn.
        for _ in range(_TURNS):
            begun = time.monotonic()
            model(piece, exit=self._exits[self._rung.model])
            took.append(time.monotonic() - begun)
        return min(took) * size[0] * size[1] / _SAMPLE**2

    def push(self, picture: Picture) -> list[RestoredPicture]:
        """Restore a picture; returns what is ready, the oldest first: without a delay that one.

        Those before it are forgotten where they had another size or this one is the first after a
        cut, and what waited is among what is returned. Raises `UsageError` where it cannot be
        enlarged as is asked for.
        """
        made = []
        if not self._stages or picture.size != self._size or picture.cut:
            stages = self._build(picture.size, picture.rate)
            made = self.forget()
            self._stages, self._size = stages, picture.size
        self._waiting.append(picture)
        return made + self._made(through(self._stages, [frame_of(picture)]))

    def _made(self, frames: Iterable[Frame]) -> list[RestoredPicture]:
        made = []
        for frame in frames:
            source = self._waiting.popleft()
            made.append(RestoredPicture(source, _picture_of(frame, source), frame.from_neighbors))
        return made

    def _build(self, size: Size, rate: float) -> list[Stage[Frame]]:
        rung = self._rung
        model = self._models[rung.model]
        options: RestoreOptions = replace(self.restoring, fuse=rung.fuse, delay=rung.delay)
        if rung.own:
            options = _AS_IT_IS
        shutter = self._shutter_at(rate) if asks_shutter(options, model) else None
        enlarge = self._enlarger(size)
        stages_with = partial(
            stages_of,
            options,
            model,
            memory={},
            shutter=shutter,
            leave_at=lambda: self._exits[rung.model],
        )
        if not rung.half:
            return list(stages_with(enlarge).values())
        stages: list[Stage[Frame]] = [HalfSize(list(stages_with(None).values()))]
        if enlarge is not None:
            stages += stages_of(_AS_IT_IS, model, enlarge, {}).values()
        return stages

    def _shutter_at(self, rate: float) -> Shutter:
        exposure = self.restoring.shutter
        if not exposure.auto:
            return Shutter(share=exposure.share(rate))
        if self._shutter is None:
            self._shutter = Shutter(shutter_net())
        return self._shutter

    def _enlarger(self, size: Size) -> Enlarger | None:
        scale = self.restoring.upscale
        if scale is None or size in self.as_they_are:
            return None
        width, height = made = scale.of(size, even=True)
        if width % 2 or height % 2:
            raise UsageError(
                f"live pictures have even sides; use --upscale {width // 2 * 2}x{height // 2 * 2}"
            )
        if not _ENCODER.holds(made) or width * height > self._max_pixels:
            raise UsageError(
                f"--upscale {scale} would make {size[0]}x{size[1]} to {width}x{height}, which is "
                "larger than live pictures can be; use a smaller one"
            )
        if made == size:
            return None
        return Enlarger(made, _PLAIN if self._rung.plain else self._upscaler)


def frame_of(picture: Picture) -> Frame:
    """A live picture as the parts of the program know it."""
    coding = coding_of("yuv420p", picture.tags, *picture.size)
    return Frame(
        picture.planes,
        coding,
        picture.timestamp,
        _TIME_BASE,
        cut=picture.cut,
        damaged=picture.damaged,
    )


def _picture_of(frame: Frame, source: Picture) -> Picture:
    """The picture that was made of `source`."""
    tags = source.tags
    if frame.width != source.width and tags.matrix == UNSPECIFIED:
        # What players would guess for the larger size may differ.
        tags = tags._replace(matrix=MATRIX_CODES[frame.coding.matrix])
    return Picture(
        packed(plane.view(np.uint8) for plane in frame.planes),
        source.timestamp,
        source.arrived,
        source.rate,
        tags=tags,
        cut=source.cut,
        damaged=source.damaged,
        aspect=source.aspect,
    )


def _parameters(model: mssnet.Deblurrer) -> int:
    return sum(parameter.numel() for parameter in model.net.parameters())
