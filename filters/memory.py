"""How this process keeps memory, and gets it to where it is worked on."""

import ctypes
import sys
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

_KEPT = 2**30
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt()."""


def keep_freed() -> None:
    """Keep up to a gigabyte of freed memory for what comes next, instead of handing it back.

    A frame's intermediate pictures are tens of megabytes each. glibc maps them anew for every
    operation, and the kernel clears them page by page: a network on a CPU loses a quarter to a
    third of its speed to that. Does nothing with another C library.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, _KEPT)
            mallopt(_MMAP_THRESHOLD, _KEPT)


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device; on the CPU it is the very memory.

    To a GPU it goes by way of pinned memory and on the stream that is current, and nothing waits
    for it.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
