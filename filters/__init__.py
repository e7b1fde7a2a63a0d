"""Operations on pictures: color, motion, steadiness, size. No files, no threads, no clocks."""

from filters.color import Coding, add_change, codes_of, luma, recode, to_planes, to_rgb
from filters.memory import keep_freed
from filters.motion import Motion, Tracker
from filters.resize import INTERPOLATIONS, Enlarger
from filters.sharpness import CELL, need
from filters.temporal import Smoother
from filters.upscale import UPSCALERS, Upscaler, load_upscaler

__all__ = [
    "CELL",
    "INTERPOLATIONS",
    "UPSCALERS",
    "Coding",
    "Enlarger",
    "Motion",
    "Smoother",
    "Tracker",
    "Upscaler",
    "add_change",
    "codes_of",
    "keep_freed",
    "load_upscaler",
    "luma",
    "need",
    "recode",
    "to_planes",
    "to_rgb",
]
