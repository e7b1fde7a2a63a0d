"""Pictures in files, as training and evaluation read them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def find_images(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders below it, in order of their names."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"no pictures ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    return files


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"cannot read the picture {path}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
