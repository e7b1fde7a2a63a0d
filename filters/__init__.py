"""Operations on pictures: color, motion, steadiness, size. No files, no threads, no clocks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filters.burst import Burst
    from filters.camera import STILL, Camera, Similarity
    from filters.coding import Coding
    from filters.color import (
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
    from filters.defaults import USUAL_SMOOTHING
    from filters.fusion import Fused, fuse
    from filters.memory import keep_freed, sent
    from filters.motion import Flow, FlowFrame, displaced, guide
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
    "Flow",
    "FlowFrame",
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
    "displaced",
    "fuse",
    "guide",
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

_MODULES = {
    "burst": "Burst",
    "camera": "STILL Camera Similarity",
    "coding": "Coding",
    "color": "add_change add_values changes_of codes_of luma recode rgb_of to_planes to_rgb "
    "values_of",
    "defaults": "USUAL_SMOOTHING",
    "fusion": "Fused fuse",
    "memory": "keep_freed sent",
    "motion": "Flow FlowFrame displaced guide",
    "resize": "INTERPOLATIONS Enlarger",
    "sharpness": "CELL need",
    "shutter": "Shutter ShutterNet",
    "stabilize": "Correction Path moved",
    "upscale": "UPSCALERS Upscaler load_upscaler",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    # Loaded when first used (PEP 562): what only describes a picture needs no PyTorch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"filters.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
