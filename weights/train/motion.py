"""How cameras and things move while the shutter is open."""

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float64]
"""(sub-frames, 3, 3): where a point of the middle of the exposure is in each sub-frame, pixels."""


def still(count: int) -> Maps:
    """The path of what does not move."""
    return np.tile(np.eye(3), (count, 1, 1))


def path(extent: float, count: int, size: int, rng: np.random.Generator) -> Maps:
    """A path on which the points of a patch travel about `extent` pixels.

    A straight run with inertia, bent by an acceleration and by tremor (8 to 12 Hz in a hand, so up
    to a cycle during one exposure, plus faster jitter), sometimes a random walk with inertia
    (Boracchi and Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP
    2012), with rotation and zoom about a center that may lie far outside the patch of `size`
    pixels, as it does in the corner of a frame. `count` is odd; its middle map is the identity.
    """
    if count == 1 or extent == 0:
        return still(count)
    time = np.linspace(-0.5, 0.5, count)[:, None]
    heading = rng.uniform(0, 2 * np.pi)
    places = time * np.array([np.cos(heading), np.sin(heading)])
    places = places + time**2 * rng.normal(0, 0.8, 2)
    for cycles in (rng.uniform(0.3, 1.2), rng.uniform(1.0, 3.5)):
        wave = np.sin(2 * np.pi * (cycles * time + rng.random(2)))
        places = places + wave * rng.normal(0, 0.22, 2) * rng.random() / cycles
    if rng.random() < 0.2:
        steps = np.cumsum(rng.normal(0, 1, (count, 2)), axis=0)
        places = places + np.cumsum(steps, axis=0) * rng.uniform(0.3, 1.5) / count**1.5
    turning = extent * rng.uniform(-0.5, 0.5) / 300 if rng.random() < 0.6 else 0.0
    zoom = extent * rng.uniform(-0.4, 0.4) / 400 if rng.random() < 0.5 else 0.0
    center = size / 2 + rng.uniform(-1, 1, 2) * np.array([420, 240])
    # Whatever turning and zooming add at the patch is taken off the translation.
    far = float(np.hypot(*(center - size / 2)) * np.hypot(turning, zoom))
    span = float(np.hypot(*np.ptp(places, axis=0)))
    places = places * max(extent - far, 0.2 * extent) / max(span, 1e-6)
    places = places - places[count // 2]

    angle, scale = turning * time[:, 0], 1 + zoom * time[:, 0]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    maps = still(count)
    maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = cos, -sin, sin, cos
    maps[:, :2, 2] = center - maps[:, :2, :2] @ center + places
    return maps
