"""Names of images; loads nothing."""

from pathlib import Path
from typing import Final

IMAGES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Endings of the images that are read and written."""


def is_image(path: Path) -> bool:
    """Whether a name is that of an image."""
    return path.suffix.lower() in IMAGES
