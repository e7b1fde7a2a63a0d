"""Pictures with depth: reading them, making them, and blurring them as a shaken camera would."""

from weights.geometry.blur import View, blurred, filmed, found_again, seen_from, shaken
from weights.geometry.files import GeometryError, ViewFolder, codes, hammer, rgbd, write
from weights.geometry.generate import Scene, generated

__all__ = [
    "GeometryError",
    "Scene",
    "View",
    "ViewFolder",
    "blurred",
    "codes",
    "filmed",
    "found_again",
    "generated",
    "hammer",
    "rgbd",
    "seen_from",
    "shaken",
    "write",
]
