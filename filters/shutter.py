"""For how much of the frame interval the shutter is open, told by how blurred is what moves.

Along its motion a blurred picture is averaged over the way that a point went while the shutter was
open. So at some places the picture is sampled along the motion of a whole frame interval, and
across it, and a small network, trained on clips whose shutter is known, tells the share from each
pair of these profiles. What many places of a frame say is multiplied, what frames say is averaged:
where the motion is not what it seems they are wrong together, and tremor lasts for seconds.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from filters.motion import Flow, enlarged, squared

SHARES: Final = (0.03, 0.05, 0.08, 0.125, 0.18, 0.25, 0.34, 0.45, 0.58, 0.72, 0.87, 1.0)
"""The shares of the frame interval that are told apart."""
SAMPLES: Final = 25
"""In each profile, evenly spread over twice the motion."""
INPUTS: Final = 2 * SAMPLES + 1
"""Of the network: both profiles, and half the logarithm of the motion's length in pixels."""
_LEAST, _MOST = 3.0, 80.0
"""Pixels that a place must move, and may, in a frame interval."""
_TURN, _UNSURE = 0.25, 0.3
"""How far motion may turn or change, squared: a share of its length, and as many squared pixels of
what is followed as flow may be wrong by. With a whole pixel a hand's small tremors pass for steady,
and tell shutters that were hardly open."""
_PLACES = 256
"""Of a frame."""
_SEEN = 1 << 21
"""Pixels among which they are chosen: of larger frames, every second one each way, or fewer."""
_TIMID = 0.45
"""The quantile of the distribution that is told: where it is not sure, the smaller share, which
does less harm."""
_FRAME = 25.0
"""How many independent places a frame is worth: those that are near each other say the same."""
_KEPT = 0.9
"""Of what was seen so far at each frame: in the end, the last ten or so count."""
_UNKNOWN = 0.3
"""The share where nothing has moved yet."""


