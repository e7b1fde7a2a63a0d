"""Pictures with depth: reading them, making them, and blurring them as a shaken camera would."""

from weights.geometry.blur import View, blurred, seen_from, shaken
from weights.geometry.generate import generated
from weights.geometry.read import GeometryError, hammer, rgbd

__all__ = [
    "GeometryError",
    "View",
    "blurred",
    "generated",
    "hammer",
    "rgbd",
    "seen_from",
    "shaken",
]
