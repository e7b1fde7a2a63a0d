"""Short clips, blurred, and what is sharp of them, made from photographs the way a camera films.

A scene has layers: a photograph behind, and objects with soft masks, cut from other photographs,
in front. Camera and objects move on along paths of their own through five frame intervals, the
shutter is open for a share of each, and what the sensor sees meanwhile is averaged, as light or,
for a share of the scenes, as encoded values, as data sets averaged from high-speed video do. The
sharp picture is that of the middle of the third exposure. What moved from frame to frame is found
in much more of the scene than the patch shows, at the size at which a video is followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.motion import Flow, follow, joined
from weights.train.motion import Handheld, Map, Path, Way, inverse
from weights.train.photos import Crop, Photos
from weights.train.response import Response

Image = NDArray[np.float32]
"""(H, W, 3) RGB in 0..1."""

TIMES = (-2, -1, 0, 1, 2)
"""When the frames of a clip are filmed."""
NOW = TIMES.index(0)
_MOST_LAYERS = 3
# Pixels that a point moves between sub-frames. Light flows without gaps; data sets averaged from
# high-speed video have steps, which show as ghosts, so averages of encoded values get them too.
_STEP_LIGHT = 1.6
_STEP_ENCODED = (1.6, 5.0)
_STEP_ROLLING = 0.8
_MOST_STEPS = 48
_FOLLOWED = 96
"""Side of what the motion is found in, pixels of its own size."""
_DEPTHS = (1.5, 4.0)
"""How far away a background is, where the nearest that anything can be is 1."""
_FACTORS = (3, 7)
"""By how much smaller that is: for 480x360 and 1280x720, and what lies between."""


@dataclass(frozen=True)
class BlurSettings:
    """What moves, by how much, and how long the shutter is open; pixels of a 720p frame."""

    longest: float = 40.0
    """The longest way of a point across the picture in one frame interval."""
    bias: float = 1.4
    """How much short ways outweigh long ones: a way is `2 + (longest - 2) * u**bias`."""
    still: float = 0.04
    """Share of scenes in which nothing moves."""
    slight: float = 0.08
    """Share of scenes in which points move by less than 3 pixels."""
    whole: float = 0.25
    """Share of samples whose shutter is open all the time."""
    short: float = 0.35
    """Share of samples whose shutter is open for 0.02 to 0.3 of the frame interval, the shorter the
    more often; in the others it is for 0.3 to 1."""
    rolling: float = 0.15
    """Share of scenes filmed row by row."""
    encoded: float = 0.50
    """Share of scenes averaged in encoded values instead of light."""
    defocus: float = 0.10
    """Share of scenes that are also out of focus."""
    objects: float = 1.0
    """Mean number of objects in front; 0 leaves the path of the camera alone."""
    depth: float = 0.0
    """Share of scenes whose background and objects are planes at depths of their own, before a
    camera that turns and moves: what is near moves farther. Else all of it moves as one."""
    uniform: float = 0.0
    """Share of scenes in which all moves alike, straight ahead: no turning, zoom or objects."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A few frames and what is known of them."""

    frames: list[Image]
    """At `TIMES`."""
    sharp: Image
    """Now."""
    flows: tuple[Flow, Flow, Flow, Flow]
    """From now to the frames `AROUND` it, (H, W, 2) in pixels."""
    share: float
    """Of the frame interval that the shutter was open."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A picture, premultiplied RGBA in light or encoded, in full and as it is followed."""

    full: NDArray[np.float32]
    small: NDArray[np.float32]
    camera: Way
    path: Path | None
    """How it moves itself; None: it is the background, which covers all."""

    def at(self, time: NDArray[np.float64]) -> Map:
        """Where its points are at some times."""
        camera = self.camera.at(time)
        return camera if self.path is None else camera @ self.path.at(time)


