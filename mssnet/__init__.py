"""MSSNet: multi-scale-stage deblurring of single images.

restore = mssnet.load("lite.safetensors")
sharp = restore(blurred)  # (N, 3, H, W) RGB in 0..1, any height and width
"""

from mssnet.config import PRESETS, Config, Exit
from mssnet.deblurrer import Deblurrer, load, tile_within
from mssnet.engine import Eager, Engine, Program, Result, has_bfloat16
from mssnet.model import MSSNet
from mssnet.state import from_state_dict
from mssnet.stride import strided
from mssnet.widen import grown, widened

__all__ = [
    "PRESETS",
    "Config",
    "Deblurrer",
    "Eager",
    "Engine",
    "Exit",
    "MSSNet",
    "Program",
    "Result",
    "from_state_dict",
    "grown",
    "has_bfloat16",
    "load",
    "strided",
    "tile_within",
    "widened",
]
