"""Operations on pictures: color, motion, steadiness, size. No files, no threads, no clocks."""

from filters.burst import USUAL_SMOOTHING, Burst
from filters.camera import STILL, Camera, Similarity
from filters.color import (
    Coding,
    add_change,
    add_values,
    changes_of,
    codes_of,
    luma,
    recode,
    rgb_of,
    to_planes,
    to_rgb,
    values_of,
)
from filters.fusion import Fused, fuse
from filters.memory import keep_freed, sent
from filters.resize import INTERPOLATIONS, Enlarger
from filters.sharpness import CELL, need
from filters.shutter import Shutter, ShutterNet
from filters.stabilize import Correction, Path, moved
from filters.upscale import UPSCALERS, Upscaler, load_upscaler

__all__ = [
    "CELL",
    "INTERPOLATIONS",
    "STILL",
    "UPSCALERS",
    "USUAL_SMOOTHING",
    "Burst",
    "Camera",
    "Coding",
    "Correction",
    "Enlarger",
    "Fused",
    "Path",
    "Shutter",
    "ShutterNet",
    "Similarity",
    "Upscaler",
    "add_change",
    "add_values",
    "changes_of",
    "codes_of",
    "fuse",
    "keep_freed",
    "load_upscaler",
    "luma",
    "moved",
    "need",
    "recode",
    "rgb_of",
    "sent",
    "to_planes",
    "to_rgb",
    "values_of",
]
