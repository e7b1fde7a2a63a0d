"""Values where nothing is said, told without PyTorch, which takes seconds to load."""

from typing import Final

USUAL_SMOOTHING: Final = 0.8
"""How much noise is averaged away by fusion."""