class ShutterNet:
    """The network: layers of `Linear` with rectifiers between them."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Raises `ValueError` where these are not its weights."""
        count = len(tensors) // 2
        try:
            self.layers = [
                (
                    np.asarray(tensors[f"{index}.weight"], np.float32).T,
                    np.asarray(tensors[f"{index}.bias"], np.float32),
                )
                for index in range(count)
            ]
            self._prior = np.asarray(tensors["prior"], np.float32)
        except KeyError as error:
            raise ValueError(f"these are not the weights of a shutter network ({error})") from None

    @classmethod
    def load(cls, file: Path) -> "ShutterNet":
        """That in a safetensors file. Raises `ValueError`, `OSError` and `SafetensorError`."""
        return cls(load_file(file))

    def evidence(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean logarithm of how likely each of `SHARES` makes these profiles, (n, INPUTS)."""
        x = seen
        for index, (weight, bias) in enumerate(self.layers):
            x = (np.maximum(x, 0) if index else x) @ weight + bias
        x = x - x.max(1, keepdims=True)
        x = x - np.log(np.exp(x).sum(1, keepdims=True))
        return np.asarray(x.mean(0) - self._prior, np.float32)


class Shutter:
    """The share of the frame interval for which the shutter is open: known, or being found out."""

    def __init__(
        self, net: ShutterNet | None = None, share: float = _UNKNOWN, kept: float = _KEPT
    ) -> None:
        """Without `net` it is and stays `share`; with it that is what it is until something moves.
        So much of what was seen is `kept` at each further frame that is seen."""
        self._net, self._share, self._kept = net, share, kept
        self._likely = np.zeros(len(SHARES), np.float32)
        """The sum of what frames say, those before counting less and less."""
        self._rng = np.random.default_rng(0)

    @property
    def known(self) -> bool:
        """Whether it need not be found out."""
        return self._net is None

    @property
    def share(self) -> float:
        """Of the frame interval, 0 to 1, by all that was seen so far."""
        seen = self._likely.sum()
        return _quantile(self._likely / seen) if seen else self._share

    def watch(self, luma: NDArray[np.uint8], before: Flow, after: Flow) -> None:
        """See a frame, (H, W) luma, and how it moved to the frames before and after it, (h, w, 2)
        each in pixels of that size."""
        if self._net is None:
            return
        seen = profiles(luma, before, after, self._rng)
        if seen is not None:
            self._likely = self._kept * self._likely + _likely(_FRAME * self._net.evidence(seen))


def likely_share(evidence: NDArray[np.float32]) -> float:
    """The share that the evidence of one frame, (len(SHARES),), is for."""
    return _quantile(_likely(_FRAME * evidence))


def _likely(log: NDArray[np.float32]) -> NDArray[np.float32]:
    likely = np.exp(log - log.max())
    return np.asarray(likely / likely.sum(), np.float32)


def _quantile(likely: NDArray[np.float32]) -> float:
    below = np.concatenate([[0], np.cumsum(likely)])
    logs = np.log(np.array(SHARES))
    # Each share stands for what lies between it and the next smaller one.
    return float(np.exp(np.interp(_TIMID, below, [logs[0] - 0.2, *logs])))


def profiles(
    luma: NDArray[np.uint8],
    before: Flow,
    after: Flow,
    rng: np.random.Generator,
    count: int = _PLACES,
) -> NDArray[np.float32] | None:
    """What the network is shown of `count` places of a frame, (count, INPUTS).

    `before` and `after` are in pixels of their own size, which may be smaller. None where there are
    not enough places that move steadily and have something to see.
    """
    height, width = luma.shape
    motion = (after - before) * np.float32(0.5)
    # What turns or stops within two frames says nothing of the middle of them.
    lengths = squared(after) + squared(before)
    steady = squared(after + before) < _TURN * lengths + _UNSURE
    scale = np.array([width / motion.shape[1], height / motion.shape[0]], np.float32)
    step = math.ceil(math.sqrt(width * height / _SEEN))
    rows, columns = (np.arange(step // 2, length, step) for length in (height, width))
    motion = enlarged(motion * scale * steady[..., None], (len(columns), len(rows)))
    far = np.sqrt(squared(motion))
    soft = cv2.GaussianBlur(luma, (0, 0), 0.8).astype(np.float32)
    across, down = (cv2.Sobel(soft, cv2.CV_32F, *way, scale=0.25) for way in ((1, 0), (0, 1)))
    detail = (across * across + down * down)[step // 2 :: step, step // 2 :: step]
    x, y = np.meshgrid(columns, rows)
    inside = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    places = np.flatnonzero((far > _LEAST) & (far < _MOST) & (inside > far))
    if len(places) < 2 * count:
        return None
    there = detail.ravel()[places]
    # Edges of all strengths, not the few strongest ones alone.
    chance = np.minimum(there, np.percentile(there, 95))
    chance[there < max(float(np.percentile(there, 60)), 4.0)] = 0
    if np.count_nonzero(chance) < count:
        return None
    chosen = rng.choice(places, count, replace=False, p=chance / chance.sum(dtype=np.float64))
    own_x, own_y = x.ravel()[chosen], y.ravel()[chosen]
    along = motion.reshape(-1, 2)[chosen]
    steps = np.linspace(-1, 1, SAMPLES, dtype=np.float32)
    found = []
    for way in (along, np.stack([-along[:, 1], along[:, 0]], axis=1)):
        at_x = (own_x[:, None] + steps * way[:, :1]).astype(np.float32)
        at_y = (own_y[:, None] + steps * way[:, 1:]).astype(np.float32)
        values: Any = cv2.remap(luma, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        values = values.astype(np.float32)
        found.append(values - values.mean(1, keepdims=True))
    contrast = np.sqrt(sum((each * each).mean(1) for each in found)) + 3
    length = np.log(far.ravel()[chosen]) / 2
    shown = [each / contrast[:, None] for each in found]
    return np.concatenate([*shown, length[:, None]], axis=1).astype(np.float32)