class _View:
    """What of a scene is rendered, and from which coordinates of its own."""

    def __init__(self, size: int, side: int, patch: int, factor: int) -> None:
        """A picture of `size` pixels, whose layers have `side`, is `factor` times smaller than the
        patch's; both show the same middle."""
        self.size = size
        self.to = _place(size, patch, factor)
        self.back = inverse(_place(side, patch, factor))
        rows = (np.arange(size) - (size - 1) / 2) * factor / patch
        self.rows = rows  # when each row is read, in readout times, 0 in the middle


def _place(size: int, patch: int, factor: int) -> Map:
    """From a patch's pixels to those of a smaller picture of `size` pixels with the same middle."""
    shift = (size - 1) / 2 - (patch - 1) / 2 / factor
    return np.array([[1 / factor, 0, shift], [0, 1 / factor, shift], [0, 0, 1]])


class Scene:
    """A scene that can be filmed with any exposure."""

    def __init__(
        self,
        photos: Photos,
        size: int,
        settings: BlurSettings,
        responses: Sequence[Response],
        rng: np.random.Generator,
    ) -> None:
        """`size` is the side of the frames in pixels."""
        self.size = size
        uniform = bool(rng.random() < settings.uniform)
        self.speed = speed = _speed(settings, rng)
        camera_share, object_share = (1.0, 0.0) if uniform else _who_moves(rng)
        held = None
        if settings.depth and not uniform and rng.random() < settings.depth:
            held, depth = Handheld(speed * camera_share, size, rng), rng.uniform(*_DEPTHS)
            camera: Way = held.before(depth, rng)
        else:
            camera = Path(speed * camera_share, size, rng, uniform=uniform)
        self._encoded = bool(rng.random() < settings.encoded)
        self._response = responses[int(rng.integers(len(responses)))]
        self._defocus = float(rng.uniform(0.5, 2.5)) if rng.random() < settings.defocus else 0.0
        rolling = rng.random() < settings.rolling
        # A patch is a small part of the frame that is read from top to bottom.
        self._rolling = float(rng.uniform(-0.25, 0.25)) if rolling and speed else 0.0
        step = rng.uniform(*_STEP_ENCODED) if self._encoded else _STEP_LIGHT
        step = min(step, _STEP_ROLLING) if self._rolling else step
        self._steps = int(np.clip(speed / step, 5, _MOST_STEPS)) if speed else 1
        factor = int(rng.integers(_FACTORS[0], _FACTORS[1] + 1))
        margin = int(2.1 * speed) + 10
        side, small = size + 2 * margin, _FOLLOWED + 2 * -(-margin // factor)
        self._full = _View(size, side, size, 1)
        self._small = _View(_FOLLOWED, small, size, factor)
        self._factor = factor

        gain = 1.0 if self._encoded else float(rng.uniform(0.6, 1.1))
        bright = not self._encoded and rng.random() < 0.5
        highlights = float(rng.uniform(0.25, 1.75)) if bright else 0.0

        def paint(crop: Crop, factor: int = 1, side: int = side) -> NDArray[np.float32]:
            shown = crop.square if factor == 1 else crop.around(side, factor)
            values = shown.astype(np.float32) / np.float32(255)
            if not self._encoded:
                values = self._response.to_light(values)
                values += highlights * (values.min(-1, keepdims=True) > 0.93)
                values *= gain
            return np.dstack([values, np.ones(values.shape[:2], np.float32)])

        crop = photos.crop(side, rng)
        self._layers = [_Layer(paint(crop), paint(crop, factor, small), camera, None)]
        count = 0 if uniform else min(_MOST_LAYERS, rng.poisson(settings.objects))
        for _ in range(count):
            full = paint(photos.crop(side, rng)) * _blob(side, size, rng)[..., None]
            path = Path(speed * object_share * rng.random(), size, rng)
            if held:
                depth = rng.uniform(1, depth)
                camera = held.before(depth, rng)
            self._layers.append(_Layer(full, _smaller(full, factor, small), camera, path))

    def film(self, shares: Sequence[float]) -> list[Clip]:
        """A clip for each share of the frame interval, from 0 to 1, that the shutter is open."""
        frames = self._exposed(self._full, shares)
        followed = self._exposed(self._small, shares)
        sharp = self._middle()
        clips = []
        for index, share in enumerate(shares):
            grays = [_gray(each) for each in followed[index]]
            earlier, before, now, after, later = grays
            back, ahead = follow(now, before), follow(now, after)
            far_back = joined(back, follow(before, earlier))
            far_ahead = joined(ahead, follow(after, later))
            first, second, third, fourth = map(self._in_full, (back, ahead, far_back, far_ahead))
            clips.append(Clip(frames[index], sharp, (first, second, third, fourth), share))
        return clips

    def _exposed(self, view: _View, shares: Sequence[float]) -> list[list[Image]]:
        """The frames of each clip."""
        size, steps = view.size, self._steps
        centers = np.array(TIMES)[:, None] + self._rolling * view.rows
        total = np.zeros((len(shares), len(TIMES), size, size, 4), np.float32)
        half = np.array(shares)[:, None, None] / 2
        last = int(np.ceil(steps * (np.abs(centers).max() + max(shares) / 2)))
        for number in range(-last, last + 1):
            # By how much of its sub-frame each row of each frame is exposed, (clips, frames, rows).
            open_ = (half - np.abs(number / steps - centers)) * steps + 0.5
            weights = np.clip(open_, 0, 1).astype(np.float32)
            if not weights.any():
                continue
            picture = self._at(view, number / steps)
            for clip, frame in np.argwhere(weights.any(-1)):
                weight = weights[clip, frame]
                if (weight == weight[0]).all():
                    cv2.scaleAdd(picture, float(weight[0]), total[clip, frame], total[clip, frame])
                else:
                    total[clip, frame] += picture * weight[:, None, None]
        # The pictures are opaque, so their alpha has summed up the weights.
        defocus = self._defocus if view is self._full else 0.0
        return [[self._finished(each, defocus=defocus) for each in frames] for frames in total]

    def _at(self, view: _View, time: float) -> NDArray[np.float32]:
        """The picture of an instant, (size, size, 4)."""
        shape = view.size, view.size
        frame: NDArray[np.float32] | None = None
        # Pictures of four channels are warped five times as fast as those of three.
        for layer in self._layers:
            place = view.to @ layer.at(np.array(time)) @ view.back
            source = layer.full if view is self._full else layer.small
            if frame is None:
                frame = _warped(source, place, shape, cv2.BORDER_REFLECT)
            else:
                over = _warped(source, place, shape, cv2.BORDER_CONSTANT)
                frame *= 1 - over[..., 3:]
                frame += over
        assert frame is not None
        return frame

    def _middle(self) -> Image:
        """The sharp picture: every row at the middle of its exposure."""
        view, time = self._full, self._rolling * self._full.rows
        if not self._rolling:
            return self._finished(self._at(view, 0.0))
        frame: NDArray[np.float32] | None = None
        x, y = np.meshgrid(np.arange(view.size), np.arange(view.size))
        for layer in self._layers:
            back = inverse(view.to @ layer.at(time) @ view.back)[:, None]
            there = back[..., 0] * x[..., None] + back[..., 1] * y[..., None] + back[..., 2]
            there = (there[..., :2] / there[..., 2:]).astype(np.float32)
            border = cv2.BORDER_REFLECT if frame is None else cv2.BORDER_CONSTANT
            over = cv2.remap(
                layer.full, there[..., 0], there[..., 1], cv2.INTER_LINEAR, borderMode=border
            )
            frame = (
                np.asarray(over, np.float32)
                if frame is None
                else frame * (1 - over[..., 3:]) + over
            )
        assert frame is not None
        return self._finished(frame)

    def _finished(self, total: NDArray[np.float32], *, defocus: float = 0.0) -> Image:
        """What an average of sub-frames, (H, W, 4), is as an encoded picture."""
        picture = total[..., :3] / total[..., 3:]
        if defocus:
            picture = np.asarray(cv2.filter2D(picture, -1, _disk(defocus)), np.float32)
        if not self._encoded:
            picture = self._response.to_encoded(picture)
        return np.clip(picture, 0, 1, out=picture)

    def _in_full(self, field: Flow) -> Flow:
        """A flow between small pictures as one between patches."""
        back = inverse(self._small.to)[:2]
        shape = self.size, self.size
        return np.asarray(cv2.warpAffine(field, back, shape) * np.float32(self._factor), np.float32)


def share(settings: BlurSettings, rng: np.random.Generator) -> float:
    """Draw for how much of the frame interval the shutter is open."""
    kind = rng.random()
    if kind < settings.whole:
        return 1.0
    if kind < settings.whole + settings.short:
        return float(np.exp(rng.uniform(np.log(0.02), np.log(0.3))))
    return float(rng.uniform(0.3, 1))


def _gray(image: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor((image * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2GRAY))


def _speed(settings: BlurSettings, rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < settings.still:
        return 0.0
    if kind < settings.still + settings.slight:
        return float(rng.uniform(0.3, 3.0))
    return 2.0 + (settings.longest - 2.0) * float(rng.random() ** settings.bias)


def _smaller(full: NDArray[np.float32], factor: int, size: int) -> NDArray[np.float32]:
    """A picture made `factor` times smaller, in the middle of one of `size` pixels."""
    less = cv2.resize(full, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    # A fraction of a pixel does not matter.
    shift = (size - len(full) / factor) / 2
    place = np.array([[1, 0, shift], [0, 1, shift]])
    return np.asarray(cv2.warpAffine(less, place, (size, size)), np.float32)


def _warped(
    picture: NDArray[np.float32], place: Map, shape: tuple[int, int], border: int
) -> NDArray[np.float32]:
    # Affine maps take half the time.
    if place[2, 0] or place[2, 1]:
        made = cv2.warpPerspective(picture, place, shape, borderMode=border)
    else:
        made = cv2.warpAffine(picture, place[:2], shape, borderMode=border)
    return np.asarray(made, np.float32)


def _who_moves(rng: np.random.Generator) -> tuple[float, float]:
    """Shares of the speed that the camera and the objects move with."""
    kind = rng.random()
    if kind < 0.20:
        return 0.05, 1.0  # a tripod, or nearly, and something moving in front
    if kind < 0.60:
        return 1.0, 0.0  # hand-held, a still scene
    return 1.0, 0.8


def _blob(side: int, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A mask in 0..1: a few overlapping shapes with an edge between hard and soft."""
    mask = np.zeros((side, side), np.uint8)
    middle = rng.uniform((side - size) / 2, (side + size) / 2, 2)
    for _ in range(int(rng.integers(1, 5))):
        at = middle + rng.normal(0, size * 0.12, 2)
        axes = rng.uniform(0.03, 0.28, 2) * size
        angle = float(rng.uniform(0, 360))
        box = cv2.boxPoints(((float(at[0]), float(at[1])), (2 * axes[0], 2 * axes[1]), angle))
        if rng.random() < 0.5:
            cv2.fillPoly(mask, [box.astype(np.int32)], 255)
        else:
            center = (int(at[0]), int(at[1]))
            cv2.ellipse(mask, center, (int(axes[0]), int(axes[1])), angle, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.choice([0.6, 0.8, 1.2, 2.5])))
    return soft.astype(np.float32) / np.float32(255)


def _disk(radius: float) -> NDArray[np.float32]:
    """The picture of a point through a lens out of focus."""
    away = np.arange(-np.ceil(radius), np.ceil(radius) + 1)
    disk = np.clip(radius + 0.5 - np.hypot(away[:, None], away), 0, 1)
    return np.asarray(disk / disk.sum(), np.float32)
