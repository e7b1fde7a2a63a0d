"""Frames restored, and fused with their neighbors by the stages of `deblur run`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

import mssnet
import stream.frame
from filters import Coding, codes_of, to_rgb
from stream.models import Untouched
from stream.settings import USUAL_FUSE, Settings
from stream.stages import stages_of
from weights.evaluate.measure import Restore, Row, measure
from weights.evaluate.pairs import Frame, PairSet
from weights.evaluate.quality import to_tensor

CODING = Coding("bt601", full_range=True, depth=16, subsampling=(1, 1))
"""How frames pass through the stages: 16 bits and 4:4:4, which lose nothing of 8-bit RGB."""
_DELAYS = {"fused": None, "causal": 0}
"""`Settings.delay` of each version that is fused."""


class Restored:
    """The versions of the frames of a sequence: `blurred`, `restored`, `fused` and `causal`.

    `restored` is what the network makes of a frame, and is left out where there is none; `fused`
    and `causal` are what `deblur run` and `deblur live` make of it.
    """

    def __init__(
        self,
        restore: Restore,
        fuse: int = USUAL_FUSE,
        smooth: float | None = None,
        versions: Sequence[str] = tuple(_DELAYS),
    ) -> None:
        """`fuse` and `smooth` are those of `Settings`; 0 frames leave out what is fused.

        `versions` are those of `fused` and `causal` that are wanted.
        """
        self._restore = restore if isinstance(restore, Untouched) else _Once(restore)
        self._settings = {
            name: Settings(fuse=fuse, smooth=smooth, delay=_DELAYS[name])
            for name in (versions if fuse else ())
        }

    def __call__(self, frames: Iterable[Frame]) -> Iterator[dict[str, Tensor]]:
        """Of each frame in turn; as many are read ahead as fusion waits for."""
        chains = {
            name: stages_of(settings, self._restore, None, {})["deblur"]
            for name, settings in self._settings.items()
        }
        done: dict[str, deque[stream.frame.Frame]] = {name: deque() for name in chains}
        begun: deque[dict[str, Tensor]] = deque()

        def finished() -> Iterator[dict[str, Tensor]]:
            while begun and all(done.values()):
                fused = {name: _picture(each.popleft()) for name, each in done.items()}
                yield {**begun.popleft(), **fused}

        for index, frame in enumerate(frames):
            coded = _coded(frame, index)
            begun.append(self._alone(frame, coded))
            for name, chain in chains.items():
                done[name].extend(chain.push(coded))
            yield from finished()
        for name, chain in chains.items():
            done[name].extend(chain.flush())
        yield from finished()

    @torch.inference_mode()
    def _alone(self, frame: Frame, coded: stream.frame.Frame) -> dict[str, Tensor]:
        """The versions for which a frame needs no neighbors."""
        versions = {"blurred": to_tensor(frame)}
        if not isinstance(self._restore, Untouched):
            # As the stages show it to the network.
            seen = _picture(coded, self._restore.device).clamp_(0, 1)
            versions["restored"] = self._restore.submit(seen)()
        return versions


class _Once(mssnet.Deblurrer):
    """A restorer as the stages take it, that is asked once for what several chains ask for."""

    def __init__(self, restore: Restore) -> None:
        self._restore = restore
        self.engine = (
            restore.engine if isinstance(restore, mssnet.Deblurrer) else mssnet.Eager("cpu")
        )
        self.tile, self.exit = None, None
        self._last: tuple[Tensor, Tensor] | None = None

    def submit(self, image: Tensor) -> mssnet.Result:
        if self._last is None or not torch.equal(self._last[0], image):
            self._last = image, self._restore(image)
        made = self._last[1]
        return lambda: made


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
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Measure `restore`, which never sees the sharp frame of what it restores.

    With `stream.models.Untouched` fusion alone is measured. `fuse` is with how many frames before
    and after it each one is fused, 0: not at all, and `smooth` how much of the noise is averaged
    away by that, None: as much as is usual. Returns a row for each set, and a last one, `all`, with
    the means over all frames. `on_pair` is called after each pair. Raises `PairsError` for pairs
    that cannot be read.
    """
    return measure(
        Restored(restore, fuse, smooth),
        pairs,
        identity=Restored(restore, fuse, smooth, ["fused"]),
        on_pair=on_pair,
    )
