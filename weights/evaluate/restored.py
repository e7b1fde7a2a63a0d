"""Frames restored, and fused with their neighbors by the stages of `deblur run`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor

import mssnet
import stream.frame
from filters import Coding, Shutter, codes_of, to_rgb
from mssnet.regions import Where
from stream.compute.models import Passthrough
from stream.options.exposure import Exposure
from stream.options.restore import USUAL_FUSE
from stream.options.settings import Settings
from stream.stages.build import asks_shutter, stages_of
from stream.stages.shutter import share_of, spots_among
from weights.evaluate.measure import Restore, Row, measure
from weights.evaluate.pairs import Frame, PairSet

CODING = Coding("bt601", full_range=True, depth=16, subsampling=(1, 1))
"""How frames pass through the stages: 16 bits and 4:4:4, which lose nothing of 8-bit RGB."""
_RATE = 30
_LOOKED_AT = 48
"""Frames of a sequence that tell its shutter."""
_REMEMBERED = 6
_DELAYS = {"fused": None, "causal": 0}
"""`Settings.delay` of each version that is fused."""

AUTO = Exposure()


class Restored:
    """The versions of the frames of a sequence: `blurred`, `restored`, `fused` and `causal`.

    `restored` is what the network makes of a frame, and is left out where there is none; `fused`
    and `causal` are what `deblur run` and `deblur live` make of it. Without fusion a network that
    is told the motion has a `causal` version too: told of frames of the past alone.
    """

    def __init__(
        self,
        restore: Restore,
        fuse: int = USUAL_FUSE,
        smooth: float | None = None,
        versions: Sequence[str] = tuple(_DELAYS),
        exposure: Exposure = AUTO,
    ) -> None:
        """`fuse` and `smooth` are those of `Settings`; 0 frames leave out what is fused.

        `versions` are those of `fused` and `causal` that are wanted. What `exposure` says in
        seconds is for 30 frames per second; `auto` is told by the first frames of each sequence.
        """
        self._restore = restore if isinstance(restore, Passthrough) else _CachedRestorer(restore)
        self._exposure = exposure
        self._settings = {} if isinstance(restore, Passthrough) else {"restored": Settings(fuse=0)}
        if not fuse:
            versions = ["causal"] if self._restore.is_told and "causal" in versions else []
        self._settings |= {
            name: Settings(fuse=fuse, smooth=smooth, delay=_DELAYS[name]) for name in versions
        }

    def __call__(self, frames: Iterable[Frame]) -> Iterator[dict[str, Tensor]]:
        """Of each frame in turn; as many are read ahead as fusion waits for, and the shutter where
        it is to be told."""
        coming: Iterator[stream.frame.Frame] = (
            _coded(frame, index) for index, frame in enumerate(frames)
        )
        shutter = None
        if any(asks_shutter(each, self._restore) for each in self._settings.values()):
            known = list(islice(coming, _LOOKED_AT)) if self._exposure.auto else []
            shutter = self._shutter(known)
            coming = chain(known, coming)
        chains = {
            name: stages_of(settings, self._restore, None, {}, shutter=shutter)["deblur"]
            for name, settings in self._settings.items()
        }
        done: dict[str, deque[stream.frame.Frame]] = {name: deque() for name in chains}
        begun: deque[dict[str, Tensor]] = deque()

        def finished() -> Iterator[dict[str, Tensor]]:
            while begun and all(done.values()):
                fused = {name: _picture(each.popleft()) for name, each in done.items()}
                yield {**begun.popleft(), **fused}

        for coded in coming:
            begun.append({"blurred": _picture(coded)})
            for name, stage in chains.items():
                done[name].extend(stage.push(coded))
            yield from finished()
        for name, stage in chains.items():
            done[name].extend(stage.flush())
        yield from finished()

    def _shutter(self, frames: Sequence[stream.frame.Frame]) -> Shutter:
        if not self._exposure.auto:
            return Shutter(share=self._exposure.share(_RATE))
        return Shutter(share=share_of(spots_among(frames)))


class _CachedRestorer(mssnet.Deblurrer):
    """A restorer as the stages take it, that is asked once for what several chains ask for."""

    def __init__(self, restore: Restore) -> None:
        self._restore = restore
        self.engine = (
            restore.engine if isinstance(restore, mssnet.Deblurrer) else mssnet.Eager("cpu")
        )
        self.tile = None
        self._last: list[tuple[Tensor, Tensor | None, Where | None, Tensor]] = []

    @property
    def is_told(self) -> bool:
        return isinstance(self._restore, mssnet.Deblurrer) and self._restore.is_told

    def submit(
        self,
        image: Tensor,
        told: Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        for seen, beside, changed, made in self._last:
            # Where it is blurred follows from what is told.
            same = torch.equal(seen, image) and (changed is None) == (where is None)
            if same and _same(beside, told):
                return lambda: made
        if isinstance(self._restore, mssnet.Deblurrer):
            made = self._restore(image, told, where, exit=exit)
        else:
            made = self._restore(image)
        # Chains that wait for frames after are behind those that do not.
        self._last = [*self._last, (image, told, where, made)][-_REMEMBERED:]
        return lambda: made


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _coded(frame: Frame, index: int) -> stream.frame.Frame:
    """A frame of RGB as the stages take it."""
    exact = frame.transpose(2, 0, 1).astype(np.float32) * (CODING.top / 255)
    planes = tuple(codes_of(exact, CODING))
    return stream.frame.Frame(planes, CODING, index, Fraction(1, 25))


def _picture(frame: stream.frame.Frame, device: torch.device | str = "cpu") -> Tensor:
    """(1, 3, H, W) RGB of a frame of the stages."""
    return to_rgb([torch.from_numpy(plane).to(device) for plane in frame.planes], frame.coding)


def evaluate(
    restore: Restore,
    pairs: Sequence[PairSet],
    *,
    fuse: int = USUAL_FUSE,
    smooth: float | None = None,
    exposure: Exposure = AUTO,
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Measure `restore`, which never sees the sharp frame of what it restores.

    With `stream.compute.models.Passthrough` fusion alone is measured. `fuse` is with how many
    frames before and after it each one is fused, 0: not at all, and `smooth` how much of the noise
    is
    averaged away by that, None: as much as is usual. Returns a row for each set, and a last one,
    `all`, with the means over all frames. `on_pair` is called after each pair. Raises `PairsError`
    for pairs that cannot be read.
    """
    return measure(
        Restored(restore, fuse, smooth, exposure=exposure),
        pairs,
        identity=Restored(restore, fuse, smooth, ["fused"], exposure),
        on_pair=on_pair,
    )
