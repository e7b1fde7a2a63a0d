"""Bringing a gyroscope's clock and the pictures together, by optical flow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stream.options.lens import Lens
from stream.telemetry.record import Numbers, TelemetryError
from stream.telemetry.turning import CameraRotation, Field, Optics

REACH = 0.5
"""Seconds by which the clocks may differ."""
_COARSE, _FINE = 0.004, 0.0005
"""Seconds between offsets that are tried."""
_AGREED = 0.8
"""The least correlation at which they are taken for the same motion."""
_STILL = 5e-5
"""Radians from frame to frame, below which nothing can be told."""
_LEAST_PAIRS = 12
_WIDEST, _NARROWEST = 170.0, 5.0


@dataclass(frozen=True, eq=False)
class Pair:
    """How the picture moved from one frame to the next."""

    time: float
    """Of the first frame and of the other, in seconds."""
    other: float
    flow: Field


@dataclass(frozen=True, eq=False)
class Match:
    """What was found."""

    turning: CameraRotation
    correlation: float
    """Of the gyroscope's rotations and those that the pictures show."""
    scale: float
    """How many times as far as the gyroscope and the lens tell the picture moves."""

    def __str__(self) -> str:
        milliseconds = 1000 * self.turning.offset
        return (
            f"the gyroscope's clock is off by {milliseconds:+.1f} ms (correlation "
            f"{self.correlation:.3f}), lens {self.turning.lens}"
        )


def match(turning: CameraRotation, pairs: Sequence[Sequence[Pair]], *, known: bool = True) -> Match:
    """The turning with the offset, and the bias, at which it agrees best with the flow of frames
    that follow one another, in one stretch or several.

    Where the lens is not `known`, its field of view is found as well. Raises `TelemetryError` where
    they do not agree.
    """
    stretches = [each for each in pairs if len(each) > 2]
    if sum(map(len, stretches)) < _LEAST_PAIRS:
        raise TelemetryError("there are too few frames to match the gyroscope with")
    height, width = stretches[0][0].flow.shape[:2]
    found = turning
    for _ in range(1 if known else 3):
        optics = Optics(found.lens, width, height)
        seen = [np.array([_rotation(optics, each.flow) for each in one]) for one in stretches]
        found, correlation, scale = _aligned(found, stretches, seen)
        if not known:
            found = replace(found, lens=_narrowed(found.lens, scale))
    if correlation < _AGREED:
        raise TelemetryError(
            f"the gyroscope and the picture do not move alike (correlation {correlation:.2f})"
        )
    if known and not 0.7 < scale < 1.4:
        raise TelemetryError(
            f"the picture moves {scale:.2f} times as far as the gyroscope and the lens tell; give "
            "the field of view with --fov"
        )
    return Match(found, correlation, scale)


def _aligned(
    turning: CameraRotation, pairs: Sequence[Sequence[Pair]], seen: Sequence[Numbers]
) -> tuple[CameraRotation, float, float]:
    """With the best offset; the correlation there, and how much more the picture turns."""
    steady = [_smoothed(each) for each in seen]
    size = float(np.sqrt(np.mean(np.concatenate(steady) ** 2)))
    if size < _STILL:
        raise TelemetryError("the picture turns too little to match the gyroscope with")

    def told(offset: float) -> list[Numbers]:
        moved = turning.shifted(offset)
        return [
            moved.angles(np.array([each.time for each in one]))
            - moved.angles(np.array([each.other for each in one]))
            for one in pairs
        ]

    def agreement(offset: float) -> float:
        own = np.concatenate([_smoothed(each) for each in told(offset)])
        other = np.concatenate(steady)
        return float((own * other).sum() / (np.sqrt((own**2).sum() * (other**2).sum()) + 1e-12))

    best = turning.offset
    for reach, step in ((REACH, _COARSE), (2 * _COARSE, _FINE)):
        offsets = best + np.arange(-reach, reach + step / 2, step)
        values = np.array([agreement(each) for each in offsets])
        top = int(np.clip(values.argmax(), 1, len(values) - 2))
        left, middle, right = values[top - 1 : top + 2]
        bend = left - 2 * middle + right
        best = float(offsets[top]) + (step * (left - right) / (2 * bend) if bend < 0 else 0.0)
    own = np.concatenate([_smoothed(each) for each in told(best)])
    scale = float((own * np.concatenate(steady)).sum() / (own**2).sum())
    return turning.shifted(best), agreement(best), scale


def _smoothed(rotations: Numbers) -> Numbers:
    """Rotations, (n, 3), without what is the same, or grows evenly, over a stretch: a gyroscope's
    bias, and what moving on looks like."""
    steps = np.linspace(-1, 1, len(rotations))
    columns = np.stack([np.ones_like(steps), steps], axis=1)
    line, *_ = np.linalg.lstsq(columns, rotations, rcond=None)
    return np.asarray(rotations - columns @ line)


def _narrowed(lens: Lens, scale: float) -> Lens:
    """The lens with a focal length so many times as long."""
    half = np.radians(lens.fov) / 2
    if lens.kind == "pinhole":
        half = np.arctan(np.tan(half) / max(scale, 1e-3))
    else:
        half = half / max(scale, 1e-3)
    return Lens(float(np.clip(np.degrees(2 * half), _NARROWEST, _WIDEST)), lens.kind)


def _rotation(optics: Optics, flow: Field) -> Numbers:
    """By what the picture turned, (3,) radians, as most of its parts show it."""
    step = max(1, min(flow.shape[:2]) // 24)
    slopes = optics.slopes[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
    moved = flow[step // 2 :: step, step // 2 :: step].reshape(-1).astype(np.float64)
    weight = np.ones_like(moved)
    found: Numbers = np.zeros(3)
    for _ in range(8):
        solved = np.linalg.lstsq(slopes * weight[:, None], moved * weight, rcond=None)
        found = np.asarray(solved[0], np.float64)
        left = np.abs(moved - slopes @ found)
        limit = max(float(np.median(left)), 0.02)
        weight = 1 / (1 + (left / limit) ** 2)
    return found
