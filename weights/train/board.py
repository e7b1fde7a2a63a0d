"""TensorBoard, where it is installed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Board:
    """Writes scalars and pictures into a run's folder; does nothing without TensorBoard."""

    def __init__(self, out: Path, step: int) -> None:
        """`step`: what an earlier part of the run wrote for later steps is dropped."""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def scalar(self, name: str, value: float, step: int) -> None:
        """A point of the curve `name`."""
        if self._writer:
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """`picture` is (H, W, 3) RGB."""
        if self._writer:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()
