"""Operations on pictures: color, motion, steadiness, size. No files, no threads, no clocks."""

from filters.camera import STILL, Camera, Similarity
from filters.color import Coding, add_change, codes_of, luma, recode, to_planes, to_rgb
from filters.memory import keep_freed, sent
from filters.motion import Motion, Tracker
from filters.resize import INTERPOLATIONS, Enlarger
from filters.sharpness import CELL, need
from filters.stabilize import Correction, Path, moved
from filters.temporal import USUAL_SMOOTHING, Smoother
from filters.upscale import UPSCALERS, Upscaler, load_upscaler

__all__ = [
    "CELL",
    "INTERPOLATIONS",
    "STILL",
    "UPSCALERS",
    "USUAL_SMOOTHING",
    "Camera",
    "Coding",
    "Correction",
    "Enlarger",
    "Motion",
    "Path",
    "Similarity",
    "Smoother",
    "Tracker",
    "Upscaler",
    "add_change",
    "codes_of",
    "keep_freed",
    "load_upscaler",
    "luma",
    "moved",
    "need",
    "recode",
    "sent",
    "to_planes",
    "to_rgb",
]
