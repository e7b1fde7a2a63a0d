"""Limits that the command knows before anything is loaded that opens files."""

from typing import Final

DEFAULT_MAX_PIXELS: Final = 8192 * 4352
"""Larger frames are refused: a small file can claim a picture that fills all memory."""
