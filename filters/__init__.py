"""Operations on pictures: color, motion, steadiness, size. No files, no threads, no clocks."""

from filters.color import Coding, add_change, codes_of, luma, recode, to_rgb
from filters.motion import Motion, Tracker
from filters.temporal import Smoother
from filters.upscale import UPSCALERS, Upscaler, load_upscaler

__all__ = [
    "UPSCALERS",
    "Coding",
    "Motion",
    "Smoother",
    "Tracker",
    "Upscaler",
    "add_change",
    "codes_of",
    "load_upscaler",
    "luma",
    "recode",
    "to_rgb",
]
